"""Operators upload statements in pieces; the worker imports a whole file once, and nothing of any other."""

import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import freezegun
import psycopg
import pytest

from ledger import clock
from ledger.application import Ledger
from ledger.errors import InvalidValue, LedgerError, NotFound, Unavailable
from ledger.store.audit_log import AuditLog
from ledger.store.database import APP_ROLE, Database
from ledger.store.locks import ActiveLock, LockConnection
from ledger.store.vault import Vault
from payments.erasure.retention import _PURGE
from payments.reconciliation import statement_uploads
from payments.reconciliation.import_log import Reconciliation, Reconciliations
from payments.reconciliation.import_process import LOCK_NAME, ImportFailed, ImportProcess, import_uploads
from payments.reconciliation.statement_uploads import (
    IMPORTED,
    MAX_BYTES,
    MAX_TRIES,
    MAX_UNDER_WAY,
    PIECE_BYTES,
    REFUSED,
    UPLOADED,
    StatementUploads,
    Upload,
    UploadState,
)
from payments.reconciliation.statements import Reconciler
from tests.support.checkouts import HALF_PAST_TEN, TOTAL_CENTS, Checkout
from tests.support.invariants import assert_invariants_hold
from tests.support.keys import MASTER_KEY, key_ring
from tests.support.prompt_limits import AMPLE
from tests.support.statements import BOOKINGS, Booking, statement

OPERATOR, OTHER = 9, 12
FILE = statement(BOOKINGS)
LARGE = statement([Booking(f"OAF7Q{number:05}", paid_in=1_00) for number in range(1_000)])
"""Of three pieces."""


@pytest.fixture
def audit_log(database: Database) -> AuditLog:
    return AuditLog(database, Vault(database, MASTER_KEY).keys)


@pytest.fixture
def uploads(database: Database, audit_log: AuditLog, reconciler: Reconciler) -> StatementUploads:
    return StatementUploads(database, Vault(database, MASTER_KEY), audit_log, reconciler)


def send(
    uploads: StatementUploads, content: bytes, *, by: int = OPERATOR, order: Sequence[int] | None = None
) -> UUID:
    upload_id = uploads.start(len(content), by=by)
    pieces = [content[at : at + PIECE_BYTES] for at in range(0, len(content), PIECE_BYTES)]
    for number in order or range(len(pieces)):
        uploads.add_piece(upload_id, number, pieces[number], by=by)
    uploads.finish(upload_id, by=by)
    return upload_id


def rows(database: Database, query: str) -> list[dict[str, Any]]:
    with database.connection() as connection:
        return connection.execute(query.encode()).fetchall()


def reports(database: Database) -> list[UUID]:
    found = rows(database, "SELECT reconciliation_id FROM reconciliations ORDER BY started_at")
    return [row["reconciliation_id"] for row in found]


def test_a_file_in_pieces_of_any_order_is_imported_as_it_was(
    database: Database, uploads: StatementUploads, audit_log: AuditLog
) -> None:
    assert len(LARGE) > 2 * PIECE_BYTES
    upload_id = send(uploads, LARGE, order=(2, 0, 1))
    assert uploads.find(upload_id).state == UploadState.WAITING
    assert uploads.import_next() == 1
    upload, [report] = uploads.find(upload_id), reports(database)
    assert (upload.state, upload.reconciliation_id) == (UploadState.IMPORTED, report)
    assert (upload.rows_done, upload.rows_in_all) == (1_000, 1_000)
    found = Reconciliations(database, key_ring(database)).find(report)
    assert found is not None
    assert found.file_sha256 == sha256(LARGE).hexdigest()
    assert found.found["counts"]["unknown"] == 1_000
    assert rows(database, "SELECT FROM statement_pieces") == []
    assert uploads.import_next() == 0
    entries = {entry.kind: entry for entry in audit_log.entries(actor=f"user:{OPERATOR}")[1]}
    assert entries[UPLOADED].subject == f"upload:{upload_id}"
    assert entries[IMPORTED].subject == f"statement:{found.file_sha256}"
    assert entries[IMPORTED].details == {"upload_id": str(upload_id), "reconciliation_id": str(report)}


