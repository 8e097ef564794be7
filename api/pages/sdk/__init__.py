"""The client for pages in a browser, /sdk/daftari.js: an ES module without dependencies, served as it lies here."""

from functools import cache
from hashlib import sha256
from pathlib import Path

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from ledger.errors import NotFound

VERSION = "v1"
"""What the module does under /sdk/v1/ stays compatible; another meaning gets another number."""

MIMETYPES = {"daftari.js": "text/javascript", "daftari.d.ts": "application/typescript"}
NEWEST_SECONDS = 5 * 60
VERSIONED_SECONDS = 24 * 3600

pages = Blueprint("sdk", __name__)


@pages.get("/sdk/<name>", defaults={"seconds": NEWEST_SECONDS})
@pages.get(f"/sdk/{VERSION}/<name>", defaults={"seconds": VERSIONED_SECONDS})
def show_file(name: str, seconds: int) -> AnyResponse:
    """Serve a file of the module to pages of every origin: it is public, and holds nothing of anybody."""
    if name not in MIMETYPES:
        raise NotFound("There is no such file: daftari.js and its types, daftari.d.ts, are here.")
    content, etag = _file(name)
    response = Response(content, mimetype=MIMETYPES[name])
    response.content_type = f"{MIMETYPES[name]}; charset=utf-8"
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cache-Control"] = f"public, max-age={seconds}"
    response.set_etag(etag)
    return response.make_conditional(request)


@cache
def _file(name: str) -> tuple[bytes, str]:
    """Return a file, and a name of its content that is the same on every machine."""
    content = (Path(__file__).parent / name).read_bytes()
    return content, sha256(content).hexdigest()[:32]
