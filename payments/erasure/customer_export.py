"""The account of a person: all that is held about them, readable, as a zip of a text and of JSON.

Rows are read, decrypted and written one by one, so a customer with thousands of payments takes no more memory than one
with a few. Other people are left out: who acted is "another person".
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from io import TextIOWrapper
from tempfile import TemporaryFile
from typing import Any, BinaryIO, TextIO
from zipfile import ZIP_DEFLATED, ZipFile

import msgspec
from psycopg import Connection

from ledger import clock
from ledger.money import Money
from ledger.store.audit_log import AuditLog
from ledger.store.customer_keys import Erased
from ledger.store.database import Database
from ledger.store.key_ring import WrongKey
from ledger.store.vault import SYSTEM_USER_ID, Vault
from payments.erasure.held_data import HELD, HeldData
from payments.erasure.phones import phone_digests_of
from payments.refunds.notes import parse_note

EXPORTED = "customer_exported"
"""The kind of the entry in the audit log that each account leaves."""

ERASED = "erased: nobody can read it any more"
UNREADABLE = "cannot be decrypted: the value was altered"
ANOTHER = "another person"

_ROWS_AT_ONCE = 500
_IS_ERASED = "SELECT destroyed_at FROM customer_keys WHERE user_id = %s"
_USER = re.compile(r"(?<![\w:])(?:cli:)?user:(\d+)\b")
_SEALED = "sealed"


class CustomerExport:
    """Writes accounts of persons. Safe to share between threads."""

    def __init__(
        self, database: Database, vault: Vault, audit_log: AuditLog, periods: Mapping[str, str]
    ) -> None:
        """`periods` say how long each kind of retention_kinds is kept, as its `kept` does."""
        self._database = database
        self._vault = vault
        self._audit_log = audit_log
        self._periods = periods

    def write(self, user_id: int, file: BinaryIO, *, by: str, reason: str) -> dict[str, int]:
        """Write a customer's account to a file as a zip; return how many rows of each table are in it.

        `by` is the actor of the audit log, where it is recorded first. Raises InvalidValue for the reason.
        """
        reason = parse_note(reason, "reason")
        self._audit_log.record(None, EXPORTED, actor=by, subject=f"user:{user_id}", reason=reason)
        with self._database.snapshot() as connection:
            digests = phone_digests_of(connection, self._vault, user_id)
            row = connection.execute(_IS_ERASED, (user_id,)).fetchone()
            erased_at = row["destroyed_at"] if row is not None else None
            with ZipFile(file, "w", ZIP_DEFLATED) as archive, TemporaryFile() as kept:
                with (
                    archive.open("data.json", "w", force_zip64=True) as raw,
                    closing(TextIOWrapper(raw, "utf-8")) as data,
                ):
                    text = TextIOWrapper(kept, "utf-8")
                    counts = self._write(connection, user_id, digests, erased_at, data, text)
                text.flush()
                kept.seek(0)
                with archive.open("account.txt", "w", force_zip64=True) as account:
                    shutil.copyfileobj(kept, account)
        return counts

    def _write(
        self,
        connection: Connection[Any],
        user_id: int,
        digests: list[str],
        erased_at: datetime | None,
        data: TextIO,
        text: TextIO,
    ) -> dict[str, int]:
        made_at = clock.now()
        about = {"user": user_id, "made_at": made_at, "erased_at": erased_at}
        data.write(_json(about)[:-1] + ',"held":[')
        text.write(f"All that is held about customer {user_id}, as of {clock.in_nairobi(made_at)}\n\n")
        if erased_at is not None:
            text.write(
                f"Your personal data were erased on {clock.in_nairobi(erased_at)}. What stands here is left, and what"
                " was encrypted cannot be read any more, by anyone.\n\n"
            )
        counts = {}
        for number, held in enumerate(HELD):
            kept = held.kept.format_map(self._periods)
            told = {"table": held.table, "what": held.what, "kept": kept, "after_erasure": held.erased}
            data.write("," * (number > 0) + _json(told)[:-1] + ',"rows":[')
            text.write(
                f"{held.what}\n  Kept: {kept}.\n  After an erasure: {held.erased}.\n  Table {held.table}.\n\n"
            )
            counts[held.table] = 0
            for shown in self._rows(connection, held, user_id, digests):
                data.write("," * (counts[held.table] > 0) + "\n" + _json(shown))
                text.writelines(_lines(shown, "  "))
                text.write("\n")
                counts[held.table] += 1
            data.write("]}")
            if not counts[held.table]:
                text.write("  Nothing.\n\n")
        data.write("]}")
        return counts

    def _rows(
        self, connection: Connection[Any], held: HeldData, user_id: int, digests: list[str]
    ) -> Iterator[dict[str, Any]]:
        statement = f"SELECT * FROM {held.table} WHERE {held.of_person} ORDER BY {held.order}"  # noqa: S608 - made of names of our own
        with connection.cursor(name=held.table) as rows:
            rows.itersize = _ROWS_AT_ONCE
            rows.execute(statement.encode(), {"user": user_id, "digests": digests})
            for row in rows:
                yield self._shown(held, user_id, row)

    def _shown(self, held: HeldData, user_id: int, row: Mapping[str, Any]) -> dict[str, Any]:
        owner = user_id if held.owner is None else row.get(held.owner, SYSTEM_USER_ID)
        shown = {
            name: _without(value, held.of_others) for name, value in row.items() if name not in held.hidden
        }
        return self._opened(shown, owner, held.row(row) if held.sealed else None, held.sealed, user_id)  # type: ignore[no-any-return]  # a dict for a dict

    def _opened(self, value: Any, owner: int, row: object, purposes: Mapping[str, str], user_id: int) -> Any:
        """Return JSON with its encrypted values decrypted, at any depth, and other people's numbers left out."""
        if isinstance(value, dict):
            return {
                _plain_name(name): self._text(owner, part, purposes[name], row)
                if name in purposes and part is not None
                else self._opened(part, owner, row, purposes, user_id)
                for name, part in value.items()
            }
        if isinstance(value, list):
            return [self._opened(part, owner, row, purposes, user_id) for part in value]
        return _without_others(value, user_id) if isinstance(value, str) else value

    def _text(self, owner: int, encrypted: str, purpose: str, row: object) -> Any:
        try:
            text = self._vault.decrypt(owner, encrypted, purpose=purpose, row=row)
        except Erased:
            return ERASED
        except WrongKey:
            return UNREADABLE
        try:
            found = msgspec.json.decode(text)
        except msgspec.MsgspecError:
            return text
        return found if isinstance(found, (dict, list)) else text


