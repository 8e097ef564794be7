"""What waits for a person, in one list: each case with its age, the money at stake, and what can be done."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from ledger.store.database import Database
from payments.reconciliation.movements import OPEN_VERDICTS
from projections.cases import TABLE as PAYMENT_CASES
from projections.cases import CaseKind

MAX_OF_A_PAGE = 200

_WANTING = ", ".join(f"'{verdict}'" for verdict in OPEN_VERDICTS)

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
"""Why M-Pesa refuses a payment where it is not the buyer's doing but the way we are set up."""

_SET_UP = ", ".join(f"'{reason}'" for reason in SET_UP_REASONS)

# A burst: three of a kind among the last thousand sessions of a day, and none that was paid since.
SET_UP_WRONG = f"""
SELECT 'mpesa_set_up', fault.code, NULL::uuid, min(fault.at), NULL::bigint, fault.code || ': ' || count(*) || ' times'
FROM (SELECT session_id, failure_code, failure_code IS NOT NULL AS has_failed, last_attempt_state, ended_at
      FROM payment_sessions WHERE created_at > %(now)s - interval '1 day' ORDER BY created_at DESC LIMIT 1000) AS recent
CROSS JOIN LATERAL (
    SELECT recent.failure_code AS code, recent.ended_at AS at WHERE recent.failure_code IN ({_SET_UP})
    UNION ALL
    SELECT refused.state->>'code', (refused.state->>'timestamp')::timestamptz FROM payment_events AS refused
    WHERE recent.last_attempt_state = 'refused' AND NOT recent.has_failed
      AND refused.session_id = recent.session_id AND refused.topic = 'payment_session.payment_refused.v1'
      AND refused.state->>'code' IN ({_SET_UP})) AS fault
GROUP BY fault.code
HAVING count(*) >= 3 AND max(fault.at) > coalesce(
    (SELECT max(paid_at) FROM payment_sessions WHERE created_at > %(now)s - interval '1 day'), '-infinity')
"""  # noqa: S608 - made of constants of ours only

# Sums are what the case is about, or what the buyer's money with us comes to; a case names a session where it has one.
CASES = f"""
SELECT kind, session_id || '.' || subject || '.' || number AS case_id, session_id, since, money_cents, detail
FROM {PAYMENT_CASES} WHERE visible_from <= %(now)s
UNION ALL
SELECT 'letter_set_aside', inbox_id::text, session_id, received_at, NULL::bigint,
       channel || ': ' || coalesce(reason, 'not understood')
FROM daraja_inbox WHERE state = 'set_aside'
UNION ALL
SELECT 'reaction_set_aside', failure.name || '.' || failure.session_id || '.' || failure.version, failure.session_id,
       failure.first_failed_at, session.received_cents - session.refunded_cents, failure.name || ': ' || failure.error
FROM follower_failures AS failure LEFT JOIN payment_sessions AS session USING (session_id)
WHERE failure.state = 'set_aside'
UNION ALL
SELECT CASE verdict WHEN 'unknown' THEN 'money_unknown' WHEN 'known_elsewhere' THEN 'money_claimed_twice'
            ELSE 'money_went_back' END,
       replace(movement_key, ' ', '.'), session_id, first_seen_at, amount_cents,
       receipt || coalesce(': ' || told, '')
FROM mpesa_movements WHERE verdict IN ({_WANTING}) AND closed_at IS NULL
UNION ALL
SELECT 'pull_gap', gap_id::text, NULL, found_at, NULL::bigint, 'from ' || since || ' to ' || until
FROM pull_gaps WHERE closed_at IS NULL
UNION ALL
{SET_UP_WRONG}
"""  # noqa: S608 - made of constants of ours only
PAGE = f"""
SELECT kind, case_id, session_id, since, money_cents, detail FROM ({CASES}) AS cases
WHERE %(kind)s::text IS NULL OR kind = %(kind)s
ORDER BY since, kind, case_id LIMIT %(limit)s OFFSET %(offset)s
"""  # noqa: S608 - as above
COUNTS = f"""
SELECT kind, count(*) AS cases, coalesce(sum(money_cents), 0)::bigint AS money_cents FROM ({CASES}) AS cases
GROUP BY kind
"""  # noqa: S608 - as above


class Kind(StrEnum):
    """Why something waits for a person."""

    REFUND_DUE = CaseKind.REFUND_DUE
    REFUND_HELD = CaseKind.REFUND_HELD
    REFUND_IN_DOUBT = CaseKind.REFUND_IN_DOUBT
    REFUND_UNDER_WAY = CaseKind.REFUND_UNDER_WAY
    CONTRADICTION = CaseKind.DISCREPANCY
    ATTEMPT_IN_DOUBT = CaseKind.ATTEMPT_IN_DOUBT
    RECEIPT_MISSING = CaseKind.RECEIPT_MISSING
    ORDER_MISSING = CaseKind.ORDER_MISSING
    MONEY_UNKNOWN = "money_unknown"
    MONEY_CLAIMED_TWICE = "money_claimed_twice"
    MONEY_WENT_BACK = "money_went_back"
    MESSAGE_DEAD_LETTERED = "letter_set_aside"
    EVENT_DEAD_LETTERED = "reaction_set_aside"
    PULL_GAP = "pull_gap"
    MPESA_SET_UP = "mpesa_set_up"


class Means(StrEnum):
    """What an operator can do about a case: decide about the refund, close it with a note, have it tried again, or say
    whose the money is.
    """

    REFUND = "refund"
    CLOSE = "close"
    RETRY = "retry"
    ASSIGN = "assign"


