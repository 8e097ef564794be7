"""What followers look up of sessions is found by keys, also in a store that PostgreSQL has not counted yet."""

from uuid import uuid4

from ledger.application import Ledger
from ledger.store.database import Database
from ledger.store.locks import ActiveLock, LockConnection
from ledger.store.vault import PHONE, Vault
from payments.worker.processes import PROCESSES, View
from projections.figure_sums import PaymentFigures
from projections.follower import Follower, LogReader
from projections.journal import Journal
from projections.shared_rounds import SharedRounds
from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable
from tests.support.keys import MASTER_KEY, event_macs, key_ring
from tests.support.plans import explained

SESSIONS = 20
"""So many that a join would read the log whole."""

EVENTS = 5
"""That each of them has at least."""

OF_SESSIONS = {
    "payment_events",
    "payment_sessions",
    "payment_search",
    "payment_cases",
    "payment_refunds",
    "customer_keys",
}
# PostgreSQL keeps a plan at the sixth execution, unless one made for the values seems cheaper than it.
PLANNED_EACH_TIME = """
SELECT statement FROM pg_prepared_statements WHERE generic_plans = 0 AND custom_plans > 6 ORDER BY statement
"""


def test_earlier_events_of_a_batch_are_looked_up_and_not_searched_for(
    ledger: Ledger, database: Database, database_url: str
) -> None:
    checkouts = [Checkout(ledger).prompt() for _ in range(SESSIONS)]
    until_readable(database)
    with explained(database_url) as plans:
        macs, keys = event_macs(database), key_ring(database)
        for projection in (PaymentFigures(), Journal(keys)):
            Follower(plans.database, macs, projection).catch_up()
        for number, checkout in enumerate(checkouts):
            checkout.pay(f"R{number:09}").order(number + 1)
        until_readable(database)
        plans.seen.clear()
        for projection in (PaymentFigures(), Journal(keys)):
            Follower(plans.database, macs, projection).catch_up()
    earlier = [plan for plan in plans.seen if "wanted.before" in plan.statement]
    assert len(earlier) == 2
    assert not any(plan.whole_tables for plan in earlier), "\n".join(map(str, earlier))


def test_a_shared_round_plans_nothing_anew_and_reads_nothing_whole(
    ledger: Ledger, database: Database, database_url: str
) -> None:
    vault = Vault(database, MASTER_KEY)
    with explained(database_url) as plans:
        macs = event_macs(database)
        log = LogReader(plans.database, macs)
        rounds = SharedRounds(plans.database, log, ActiveLock(LockConnection(plans.database.url), "views"))
        views = [each.projection(vault) for each in PROCESSES if isinstance(each, View)]
        Checkout(ledger)
        until_readable(database)
        for view in views:
            rounds.run_own(Follower(plans.database, macs, view, log=log))
        for number in range(SESSIONS):
            session_id = uuid4()
            phone = vault.encrypt(number, "254708374149", purpose=PHONE, row=session_id)
            checkout = Checkout(ledger, user_id=number, session_id=session_id, phone_sealed=phone)
            checkout.prompt().pay(f"R{number:09}")
            checkout.order(number + 1) if number % 2 else checkout.refuse_order()
            plans.seen.clear()
            until_readable(database)
            assert rounds.run_once() >= EVENTS
        with plans.database.connection() as connection:
            planned = [row["statement"] for row in connection.execute(PLANNED_EACH_TIME, prepare=False)]
        rounds.lock.release()
    assert planned == []
    assert not plans.whole_tables & OF_SESSIONS, str(plans)
