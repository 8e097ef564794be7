"""The work list: every open case with its age, the money at stake, and what an operator can do about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from payments.exceptions.alarms import Alarm
from payments.exceptions.next_steps import WHAT_CAN_BE_DONE, Kind, Means
from payments.reconciliation.forged_movements import forged_cases
from projections.cases import NOW, PaymentCases
from projections.session_rows import Ahead

MAX_OF_A_PAGE = 200

SET_UP_REASONS = (
    "DARAJA_BLOCKED",
    "DARAJA_CONFIGURATION",
    "DARAJA_CREDENTIALS",
    "DARAJA_DECLINED",
    "DARAJA_INVALID_REQUEST",
    "DARAJA_NOT_AUTHORISED",
    "PRODUCT_MISMATCH",
    "RECEIVER_UNKNOWN",
)
"""Why M-Pesa refuses a payment because of how we are set up, and not because of the buyer."""

UNAUTHENTICATED = "unauthenticated"
"""The id of the one case of all messages that anyone could have posted, and that nothing confirms."""

# `money_cents` is what the case is about, or what the buyer's money with us comes to. Conditions match partial indexes.
CASES = f"""
WITH
sessions_in_trouble AS (
    SELECT kind, session_id || '.' || subject || '.' || number AS case_id, session_id, since, money_cents, detail
    FROM {NOW} AS payment_case WHERE visible_from <= %(now)s
),
dead_lettered_messages AS (
    SELECT 'letter_set_aside' AS kind, inbox_id::text AS case_id, session_id, received_at AS since,
           NULL::bigint AS money_cents, channel || ': ' || coalesce(reason, 'not understood') AS detail
    FROM daraja_inbox WHERE state = 'set_aside' AND (is_proven OR session_id IS NOT NULL)
),
unauthenticated_by_channel AS (
    SELECT channel, count(*) AS messages, min(received_at) AS first_at
    FROM daraja_inbox WHERE state = 'set_aside' AND NOT is_proven AND session_id IS NULL GROUP BY channel
),
unauthenticated_messages AS (
    SELECT 'letter_set_aside' AS kind, 'unauthenticated' AS case_id, NULL::uuid AS session_id, min(first_at) AS since,
           NULL::bigint AS money_cents,
           'unauthenticated, and nothing confirms them: '
               || string_agg(channel || ' ' || messages, ', ' ORDER BY channel) AS detail
    FROM unauthenticated_by_channel HAVING count(*) > 0
),
dead_lettered_events AS (
    SELECT 'reaction_set_aside' AS kind, failure.name || '.' || failure.session_id || '.' || failure.version AS case_id,
           failure.session_id, failure.first_failed_at AS since, received_cents - refunded_cents AS money_cents,
           failure.name || ': ' || failure.error AS detail
    FROM follower_failures AS failure LEFT JOIN payment_sessions AS session USING (session_id)
    WHERE failure.state = 'set_aside'
      AND (failure.name <> 'orders' OR session.session_status IS NOT DISTINCT FROM 'paid')
),
open_movements AS (
    SELECT CASE verdict WHEN 'unknown' THEN 'money_unknown' WHEN 'known_elsewhere' THEN 'money_claimed_twice'
                        ELSE 'money_went_back' END AS kind, replace(movement_key, ' ', '.') AS case_id, session_id,
           first_seen_at AS since, CASE WHEN movement_key <> ALL(%(forged)s) THEN amount_cents END AS money_cents,
           CASE WHEN movement_key <> ALL(%(forged)s) THEN receipt || coalesce(': ' || told, '')
                ELSE 'not stored by Daftari as it is: ask M-Pesa whether it is true' END AS detail
    FROM mpesa_movements
    WHERE verdict IN ('unknown', 'known_elsewhere', 'reversal_unexpected') AND closed_at IS NULL
),
open_gaps AS (
    SELECT 'pull_gap' AS kind, gap_id::text AS case_id, NULL::uuid AS session_id, found_at AS since,
           NULL::bigint AS money_cents,
           'from ' || to_char(since AT TIME ZONE %(utc_offset)s, 'FMDD FMMonth YYYY HH24:MI')
           || to_char(until AT TIME ZONE %(utc_offset)s, ' "to" FMDD FMMonth YYYY HH24:MI ') || %(zone)s AS detail
    FROM pull_gaps WHERE closed_at IS NULL
),
open_proposals AS (
    SELECT 'decision_proposed' AS kind, proposal_id::text AS case_id, session_id, proposed_at AS since,
           amount_cents AS money_cents,
           action || ' ' || subject || coalesce(' to session ' || (arguments->>'session'), '')
           || coalesce(': ' || coalesce(arguments->>'note', arguments->>'reason'), '')
           || ', proposed by ' || proposed_by AS detail
    FROM decision_proposals AS proposal
    WHERE expires_at > %(now)s AND proposed_at <= %(now)s AND NOT EXISTS
        (SELECT FROM decision_proposal_ends AS done WHERE done.proposal_id = proposal.proposal_id)
),
switched_off AS (
    SELECT 'switched_off' AS kind, name AS case_id, NULL::uuid AS session_id, changed_at AS since,
           NULL::bigint AS money_cents, name || ', by ' || changed_by || ': ' || reason AS detail
    FROM (SELECT DISTINCT ON (name) name, is_on, reason, changed_by, changed_at FROM switch_changes
          ORDER BY name, change_id DESC) AS newest
    WHERE NOT is_on
),
alarms AS (
    SELECT kind, kind AS case_id, NULL::uuid AS session_id, since, NULL::bigint AS money_cents, detail
    FROM jsonb_to_recordset(%(alarms)s) AS alarm (kind text, since timestamptz, detail text)
),
webhooks_disabled AS (
    SELECT 'webhook_disabled' AS kind, endpoint_id::text AS case_id, NULL::uuid AS session_id, changed_at AS since,
           NULL::bigint AS money_cents,
           CASE reason WHEN 'gone' THEN 'it answered that it is gone' ELSE 'it took nothing for days' END AS detail
    FROM webhook_endpoints WHERE reason IN ('gone', 'only_failures')
),
webhooks_failed AS (
    SELECT 'webhook_failed' AS kind, delivery_id::text AS case_id, session_id, settled_at AS since,
           NULL::bigint AS money_cents, type || ' to ' || endpoint_id || coalesce(': ' || last_error, '') AS detail
    FROM webhook_deliveries WHERE state = 'failed'
),
recent_sessions AS (
    SELECT session_id, failure_code, last_attempt_state, ended_at FROM payment_sessions
    WHERE created_at > %(now)s - interval '1 day' ORDER BY created_at DESC LIMIT 1000
),
set_up_faults AS (
    SELECT failure_code AS code, ended_at AS at FROM recent_sessions WHERE failure_code = ANY(%(set_up_reasons)s)
    UNION ALL
    SELECT refused.state->>'code' AS code, (refused.state->>'timestamp')::timestamptz AS at
    FROM recent_sessions AS recent JOIN payment_events AS refused USING (session_id)
    WHERE recent.last_attempt_state = 'refused' AND recent.failure_code IS NULL
      AND refused.topic = 'payment_session.payment_refused.v1'
      AND refused.state->>'code' = ANY(%(set_up_reasons)s)
),
last_payment AS (
    SELECT coalesce(max(paid_at), '-infinity') AS at FROM payment_sessions
    WHERE created_at > %(now)s - interval '1 day'
),
set_up_wrong AS (
    SELECT 'mpesa_set_up' AS kind, code AS case_id, NULL::uuid AS session_id, min(fault.at) AS since,
           NULL::bigint AS money_cents, code || ': ' || count(*) || ' times' AS detail
    FROM set_up_faults AS fault CROSS JOIN last_payment
    GROUP BY code, last_payment.at HAVING count(*) >= 3 AND max(fault.at) > last_payment.at
),
cases AS (
    TABLE sessions_in_trouble
    UNION ALL TABLE dead_lettered_messages
    UNION ALL TABLE unauthenticated_messages
    UNION ALL TABLE dead_lettered_events
    UNION ALL TABLE open_movements
    UNION ALL TABLE open_gaps
    UNION ALL TABLE open_proposals
    UNION ALL TABLE switched_off
    UNION ALL TABLE alarms
    UNION ALL TABLE webhooks_disabled
    UNION ALL TABLE webhooks_failed
    UNION ALL TABLE set_up_wrong
)
"""  # noqa: S608 - made of constants only
_PAGE = (
    CASES
    + """
