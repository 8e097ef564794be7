"""Which sessions an unmatched payment may belong to, why each, and what allocating it would do."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from ledger.application import Ledger
from ledger.errors import InvalidValue, Rejected
from ledger.session.values import Evidence, Status
from ledger.store.database import Database
from ledger.store.vault import DELIVERY, PHONE, Vault
from payments.exceptions.candidates import MAX_CANDIDATES, Candidate, Candidates, shown_reference, typed_of
from payments.prompts.phone_locks import PhoneLocks
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.movements import MatchResult, MatchVerdict, Movement, MovementKind, Movements
from projections.follower import Follower
from projections.payment_search import PaymentSearch
from tests.support.checkouts import HALF_PAST_TEN, TOTAL_CENTS, Checkout
from tests.support.horizon import until_readable
from tests.support.keys import MASTER_KEY, event_macs
from tests.support.prompt_limits import AMPLE

DIGITS = "254712345678"
PAID_AT = HALF_PAST_TEN + timedelta(minutes=5)
PAYMENT = Movement(MovementKind.PAYMENT, "UKG7Q2X9LM", TOTAL_CENTS, PAID_AT, Evidence.C2B, reference="rent")


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, MASTER_KEY)


@pytest.fixture
def movements(database: Database, vault: Vault) -> Movements:
    return Movements(database, vault)


@pytest.fixture
def service(ledger: Ledger, vault: Vault, movements: Movements) -> Candidates:
    return Candidates(ledger, vault, movements)


def bought(ledger: Ledger, vault: Vault, *, phone: str = "254700000001", minutes: int = 0) -> Checkout:
    """Open a session some minutes before the payment's, with a prompt that is not answered."""
    session_id = uuid4()
    sealed = vault.encrypt(7, phone, purpose=PHONE, row=session_id)
    checkout = Checkout(
        ledger,
        at=HALF_PAST_TEN - timedelta(minutes=minutes),
        session_id=session_id,
        phone_sealed=sealed,
        delivery_sealed=vault.encrypt(7, "{}", purpose=DELIVERY, row=session_id),
    )
    return checkout.request(sealed)


def candidates(
    service: Candidates, movements: Movements, database: Database, vault: Vault, payment: Movement = PAYMENT
) -> list[Candidate]:
    """Report an unmatched payment, and return its candidates."""
    movements.store([payment], PAID_AT)
    movements.store_results([MatchResult(payment, MatchVerdict.UNKNOWN)], PAID_AT)
    until_readable(database)
    Follower(database, event_macs(database), PaymentSearch(vault)).catch_up()
    return service.of(service.payment(f"payment.{payment.receipt}"), PAID_AT)


def ids(found: list[Candidate]) -> list[UUID]:
    return [each.session.id for each in found]


def test_sessions_of_the_amount_are_candidates_the_nearest_first_and_no_more_than_ten(
    ledger: Ledger, service: Candidates, movements: Movements, database: Database, vault: Vault
) -> None:
    near = [bought(ledger, vault, minutes=each) for each in range(MAX_CANDIDATES + 2)]
    bought(ledger, vault, minutes=26 * 60)
    Checkout(ledger, at=HALF_PAST_TEN)  # It has no attempt.
    found = candidates(service, movements, database, vault)
    assert ids(found) == [each.session_id for each in near[:MAX_CANDIDATES]]
    assert found[0].reasons == ("asks for this amount",)
    assert found[0].phone == "2547****0001"
    assert found[0].outcome.startswith("This session is paid with it")
    assert found[0].session.status == Status.PENDING
    assert (
        candidates(service, movements, database, vault, replace(PAYMENT, receipt="X1", amount_cents=1)) == []
    )


def test_of_sessions_alike_one_that_nobody_paid_is_likelier_than_one_that_is_paid(
    ledger: Ledger, service: Candidates, movements: Movements, database: Database, vault: Vault
) -> None:
    paid = bought(ledger, vault).initiate().pay("UKGPAID001")
    unpaid = bought(ledger, vault, minutes=30)
    found = candidates(service, movements, database, vault)
    assert ids(found) == [unpaid.session_id, paid.session_id]


@pytest.mark.parametrize("payer", ["2547 ***** 678", DIGITS])
def test_the_payers_phone_makes_a_session_likelier_than_time_does(
    ledger: Ledger, service: Candidates, movements: Movements, database: Database, vault: Vault, payer: str
) -> None:
    near = bought(ledger, vault)
    theirs = bought(ledger, vault, phone=DIGITS, minutes=60)
    found = candidates(service, movements, database, vault, replace(PAYMENT, payer=payer))
    assert ids(found) == [theirs.session_id, near.session_id]
    assert "phone" in found[0].reasons[0]
    assert found[1].reasons == ("asks for this amount",)


def test_what_was_typed_finds_a_session_of_any_amount_or_time(
    ledger: Ledger, service: Candidates, movements: Movements, database: Database, vault: Vault
) -> None:
    paid = bought(ledger, vault, phone=DIGITS, minutes=10_000).initiate().pay("UKGPAID001").order()
    number = paid.session.attempts[1].transaction_id
    assert paid.session.order is not None
    for place, (typed, how) in enumerate(
        {
            f"b{number}": "its account reference was typed",
            paid.session.order[1].lower().replace("-", " "): "its order number or a receipt of it was typed",
            "0712 345678": "its phone was typed",
        }.items()
    ):
        other = replace(PAYMENT, receipt=f"UKGOTHER{place}", amount_cents=99, reference=typed)
        [found] = candidates(service, movements, database, vault, other)
        assert (found.session.id, found.reasons) == (paid.session_id, (how,))
        assert found.outcome.startswith("This session is paid already")
        assert found.refusal == ""


