"""A client as docs/http.md wants it: a key for each intention, and the same key again if no answer came."""

import json
import time
from dataclasses import dataclass
from threading import Event
from typing import Any
from uuid import uuid4

from api.http.framework.error_codes import ERROR_CODES
from tests.bench.connection import BadAnswer, Connection
from tests.torture.acknowledgements import Acknowledgements

GIVE_UP_AFTER_SECONDS = 45.0
"""Shorter than an unfinished request holds its key (CLAIM_LASTS in idempotency_store.py): one effect a key at most."""

FIRST_PAUSE_SECONDS = 0.1
MAX_PAUSE_SECONDS = 2.0
TRANSIENT = frozenset({"UNAVAILABLE", "IDEMPOTENCY_KEY_IN_USE", "CONFLICT"})
"""Transient refusals, which say nothing about the command; the same key is good for another try."""


@dataclass(frozen=True)
class Answer:
    """The final answer, and how often none came before."""

    status: int
    body: dict[str, Any]
    lost: int

    @property
    def code(self) -> str:
        """The error code, "" if there is none."""
        return str(self.body.get("error_code", ""))


class RetryingClient:
    """One buyer's connection; not for several threads."""

    def __init__(self, port: int, auth: str, acknowledged: Acknowledgements, stop: Event) -> None:
        self._connection = Connection(port)
        self._auth = auth
        self._acknowledged = acknowledged
        self._stop = stop

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def post(self, path: str, body: dict[str, Any]) -> Answer | None:
        """Send a command under a new key until there is an answer; None if time or the run ends first."""
        return self._until_answered("POST", path, json.dumps(body).encode(), str(uuid4()))

    def get(self, path: str) -> Answer | None:
        """Read until there is an answer; None if time or the run ends first."""
        return self._until_answered("GET", path, None, None)

    def _until_answered(self, method: str, path: str, body: bytes | None, key: str | None) -> Answer | None:
        give_up_at = time.monotonic() + GIVE_UP_AFTER_SECONDS
        pause, lost = FIRST_PAUSE_SECONDS, 0
        while time.monotonic() < give_up_at:
            answer = self._once(method, path, body, key, lost)
            if answer is None:
                lost += 1
            elif answer.code not in TRANSIENT:
                return answer
            if self._stop.wait(pause):
                return None
            pause = min(pause * 2, MAX_PAUSE_SECONDS)
        self._acknowledged.count("gave up")
        return None

    def _once(self, method: str, path: str, body: bytes | None, key: str | None, lost: int) -> Answer | None:
        try:
            status, text = self._connection.request(method, path, self._auth, body, key=key)
        except (OSError, BadAnswer):
            self._acknowledged.count("no answer")
            return None
        answer = Answer(status, json.loads(text), lost)
        if status >= 400:
            self._acknowledged.count(f"{status} {answer.code}")
            known = ERROR_CODES.get(answer.code)
            if known is None or known.status != status or answer.code == "INTERNAL_ERROR":
                self._acknowledged.report_violation(f"{method} {path} was answered {status} {answer.code}")
        return answer
