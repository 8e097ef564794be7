"""Statements that operators upload in pieces: kept encrypted for an hour at most, and imported by the worker.

A piece is smaller than the bound of a request, so that bound holds for uploads too. A file is imported once all of its
pieces are there; nothing of it is acted on before, and an import that was interrupted begins again.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from uuid import UUID, uuid4

from ledger import clock
from ledger.errors import InvalidValue, NotFound, Unavailable
from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from ledger.store.key_ring import WrongKey
from ledger.store.metadata import caused_by
from ledger.store.vault import SYSTEM_USER_ID, Vault
from payments.reconciliation.statements import Reconciler, StatementRefused

PIECE_BYTES = 48 << 10
MAX_BYTES = 16 << 20
"""Of one file; `daftari reconcile` takes larger ones."""

MAX_UNDER_WAY = 8
"""Uploads of all operators that are not imported yet. Each operator sends one file at a time."""

MAX_TRIES = 10
"""After so many imports that ended early, by a fault or with their worker, a file is refused."""

UPLOADED, IMPORTED, REFUSED = "statement_uploaded", "statement_imported", "statement_refused"
"""The kinds of entries in the audit log. The subject of the last two is "statement:" and the file's SHA-256."""

STATEMENT_PIECE = "piece of a statement"
_COLUMNS = """
    upload_id, uploaded_by, size_bytes, started_at, state, tries, rows_done, rows_in_all, reconciliation_id, refusal
"""
_ONE_START_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('daftari statement uploads', 0))"
_DELETE_BEFORE = "DELETE FROM statement_uploads WHERE uploaded_by = %s AND state = 'uploading'"
_COUNT = "SELECT count(*) AS count FROM statement_uploads WHERE state IN ('uploading', 'waiting')"
_ADD = """
INSERT INTO statement_uploads (upload_id, uploaded_by, size_bytes, started_at, state)
VALUES (%s, %s, %s, %s, 'uploading')
"""
_FIND = f"SELECT {_COLUMNS} FROM statement_uploads WHERE upload_id = %s"  # noqa: S608 - made of a constant
_ADD_PIECE = """
INSERT INTO statement_pieces (upload_id, number, sealed_piece)
SELECT upload_id, %(number)s, %(sealed)s FROM statement_uploads
WHERE upload_id = %(upload_id)s AND state = 'uploading' FOR KEY SHARE
ON CONFLICT DO NOTHING
"""
_FINISH = """
UPDATE statement_uploads AS upload SET state = 'waiting' WHERE upload_id = %(upload_id)s AND state = 'uploading'
  AND (SELECT count(*) FROM statement_pieces AS piece WHERE piece.upload_id = upload.upload_id) = %(pieces)s
"""
_IS_WAITING = "SELECT FROM statement_uploads WHERE state = 'waiting' LIMIT 1"
_CLAIM = f"""
UPDATE statement_uploads SET tries = tries + 1, rows_done = 0 WHERE upload_id = (
    SELECT upload_id FROM statement_uploads WHERE state = 'waiting' ORDER BY tries, started_at LIMIT 1)
RETURNING {_COLUMNS}
"""  # noqa: S608 - made of a constant
_PIECES = "SELECT number, sealed_piece FROM statement_pieces WHERE upload_id = %s ORDER BY number"
_PROGRESS = "UPDATE statement_uploads SET rows_done = %s, rows_in_all = %s WHERE upload_id = %s"
_END = "UPDATE statement_uploads SET state = %s, reconciliation_id = %s, refusal = %s WHERE upload_id = %s"
_DELETE_PIECES = "DELETE FROM statement_pieces WHERE upload_id = %s"


