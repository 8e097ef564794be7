"""An identity provider that publishes keys over HTTP."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

PrivateKey = RSAPrivateKey | Ed25519PrivateKey


class KeySet:
    """A JWKS address that counts how often it is asked; `keys` are the private halves by their ids."""

    def __init__(self, **keys: PrivateKey) -> None:
        self.asked = 0
        self.publish(*(published(key, kid=name) for name, key in keys.items()))
        key_set = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                key_set.asked += 1
                self.send_response(key_set.status)
                self.end_headers()
                self.wfile.write(key_set.body)

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/jwks"
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def publish(self, *keys: dict[str, Any]) -> None:
        """Publish these keys from now on, and no others."""
        self.status, self.body = 200, json.dumps({"keys": keys}).encode()

    def fall_silent(self) -> None:
        """Answer with an error page from now on."""
        self.status, self.body = 503, b"<html>"

    def close(self) -> None:
        """Stop answering at all."""
        self.server.shutdown()
        self.server.server_close()


def published(key: PrivateKey, **names: str) -> dict[str, Any]:
    """Return a key's public half as JWK, with its `kid` where one is given."""
    if isinstance(key, RSAPrivateKey):
        jwk = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        jwk = jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**jwk, "use": "sig", **names}
