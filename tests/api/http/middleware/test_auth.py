import gc
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from flask import Flask
from flask.testing import FlaskClient
from freezegun import freeze_time

from api.http.middleware.auth import KNOWN_FOR_SECONDS, Caller, TokenVerifier
from api.issued_tokens import make_token
from api.local.local_settings import local_settings
from api.setting_rules import ConfigurationError
from api.settings import Settings
from tests.api.http.conftest import SECRET
from tests.api.http.middleware.key_set import KeySet

WHO = "/api/probes/who/"
MakeApp = Callable[[Settings], Flask]


def claims(**changes: Any) -> dict[str, Any]:
    # In days: what parametrizes a test is signed when tests are gathered, long before the last of them runs.
    usual = {"sub": "7", "roles": ["customer"], "exp": datetime.now(UTC) + timedelta(days=2)}
    return {name: value for name, value in (usual | changes).items() if value is not None}


def signed(key: Any = SECRET, algorithm: str = "HS256", **changes: Any) -> dict[str, str]:
    headers = {"kid": "first"} if algorithm != "HS256" else None
    return {"Authorization": "Bearer " + jwt.encode(claims(**changes), key, algorithm, headers)}


def unsigned() -> str:
    """A token that says that it is not signed."""
    head, body, _ = jwt.encode(claims(), SECRET).split(".")
    head = jwt.utils.base64url_encode(b'{"typ":"JWT","alg":"none"}').decode()
    return f"{head}.{body}."


def raw(**changes: Any) -> dict[str, str]:
    """A header with claims as they are, which PyJWT would refuse to sign."""
    usual = {"sub": "7", "roles": ["customer"], "exp": 4_000_000_000}
    token = jwt.PyJWS().encode(json.dumps(usual | changes).encode(), SECRET, "HS256")
    return {"Authorization": f"Bearer {token}"}


def pem(key: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)  # type: ignore[no-any-return]


def test_our_own_token_identifies_the_caller(
    client: FlaskClient, bearer: Callable[..., dict[str, str]]
) -> None:
    answer = client.get(WHO, headers=bearer(7, "customer", "operator"))
    assert answer.json == {"user": 7, "roles": ["customer", "operator"]}


def test_no_token_is_401_and_tells_the_scheme(client: FlaskClient) -> None:
    answer = client.get(WHO)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="daftari"'
    assert answer.json is not None
    assert answer.json["error_code"] == "TOKEN_MISSING"