def test_a_reference_that_is_nearly_ours_is_a_reason(
    ledger: Ledger, service: Candidates, movements: Movements, database: Database, vault: Vault
) -> None:
    bought(ledger, vault)
    meant = bought(ledger, vault, minutes=30)
    number = str(meant.session.attempts[1].transaction_id)
    typed = f"D{number}{number[-1]}"  # The other one has another last digit.
    first, _ = candidates(service, movements, database, vault, replace(PAYMENT, reference=typed))
    assert first.reasons[0] == f"its account reference D{number} is like what was typed"


@pytest.mark.parametrize("channel", ["c2b", "a release that kept the number alone"])
def test_a_number_of_no_attempt_is_shown_as_typed_with_its_payer_and_leads_to_the_one_that_was_meant(
    ledger: Ledger, service: Candidates, movements: Movements, database: Database, vault: Vault, channel: str
) -> None:
    meant = bought(ledger, vault, phone=DIGITS, minutes=30)
    number = meant.session.attempts[1].transaction_id
    wrong = int(f"{number}{number % 10}")
    payment = replace(PAYMENT, transaction_id=wrong, reference="")
    if channel == "c2b":
        payment = replace(payment, reference=f"d {wrong}", payer=DIGITS)
    Matcher(ledger, PhoneLocks(database, AMPLE), movements).ingest([payment])
    [found] = candidates(service, movements, database, vault, payment)
    assert found.session.id == meant.session_id
    assert f"its account reference D{number} is like what was typed" in found.reasons
    told = service.payment(f"payment.{PAYMENT.receipt}").movement
    if channel == "c2b":
        assert (typed_of(told), told.payer) == (f"d {wrong}", "2547****5678")
        assert "paid from a phone of this session" in found.reasons
    else:
        assert typed_of(told) == f"D{wrong}"


def test_a_digest_that_somebody_wrote_into_the_row_is_no_reason(
    ledger: Ledger, service: Candidates, movements: Movements, database: Database, vault: Vault
) -> None:
    """Only the encrypted value says who paid, so that nobody leads a payment to their own session."""
    bought(ledger, vault, phone=DIGITS)
    candidates(service, movements, database, vault, replace(PAYMENT, payer="254711111111"))
    mine = replace(PAYMENT, receipt="UKGMINE001", payer=DIGITS)
    candidates(service, movements, database, vault, mine)
    with psycopg.connect(database.url, autocommit=True) as owner:
        owner.execute(
            "UPDATE mpesa_movements AS their SET payer_digest = mine.payer_digest FROM mpesa_movements AS mine"
            " WHERE their.receipt = %s AND mine.receipt = 'UKGMINE001'",
            (PAYMENT.receipt,),
        )
    [found] = service.of(service.payment(f"payment.{PAYMENT.receipt}"), PAID_AT)
    assert found.reasons == ("asks for this amount",)


def test_a_row_of_the_search_that_lies_makes_no_candidate(
    ledger: Ledger, service: Candidates, movements: Movements, database: Database, vault: Vault
) -> None:
    checkout = bought(ledger, vault)
    candidates(service, movements, database, vault)
    other = replace(PAYMENT, receipt="UKGOTHER01", amount_cents=77_00)
    with psycopg.connect(database.url, autocommit=True) as owner:
        owner.execute("UPDATE payment_search SET total_cents = 7700")
        owner.execute("UPDATE payment_sessions SET total_cents = 7700")
    assert candidates(service, movements, database, vault, other) == []
    assert checkout.session.totals.total_cents == TOTAL_CENTS


def test_a_session_opened_hours_after_the_payment_cannot_be_chosen(
    ledger: Ledger, service: Candidates, movements: Movements, database: Database, vault: Vault
) -> None:
    later = bought(ledger, vault, minutes=-6 * 60)
    bare = Checkout(ledger, at=HALF_PAST_TEN)
    candidates(service, movements, database, vault)
    case = service.payment(f"payment.{PAYMENT.receipt}")
    assert "the payment is another's" in service.one(later.session_id, case, PAID_AT).refusal
    [found] = service.found_by(str(bare.session_id), case, PAID_AT)
    assert (found.outcome, found.reasons[0]) == ("", "its session id was typed")
    assert "no payment attempt" in found.refusal


def test_a_search_is_bounded_and_a_case_must_be_open(service: Candidates, movements: Movements) -> None:
    movements.store([PAYMENT], PAID_AT)
    with pytest.raises(Rejected) as refusal:
        service.payment(f"payment.{PAYMENT.receipt}")
    assert refusal.value.code == "CASE_NOT_OPEN"
    movements.store_results([MatchResult(PAYMENT, MatchVerdict.UNKNOWN)], PAID_AT)
    case = service.payment(f"payment.{PAYMENT.receipt}")
    for text in ("", " ", "x" * 101):
        with pytest.raises(InvalidValue):
            service.found_by(text, case, PAID_AT)
    assert service.found_by("nothing", case, PAID_AT) == []


@pytest.mark.parametrize(
    ("typed", "shown"), [("0712 345 678", "2547****5678"), ("rent", "rent"), ("D456", "D456"), ("", "")]
)
def test_a_phone_that_was_typed_is_shown_masked(typed: str, shown: str) -> None:
    assert shown_reference(typed) == shown
