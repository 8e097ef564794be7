"""What the commands for developers of shops share: calls to a Daftari by a server key, and its feed of messages."""

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests

from api.cli.failures import NOT_AVAILABLE, WRONG_SETTINGS, Failure

KEY_VARIABLE = "DAFTARI_API_KEY"
TIMEOUT_SECONDS = 35

_FEED = "/api/events/"


class ServerAway(Exception):
    """The server does not answer, or not now: it may later."""


class ServerApi:
    """A Daftari at a URL, called by the key of KEY_VARIABLE. Redirects are not followed: they would take the key along.

    Its methods raise ServerAway, and Failure for what it refuses.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._http = requests.Session()
        self._http.headers["Authorization"] = f"Bearer {_key()}"

    def call(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """Return the JSON that a request is answered with."""
        try:
            answer = self._http.request(
                method, f"{self._url}{path}", timeout=TIMEOUT_SECONDS, allow_redirects=False, **request
            )
            found: dict[str, Any] = answer.json()
        except requests.RequestException as error:
            raise ServerAway from error
        if answer.status_code in (408, 429) or answer.status_code >= 500:
            raise ServerAway
        if not answer.ok:
            why = found.get("message", answer.reason)
            raise Failure(f"{self._url} answers {answer.status_code}: {why}")
        return found

    def feed(self, since: datetime, types: str | None = None) -> "Feed":
        """Return the feed of the messages of what is recorded from a moment on, of some types or all."""
        wanted = {"from": since.isoformat()} | ({"types": types} if types else {})
        return Feed(self, wanted)


class Feed:
    """The feed from a place on, which moves as pages are read."""

    def __init__(self, api: ServerApi, query: Mapping[str, str]) -> None:
        self._api = api
        self._query = dict(query)
        self.has_more = False

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the messages of the next page, and move on behind those that were taken: all of them, or none."""
        page = self._api.call("GET", _FEED, params=self._query)
        yield from page["results"]
        self._query = dict(parse_qsl(urlsplit(page["next"]).query))
        self.has_more = page["has_more"]


def _key() -> str:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise Failure(
            f"{KEY_VARIABLE} is not set. `daftari api-keys create --name web-shop --role server` makes a key; "
            f"then type `export {KEY_VARIABLE}=dk_test_...`.",
            WRONG_SETTINGS,
        )
    return key


def is_away(url: str) -> Failure:
    """Return the failure of a command whose server does not answer."""
    return Failure(f"{url} does not answer. Is `daftari up` running?", NOT_AVAILABLE)