def test_what_an_upload_records_names_the_operator_and_the_file(
    ledger: Ledger, database: Database, uploads: StatementUploads
) -> None:
    checkout = Checkout(ledger).request().lose_push_answer()
    account = f"D{checkout.session.attempts[1].transaction_id}"
    content = statement([Booking("OAF7Q2X9LM", paid_in=TOTAL_CENTS, at=HALF_PAST_TEN, account=account)])
    send(uploads, content)
    uploads.import_next()
    assert checkout.session.receipts == {"OAF7Q2X9LM"}
    *_, last = rows(database, "SELECT metadata FROM payment_events ORDER BY position")
    assert (last["metadata"]["cause"], last["metadata"]["actor"]) == ("statement", f"user:{OPERATOR}")
    assert last["metadata"]["source"] == sha256(content).hexdigest()
    assert_invariants_hold(database)


def test_the_same_file_again_is_not_imported_and_leads_to_its_first_report(
    database: Database, uploads: StatementUploads
) -> None:
    first, second = send(uploads, FILE), send(uploads, FILE, by=OTHER)
    assert (uploads.import_next(), uploads.import_next()) == (1, 1)
    [report] = reports(database)
    assert uploads.find(first).reconciliation_id == uploads.find(second).reconciliation_id == report
    third = send(uploads, FILE)
    assert uploads.import_next() == 1
    assert uploads.find(third).reconciliation_id == report
    assert reports(database) == [report]


def test_a_report_that_was_planted_in_the_database_keeps_no_file_from_its_import(
    database: Database, uploads: StatementUploads
) -> None:
    with database.connection() as connection:
        connection.execute(
            "INSERT INTO reconciliations VALUES (gen_random_uuid(), now(), now(), %s, '{}')",
            (sha256(FILE).hexdigest(),),
        )
    upload_id = send(uploads, FILE)
    uploads.import_next()
    assert uploads.find(upload_id).reconciliation_id == reports(database)[-1]
    assert len(reports(database)) == 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"not a statement", "This is not an organisation statement"),
        (FILE.replace(b"11,350.00", b"11,351.00"), "row 8"),
        (FILE.replace(b"174379", b"600000"), "This statement is of 600000"),
    ],
)
def test_a_file_that_is_refused_says_why_and_records_nothing(
    database: Database, uploads: StatementUploads, audit_log: AuditLog, content: bytes, told: str
) -> None:
    upload_id = send(uploads, content)
    assert uploads.import_next() == 1
    upload = uploads.find(upload_id)
    assert (upload.state, upload.reconciliation_id) == (UploadState.REFUSED, None)
    assert told in str(upload.refusal)
    assert reports(database) == rows(database, "SELECT FROM statement_pieces") == []
    assert rows(database, "SELECT FROM mpesa_movements") == []
    _, [entry] = audit_log.entries(kind=REFUSED)
    assert entry.actor == f"user:{OPERATOR}"
    assert entry.subject == f"statement:{sha256(content).hexdigest()}"
    assert entry.details["code"].startswith("STATEMENT_") or entry.details["code"] == "NOT_A_STATEMENT"


def test_only_the_pieces_of_the_file_are_taken_each_once_and_from_its_uploader(
    database: Database, uploads: StatementUploads
) -> None:
    upload_id = uploads.start(PIECE_BYTES + 10, by=OPERATOR)
    whole, last = b"a" * PIECE_BYTES, b"b" * 10
    for number, piece in (
        (0, b""),
        (0, whole + b"a"),
        (0, last),
        (1, whole),
        (1, b"b" * 9),
        (2, b""),
        (2, last),
    ):
        with pytest.raises(InvalidValue, match="Send piece 0 to 1"):
            uploads.add_piece(upload_id, number, piece, by=OPERATOR)
    for known in (upload_id, uuid4()):
        with pytest.raises(NotFound):
            uploads.add_piece(known, 0, whole, by=OTHER)
        with pytest.raises(NotFound):
            uploads.finish(known, by=OTHER)
    uploads.add_piece(upload_id, 1, last, by=OPERATOR)
    with pytest.raises(InvalidValue, match="Pieces of the file are missing"):
        uploads.finish(upload_id, by=OPERATOR)
    uploads.add_piece(upload_id, 0, whole, by=OPERATOR)
    stored = rows(database, "SELECT number, sealed_piece FROM statement_pieces ORDER BY number")
    uploads.add_piece(upload_id, 0, b"c" * PIECE_BYTES, by=OPERATOR)
    assert rows(database, "SELECT number, sealed_piece FROM statement_pieces ORDER BY number") == stored
    uploads.finish(upload_id, by=OPERATOR)
    uploads.finish(upload_id, by=OPERATOR)
    with pytest.raises(NotFound):
        uploads.add_piece(upload_id, 0, whole, by=OPERATOR)
    with pytest.raises(NotFound):
        uploads.finish(upload_id, by=OTHER)