@dataclass(frozen=True, slots=True)
class Advice:
    """What can be done about cases of a kind: a sentence, and by which doors."""

    description: str
    means: tuple[Means, ...] = ()


WHAT_CAN_BE_DONE = {
    Kind.REFUND_DUE: Advice(
        "Approve it, and M-Pesa sends the money back; hold it with a reason; or record that it went back otherwise.",
        (Means.REFUND,),
    ),
    Kind.REFUND_HELD: Advice(
        "It is held by decision. Approve it after all, or record that it went back by other means.",
        (Means.REFUND,),
    ),
    Kind.REFUND_IN_DOUBT: Advice(
        "M-Pesa is being asked. Look at the statement: import it, or record that the money went back or was not sent.",
        (Means.REFUND,),
    ),
    Kind.REFUND_UNDER_WAY: Advice(
        "It takes longer than it should. See that a worker runs, and that M-Pesa takes our operator's credential."
    ),
    Kind.CONTRADICTION: Advice(
        "Look for the payment in the M-Pesa statement, then close the case with what you found.",
        (Means.CLOSE,),
    ),
    Kind.ATTEMPT_IN_DOUBT: Advice(
        "M-Pesa is being asked. Import a statement that covers this time: it settles it. Or look at one, and close the "
        "case where the payment is not in it: the attempt ends unpaid, and money that comes all the same is booked.",
        (Means.CLOSE,),
    ),
    Kind.RECEIPT_MISSING: Advice("The payment is proved. Import a statement: it has the receipt."),
    Kind.ORDER_MISSING: Advice(
        "See that a worker runs and the shop answers: then comes the order, or the money is due back."
    ),
    Kind.MONEY_UNKNOWN: Advice(
        "Find out whose money it is, and assign it to the session. Or return it or book it elsewhere, then close the "
        "case with what you did.",
        (Means.ASSIGN, Means.CLOSE),
    ),
    Kind.MONEY_CLAIMED_TWICE: Advice(
        "Look at both sessions and at the statement, then close the case with what you found.", (Means.CLOSE,)
    ),
    Kind.MONEY_WENT_BACK: Advice(
        "Money of an order, or of a refund that was done already, went back. Ask who reversed it, then close the case.",
        (Means.CLOSE,),
    ),
    Kind.MESSAGE_DEAD_LETTERED: Advice(
        "It changed nothing. Where it may tell of money, look at the statement; then close it, or have it tried again.",
        (Means.CLOSE, Means.RETRY),
    ),
    Kind.EVENT_DEAD_LETTERED: Advice(
        "Put right what its error names, then have it tried again; or close it where it was done by hand.",
        (Means.RETRY, Means.CLOSE),
    ),
    Kind.PULL_GAP: Advice(
        "Import a statement of these days: it closes the gap. Or close it with what you found.",
        (Means.CLOSE,),
    ),
    Kind.MPESA_SET_UP: Advice(
        "M-Pesa refuses us, not these buyers. Run `daftari check`, and compare the app's products and keys, the "
        "passkey, the shortcode and the till with the Daraja portal. It goes when the next buyer has paid."
    ),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to look at; `money_cents` is None where it names no sum, `case_id` is unique within its kind."""

    kind: Kind
    case_id: str
    session_id: UUID | None
    since: datetime
    age: timedelta
    money_cents: int | None
    detail: str

    @property
    def what_can_be_done(self) -> str:
        """A sentence for whoever looks at it."""
        return WHAT_CAN_BE_DONE[self.kind].description

    @property
    def means(self) -> tuple[Means, ...]:
        """By which doors an operator can act on it."""
        return WHAT_CAN_BE_DONE[self.kind].means

    @property
    def number(self) -> int | None:
        """The number of the refund, contradiction or attempt within its session, where it is about one."""
        number = self._parts[2]
        return int(number) if self.subject in ("refund", "contradiction", "attempt") else None

    @property
    def subject(self) -> str:
        """What of its session it is about, in a word such as refund; "" where it is about no session."""
        return self._parts[1]

    @property
    def _parts(self) -> tuple[str, str, str]:
        session_id, subject, number = (*self.case_id.split("."), "", "")[:3]
        return session_id, subject, number


@dataclass(frozen=True, slots=True)
class Tally:
    """How many cases of a kind are open, and the money they name together."""

    cases: int
    money_cents: int


def open_cases(
    database: Database, now: datetime, *, kind: Kind | None = None, page: int = 1, page_size: int = 50
) -> list[Case]:
    """Return a page of the open cases, the oldest first; pages count from 1 and hold MAX_OF_A_PAGE at most."""
    limit = min(page_size, MAX_OF_A_PAGE)
    values = {"now": now, "kind": kind and str(kind), "limit": limit, "offset": (page - 1) * limit}
    with database.connection() as connection:
        rows = connection.execute(PAGE.encode(), values).fetchall()
    return [Case(**row | {"kind": Kind(row["kind"]), "age": now - row["since"]}) for row in rows]


def tally(database: Database, now: datetime) -> dict[Kind, Tally]:
    """Return how many cases of each kind are open, kinds without any included."""
    with database.connection() as connection:
        rows = connection.execute(COUNTS.encode(), {"now": now}).fetchall()
    counted = {Kind(row["kind"]): Tally(row["cases"], row["money_cents"]) for row in rows}
    return {kind: counted.get(kind, Tally(0, 0)) for kind in Kind}
