"""Invariants of personal data: what is encrypted can be decrypted, and nothing is in the clear."""

from collections.abc import Iterator, Sequence
from itertools import islice
from string import ascii_letters, digits
from typing import Any

from psycopg import Connection

from ledger.store.customer_keys import Erased
from ledger.store.key_ring import WrongKey
from ledger.store.vault import DELIVERY, LINE, METADATA, PHONE, REFERENCE, Vault
from projections.integrity import prompt_rules
from projections.integrity.session_log import SessionLog
from projections.integrity.violations import Tally, Violation, stream

# Encrypted values and hashes are long runs of letters and digits, so a number counts only if it stands by itself.
_SHAPE = bytes(
    ord("0" if chr(code) in digits else "a" if chr(code) in ascii_letters + "_-" else " ")
    for code in range(256)
)
_PHONES = ((b" 0000000000 ", (b"07", b"01")), (b" 000000000000 ", (b"2547", b"2541")))
"""Phone numbers by the shape of a text, which costs a twentieth of what a pattern does, here or in PostgreSQL."""

TEXTS = "SELECT ' ' || t::text || ' ' AS text FROM {table} AS t"
TEXTS_AT_ONCE = 200
"""A message may have 64 KiB."""
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


def decryptable(log: SessionLog, vault: Vault, tally: Tally) -> Iterator[Violation]:
    """The encrypted values of a session can be decrypted, unless it was erased; note its prompts by their phones."""
    session, prompts, opened = log.folded, log.prompts, 0
    try:
        sealed = [
            (PHONE, session.phone_sealed),
            (DELIVERY, session.delivery_sealed),
            (REFERENCE, session.reference_sealed),
            (METADATA, session.metadata_sealed),
            *((LINE, line.name_sealed) for line in session.lines),
        ]
        values = [(purpose, value) for purpose, value in sealed if value is not None]
        values += [(PHONE, prompt.phone_sealed) for prompt in prompts]
        first_prompt = len(values) - len(prompts)
        for text in vault.decrypt_each(session.user_id, values, row=session.id):
            if opened >= first_prompt:
                digest = vault.digest("one prompt a phone", text)
                prompt_rules.note(tally, digest, prompts[opened - first_prompt])
            opened += 1
    except Erased:
        pass
    except (WrongKey, ValueError):  # What is cut short is no encrypted value at all.
        yield log.violation("personal data", "an encrypted value of it cannot be decrypted")
    log.opens = opened > 0


def count_in_the_clear(texts: Sequence[str], known_texts: Sequence[str]) -> int:
    """Return how many texts hold a phone number, a checkout id or one of `known_texts`; a blank is at each end of each.

    All together are looked through first, which is quick.
    """
    if not _is_in_the_clear("".join(texts), known_texts):
        return 0
    return sum(_is_in_the_clear(text, known_texts) for text in texts)


def _is_in_the_clear(text: str, known_texts: Sequence[str]) -> bool:
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
        rows = stream(connection, f"texts of {table}", TEXTS.format(table=table), None, TEXTS_AT_ONCE)
        found = 0
        while some := [row["text"] for row in islice(rows, TEXTS_AT_ONCE)]:
            found += count_in_the_clear(some, texts)
        if found:
            yield Violation("personal data", f"{found} rows of {table} hold personal data in the clear")
