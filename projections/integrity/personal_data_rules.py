"""Invariants of personal data: what is encrypted can be decrypted, and nothing is in the clear."""

from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import Connection

from ledger.session.session import PaymentSession
from ledger.store.customer_keys import Erased
from ledger.store.key_ring import WrongKey
from ledger.store.vault import DELIVERY, PHONE, REFERENCE
from projections.integrity.session_log import SessionLog
from projections.integrity.violations import PromptWindow, Violation, Walk

# Encrypted values and hashes are long runs of letters and digits, so a number counts only if it stands by itself.
PERSONAL = r"(^|[^0-9A-Za-z_-])\+?(254[17][0-9]{8}|0[17][0-9]{8})($|[^0-9A-Za-z_-])|ws_CO_"
IN_THE_CLEAR = """
SELECT count(*) AS rows FROM {table} AS t
WHERE {text} ~ %(pattern)s OR EXISTS (SELECT FROM unnest(%(texts)s::text[]) AS known WHERE strpos({text}, known) > 0)
"""
# Of an event state and metadata alone: a position may happen to have the digits of a phone.
TABLES_WITHOUT_PERSONS = {
    "payment_events": "concat(t.state, t.metadata)",
    "payment_sessions": "t::text",
    "payment_refunds": "t::text",
    "payment_cases": "t::text",
    "mpesa_movements": "t::text",
    "reconciliations": "t::text",
    "daraja_inbox": "t::text",
    "follower_failures": "t::text",
    "attempt_checks": "t::text",
    "shop_orders": "t::text",
}
EXISTS = "SELECT to_regclass(%s) IS NOT NULL AS there"


def decryptable(
    log: SessionLog, session: PaymentSession, prompts: list[PromptWindow], walk: Walk
) -> Iterator[Violation]:
    """The encrypted values of a session can be decrypted; note its prompts by their phones."""
    if walk.vault is None:
        return
    opened = 0
    try:
        sealed = {
            PHONE: session.phone_sealed,
            DELIVERY: session.delivery_sealed,
            REFERENCE: session.reference_sealed,
        }
        for purpose, value in sealed.items():
            if value is not None:
                walk.vault.decrypt(session.user_id, value, purpose=purpose, row=session.id)
                opened += 1
        for prompt in prompts:
            phone = walk.vault.decrypt(session.user_id, prompt.phone_sealed, purpose=PHONE, row=session.id)
            walk.prompts[walk.vault.digest("one prompt a phone", phone)].append(prompt)
            opened += 1
    except Erased:
        pass
    except (WrongKey, ValueError):  # What is cut short is no encrypted value at all.
        yield log.violation("personal data", "an encrypted value of it cannot be decrypted")
    if opened and session.user_id in walk.erased:
        yield log.violation("erasures", "its customer was erased, and an encrypted value of it still opens")


def none_in_the_clear(connection: Connection[Any], texts: Sequence[str]) -> Iterator[Violation]:
    """No table holds a phone number, a checkout id or one of `texts`."""
    for table, text in TABLES_WITHOUT_PERSONS.items():
        there = connection.execute(EXISTS, (table,)).fetchone()
        if there is None or not there["there"]:
            continue
        statement = IN_THE_CLEAR.format(table=table, text=text).encode()
        row = connection.execute(statement, {"pattern": PERSONAL, "texts": texts}).fetchone()
        if row is not None and row["rows"]:
            yield Violation("personal data", f"{row['rows']} rows of {table} hold personal data in the clear")