def _plain_name(name: str) -> str:
    """Return the name of a field once it is decrypted: `phone_sealed` as `phone`."""
    return name.removesuffix(f"_{_SEALED}").removeprefix(f"{_SEALED}_")


def _without(value: Any, of_others: frozenset[str]) -> Any:
    """Return a column without fields of these names, if it is JSON that has some."""
    if isinstance(value, dict) and not of_others.isdisjoint(value):
        return {name: part for name, part in value.items() if name not in of_others}
    return value


def _without_others(text: str, user_id: int) -> str:
    return _USER.sub(lambda found: found[0] if int(found[1]) == user_id else ANOTHER, text)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _lines(shown: Mapping[str, Any], indent: str) -> Iterator[str]:
    """Yield a row for people: a line for each value that is there, in shillings and in Nairobi's time."""
    for name, value in shown.items():
        label = name.removesuffix("_cents").replace("_", " ")
        if isinstance(value, dict):
            yield f"{indent}{label}:\n"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, list):
            yield f"{indent}{label}:\n"
            for part in value:
                yield from _lines(part if isinstance(part, dict) else {"-": part}, indent + "  ")
        elif value is not None:
            yield f"{indent}{label}: {_for_people(name, value)}\n"


def _for_people(name: str, value: Any) -> str:
    if isinstance(value, datetime):
        return clock.in_nairobi(value)
    if name.endswith("_cents") and isinstance(value, int):
        return f"KES {Money(value)}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(str(value).split())