@pytest.mark.parametrize(
    "header",
    [
        signed("another-secret-that-is-long-enough-as-well"),
        signed(exp=datetime.now(UTC) - timedelta(minutes=1)),
        signed(exp=None),
        signed(sub=None),
        signed(sub=""),
        signed(sub="a\nb"),
        signed(sub="9" * 129),
        signed(sub="9" * 3000),
        signed(roles="customer"),
        signed(iss="somebody"),
        signed(aud="somebody"),
        signed(aud=["somebody", "else"]),
        signed(nbf=datetime.now(UTC) + timedelta(days=1)),
        {"Authorization": "Bearer " + unsigned()},
        {"Authorization": "Bearer x.y.z"},
        {"Authorization": "Bearer é"},
    ],
)
def test_an_invalid_token_is_401(client: FlaskClient, header: dict[str, str]) -> None:
    answer = client.get(WHO, headers=header)
    assert answer.status_code == 401
    assert "invalid_token" in answer.headers["WWW-Authenticate"]
    assert answer.json is not None
    assert answer.json["error_code"] == "TOKEN_INVALID"


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (signed(sub=""), "its sub names no user: A user is named by 1 to 128 characters"),
        (signed(sub="x" * 129), "its sub names no user: A user is named by 1 to 128 characters"),
        (raw(sub=7), "its sub must be text"),
        (raw(sub=True), "its sub must be text"),
        (signed(sub=None), "its sub is missing"),
        (signed(exp=None), "its exp is missing"),
        (signed(exp=1), "its exp has passed"),
        (raw(exp="tomorrow"), "it is not a JWT, or a claim of it cannot be read"),
        (raw(exp=float("inf")), "it is not a JWT, or a claim of it cannot be read"),
        (signed(nbf=datetime.now(UTC) + timedelta(days=1)), "its nbf or iat lies ahead"),
        (signed(iat=datetime.now(UTC) + timedelta(days=1)), "its nbf or iat lies ahead"),
        (raw(iat="now"), "its iat is not a number"),
        (raw(jti=5), "its jti must be text"),
        (signed(jti="x" * 201), "its jti must be 1 to 200 characters"),
        (signed(roles="customer"), "its roles must be a list"),
        (signed(iss="somebody"), "its iss names another issuer"),
        (signed(aud="somebody"), "its aud does not name us"),
        (signed("another-secret-that-is-long-enough-as-well"), "its signature is not of a key"),
        (signed(SECRET * 2, "HS512"), "its alg is not the one"),
        ({"Authorization": "Bearer " + unsigned()}, "its alg is not the one"),
        ({"Authorization": "Bearer x.y.z"}, "it is not a JWT"),
        ({"Authorization": "Bearer " + "x" * 4097}, "it is longer than 4096 characters"),
    ],
)
def test_a_refused_token_is_told_which_claim_is_wrong_in_body_and_header(
    client: FlaskClient, header: dict[str, str], says: str
) -> None:
    answer = client.get(WHO, headers=header)
    assert answer.json is not None
    assert answer.json["message"].startswith(f"This token is not accepted: {says}")
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge == (
        f'Bearer realm="daftari", error="invalid_token", error_description="{answer.json["message"]}"'
    )


@pytest.mark.parametrize("kid", ["../../dev/null", "' OR 1=1 --", "x" * 2000, "http://evil.example/key"])
def test_a_key_id_chooses_nothing_where_the_secret_is_configured(client: FlaskClient, kid: str) -> None:
    forged = jwt.encode(claims(), SECRET[::-1], "HS256", {"kid": kid, "jku": kid, "x5u": kid})
    assert client.get(WHO, headers={"Authorization": f"Bearer {forged}"}).status_code == 401


def test_tokens_of_the_previous_secret_are_accepted_while_it_is_named(
    make_app: MakeApp, settings: Settings
) -> None:
    previous = "9d2c41b7e0a85f36c1d4e7b29a0f5c83"
    old = signed(previous)
    assert make_app(settings).test_client().get(WHO, headers=old).status_code == 401
    rotated = local_settings({**settings.environ, "DAFTARI_JWT_PREVIOUS_SECRET": previous})
    client = make_app(rotated).test_client()
    assert client.get(WHO, headers=old).status_code == 200
    assert client.get(WHO, headers=signed()).status_code == 200
    assert client.get(WHO, headers=signed("another-secret-that-is-long-enough-as-well")).status_code == 401
    assert jwt.decode(make_token(rotated, 7, [], 5), SECRET, ["HS256"], audience="daftari")["sub"] == "7"


def test_a_key_file_may_hold_the_new_key_and_the_old_one(make_app: MakeApp, tmp_path: Path) -> None:
    new, old, other = (Ed25519PrivateKey.generate() for _ in range(3))
    rsa = generate_private_key(65537, 2048)
    file = tmp_path / "keys.pem"
    file.write_bytes(b"".join(pem(key) for key in (new, old, rsa)))
    settings = local_settings({"DAFTARI_DATA_DIR": str(tmp_path), "DAFTARI_JWT_PUBLIC_KEY_FILE": str(file)})
    client = make_app(settings).test_client()
    for key, algorithm, status in (
        (new, "EdDSA", 200),
        (old, "EdDSA", 200),
        (rsa, "RS256", 200),
        (other, "EdDSA", 401),
    ):
        assert client.get(WHO, headers=signed(key, algorithm)).status_code == status


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "daftari"},
        {"aud": "daftari"},
        {"aud": ["shop", "daftari"]},
        {"roles": ["customer", "wizard", 3]},
    ],
)
def test_our_own_name_and_roles_unknown_to_us_do_no_harm(
    client: FlaskClient, changes: dict[str, Any]
) -> None:
    assert client.get(WHO, headers=signed(**changes)).status_code == 200


