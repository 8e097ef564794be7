"""What an auditor searches by is found by an index, and a page reads no more rows of a store the larger it is."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import combinations
from typing import Any

import psycopg
import pytest

from ledger.session.values import Evidence, Status
from ledger.store.event_macs import EventMacs
from ledger.store.vault import Vault
from projections import log_pages, payment_search
from projections.log_pages import LogFilters, read_log
from projections.payment_filters import Filters
from projections.payment_search import PHONE_SEARCH, find_keys, find_payments, sessions_named
from tests.bench.searching import NEWEST, fill
from tests.support.database import new_database
from tests.support.keys import MASTER_KEY, event_macs
from tests.support.plans import Plans, explained

SESSIONS, USERS, PAGE = 4_000, 4, 20
WALKED, LOG_WALKED = 200, 300
PHONE = "254712345678"
OF_A_FEW_ROWS = {"key_ring", "ledger_node", "event_mac_starts"}

KNOWN: dict[str, Any] = {
    "receipt": "R000000042",
    "order_number": "ord-42",
    "checkout_id": "ws_CO_42",
    "transaction_id": 42,
    "phone": PHONE,
    "user_id": 2,
    "day": (NEWEST - timedelta(days=2)).date(),
    "amount_cents": 700,
    "status": Status.FAILED,
    "evidence": Evidence.C2B,
}
COMMON = ({"status": Status.ORDER_CREATED}, {"evidence": Evidence.CALLBACK}, {"status": Status.PENDING})
SEARCHES = [
    {},
    *COMMON,
    *({name: value} for name, value in KNOWN.items()),
    *(dict(pair) for pair in combinations(KNOWN.items(), 2)),
    {"status": Status.ORDER_CREATED, "evidence": Evidence.CALLBACK, "user_id": 2},
    KNOWN,
]

LATE_USER, LATE_SESSIONS = 99, 400
"""A user all of whose events are at the end of the log."""

OF_LOG: dict[str, Any] = {
    "topics": ["payment_session.paid.v1"],
    "actor": "user:42",
    "since": NEWEST - timedelta(days=1),
    "until": NEWEST - timedelta(days=3),
    "user_id": 2,
    "receipt": "R000000042",
}
LOG_SEARCHES = [
    {},
    *({name: value} for name, value in OF_LOG.items()),
    *(dict(pair) for pair in combinations(OF_LOG.items(), 2)),
    OF_LOG,
    {"user_id": LATE_USER},
    {"user_id": LATE_USER, "topics": ["payment_session.paid.v1"]},
]


@pytest.fixture(scope="module")
def filled_url(server_url: str, template_database: str) -> Iterator[str]:
    """The URL of a store in which every user, phone and amount has more sessions than a page looks at."""
    with new_database(server_url, template_database) as url:
        fill(url, SESSIONS, users=USERS, amounts=8, phones=6, one_refunded_in=1)
        with explained(url) as plans:
            key = Vault(plans.database, MASTER_KEY).keys.current(PHONE_SEARCH)[1]
        with psycopg.connect(url) as owner:
            owner.execute(
                "UPDATE payment_phones SET phone_digest = %s WHERE phone_digest = sha256('phone1')",
                (payment_search._digest(key, PHONE),),
            )
            owner.execute(
                "UPDATE payment_sessions SET user_id = %s WHERE transaction_id <= %s",
                (LATE_USER, LATE_SESSIONS),
            )
            owner.execute("ANALYZE payment_sessions")
        yield url


@pytest.fixture(scope="module", params=["force_custom_plan", "force_generic_plan"])
def plans(filled_url: str, request: pytest.FixtureRequest) -> Iterator[Plans]:
    """Whether PostgreSQL plans a statement for its values or for any."""
    with explained(filled_url, plan_cache_mode=request.param) as plans:
        yield plans


@pytest.fixture(scope="module")
def vault(plans: Plans) -> Vault:
    return Vault(plans.database, MASTER_KEY)


@pytest.fixture(scope="module")
def macs(plans: Plans) -> EventMacs:
    macs = event_macs(plans.database)
    macs.last_without_mac()
    return macs


@pytest.fixture(autouse=True)
def _short_walks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payment_search, "MAX_WALKED", WALKED)
    monkeypatch.setattr(log_pages, "MAX_WALKED", LOG_WALKED)


def assert_bounded(plans: Plans, most: int) -> None:
    assert plans.seen
    assert plans.whole_tables <= OF_A_FEW_ROWS, str(plans)
    assert plans.rows_read <= most, str(plans)
    plans.seen.clear()


@pytest.mark.parametrize("given", SEARCHES, ids=lambda given: "+".join(given) or "all")
def test_a_page_of_payments_reads_a_bounded_number_of_rows(
    plans: Plans, vault: Vault, given: dict[str, Any]
) -> None:
    filters = Filters(**given)
    vault.keys.keys(PHONE_SEARCH)
    plans.seen.clear()
    _, after = find_payments(plans.database, vault, filters, after=None, limit=PAGE, now=NEWEST)
    assert_bounded(plans, 4 * WALKED)
    if after is not None:
        find_payments(plans.database, vault, filters, after=after, limit=PAGE, now=NEWEST)
        assert_bounded(plans, 4 * WALKED)
    find_keys(plans.database, vault, filters, after=after, limit=PAGE, until=NEWEST)
    assert_bounded(plans, 4 * WALKED)


@pytest.mark.parametrize("text", ["r000000042", "ord-42", "nothing"])
def test_a_number_that_names_a_payment_is_looked_up(plans: Plans, text: str) -> None:
    plans.seen.clear()
    sessions_named(plans.database, text)
    assert_bounded(plans, 10)


@pytest.mark.parametrize("given", LOG_SEARCHES, ids=lambda given: "+".join(given) or "all")
@pytest.mark.parametrize("max_sessions", [10, 2_000])
def test_a_page_of_the_log_reads_a_bounded_number_of_rows(
    plans: Plans,
    macs: EventMacs,
    given: dict[str, Any],
    max_sessions: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_pages, "MAX_SESSIONS", max_sessions)
    of_sessions = 6 * min(max_sessions, SESSIONS // USERS) if "user_id" in given else 0
    for after in ({}, {1: 5 * SESSIONS // 2}):
        plans.seen.clear()
        read_log(plans.database, macs, LogFilters(**given), after, PAGE)
        assert_bounded(plans, 4 * LOG_WALKED + of_sessions)
