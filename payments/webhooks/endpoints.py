"""Webhook endpoints: to which URLs which events are told, and with which secrets they are signed.

A definition is encrypted for its row by a key that the database never sees: a login of the database can delete an
endpoint or stop it, and can neither read its secrets, nor add one, nor send one's events elsewhere.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import msgspec
import structlog
from psycopg import Connection

from ledger import clock
from ledger.errors import NotFound, Rejected, wrong_fields
from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from ledger.store.key_ring import WrongKey
from ledger.store.vault import SYSTEM_USER_ID, WEBHOOK_DEFINITION, Vault
from payments.webhooks.signing import new_secret
from payments.webhooks.targets import parse_target
from projections.follower import read_end
from projections.log_pages import position_before

MAX_OF_A_KEY = 10
"""Endpoints of one key, and of none."""

MAX_IN_ALL = 100
"""Each may hold a thread of the worker while it is slow."""

MAX_KEY_NAME = 100
"""Characters; longer than the name of any key."""

ROTATED_FOR = timedelta(hours=24)
"""So long the secret before signs beside a new one."""

MISSED_AT_MOST = timedelta(days=30)
"""Events from longer ago are not told any more: to an endpoint that is enabled again, or by delivering anew."""

READ_AGAIN_AFTER = timedelta(seconds=1)
"""How old what a worker knows of the endpoints may be."""

_COLUMNS = """
    endpoint_id, sealed_definition, created_at, state, reason, changed_at, origin, position, failing_since, paused_until
"""
_ALL = f"SELECT {_COLUMNS} FROM webhook_endpoints ORDER BY created_at, endpoint_id LIMIT {MAX_IN_ALL}"  # noqa: S608 - made of constants
_ONE = f"SELECT {_COLUMNS} FROM webhook_endpoints WHERE endpoint_id = %s"  # noqa: S608 - as above
_LOCKED = f"{_ONE} FOR NO KEY UPDATE"
_ONE_ADDED_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('daftari webhook endpoints', 0))"
_ADD = """
INSERT INTO webhook_endpoints (endpoint_id, sealed_definition, created_at, changed_at, origin, position)
VALUES (%(endpoint_id)s, %(sealed)s, %(now)s, %(now)s, %(origin)s, %(position)s)
"""
_DEFINE = "UPDATE webhook_endpoints SET sealed_definition = %s WHERE endpoint_id = %s"
_DISABLE = """
UPDATE webhook_endpoints SET state = 'disabled', reason = %s, changed_at = %s
WHERE endpoint_id = %s AND state = 'enabled'
"""
_ENABLE = """
UPDATE webhook_endpoints SET state = 'enabled', reason = NULL, changed_at = %(now)s, position = %(position)s,
    failing_since = NULL, paused_until = NULL
WHERE endpoint_id = %(endpoint_id)s
"""
_BEGIN_ANEW = """
UPDATE webhook_deliveries SET attempts = 0, tried_since = NULL, next_attempt_at = %s
WHERE endpoint_id = %s AND state = 'pending' AND next_attempt_at IS NOT NULL
"""
_GO_BACK = "UPDATE webhook_endpoints SET position = least(position, %s) WHERE endpoint_id = %s"
_DELETE = "DELETE FROM webhook_endpoints WHERE endpoint_id = %s"

BY_HAND, GONE, ONLY_FAILURES = REASONS = ("by_hand", "gone", "only_failures")
"""Why an endpoint is disabled."""

_log = structlog.get_logger(__name__)


class Secret(msgspec.Struct, frozen=True):
    """A secret of an endpoint, and until when it signs; None is for good."""

    text: str
    ends_at: datetime | None = None


class Definition(msgspec.Struct, frozen=True):
    """What an endpoint is: where, of which types of messages, of which key's sessions, signed by which secrets.

    `key_name` is None for one that hears of all sessions.
    """

    url: str
    events: tuple[str, ...]
    key_name: str | None
    secrets: tuple[Secret, ...]

    def secrets_at(self, moment: datetime) -> list[str]:
        """Return the secrets that sign at a moment, the newest first."""
        return [each.text for each in self.secrets if each.ends_at is None or moment < each.ends_at]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as it stands: `position` is how far it has followed the log of `origin`."""

    endpoint_id: UUID
    definition: Definition
    created_at: datetime
    state: str
    reason: str | None
    changed_at: datetime
    origin: int
    position: int
    failing_since: datetime | None
    paused_until: datetime | None

    @property
    def is_enabled(self) -> bool:
        """Whether it is told of events."""
        return self.state == "enabled"


