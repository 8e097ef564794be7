"""Invariants of personal data: what is encrypted can be decrypted, and nothing is in the clear."""

from collections.abc import Iterator, Sequence
from string import ascii_letters, digits
from typing import Any

from psycopg import Connection

from ledger.session.session import PaymentSession
from ledger.store.customer_keys import Erased
from ledger.store.key_ring import WrongKey
from ledger.store.vault import DELIVERY, LINE, METADATA, PHONE, REFERENCE, Vault
from projections.integrity import prompt_rules
from projections.integrity.session_log import SessionLog
from projections.integrity.violations import PromptWindow, Tally, Violation

# Encrypted values and hashes are long runs of letters and digits, so a number counts only if it stands by itself.
PERSONAL = r"(^|[^0-9A-Za-z_-])\+?(254[17][0-9]{8}|0[17][0-9]{8})($|[^0-9A-Za-z_-])|ws_CO_"
_SHAPE = bytes(
    ord("0" if chr(code) in digits else "a" if chr(code) in ascii_letters + "_-" else " ")
    for code in range(256)
)
_PHONES = ((b" 0000000000 ", (b"07", b"01")), (b" 000000000000 ", (b"2547", b"2541")))
"""PERSONAL by the shape of a text, which costs 2 µs an event where the pattern costs 40."""

IN_THE_CLEAR = """
SELECT count(*) AS rows FROM {table} AS t
WHERE t::text ~ %(pattern)s
   OR EXISTS (SELECT FROM unnest(%(texts)s::text[]) AS known WHERE strpos(t::text, known) > 0)
"""
# Events are searched on the walk through them: in state and metadata, as a position may happen to look like a phone.
TABLES_WITHOUT_PERSONS = (
    "payment_sessions",
    "payment_refunds",
    "payment_cases",
    "mpesa_movements",
    "reconciliations",
    "checkouts",
    "daraja_inbox",
    "follower_failures",
    "attempt_checks",
    "shop_orders",
)
EXISTS = "SELECT to_regclass(%s) IS NOT NULL AS there"


def decryptable(
    log: SessionLog, session: PaymentSession, prompts: list[PromptWindow], vault: Vault, tally: Tally
) -> Iterator[Violation]:
    """The encrypted values of a session can be decrypted, unless it was erased; note its prompts by their phones."""
    opened = 0
    try:
        sealed = [
            (PHONE, session.phone_sealed),
            (DELIVERY, session.delivery_sealed),
            (REFERENCE, session.reference_sealed),
            (METADATA, session.metadata_sealed),
            *((LINE, line.name_sealed) for line in session.lines),
        ]
        for purpose, value in sealed:
            if value is not None:
                vault.decrypt(session.user_id, value, purpose=purpose, row=session.id)
                opened += 1
        for prompt in prompts:
            phone = vault.decrypt(session.user_id, prompt.phone_sealed, purpose=PHONE, row=session.id)
            prompt_rules.note(tally, vault.digest("one prompt a phone", phone), prompt)
            opened += 1
    except Erased:
        pass
    except (WrongKey, ValueError):  # What is cut short is no encrypted value at all.
        yield log.violation("personal data", "an encrypted value of it cannot be decrypted")
    log.opens = opened > 0


def is_in_the_clear(text: str, known_texts: Sequence[str]) -> bool:
    """Say whether a text holds a phone number, a checkout id or one of `known_texts`."""
    if _has_phone(text.encode()):
        return True
    return "ws_CO_" in text or any(known in text for known in known_texts)


def _has_phone(text: bytes) -> bool:
    shape = text.translate(_SHAPE)
    for number, beginnings in _PHONES:
        at = shape.find(number)
        while at >= 0:
            if text.startswith(beginnings, at + 1):
                return True
            at = shape.find(number, at + 1)
    return False


def none_in_events(rows: int) -> Iterator[Violation]:
    """No event holds a phone number, a checkout id or a known text; `rows` were found on the walk."""
    if rows:
        yield Violation("personal data", f"{rows} rows of payment_events hold personal data in the clear")


def none_in_the_clear(connection: Connection[Any], texts: Sequence[str]) -> Iterator[Violation]:
    """No other table holds a phone number, a checkout id or one of `texts`."""
    for table in TABLES_WITHOUT_PERSONS:
        there = connection.execute(EXISTS, (table,)).fetchone()
        if there is None or not there["there"]:
            continue
        statement = IN_THE_CLEAR.format(table=table).encode()
        row = connection.execute(statement, {"pattern": PERSONAL, "texts": texts}).fetchone()
        if row is not None and row["rows"]:
            yield Violation("personal data", f"{row['rows']} rows of {table} hold personal data in the clear")