def test_another_scheme_than_bearer_is_no_token(client: FlaskClient) -> None:
    assert client.get(WHO, headers={"Authorization": "Basic eDp5"}).status_code == 401


def test_the_wrong_role_is_403_and_names_the_right_one(client: FlaskClient) -> None:
    for roles in (["analyst"], [], None):
        answer = client.get(WHO, headers=signed(roles=roles))
        assert answer.status_code == 403
        assert answer.json is not None
        assert answer.json["error_code"] == "ROLE_REQUIRED"
        assert "customer or operator" in answer.json["message"]


@pytest.mark.parametrize("path", ["/api/nothing/", "/api/probes/things/not-a-uuid/", "/api/probes/things/1/"])
def test_what_does_not_exist_is_401_without_a_token_and_404_with_one(
    client: FlaskClient, bearer: Callable[..., dict[str, str]], path: str
) -> None:
    assert client.get(path).status_code == 401
    answer = client.get(path, headers=bearer())
    assert answer.status_code == 404
    assert answer.json is not None
    assert answer.json["error_code"] == "NOT_FOUND"


def test_a_public_view_requires_no_token(client: FlaskClient) -> None:
    assert client.post("/api/probes/callback/", json={}).status_code == 200


def test_a_configured_issuer_and_audience_must_match(make_app: MakeApp, settings: Settings) -> None:
    environ = {"DAFTARI_JWT_ISSUER": "https://login.example", "DAFTARI_JWT_AUDIENCE": "payments"}
    strict = local_settings({**settings.environ, **environ})
    client = make_app(strict).test_client()
    good: dict[str, Any] = {"iss": "https://login.example", "aud": ["payments"]}
    assert client.get(WHO, headers=signed(**good)).status_code == 200
    assert client.get(WHO, headers=signed(**good | {"iss": None})).status_code == 401
    assert client.get(WHO, headers=signed(**good | {"aud": "daftari"})).status_code == 401
    own = {"Authorization": f"Bearer {make_token(strict, 7, ['customer'], 5)}"}
    assert client.get(WHO, headers=own).status_code == 200


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(generate_private_key(65537, 2048), "RS256"), (Ed25519PrivateKey.generate(), "EdDSA")],
    ids=["RSA", "Ed25519"],
)
def test_a_public_key_file_fixes_the_algorithm(
    make_app: MakeApp, tmp_path: Path, key: Any, algorithm: str
) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(pem(key))
    settings = local_settings({"DAFTARI_DATA_DIR": str(tmp_path), "DAFTARI_JWT_PUBLIC_KEY_FILE": str(file)})
    client = make_app(settings).test_client()
    assert client.get(WHO, headers=signed(key, algorithm)).status_code == 200
    assert client.get(WHO, headers=signed(Ed25519PrivateKey.generate(), "EdDSA")).status_code == 401
    assert client.get(WHO, headers=signed()).status_code == 401
    with pytest.raises(ConfigurationError):
        make_token(settings, 7, ["customer"], 5)