class WebhookEndpoints:
    """Adds, changes and finds endpoints. Safe to share between threads.

    `key` is the name of the key that asks, which finds its own endpoints alone; None, for operators, finds all. `by` is
    the actor in the audit log. All raise Unavailable, those about one endpoint NotFound WEBHOOK_ENDPOINT_NOT_FOUND.
    """

    def __init__(
        self, database: Database, vault: Vault, audit_log: AuditLog, *, allows_private: bool
    ) -> None:
        self.allows_private = allows_private
        self._database = database
        self._vault = vault
        self._audit_log = audit_log
        self._known: tuple[datetime, list[Endpoint]] | None = None

    def add(self, url: str, events: Collection[str], *, key: str | None, by: str) -> tuple[Endpoint, str]:
        """Add an endpoint that hears from now on; return it with its secret, which is shown this once.

        Raises InvalidValue for a URL that leads nowhere public, Rejected TOO_MANY_WEBHOOK_ENDPOINTS.
        """
        parse_target(url, allows_private=self.allows_private)
        if key is not None and not 1 <= len(key) <= MAX_KEY_NAME:
            raise wrong_fields({"key": [f"Write 1 to {MAX_KEY_NAME} characters."]})
        secret, now = new_secret(), clock.now()
        definition = Definition(url, tuple(sorted(events)), key, (Secret(secret),))
        endpoint_id = uuid4()
        with self._database.transaction() as connection:
            connection.execute(_ONE_ADDED_AT_A_TIME)
            known = self._read(connection)
            if len(known) >= MAX_IN_ALL or _count_of(known, key) >= MAX_OF_A_KEY:
                raise Rejected(
                    "TOO_MANY_WEBHOOK_ENDPOINTS",
                    f"There are {MAX_OF_A_KEY} endpoints of this key, or {MAX_IN_ALL} in all. Delete one first.",
                )
            end = read_end(connection)
            values = {"endpoint_id": endpoint_id, "sealed": self._sealed(endpoint_id, definition), "now": now}
            connection.execute(_ADD, values | {"origin": end.origin, "position": end.position})
            self._record(connection, "webhook_added", endpoint_id, definition, by)
        self._known = None
        return self.find(endpoint_id, key=key), secret

    def all(self, *, key: str | None = None) -> list[Endpoint]:
        """Return the endpoints, the oldest first; one that is not ours as it stands is left out, and logged."""
        with self._database.connection() as connection:
            return [each for each in self._read(connection) if _is_of(each, key)]

    def enabled(self) -> list[Endpoint]:
        """Return the endpoints that are told of events, as they were at most a second ago."""
        now, known = clock.now(), self._known
        if known is None or not timedelta() <= now - known[0] < READ_AGAIN_AFTER:
            known = self._known = now, [each for each in self.all() if each.is_enabled]
        return known[1]

    def forget(self) -> None:
        """Read the endpoints anew at the next use."""
        self._known = None

    def note_moved(self, moved: Collection[UUID], origin: int, position: int) -> None:
        """Know of some endpoints, without reading them, that they have followed the log up to a position."""
        if self._known is not None:
            read_at, known = self._known
            self._known = (
                read_at,
                [
                    replace(each, origin=origin, position=position) if each.endpoint_id in moved else each
                    for each in known
                ],
            )

    def find(self, endpoint_id: UUID, *, key: str | None = None) -> Endpoint:
        """Return an endpoint."""
        with self._database.connection() as connection:
            return self._one(connection, _ONE, endpoint_id, key)

    def change(
        self,
        endpoint_id: UUID,
        *,
        url: str | None = None,
        events: Collection[str] | None = None,
        enabled: bool | None = None,
        key: str | None = None,
        by: str,
    ) -> Endpoint:
        """Change what is given. One that is enabled again goes on where it stopped, MISSED_AT_MOST ago at the earliest.

        Raises InvalidValue for the URL.
        """
        if url is not None:
            parse_target(url, allows_private=self.allows_private)
        with self._database.transaction() as connection:
            known = self._one(connection, _LOCKED, endpoint_id, key)
            if url is not None or events is not None:
                old = known.definition
                named = old.events if events is None else tuple(sorted(events))
                definition = msgspec.structs.replace(old, url=url or old.url, events=named)
                connection.execute(_DEFINE, (self._sealed(endpoint_id, definition), endpoint_id))
                self._record(connection, "webhook_changed", endpoint_id, definition, by)
            if enabled is not None and enabled != known.is_enabled:
                self._turn(connection, known, by, is_on=enabled)
        self._known = None
        return self.find(endpoint_id, key=key)

    def rotate(self, endpoint_id: UUID, *, key: str | None = None, by: str) -> tuple[Endpoint, str]:
        """Give an endpoint a new secret, shown this once; the one before signs beside it for ROTATED_FOR."""
        secret, now = new_secret(), clock.now()
        with self._database.transaction() as connection:
            known = self._one(connection, _LOCKED, endpoint_id, key).definition
            last = msgspec.structs.replace(known.secrets[0], ends_at=now + ROTATED_FOR)
            definition = msgspec.structs.replace(known, secrets=(Secret(secret), last))
            connection.execute(_DEFINE, (self._sealed(endpoint_id, definition), endpoint_id))
            self._record(connection, "webhook_rotated", endpoint_id, definition, by)
        self._known = None
        return self.find(endpoint_id, key=key), secret

    def delete(self, endpoint_id: UUID, *, key: str | None = None, by: str) -> None:
        """Delete an endpoint with its deliveries."""
        with self._database.transaction() as connection:
            known = self._one(connection, _LOCKED, endpoint_id, key)
            connection.execute(_DELETE, (endpoint_id,))
            self._record(connection, "webhook_deleted", endpoint_id, known.definition, by)
        self._known = None

    def deliver_since(
        self, endpoint_id: UUID, since: datetime, *, key: str | None = None, by: str
    ) -> Endpoint:
        """Deliver again what was recorded since a moment, MISSED_AT_MOST ago at the earliest, in its order."""
        moment = max(since, clock.now() - MISSED_AT_MOST)
        with self._database.transaction() as connection:
            known = self._one(connection, _LOCKED, endpoint_id, key)
            position = position_before(connection, known.origin, moment)
            connection.execute(_GO_BACK, (position, endpoint_id))
            details = {"since": moment.isoformat()}
            self._record(connection, "webhook_redelivered", endpoint_id, known.definition, by, details)
        self._known = None
        return self.find(endpoint_id, key=key)

    def disable(self, connection: Connection[Any], endpoint_id: UUID, reason: str) -> None:
        """Disable an endpoint because of what came of deliveries, in the transaction that marks these."""
        if connection.execute(_DISABLE, (reason, clock.now(), endpoint_id)).rowcount:
            self._audit_log.record(
                connection,
                "webhook_disabled",
                actor="system",
                subject=f"webhook:{endpoint_id}",
                reason=reason,
            )
            self._known = None

    def _turn(self, connection: Connection[Any], known: Endpoint, by: str, *, is_on: bool) -> None:
        now, endpoint_id = clock.now(), known.endpoint_id
        if is_on:
            position = known.position
            if now - known.changed_at > MISSED_AT_MOST:
                position = max(position, position_before(connection, known.origin, now - MISSED_AT_MOST))
            connection.execute(_ENABLE, {"now": now, "position": position, "endpoint_id": endpoint_id})
            connection.execute(_BEGIN_ANEW, (now, endpoint_id))
        else:
            connection.execute(_DISABLE, (BY_HAND, now, endpoint_id))
        kind = "webhook_enabled" if is_on else "webhook_disabled"
        self._record(connection, kind, endpoint_id, known.definition, by)

    def _record(
        self,
        connection: Connection[Any],
        kind: str,
        endpoint_id: UUID,
        definition: Definition,
        by: str,
        details: dict[str, Any] | None = None,
    ) -> None:
        """Note a decision in the audit log: of a URL the host alone, since its path may hold a secret."""
        told = {"host": urlsplit(definition.url).hostname, "key": definition.key_name, **(details or {})}
        subject = f"webhook:{endpoint_id}"
        self._audit_log.record(connection, kind, actor=by, subject=subject, details=told)

    def _one(
        self, connection: Connection[Any], statement: str, endpoint_id: UUID, key: str | None
    ) -> Endpoint:
        row = connection.execute(statement.encode(), (endpoint_id,)).fetchone()
        found = self._opened([row] if row else [])
        if not found or not _is_of(found[0], key):
            raise NotFound("There is no such webhook endpoint.", code="WEBHOOK_ENDPOINT_NOT_FOUND")
        return found[0]

    def _read(self, connection: Connection[Any]) -> list[Endpoint]:
        return self._opened(connection.execute(_ALL.encode()).fetchall())

    def _opened(self, rows: Sequence[dict[str, Any]]) -> list[Endpoint]:
        found = []
        for row in rows:
            sealed, endpoint_id = row.pop("sealed_definition"), row["endpoint_id"]
            try:
                text = self._vault.decrypt(
                    SYSTEM_USER_ID, sealed, purpose=WEBHOOK_DEFINITION, row=endpoint_id
                )
            except WrongKey:
                _log.error("webhook_endpoint_forged", endpoint_id=str(endpoint_id))
                continue
            found.append(Endpoint(definition=msgspec.json.decode(text, type=Definition), **row))
        return found

    def _sealed(self, endpoint_id: UUID, definition: Definition) -> str:
        text = msgspec.json.encode(definition).decode()
        return self._vault.encrypt(SYSTEM_USER_ID, text, purpose=WEBHOOK_DEFINITION, row=endpoint_id)


def _is_of(endpoint: Endpoint, key: str | None) -> bool:
    return key is None or endpoint.definition.key_name == key


def _count_of(known: Sequence[Endpoint], key: str | None) -> int:
    return sum(each.definition.key_name == key for each in known)