@pytest.mark.parametrize("is_imported", [False, True])
def test_who_finishes_an_upload_at_the_same_moment_as_another_request_is_told_that_it_was(
    uploads: StatementUploads, audit_log: AuditLog, monkeypatch: pytest.MonkeyPatch, is_imported: bool
) -> None:
    upload_id = uploads.start(len(FILE), by=OPERATOR)
    uploads.add_piece(upload_id, 0, FILE, by=OPERATOR)
    find = uploads.find

    def find_and_be_overtaken(found: UUID) -> Upload:
        before = find(found)
        monkeypatch.undo()
        uploads.finish(upload_id, by=OPERATOR)
        assert uploads.import_next() == 1 if is_imported else True
        return before

    monkeypatch.setattr(uploads, "find", find_and_be_overtaken)
    uploads.finish(upload_id, by=OPERATOR)
    assert find(upload_id).state == (UploadState.IMPORTED if is_imported else UploadState.WAITING)
    count, _ = audit_log.entries(kind=UPLOADED)
    assert count == 1


def test_who_finishes_an_upload_needs_one_connection_at_a_time(
    database: Database, audit_log: AuditLog, reconciler: Reconciler
) -> None:
    one = Database(database.url, max_connections=1)
    uploads = StatementUploads(one, Vault(one, MASTER_KEY), audit_log, reconciler)
    with closing(one):
        upload_id = uploads.start(PIECE_BYTES + 1, by=OPERATOR)
        with pytest.raises(InvalidValue, match="Pieces of the file are missing"):
            uploads.finish(upload_id, by=OPERATOR)


@pytest.mark.parametrize("size", [-1, 0, MAX_BYTES + 1])
def test_a_file_has_a_size_within_bounds(uploads: StatementUploads, size: int) -> None:
    with pytest.raises(InvalidValue, match="1 byte to 16 MiB"):
        uploads.start(size, by=OPERATOR)


def test_a_new_upload_takes_the_place_of_the_operators_own_and_there_are_so_many_at_most(
    database: Database, uploads: StatementUploads
) -> None:
    before = uploads.start(10, by=OPERATOR)
    uploads.start(10, by=OPERATOR)
    with pytest.raises(NotFound):
        uploads.find(before)
    for user in range(100, 99 + MAX_UNDER_WAY):
        uploads.start(10, by=user)
    with pytest.raises(Unavailable, match="Too many uploads"):
        uploads.start(10, by=OTHER)
    uploads.start(10, by=OPERATOR)
    assert len(rows(database, "SELECT FROM statement_uploads")) == MAX_UNDER_WAY


def test_what_is_an_hour_old_is_gone_with_its_pieces(database: Database, uploads: StatementUploads) -> None:
    with freezegun.freeze_time(clock.now() - timedelta(minutes=61), real_asyncio=True):
        old = send(uploads, FILE)
    young = send(uploads, FILE, by=OTHER)
    with database.connection() as connection:
        connection.execute(_PURGE, ("statement_uploads", clock.now(), timedelta(0), 100))
    with pytest.raises(NotFound):
        uploads.find(old)
    assert [row["upload_id"] for row in rows(database, "SELECT upload_id FROM statement_pieces")] == [young]


def test_pieces_are_unreadable_without_the_key_and_under_another_uploader(
    database: Database, uploads: StatementUploads
) -> None:
    upload_id = send(uploads, FILE)
    [stored] = rows(database, "SELECT sealed_piece FROM statement_pieces")
    assert "WANJIRU" not in stored["sealed_piece"]
    with psycopg.connect(database.url, autocommit=True) as owner:
        owner.execute("UPDATE statement_uploads SET uploaded_by = %s", (OTHER,))
    with pytest.raises(LedgerError):
        uploads.import_next()
    assert reports(database) == []
    with database.connection() as connection:
        connection.execute("UPDATE statement_uploads SET tries = %s", (MAX_TRIES,))
    assert uploads.import_next() == 1
    assert "fails again and again" in str(uploads.find(upload_id).refusal)


