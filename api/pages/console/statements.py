"""M-Pesa's statements: operators upload them in pieces, the worker imports them, and the page lists the differences."""

from uuid import UUID

from flask import Response, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.http.framework.services import current_services
from api.http.middleware.access_log import reads_personal_data
from api.http.middleware.auth import caller
from api.http.resources.reconciliations import ImportQuery
from api.http.schemas.pagination import Page
from api.issued_tokens import Role
from api.pages.console.blueprint import in_section, pages, read_query
from api.pages.console.navigation import STATEMENTS
from ledger.errors import InvalidValue, NotFound
from payments.reconciliation.statement_uploads import MAX_BYTES, PIECE_BYTES, UploadState
from payments.reconciliation.statements import LOOKED_AT, MEANINGS

UPLOADS = "/statements/uploads/"


@pages.get("/statements/")
@in_section(STATEMENTS)
def show_statements() -> str:
    """Show the imports of statements, the latest first, under the form to upload one."""
    page: Page = read_query(ImportQuery)["page"]
    count, imports = current_services().reconciliations.page(page.place)
    return render_template(
        "console/statements.html",
        listed=page.show(count, imports, [each.key for each in imports]),
        uploads=Role.OPERATOR in caller().roles,
        most=MAX_BYTES >> 20,
    )


@pages.get("/statements/<uuid:reconciliation_id>/")
@in_section(STATEMENTS)
@reads_personal_data("differences of a statement")
def show_statement(reconciliation_id: UUID) -> str:
    """Show what an import found: the counts, then each difference."""
    found = current_services().reconciliations.find(reconciliation_id)
    if found is None:
        raise NotFound("There is no such import.", code="RECONCILIATION_NOT_FOUND")
    return render_template(
        "console/statement.html",
        done=found,
        found=found.found,
        meanings=MEANINGS,
        looked_at=LOOKED_AT,
    )


@pages.get(f"{UPLOADS}<uuid:upload_id>/")
@in_section(STATEMENTS)
def show_upload(upload_id: UUID) -> str | AnyResponse:
    """Show how far the import of an upload is, or why it was refused; once it is done, lead to its report."""
    upload = current_services().statement_uploads.find(upload_id)
    if upload.state == UploadState.IMPORTED:
        return redirect(url_for("console.show_statement", reconciliation_id=upload.reconciliation_id), 303)
    return render_template("console/upload.html", upload=upload)


@pages.post(UPLOADS)
@in_section(STATEMENTS, Role.OPERATOR)
def start_upload() -> Response:
    """Begin an upload of so many `bytes`; return where its pieces go, and how large they are."""
    size = request.form.get("bytes", 0, int)
    upload_id = current_services().statement_uploads.start(size, by=caller().user_id)
    path = url_for("console.show_upload", upload_id=upload_id)
    return jsonify(path=path, piece_bytes=PIECE_BYTES)


@pages.post(f"{UPLOADS}<uuid:upload_id>/pieces/<int:number>/")
@in_section(STATEMENTS, Role.OPERATOR)
def add_piece(upload_id: UUID, number: int) -> tuple[str, int]:
    """Store the file `piece` of a form as a piece of an upload."""
    piece = request.files.get("piece")
    if piece is None:
        raise InvalidValue("There is no piece in this form.")
    current_services().statement_uploads.add_piece(upload_id, number, piece.read(), by=caller().user_id)
    return "", 204


@pages.post(f"{UPLOADS}<uuid:upload_id>/finish/")
@in_section(STATEMENTS, Role.OPERATOR)
def finish_upload(upload_id: UUID) -> tuple[str, int]:
    """Hand an upload that is whole over to the worker."""
    current_services().statement_uploads.finish(upload_id, by=caller().user_id)
    return "", 204
