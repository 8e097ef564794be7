"""Auditors take the evidence of a payment, to show it to those who do not trust us."""

from typing import Any
from uuid import UUID

from flask import Response
from marshmallow import Schema, validate

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.access_log import reads_personal_data
from api.http.middleware.auth import require_role
from api.http.schemas.pagination import Ordinal
from api.issued_tokens import Role
from payments.evidence.evidence_pack import EvidencePacks

ZIP = "application/zip"

blueprint = ApiBlueprint("evidence", __name__, description="What a third party can check of a payment.")


class EvidenceQuery(Schema):
    """Under which signed head."""

    head = Ordinal(
        validate=validate.Range(1),
        metadata={
            "description": "The number of a signed head, by default the last. The same gives the same bytes."
        },
    )


@blueprint.route("/api/audit/payments/<uuid:session_id>/evidence/", methods=["GET"])
@blueprint.response(200, {"type": "string", "format": "binary"}, content_type=ZIP, description="The pack")
@require_role(Role.AUDITOR)
@reads_personal_data("evidence")
@blueprint.arguments(EvidenceQuery, location="query")
@blueprint.refuses("SESSION_NOT_FOUND", "HEAD_NOT_FOUND", "NOT_SIGNED_YET", "NOT_AS_SIGNED")
def take_evidence(query: dict[str, Any], session_id: UUID) -> Response:
    """Take the evidence pack of a payment.

    A ZIP file with its events, M-Pesa's messages, order, refunds, an account in plain words, proofs to a signed head,
    and verify.py, which checks it offline. An event that is not genuine stands in it as it is stored, and account and
    verify.py say so first.
    """
    return evidence_of(session_id, query.get("head"))


def evidence_of(session_id: UUID, head: int | None) -> Response:
    """Return the pack of a payment as a file to keep. Raises NotFound, and what `EvidencePacks.pack` raises."""
    services = current_services()
    packs = EvidencePacks(services.database, services.vault, services.shops.order_of)
    pack = packs.pack(session_id, head).content
    name = f'attachment; filename="evidence-{session_id}.zip"'
    return Response(pack, mimetype=ZIP, headers={"Content-Disposition": name, "Cache-Control": "no-store"})