def test_the_public_key_is_never_taken_for_an_hmac_secret(make_app: MakeApp, tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(pem(generate_private_key(65537, 2048)))
    settings = local_settings({"DAFTARI_DATA_DIR": str(tmp_path), "DAFTARI_JWT_PUBLIC_KEY_FILE": str(file)})
    forger = jwt.PyJWS()
    del forger._algorithms["HS256"]
    forger.register_algorithm("HS256", _CarelessHmac(jwt.algorithms.HMACAlgorithm.SHA256))
    payload = jwt.PyJWT().encode(claims(), SECRET).split(".")[1]
    body = jwt.utils.base64url_decode(payload)
    token = forger.encode(body, file.read_bytes(), "HS256")
    headers = {"Authorization": f"Bearer {token}"}
    assert make_app(settings).test_client().get(WHO, headers=headers).status_code == 401


class _CarelessHmac(jwt.algorithms.HMACAlgorithm):
    def prepare_key(self, key: Any) -> bytes:
        return bytes(key)


@pytest.mark.parametrize(
    "content", [b"not a key", pem(generate_private_key(65537, 1024))], ids=["junk", "weak"]
)
def test_a_useless_public_key_file_is_refused_at_the_start(
    make_app: MakeApp, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(content)
    settings = local_settings({"DAFTARI_DATA_DIR": str(tmp_path), "DAFTARI_JWT_PUBLIC_KEY_FILE": str(file)})
    with pytest.raises(ConfigurationError, match="DAFTARI_JWT_PUBLIC_KEY_FILE"):
        make_app(settings)


def test_published_keys_are_fetched_once_and_a_lost_provider_is_503(
    make_app: MakeApp, tmp_path: Path
) -> None:
    key = Ed25519PrivateKey.generate()
    key_set = KeySet(first=key)
    settings = local_settings({"DAFTARI_DATA_DIR": str(tmp_path), "DAFTARI_JWT_JWKS_URL": key_set.url})
    first, second = make_app(settings).test_client(), make_app(settings).test_client()
    try:
        assert [first.get(WHO, headers=signed(key, "EdDSA")).status_code for _ in range(3)] == [200] * 3
        assert first.get(WHO, headers=signed(Ed25519PrivateKey.generate(), "EdDSA")).status_code == 401
        assert first.get(WHO, headers=signed()).status_code == 401
        other_kind = generate_private_key(65537, 2048)
        assert first.get(WHO, headers=signed(other_kind, "RS256")).status_code == 401
        assert key_set.asked == 1
    finally:
        key_set.close()
    answer = second.get(WHO, headers=signed(key, "EdDSA"))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.json is not None
    assert answer.json["error_code"] == "SIGN_IN_UNAVAILABLE"


def test_a_token_that_was_good_is_refused_once_it_has_ended(client: FlaskClient) -> None:
    with freeze_time("2024-01-15 10:30:00") as clock:
        token = signed(exp=datetime(2024, 1, 15, 10, 30, 10, tzinfo=UTC))
        assert client.get(WHO, headers=token).status_code == 200
        clock.tick(5)
        assert client.get(WHO, headers=token).status_code == 200
        clock.tick(60)
        assert client.get(WHO, headers=token).status_code == 401


def test_a_good_token_is_known_for_a_while_and_takes_no_memory_afterwards(settings: Settings) -> None:
    verifier = TokenVerifier(settings, int)
    with freeze_time("2024-01-15T10:30:00Z") as time:
        user = 7_000_007
        token = make_token(settings, user, ["customer"], 600)
        known = verifier.caller_of(token)
        time.tick(KNOWN_FOR_SECONDS - 1)
        assert verifier.caller_of(token) is known
        del known
        for other in (8, 9):
            time.tick(KNOWN_FOR_SECONDS)
            verifier.caller_of(make_token(settings, other, ["customer"], 600))
        kept = [each.user_id for each in gc.get_objects() if isinstance(each, Caller)]
        assert (9 in kept, user in kept) == (True, False)


@pytest.mark.parametrize("end", [10**11, 10**17, 10**30])
def test_a_token_that_ends_in_another_age_is_no_fault_of_ours(client: FlaskClient, end: int) -> None:
    assert client.get(WHO, headers=signed(exp=end)).status_code in (200, 401)