SELECT kind, case_id, session_id, since, money_cents, detail FROM cases
WHERE (%(kind)s::text IS NULL OR kind = %(kind)s) AND (%(case_id)s::text IS NULL OR case_id = %(case_id)s)
  AND (%(session_id)s::uuid IS NULL OR session_id = %(session_id)s)
ORDER BY since, kind, case_id LIMIT %(limit)s OFFSET %(offset)s
"""
)
_COUNTS = (
    CASES
    + """
SELECT kind, count(*) AS cases, coalesce(sum(money_cents), 0)::bigint AS money_cents FROM cases GROUP BY kind
"""
)


@dataclass(frozen=True, slots=True)
class Case:
    """One open case. `money_cents` is None where it names no amount; `case_id` is unique within its kind."""

    kind: Kind
    case_id: str
    session_id: UUID | None
    since: datetime
    age: timedelta
    money_cents: int | None
    detail: str

    @property
    def what_can_be_done(self) -> str:
        """A sentence for the operator."""
        return WHAT_CAN_BE_DONE[self.kind].description

    @property
    def means(self) -> tuple[Means, ...]:
        """The ways in which an operator can act on it; only an order can be given up."""
        if self.case_id == UNAUTHENTICATED:
            return (Means.CLOSE,)
        means = WHAT_CAN_BE_DONE[self.kind].means
        if self.kind == Kind.EVENT_DEAD_LETTERED and not self.case_id.startswith("orders."):
            return tuple(each for each in means if each != Means.MONEY_BACK)
        return means

    @property
    def number(self) -> int | None:
        """The number of the refund, contradiction or attempt within its session, where it is about one."""
        return int(self._parts[2]) if self.subject in ("refund", "contradiction", "attempt") else None

    @property
    def subject(self) -> str:
        """What part of its session it is about, such as refund; "" where it is about no session."""
        return self._parts[1]

    @property
    def _parts(self) -> tuple[str, str, str]:
        session_id, subject, number = (*self.case_id.split("."), "", "")[:3]
        return session_id, subject, number


@dataclass(frozen=True, slots=True)
class Tally:
    """How many cases of a kind are open, and the sum of the money that they name."""

    cases: int
    money_cents: int


def open_cases(
    database: Database,
    now: datetime,
    *,
    alarms: Sequence[Alarm] = (),
    macs: EventMacs | None = None,
    kind: Kind | None = None,
    case_id: str | None = None,
    session_id: UUID | None = None,
    page: int = 1,
    page_size: int = 50,
    zone: tzinfo = UTC,
) -> list[Case]:
    """Return a page of the open cases, the oldest first; pages count from 1 and hold MAX_OF_A_PAGE at most.

    Only those of a kind, with an id, or of a session, where that is given.

    Details name moments in the time of `zone`. With `macs`, the log is looked up while the follower of cases is behind,
    and a movement that is forged is shown as such.
    """
    limit = min(page_size, MAX_OF_A_PAGE)
    values = values_of(database, now, alarms, macs, zone)
    values |= {"kind": kind and str(kind), "case_id": case_id, "session_id": session_id}
    values |= {"limit": limit, "offset": (page - 1) * limit}
    with database.connection() as connection:
        rows = connection.execute(_PAGE.encode(), values).fetchall()
    return [Case(**row | {"kind": Kind(row["kind"]), "age": now - row["since"]}) for row in rows]


def tally(
    database: Database, now: datetime, *, alarms: Sequence[Alarm] = (), macs: EventMacs | None = None
) -> dict[Kind, Tally]:
    """Return how many cases of each kind are open, kinds without any included; `macs` as for `open_cases`."""
    values = values_of(database, now, alarms, macs, UTC)
    with database.connection() as connection:
        rows = connection.execute(_COUNTS.encode(), values).fetchall()
    counted = {Kind(row["kind"]): Tally(row["cases"], row["money_cents"]) for row in rows}
    return {kind: counted.get(kind, Tally(0, 0)) for kind in Kind}


def values_of(
    database: Database, now: datetime, alarms: Sequence[Alarm], macs: EventMacs | None, zone: tzinfo
) -> dict[str, Any]:
    """Return what CASES takes; as for `open_cases`."""
    ahead = PaymentCases().ahead(database, macs) if macs is not None else Ahead()
    return ahead.values | {
        "now": now,
        "utc_offset": zone.utcoffset(now),
        "zone": zone.tzname(now),
        "alarms": Jsonb([alarm.row(zone) for alarm in alarms]),
        "forged": forged_cases(database, macs.keys) if macs is not None else [],
        "set_up_reasons": list(SET_UP_REASONS),
    }
