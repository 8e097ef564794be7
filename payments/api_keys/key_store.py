"""The table of API keys: made, listed, rotated and revoked, each change with a signed entry of the audit log."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from psycopg import Connection

from ledger import clock
from ledger.errors import InvalidValue, NotFound, Rejected
from ledger.store import api_key_macs
from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.api_keys.api_key import ROLES, ApiKey, new_secret, parse_name

MAX_GRACE = timedelta(days=30)

COLUMNS = f"{api_key_macs.COLUMNS}, revoked_at, last_used_at"

_KEY_ID_BYTES = 6
_DIGEST = "api key"
_ALL = f"SELECT {COLUMNS} FROM api_keys ORDER BY name, created_at, key_id"  # noqa: S608 - made of constants
_ADD = """
INSERT INTO api_keys (key_id, name, role, prefix, last_four, digest, allowed_addresses, created_at, created_by,
                      expires_at, follows, mac)
VALUES (%(key_id)s, %(name)s, %(role)s, %(prefix)s, %(last_four)s, %(digest)s, %(allowed_addresses)s, %(created_at)s,
        %(created_by)s, %(expires_at)s, %(follows)s, %(mac)s)
ON CONFLICT DO NOTHING
"""
_REVOKE = "SELECT revoke_api_key(%s, %s)"


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key is made for; `lasts` is None for ever."""

    name: str
    role: str
    allowed_addresses: Sequence[IPv4Network | IPv6Network] = ()
    lasts: timedelta | None = None


class ApiKeyStore:
    """Makes and ends keys that begin with `prefix`. `by` is the actor of the audit log."""

    def __init__(self, database: Database, vault: Vault, audit_log: AuditLog, prefix: str) -> None:
        self._database = database
        self._vault = vault
        self._audit_log = audit_log
        self._prefix = prefix

    def create(self, wanted: NewKey, *, by: str) -> tuple[ApiKey, str]:
        """Make a key under a new name; return it and its text, which nobody can show again.

        Raises InvalidValue, and Rejected KEY_NAME_TAKEN for a name that a key has or had: what it owns stays its own.
        """
        if wanted.role not in ROLES:
            raise InvalidValue(f"A key is for one of {', '.join(ROLES)}.")
        with self._database.transaction() as connection:
            made = self._add(connection, wanted, by, follows=None)
            if made is None:
                raise Rejected(
                    "KEY_NAME_TAKEN",
                    f"There is a key named {wanted.name}, or there was one. Choose another name, or rotate that key.",
                )
            self._record(connection, "api_key_created", made[0], by)
        return made

    def list(self) -> list[ApiKey]:
        """Return all keys by name, the oldest of a name first, forged ones too."""
        with self._database.connection() as connection:
            return [self._read(row) for row in connection.execute(_ALL).fetchall()]

    def revoke(self, key_id: str, *, by: str, reason: str = "") -> ApiKey:
        """Refuse a key from now on, in every process within READ_EVERY_SECONDS. Raises NotFound KEY_NOT_FOUND."""
        key = self._find(key_id)
        with self._database.transaction() as connection:
            connection.execute(_REVOKE, (key_id, clock.now()))
            self._record(connection, "api_key_revoked", key, by, reason)
        return key

    def rotate(self, key_id: str, *, grace: timedelta, by: str) -> tuple[ApiKey, str]:
        """Make the key that follows one, under its name and for as long; return it and its text, once.

        The old one is good for `grace` more, unless it ends before. Raises InvalidValue, NotFound KEY_NOT_FOUND, and
        Rejected KEY_ROTATED for one that another follows already.
        """
        if not timedelta(0) <= grace <= MAX_GRACE:
            raise InvalidValue(f"Both keys are good for at most {MAX_GRACE.days} days.")
        old = self._find(key_id)
        lasts = old.expires_at - old.created_at if old.expires_at else None
        wanted = NewKey(old.name, old.role, old.allowed_addresses, lasts)
        with self._database.transaction() as connection:
            made = self._add(connection, wanted, by, follows=key_id)
            if made is None:
                raise Rejected(
                    "KEY_ROTATED", "Another key follows this one already: rotate that, or revoke this."
                )
            connection.execute(_REVOKE, (key_id, clock.now() + grace))
            self._record(connection, "api_key_rotated", made[0], by)
        return made

    def _find(self, key_id: str) -> ApiKey:
        found = next((key for key in self.list() if key.key_id == key_id and key.is_genuine), None)
        if found is None:
            raise NotFound("There is no such key. `daftari api-keys list` shows them.", code="KEY_NOT_FOUND")
        return found

    def _add(
        self, connection: Connection[Any], wanted: NewKey, by: str, *, follows: str | None
    ) -> tuple[ApiKey, str] | None:
        """Store a new key; return None if its place is taken."""
        text, now = new_secret(self._prefix), clock.now()
        row: dict[str, Any] = {
            "key_id": secrets.token_hex(_KEY_ID_BYTES),
            "name": parse_name(wanted.name),
            "role": wanted.role,
            "prefix": self._prefix,
            "last_four": text[-4:],
            "digest": digest_of(self._vault, text),
            "allowed_addresses": [str(network) for network in wanted.allowed_addresses],
            "created_at": now,
            "created_by": by,
            "expires_at": now + wanted.lasts if wanted.lasts else None,
            "follows": follows,
        }
        row["mac"] = api_key_macs.api_key_mac(self._vault.keys, row)
        if connection.execute(_ADD, row).rowcount == 0:
            return None
        return self._read(row | {"revoked_at": None, "last_used_at": None}), text

    def _record(self, connection: Connection[Any], kind: str, key: ApiKey, by: str, reason: str = "") -> None:
        details = {
            "key_id": key.key_id,
            "role": key.role,
            "allowed_addresses": [str(network) for network in key.allowed_addresses],
            "expires_at": key.expires_at and key.expires_at.isoformat(),
            "follows": key.follows,
        }
        shown = {name: value for name, value in details.items() if value}
        self._audit_log.record(
            connection, kind, actor=by, subject=f"key:{key.name}", reason=reason, details=shown
        )

    def _read(self, row: Mapping[str, Any]) -> ApiKey:
        return key_of(self._vault, row)


def digest_of(vault: Vault, text: str) -> str:
    """Return the keyed digest by which a key is found."""
    return vault.digest(_DIGEST, text)


def key_of(vault: Vault, row: Mapping[str, Any]) -> ApiKey:
    """Return the key of a row; one that is not genuine has no addresses, for what stands there may be none."""
    is_genuine = api_key_macs.is_genuine(vault.keys, row)
    names = ApiKey.__dataclass_fields__.keys() - {"allowed_addresses", "is_genuine"}
    return ApiKey(
        **{name: row[name] for name in names},
        allowed_addresses=tuple(map(ip_network, row["allowed_addresses"])) if is_genuine else (),
        is_genuine=is_genuine,
    )
