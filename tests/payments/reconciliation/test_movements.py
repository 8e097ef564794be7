"""Each movement of money is stored once, whichever channel reports it, with the figures of the best source."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import ANY
from uuid import UUID

import psycopg
import pytest

from ledger.errors import Rejected
from ledger.session.values import Evidence
from ledger.store.database import Database
from ledger.store.vault import SYSTEM_USER_ID, Vault
from payments.reconciliation.movements import (
    MatchResult,
    MatchVerdict,
    Movement,
    MovementKind,
    Movements,
)
from payments.reconciliation.typed_references import TYPED_REFERENCE

NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
SESSION = UUID(int=7)
PAYMENT = Movement(MovementKind.PAYMENT, "OAF7Q2X9LM", 350_00, NOW, Evidence.C2B, transaction_id=12)
REVERSAL = Movement(
    MovementKind.REVERSAL,
    "OAF7Q2X9RR",
    350_00,
    NOW,
    Evidence.STATEMENT,
    money_in=False,
    linked_receipt="OAF7Q2X9LM",
    reason_type="Pay Bill Reversal",
)


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, bytes(range(32)))


@pytest.fixture
def movements(database: Database, vault: Vault) -> Movements:
    return Movements(database, vault)


def rows(database: Database) -> list[dict[str, Any]]:
    with database.connection() as connection:
        return connection.execute("SELECT * FROM mpesa_movements ORDER BY movement_key").fetchall()


def test_a_movement_is_stored_as_reported_before_it_is_matched(
    movements: Movements, database: Database
) -> None:
    assert movements.store([PAYMENT], NOW) == {"payment OAF7Q2X9LM": MatchResult(PAYMENT, MatchVerdict.NEW)}
    assert rows(database) == [
        {
            "movement_key": "payment OAF7Q2X9LM",
            "kind": "payment",
            "receipt": "OAF7Q2X9LM",
            "money_in": True,
            "amount_cents": 350_00,
            "happened_at": NOW,
            "evidence": "c2b",
            "transaction_id": 12,
            "sealed_reference": None,
            "payer_digest": None,
            "linked_receipt": None,
            "category": None,
            "journal_ordinal": None,
            "verdict": "new",
            "session_id": None,
            "told": None,
            "first_seen_at": NOW,
            "settled_at": None,
            "closed_at": None,
            "closed_by": None,
            "note": None,
            "mac": ANY,
            "is_from_before": False,
        }
    ]


def test_what_a_payer_typed_is_encrypted_and_comes_back(
    movements: Movements, database: Database, vault: Vault
) -> None:
    typed = replace(PAYMENT, transaction_id=None, reference="rent of Jane")
    movements.store([typed], NOW)
    [row] = rows(database)
    assert "Jane" not in row["sealed_reference"]
    opened = vault.decrypt(
        SYSTEM_USER_ID, row["sealed_reference"], purpose=TYPED_REFERENCE, row=row["movement_key"]
    )
    assert opened == '{"typed":"rent of Jane"}'
    [again] = movements.unprocessed(NOW, 10)
    assert again == replace(typed, stored_key="payment OAF7Q2X9LM")
    assert "Jane" not in repr(again)


def test_what_the_release_before_encrypted_is_what_was_typed(
    movements: Movements, database: Database, vault: Vault
) -> None:
    typed = replace(PAYMENT, transaction_id=None, reference="rent")
    movements.store([typed], NOW)
    old = vault.encrypt(SYSTEM_USER_ID, "rent of Jane", purpose=TYPED_REFERENCE, row=typed.key)
    with psycopg.connect(database.url, autocommit=True) as owner:
        owner.execute("UPDATE mpesa_movements SET sealed_reference = %s", (old,))
    [again] = movements.unprocessed(NOW, 10)
    assert (again.reference, again.payer) == ("rent of Jane", None)


@pytest.mark.parametrize(
    ("payer", "phone"),
    [
        ("254712345678", "2547****5678"),
        ("2547 ***** 126", "2547****126"),
        ("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", None),
        (None, None),
    ],
)
def test_of_the_payers_phone_only_its_ends_are_kept(
    movements: Movements, database: Database, vault: Vault, payer: str | None, phone: str | None
) -> None:
    for typed in ("rent of Jane", ""):
        key = f"UKG{len(typed)}"
        told = replace(PAYMENT, receipt=key, transaction_id=None, reference=typed, payer=payer)
        movements.store([told], NOW)
        movements.store_results([MatchResult(told, MatchVerdict.UNKNOWN)], NOW)
        case = movements.open_case(told.key)
        assert (case.movement.reference, case.movement.payer) == (typed, phone)
    stored = [row["sealed_reference"] for row in rows(database)]
    opened = [
        vault.decrypt(SYSTEM_USER_ID, text, purpose=TYPED_REFERENCE, row=row["movement_key"])
        for row, text in zip(rows(database), stored, strict=True)
        if text is not None
    ]
    assert payer is None or not any(payer in text for text in opened)


def test_a_reference_that_is_ours_is_kept_as_its_number_alone(
    movements: Movements, database: Database
) -> None:
    movements.store([replace(PAYMENT, reference="D12", payer="254712345678")], NOW, {12})
    assert rows(database)[0]["sealed_reference"] is None
    assert movements.unprocessed(NOW, 10) == [replace(PAYMENT, stored_key="payment OAF7Q2X9LM")]


def test_a_payment_is_one_movement_in_every_channel() -> None:
    keys = {
        PAYMENT.key,
        replace(PAYMENT, evidence=Evidence.STATEMENT, amount_cents=1, reason_type="Pay Bill").key,
    }
    assert keys == {"payment OAF7Q2X9LM"}


@pytest.mark.parametrize(
    "changed",
    [{"receipt": "OAF7Q2X9XX"}, {"reason_type": "Charge"}, {"money_in": True}, {"amount_cents": 1}],
)
def test_other_rows_are_the_same_movement_only_if_all_fields_agree(changed: dict[str, Any]) -> None:
    assert REVERSAL.key.startswith("row ")
    assert replace(REVERSAL, **changed).key != REVERSAL.key
    assert replace(REVERSAL, reason_type="PAY BILL REVERSAL", happened_at=LATER).key == REVERSAL.key


def test_the_key_of_a_row_is_the_same_for_ever() -> None:
    assert REVERSAL.key == "row c77d21dbd4e376d5fa421a4258cadb32beca11244ec53dbdf5f9298bb010bcfd"


def test_the_result_of_a_movement_is_returned_when_it_is_reported_again(
    movements: Movements, database: Database
) -> None:
    movements.store([PAYMENT, REVERSAL], NOW)
    movements.store_results(
        [MatchResult(PAYMENT, MatchVerdict.CREDITED, session_id=SESSION, detail="A sentence.")], LATER
    )
    known = movements.store([replace(PAYMENT, evidence=Evidence.STATEMENT, amount_cents=1)], LATER)
    assert known == {
        PAYMENT.key: MatchResult(
            replace(PAYMENT, evidence=Evidence.C2B, amount_cents=350_00),
            MatchVerdict.CREDITED,
            session_id=SESSION,
            detail="A sentence.",
        )
    }
    payment, reversal = rows(database)
    assert (payment["first_seen_at"], payment["settled_at"]) == (NOW, LATER)
    assert (reversal["verdict"], reversal["settled_at"]) == ("new", None)


@pytest.mark.parametrize(
    ("source", "amount_cents", "happened_at"),
    [(Evidence.STATEMENT, 1_00, LATER), (Evidence.C2B, 1_00, LATER), (Evidence.QUERY, 350_00, NOW)],
)
def test_the_figures_are_those_of_the_best_source(
    movements: Movements,
    database: Database,
    source: Evidence,
    amount_cents: int,
    happened_at: datetime,
) -> None:
    movements.store([PAYMENT], NOW)
    other = replace(PAYMENT, evidence=source, amount_cents=1_00, happened_at=LATER)
    movements.store_results([MatchResult(other, MatchVerdict.AMOUNT_DIFFERS, session_id=SESSION)], LATER)
    [row] = rows(database)
    assert (row["amount_cents"], row["happened_at"]) == (amount_cents, happened_at)
    assert row["evidence"] == str(max(source, Evidence.C2B, key=list(Evidence).index))
    assert (row["verdict"], row["session_id"]) == ("amount_differs", SESSION)


def test_several_movements_are_stored_each_with_its_own_result(
    movements: Movements, database: Database
) -> None:
    many = [
        replace(PAYMENT, receipt=f"OAF7Q2X9A{n}", amount_cents=n, transaction_id=n) for n in range(9, 0, -1)
    ]
    assert set(movements.store(many, NOW)) == {movement.key for movement in many}
    movements.store_results(
        [
            MatchResult(movement, MatchVerdict.CREDITED, session_id=UUID(int=movement.amount_cents))
            for movement in many
        ],
        LATER,
    )
    kept = [(row["receipt"], row["amount_cents"], row["session_id"]) for row in rows(database)]
    assert kept == [(f"OAF7Q2X9A{n}", n, UUID(int=n)) for n in range(1, 10)]


def test_stored_movements_that_were_not_matched_are_found_the_oldest_first(movements: Movements) -> None:
    movements.store([REVERSAL], LATER)
    movements.store([PAYMENT], NOW)
    movements.store([replace(PAYMENT, receipt="OAF7Q2X9ZZ")], LATER + timedelta(seconds=1))
    assert [found.receipt for found in movements.unprocessed(LATER, 10)] == ["OAF7Q2X9LM", "OAF7Q2X9RR"]
    assert [found.receipt for found in movements.unprocessed(LATER, 1)] == ["OAF7Q2X9LM"]
    movements.store_results([MatchResult(PAYMENT, MatchVerdict.POSTED)], LATER)
    [left] = movements.unprocessed(LATER, 10)
    assert left == replace(REVERSAL, reason_type="", stored_key=REVERSAL.key)
    assert left.key == REVERSAL.key


def test_an_unmatched_payment_stays_open_until_it_is_reversed(
    movements: Movements, database: Database
) -> None:
    movements.store([PAYMENT, REVERSAL], NOW)
    assert movements.unmatched([PAYMENT.receipt]) == set()
    movements.store_results(
        [MatchResult(PAYMENT, MatchVerdict.UNKNOWN), MatchResult(REVERSAL, MatchVerdict.NOT_OURS)], NOW
    )
    assert movements.unmatched([PAYMENT.receipt, REVERSAL.receipt, "OTHER"]) == {PAYMENT.receipt}
    movements.close_returned(PAYMENT.receipt, reversal=REVERSAL.receipt, now=LATER)
    assert movements.unmatched([PAYMENT.receipt]) == set()
    payment, reversal = rows(database)
    assert (payment["closed_at"], payment["closed_by"], payment["note"]) == (
        LATER,
        "statement",
        "It went back by OAF7Q2X9RR.",
    )
    assert reversal["closed_at"] is None


OPEN = (MatchVerdict.UNKNOWN, MatchVerdict.KNOWN_ELSEWHERE, MatchVerdict.REVERSAL_UNEXPECTED)


@pytest.mark.parametrize("verdict", OPEN)
def test_an_open_case_is_closed_once(movements: Movements, database: Database, verdict: MatchVerdict) -> None:
    movements.store([PAYMENT], NOW)
    movements.store_results([MatchResult(PAYMENT, verdict)], NOW)
    movements.close(PAYMENT.key, closed_by="operator 9", note="Returned in cash.", now=LATER)
    [row] = rows(database)
    assert (row["closed_at"], row["closed_by"], row["note"]) == (LATER, "operator 9", "Returned in cash.")
    with pytest.raises(Rejected, match="somebody closed it already") as refusal:
        movements.close(PAYMENT.key, closed_by="operator 8", note="Again.", now=LATER)
    assert refusal.value.code == "CASE_NOT_OPEN"
    assert rows(database) == [row]


@pytest.mark.parametrize("verdict", [verdict for verdict in MatchVerdict if verdict not in OPEN])
def test_what_is_no_open_case_cannot_be_closed(movements: Movements, verdict: MatchVerdict) -> None:
    movements.store([PAYMENT], NOW)
    movements.store_results([MatchResult(PAYMENT, verdict)], NOW)
    with pytest.raises(Rejected):
        movements.close(PAYMENT.key, closed_by="operator 9", note="Seen.", now=LATER)
    with pytest.raises(Rejected):
        movements.close("payment OTHER", closed_by="operator 9", note="Seen.", now=LATER)
