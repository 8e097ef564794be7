import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from ledger.application import Ledger
from ledger.store.audit_log import AuditEntry, AuditLog
from ledger.store.database import Database
from tests.api.cli.support import daftari
from tests.support.checkouts import HALF_PAST_TEN, TOTAL_CENTS, Checkout
from tests.support.keys import key_ring
from tests.support.statements import Booking, statement

COMMAND = "reconcile"


@dataclass
class Shop:
    """A database with a payment in doubt, and a statement that tells of it."""

    environ: dict[str, str]
    checkout: Checkout
    file: Path

    def write(self, *bookings: Booking) -> str:
        self.file.write_bytes(statement(bookings))
        return str(self.file)

    @property
    def booking(self) -> Booking:
        account = f"D{self.checkout.session.attempts[1].transaction_id}"
        return Booking("OAF7Q2X9LM", paid_in=TOTAL_CENTS, at=HALF_PAST_TEN, account=account)

    @property
    def entries(self) -> list[AuditEntry]:
        """The entries of the audit log, the latest first."""
        database = self.checkout.ledger.database
        return AuditLog(database, key_ring(database)).entries()[1]


@pytest.fixture
def shop(database_url: str, data_folder: Path, tmp_path: Path) -> Shop:
    database = Database(database_url)
    checkout = Checkout(Ledger(database, key_ring(database))).request().lose_push_answer()
    environ = {
        "DATABASE_URL": database_url,
        "DAFTARI_DATA_DIR": str(data_folder),
        "MPESA_BUSINESS_SHORTCODE": "174379",
    }
    return Shop(environ, checkout, tmp_path / "statement.csv")


def test_a_payment_in_doubt_is_settled_and_the_second_import_changes_nothing(shop: Shop) -> None:
    first = daftari(COMMAND, shop.write(shop.booking), "--by", "9", **shop.environ)
    assert first.returncode == 0, first.stderr
    assert "1  credited" in first.stdout
    assert f"credited\tOAF7Q2X9LM\t350.00\t2024-01-15 13:30:00\t6\t{shop.checkout.session_id}" in first.stdout
    assert shop.checkout.session.receipts == {"OAF7Q2X9LM"}

    second = daftari(COMMAND, str(shop.file), "--json", **shop.environ)
    assert second.returncode == 0
    assert json.loads(second.stdout)["found"]["counts"]["posted"] == 1
    entries = shop.entries
    assert [(entry.kind, entry.actor, entry.is_genuine) for entry in entries] == [
        ("statement_imported", "cli", True),
        ("statement_imported", "cli:user:9", True),
    ]
    assert {entry.subject for entry in entries} == {f"statement:{sha256(shop.file.read_bytes()).hexdigest()}"}
    shown = json.loads(second.stdout)["reconciliation_id"]
    assert entries[0].details == {"reconciliation_id": shown}
    shop.checkout.ledger.database.close()


def test_differences_have_an_exit_code_and_cells_that_no_spreadsheet_runs(shop: Shop) -> None:
    evil = "=cmd|' /C calc'!A0"
    result = daftari(
        COMMAND,
        shop.write(
            Booking("OAF7Q2X9EV", paid_in=5_00, at=HALF_PAST_TEN, account=evil, reason=evil, details=evil)
        ),
        **shop.environ,
    )
    assert result.returncode == 5
    assert "unknown\tOAF7Q2X9EV\t5.00" in result.stdout
    cells = [cell for line in result.stdout.splitlines() for cell in line.split("\t")]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    shop.checkout.ledger.database.close()


def test_each_refusal_has_its_exit_code_and_changes_nothing(shop: Shop) -> None:
    file = shop.write(shop.booking, Booking("OAF7Q2X9BB", paid_in=1_00, at=HALF_PAST_TEN))
    whole = shop.file.read_bytes()
    for content, code, description in (
        (b"not a statement", 6, "This is not an organisation statement"),
        (whole.replace(b"10,351.00", b"10,352.00"), 7, "The running balance breaks at row"),
        (
            whole.replace(b"174379", b"600100"),
            8,
            "This statement is of 600100, and payments here go to 174379.",
        ),
    ):
        shop.file.write_bytes(content)
        result = daftari(COMMAND, file, **shop.environ)
        assert (result.returncode, result.stdout) == (code, ""), result.stderr
        assert result.stderr.startswith(f"Error: {description}")
    assert shop.checkout.session.received_cents == 0
    assert [(entry.kind, entry.details["code"]) for entry in reversed(shop.entries)] == [
        ("statement_refused", "NOT_A_STATEMENT"),
        ("statement_refused", "STATEMENT_BALANCE_BROKEN"),
        ("statement_refused", "STATEMENT_OF_ANOTHER"),
    ]
    shop.checkout.ledger.database.close()


def test_a_missing_file_is_a_usage_error(shop: Shop) -> None:
    result = daftari(COMMAND, "nowhere.csv", **shop.environ)
    assert result.returncode == 2
    assert "nowhere.csv" in result.stderr
    shop.checkout.ledger.database.close()
