"""Auditors read the books by API."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from projections.follower import Follower
from projections.journal import Journal
from tests.support.checkouts import HALF_PAST_TEN, Checkout
from tests.support.horizon import until_readable
from tests.support.instance import Instance, running_instance

BOOKS = "/api/audit/books"
PATHS = ("trial-balance/", "close/?day=2024-01-15", "entries/", "receipts/")


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder) as running:
        services = running.services
        Checkout(services.ledger).prompt().pay("NLJ7RT61SV").order()
        until_readable(services.database)
        Follower(services.database, services.ledger.macs, Journal(services.vault.keys)).catch_up()
        yield running


def test_balances_close_and_entries(instance: Instance) -> None:
    auditor = instance.client(9, "auditor")
    for path in PATHS[:2]:
        shown = auditor.get(f"{BOOKS}/{path}").json()
        assert (shown["entries"], shown["closing_debit"], shown["closing_credit"]) == (3, "350.00", "350.00")
        clearing = shown["accounts"][0]
        assert (clearing["account"], clearing["debits"], clearing["closing_debit"]) == (
            "mpesa_clearing",
            "350.00",
            "350.00",
        )
    assert auditor.get(f"{BOOKS}/close/?day=2024-01-14").json()["entries"] == 0
    early = f"{BOOKS}/trial-balance/?recorded_as_of={HALF_PAST_TEN:%Y-%m-%dT%H:%M:%SZ}"
    assert auditor.get(early).json()["entries"] == 0

    first = auditor.get(f"{BOOKS}/entries/?account=customer_funds&page_size=2").json()
    assert [entry["what"] for entry in first["results"]] == ["Paid", "OrderCreated"]
    rest = auditor.get(first["next"].removeprefix(instance.base_url)).json()
    assert ([entry["credit_account"] for entry in rest["results"]], rest["next"]) == (["delivery"], None)


def test_a_receipt_that_no_statement_has_is_named(instance: Instance) -> None:
    auditor = instance.client(9, "auditor")
    [found] = auditor.get(f"{BOOKS}/receipts/").json()["results"]
    assert (found["receipt"], found["kind"], found["booked"], found["reported"]) == (
        "NLJ7RT61SV",
        "not_in_statement",
        "350.00",
        None,
    )
    assert auditor.get(f"{BOOKS}/receipts/?until=2024-01-14").json()["results"] == []
    [again] = auditor.get(f"{BOOKS}/receipts/?page_size=1").json()["results"]
    assert again == found


@pytest.mark.parametrize("path", PATHS)
def test_other_roles_read_no_books(instance: Instance, path: str) -> None:
    assert instance.anonymous().get(f"{BOOKS}/{path}").status_code == 401
    for role in ("customer", "analyst", "operator"):
        assert instance.client(9, role).get(f"{BOOKS}/{path}").status_code == 403


@pytest.mark.parametrize(
    "query",
    [
        "close/",
        "close/?day=2024-02-30",
        "trial-balance/?since=2024-01-16&until=2024-01-15",
        "trial-balance/?until=9999-12-31",
        "trial-balance/?recorded_as_of=yesterday",
        "trial-balance/?day=2024-01-15",
        "entries/?account=cash",
        "entries/?after=-1",
        "receipts/?page_size=0",
        "receipts/?recorded_as_of=2024-01-15T07:30:00Z",
    ],
)
def test_a_query_that_asks_for_nothing_is_refused(instance: Instance, query: str) -> None:
    assert instance.client(9, "auditor").get(f"{BOOKS}/{query}").status_code == 400
