"""Invariants of erased customers: somebody decided about each, nothing of theirs opens, and nothing points at them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from psycopg import Connection

from ledger.store import audit_log
from ledger.store.vault import Vault
from projections.integrity.session_log import SessionLog
from projections.integrity.violations import MAX_PER_RULE, Reader, Violation

ERASURES = """
SELECT user_id, count(erasure.login) AS calls, count(erasure.erasure_id) AS erasures,
       bool_or(key.wrapped_key IS NOT NULL) IS TRUE AS has_key
FROM customer_erasures AS erasure FULL JOIN (
    SELECT user_id, wrapped_key FROM customer_keys
    WHERE destroyed_at IS NOT NULL OR user_id IN (SELECT user_id FROM customer_erasures)) AS key USING (user_id)
GROUP BY user_id ORDER BY user_id
"""
# Erasures from before they were recorded destroyed the key and nothing else.
ERASED_BEFORE = """
SELECT DISTINCT user_id FROM customer_erasures WHERE login IS NOT NULL AND erased_at < %s AND user_id = ANY(%s)
"""
LEFT_OF_ERASED = """
WITH erased AS (
    SELECT user_id, min(erased_at) AS erased_at FROM customer_erasures WHERE login IS NOT NULL
    GROUP BY user_id HAVING min(erased_at) < %s
), theirs AS (SELECT user_id, session_id FROM erased JOIN payment_sessions USING (user_id))
SELECT DISTINCT place, user_id FROM (
    SELECT 'prompt_counts' AS place, user_id FROM erased JOIN prompt_counts USING (user_id)
    UNION ALL SELECT 'payment_phones', user_id FROM erased JOIN payment_phones USING (user_id)
    UNION ALL SELECT 'user_texts', user_id FROM erased JOIN user_texts USING (user_id)
    UNION ALL SELECT 'live_prompts', user_id FROM erased JOIN live_prompts USING (user_id)
    UNION ALL SELECT 'idempotency_keys', user_id FROM erased JOIN idempotency_keys USING (user_id)
              WHERE created_at <= erased_at
    UNION ALL SELECT 'mpesa_movements', user_id FROM theirs JOIN mpesa_movements USING (session_id)
              WHERE payer_digest IS NOT NULL OR sealed_reference IS NOT NULL
    UNION ALL SELECT 'checkouts', user_id FROM theirs JOIN checkouts USING (session_id)
              WHERE reference_digest IS NOT NULL OR sealed_urls IS NOT NULL
    UNION ALL SELECT 'daraja_inbox', user_id FROM theirs JOIN daraja_inbox USING (session_id)
              WHERE key_owner = 0 AND state IN ('acted_on', 'closed') AND sealed_body <> 'erased'
    UNION ALL SELECT 'daraja_inbox', user_id FROM theirs CROSS JOIN LATERAL (
                  SELECT inbox_id FROM session_messages AS known WHERE known.session_id = theirs.session_id OFFSET 0
              ) AS about JOIN daraja_inbox AS message USING (inbox_id)
              WHERE message.session_id IS NULL AND key_owner = 0 AND state IN ('acted_on', 'closed')
                AND sealed_body <> 'erased'
) AS found ORDER BY place, user_id LIMIT %s
"""


def unreadable(logs: Iterable[SessionLog], reader: Reader) -> Iterator[Violation]:
    """Nothing of a customer who was erased opens."""
    open_logs = [(log.session.user_id, log) for log in logs if log.session is not None and log.opens]
    values = reader.terms.settled_before, list({user for user, _ in open_logs})
    erased = {row["user_id"] for row in reader.connection.execute(ERASED_BEFORE, values)}
    for user, log in open_logs:
        if user in erased:
            yield log.violation(
                "erasures", "its customer was erased, and an encrypted value of it still opens"
            )


def decided(connection: Connection[Any], vault: Vault | None) -> Iterator[Violation]:
    """Each destroyed key has its erasure, each erasure its signed entry in the audit log, and no key came back."""
    if vault is None:
        return
    entries = audit_log.genuine(connection, vault.keys, audit_log.CUSTOMER_ERASED)
    signed = Counter(entry.subject for entry in entries)
    for row in connection.execute(ERASURES):
        user = row["user_id"]
        allowed = signed.pop(f"user:{user}", 0)
        if not row["erasures"]:
            yield Violation("erasures", f"the key of user {user} was destroyed, and no erasure is recorded")
        elif row["calls"] > allowed:
            detail = f"user {user} was erased, and no signed entry of the audit log says who decided it"
            yield Violation("erasures", detail)
        if row["has_key"]:
            yield Violation("erasures", f"user {user} was erased, and has a key again")
    for subject in signed:
        yield Violation(
            "erasures", f"the audit log says that {subject} was erased, and the key is not destroyed"
        )


def nothing_left(connection: Connection[Any], moment: datetime) -> Iterator[Violation]:
    """No table of its own holds a digest, a kept answer or a readable message of who was erased before a moment."""
    for row in connection.execute(LEFT_OF_ERASED, (moment, MAX_PER_RULE)):
        yield Violation(
            "erasures", f"user {row['user_id']} was erased, and {row['place']} still holds rows of theirs"
        )