class UploadState(StrEnum):
    """Where an upload is."""

    UPLOADING = "uploading"
    WAITING = "waiting"
    IMPORTED = "imported"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload. `rows_done` of `rows_in_all` rows are matched; `refusal` says why nothing was imported."""

    upload_id: UUID
    uploaded_by: int
    size_bytes: int
    started_at: datetime
    state: UploadState
    tries: int
    rows_done: int
    rows_in_all: int | None
    reconciliation_id: UUID | None
    refusal: str | None

    @property
    def pieces(self) -> int:
        """How many pieces there are: all of PIECE_BYTES, and the last of what is left."""
        return -(-self.size_bytes // PIECE_BYTES)

    def length_of(self, number: int) -> int:
        """Return the bytes of a piece, which is numbered from 0."""
        return min(PIECE_BYTES, self.size_bytes - number * PIECE_BYTES)

    def row_of(self, number: int) -> str:
        """Return what a piece is bound to: whoever changes who uploads how much makes it unreadable."""
        return f"{self.upload_id}.{self.uploaded_by}.{self.size_bytes}.{number}"


class StatementUploads:
    """Takes files in pieces, and imports those that are whole. Safe to share between threads."""

    def __init__(self, database: Database, vault: Vault, audit_log: AuditLog, reconciler: Reconciler) -> None:
        self._database = database
        self._vault = vault
        self._audit_log = audit_log
        self._reconciler = reconciler

    def start(self, size_bytes: int, *, by: int) -> UUID:
        """Begin an upload of `by`, in place of one that they did not end; return its id.

        Raises InvalidValue for a file that is empty or larger than MAX_BYTES, and Unavailable where too many are
        under way.
        """
        if not 1 <= size_bytes <= MAX_BYTES:
            raise InvalidValue(
                f"A file here has 1 byte to {MAX_BYTES >> 20} MiB. Export a shorter period, or let an administrator "
                "run `daftari reconcile`."
            )
        upload_id = uuid4()
        with self._database.transaction() as connection:
            connection.execute(_ONE_START_AT_A_TIME)
            connection.execute(_DELETE_BEFORE, (by,))
            count = connection.execute(_COUNT).fetchone()
            if count is None or count["count"] >= MAX_UNDER_WAY:
                raise Unavailable("Too many uploads are under way. Try again in some minutes.")
            connection.execute(_ADD, (upload_id, by, size_bytes, clock.now()))
        return upload_id

    def add_piece(self, upload_id: UUID, number: int, piece: bytes, *, by: int) -> None:
        """Store a piece of an upload of `by`, in any order; one that is stored already stays as it is.

        Raises NotFound, and InvalidValue for a piece that the file does not have.
        """
        upload = self.find(upload_id)
        _require_own(upload, by)
        if number >= upload.pieces or len(piece) != upload.length_of(number):
            raise InvalidValue(
                f"Send piece 0 to {upload.pieces - 1}, each of {PIECE_BYTES} bytes and the last of what is left."
            )
        text = piece.decode("latin-1")
        sealed = self._vault.encrypt(SYSTEM_USER_ID, text, purpose=STATEMENT_PIECE, row=upload.row_of(number))
        with self._database.connection() as connection:
            connection.execute(_ADD_PIECE, {"upload_id": upload_id, "number": number, "sealed": sealed})

    def finish(self, upload_id: UUID, *, by: int) -> None:
        """Hand an upload of `by` over to the worker; again, it changes nothing.

        Raises NotFound, and InvalidValue while a piece is missing.
        """
        upload = self.find(upload_id)
        if upload.uploaded_by == by and upload.state != UploadState.UPLOADING:
            return
        _require_own(upload, by)
        with self._database.transaction() as connection:
            done = connection.execute(_FINISH, {"upload_id": upload_id, "pieces": upload.pieces})
            if done.rowcount:
                details = {"bytes": upload.size_bytes}
                self._audit_log.record(
                    connection, UPLOADED, actor=f"user:{by}", subject=f"upload:{upload_id}", details=details
                )
                return
        # A request at the same moment may have handed it over.
        if self.find(upload_id).state == UploadState.UPLOADING:
            raise InvalidValue("Pieces of the file are missing. Upload it again.")

    def find(self, upload_id: UUID) -> Upload:
        """Return an upload. Raises NotFound, also an hour after it began."""
        with self._database.connection() as connection:
            row = connection.execute(_FIND, (upload_id,)).fetchone()
        if row is None:
            raise NotFound(
                "There is no such upload; it is deleted an hour after it began. Upload the file again."
            )
        return Upload(**row)

    def is_waiting(self) -> bool:
        """Say whether an upload is whole and waits for its import. Raises Unavailable."""
        with self._database.connection() as connection:
            return connection.execute(_IS_WAITING).rowcount > 0

    def import_next(self) -> int:
        """Import the upload that waits longest, for one process at a time; return how many were imported or refused.

        A file that was imported before leads to its first report. Raises Unavailable; then it is tried again.
        """
        with self._database.connection() as connection:
            row = connection.execute(_CLAIM).fetchone()
        if row is None:
            return 0
        upload = Upload(**row)
        if upload.tries > MAX_TRIES:
            refusal = "The import fails again and again. Let an administrator see the log."
            self._end(upload, f"upload:{upload.upload_id}", {"tries": upload.tries}, refusal=refusal)
            return 1
        content = self._content(upload)
        subject = f"statement:{sha256(content).hexdigest()}"
        try:
            report = self._first_report(subject) or self._import(upload, content)
        except StatementRefused as refused:  # Its message has names of columns, which may be anything.
            self._end(upload, subject, {"code": refused.code}, refusal=refused.message)
        else:
            self._end(upload, subject, {"reconciliation_id": str(report)}, report=report)
        return 1

    def _content(self, upload: Upload) -> bytes:
        with self._database.connection() as connection:
            rows = connection.execute(_PIECES, (upload.upload_id,)).fetchall()
        pieces = [
            self._vault.decrypt(
                SYSTEM_USER_ID, row["sealed_piece"], purpose=STATEMENT_PIECE, row=upload.row_of(row["number"])
            ).encode("latin-1")
            for row in rows
        ]
        content = b"".join(pieces)
        if len(content) != upload.size_bytes:
            raise WrongKey
        return content

    def _first_report(self, subject: str) -> UUID | None:
        """Return the report of a file's first import, by an entry that has a right MAC."""
        with self._database.connection() as connection:
            entry = self._audit_log.latest(connection, subject, [IMPORTED])
        return UUID(entry.details["reconciliation_id"]) if entry else None

    def _import(self, upload: Upload, content: bytes) -> UUID:
        def show(done: int, of: int) -> None:
            with self._database.connection() as connection:
                connection.execute(_PROGRESS, (done, of, upload.upload_id))

        with caused_by(actor=f"user:{upload.uploaded_by}"):
            return self._reconciler.reconcile(content, show).reconciliation_id

    def _end(
        self,
        upload: Upload,
        subject: str,
        details: dict[str, str | int],
        *,
        report: UUID | None = None,
        refusal: str | None = None,
    ) -> None:
        """Say what came of an upload, delete its pieces and record both, in one commit."""
        state, kind = (UploadState.REFUSED, REFUSED) if refusal else (UploadState.IMPORTED, IMPORTED)
        told = {"upload_id": str(upload.upload_id), **details}
        with self._database.transaction() as connection:
            connection.execute(_END, (state, report, refusal, upload.upload_id))
            connection.execute(_DELETE_PIECES, (upload.upload_id,))
            self._audit_log.record(
                connection, kind, actor=f"user:{upload.uploaded_by}", subject=subject, details=told
            )


def _require_own(upload: Upload, by: int) -> None:
    """Raise NotFound unless an upload is under way, and that of `by`."""
    if upload.uploaded_by != by or upload.state != UploadState.UPLOADING:
        raise NotFound("There is no such upload of yours under way. Upload the file again.")