def test_an_import_that_was_killed_anywhere_begins_again(
    database: Database, audit_log: AuditLog, reconciler: Reconciler
) -> None:
    vault = Vault(database, MASTER_KEY)
    upload_id = send(StatementUploads(database, vault, audit_log, reconciler), LARGE)
    for killed in (_KilledAfterABatch(reconciler), _KilledAfterItsReport(reconciler)):
        with pytest.raises(_Killed):
            StatementUploads(database, vault, audit_log, killed).import_next()
    uploads = StatementUploads(database, vault, audit_log, reconciler)
    assert uploads.find(upload_id).state == UploadState.WAITING
    assert uploads.import_next() == 1
    assert uploads.find(upload_id).reconciliation_id == reports(database)[-1]
    [count] = rows(database, "SELECT count(*) AS count FROM mpesa_movements")
    assert count["count"] == 1_000
    assert audit_log.entries(kind=IMPORTED)[0] == 1


def test_the_worker_imports_in_a_process_of_its_own_and_starts_another_where_it_failed(
    database: Database, uploads: StatementUploads
) -> None:
    idle = ImportProcess(uploads, partial(sys.exit, 1))
    assert (idle.run(), idle.wait()) == (0, 0)
    upload_id = send(uploads, FILE)
    failing = ImportProcess(uploads, partial(sys.exit, 3))
    assert failing.run() == 0
    with pytest.raises(ImportFailed, match="3"):
        failing.wait()
    import_apart = partial(import_uploads, database.url, APP_ROLE, MASTER_KEY, {"174379"}, AMPLE, list)
    working = ImportProcess(uploads, import_apart)
    assert (working.run(), working.wait()) == (0, 1)
    assert uploads.find(upload_id).reconciliation_id in reports(database)


def test_two_processes_do_not_import_at_once(database: Database, uploads: StatementUploads) -> None:
    send(uploads, FILE)
    other = ActiveLock(LockConnection(database.url), LOCK_NAME)
    assert other.try_acquire()
    import_apart = partial(import_uploads, database.url, APP_ROLE, MASTER_KEY, {"174379"}, AMPLE, list)
    working = ImportProcess(uploads, import_apart)
    assert (working.run(), working.wait()) == (0, 1)
    assert uploads.is_waiting()
    other.release()


def test_a_file_at_fault_holds_no_other_up(uploads: StatementUploads, database: Database) -> None:
    at_fault = send(uploads, LARGE)
    with database.connection() as connection:
        connection.execute("DELETE FROM statement_pieces WHERE number = 1")
    with pytest.raises(LedgerError):
        uploads.import_next()
    other = send(uploads, FILE, by=OTHER)
    assert uploads.import_next() == 1
    assert uploads.find(other).state == UploadState.IMPORTED
    assert uploads.find(at_fault).state == UploadState.WAITING


def test_the_bounds_are_those_of_the_table(database: Database) -> None:
    assert -(-MAX_BYTES // PIECE_BYTES) - 1 == 341
    [found] = rows(
        database,
        "SELECT string_agg(pg_get_constraintdef(oid), ' ') AS told FROM pg_constraint WHERE contype = 'c'",
    )
    assert str(statement_uploads.MAX_BYTES) in found["told"]
    assert "(number <= 341)" in found["told"]


class _Killed(BaseException):
    """The worker is killed here."""


class _KilledAfterABatch(Reconciler):
    def __init__(self, reconciler: Reconciler) -> None:
        self.__dict__.update(reconciler.__dict__)

    def reconcile(self, content: bytes, *_: Any) -> Reconciliation:
        def killed(_done: int, _of: int) -> None:
            raise _Killed

        return super().reconcile(content, killed)


class _KilledAfterItsReport(_KilledAfterABatch):
    def reconcile(self, content: bytes, *others: Any) -> Reconciliation:
        Reconciler.reconcile(self, content, *others)
        raise _Killed
