"""Proofs for third parties, made for auditors: events under signed heads, and heads under later ones."""

import re
from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.auth import require_role
from api.http.schemas.fields import RequestSchema, ResponseSchema
from api.issued_tokens import Role

blueprint = ApiBlueprint("proofs", __name__, description="Proofs of what is in the log, for third parties.")

_MAX = 2**63 - 1


class Digits(fields.String):
    """A whole number from 1 to 2^63 - 1, as digits; loads to an int."""

    def __init__(self, description: str, **kwargs: Any) -> None:
        shown = {"description": description, "pattern": "^[0-9]{1,19}$"}
        super().__init__(metadata=shown, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        if not isinstance(value, str) or not re.fullmatch("[0-9]{1,19}", value) or not 0 < int(value) <= _MAX:
            raise ValidationError("Write a whole number from 1 to 9223372036854775807.")
        return int(value)


class InclusionQuery(RequestSchema):
    """The query of a proof of inclusion: a position, or a session and a version."""

    position = Digits("The position of the event in the log.")
    session_id = fields.UUID(metadata={"description": "The session of the event."})
    version = Digits("The version of the event in its session.")
    head = Digits("The number of the signed block that the event is under; by default the last.")

    @validates_schema
    def _names_one_event(self, data: dict[str, Any], **_: Any) -> None:
        if data.keys() - {"head"} not in ({"position"}, {"session_id", "version"}):
            raise ValidationError("Name the event by its position, or by session_id and version.", "position")


class ConsistencyQuery(RequestSchema):
    """The query of a proof of consistency."""

    first = Digits("The number of the earlier signed block.", required=True)
    second = Digits("The number of the later one; by default the last.")


class ShownHead(ResponseSchema):
    """A signed block as its hash is over it: SHA-256 of the JSON list that docs/proofs.md gives, by Ed25519.

    Binary values are hex digits; numbers that may exceed JSON's are text.
    """

    name = fields.String()
    origin = fields.Integer()
    number = fields.String()
    after_position = fields.String()
    until_position = fields.String()
    events = fields.Integer()
    digest = fields.String()
    previous_hash = fields.String()
    tree_size = fields.String()
    root_hash = fields.String()
    hash = fields.String()
    public_key = fields.String()
    signature = fields.String()
    signed_at = fields.String(metadata={"description": "As it is hashed, to the microsecond."})


class InclusionProof(ResponseSchema):
    """That an event is the leaf `leaf_index`, from 0, of the tree under a head: RFC 6962, section 2.1.1."""

    format = fields.String()
    session_id = fields.String()
    version = fields.Integer()
    position = fields.String()
    hash = fields.String()
    leaf_index = fields.String()
    audit_path = fields.List(fields.String(), metadata={"description": "From the leaf's sibling up."})
    head = fields.Nested(ShownHead)


class ConsistencyProof(ResponseSchema):
    """That the tree of the first head is the start of that of the second: RFC 6962, section 2.1.2."""

    format = fields.String()
    first = fields.Nested(ShownHead)
    second = fields.Nested(ShownHead)
    path = fields.List(fields.String())


@blueprint.route("/api/audit/proofs/inclusion/", methods=["GET"])
@require_role(Role.AUDITOR)
@blueprint.arguments(InclusionQuery, location="query")
@blueprint.refuses("NOT_FOUND", "HEAD_NOT_FOUND", "NOT_SIGNED_YET", "NOT_AS_SIGNED")
@blueprint.response(200, InclusionProof)
def prove_inclusion(query: dict[str, Any]) -> dict[str, Any]:
    """Prove that an event is under a signed head.

    Whoever holds the head, from us or from where it was published, needs nothing else of ours to check it.
    """
    proofs = current_services().proofs
    if "position" in query:
        return proofs.of_position(**query)
    [proof] = proofs.of_session(**query)
    return proof


@blueprint.route("/api/audit/proofs/consistency/", methods=["GET"])
@require_role(Role.AUDITOR)
@blueprint.arguments(ConsistencyQuery, location="query")
@blueprint.refuses("HEAD_NOT_FOUND", "NOT_AS_SIGNED")
@blueprint.response(200, ConsistencyProof)
def prove_consistency(query: dict[str, Any]) -> dict[str, Any]:
    """Prove that a signed head is the start of a later one.

    Nothing under the first was changed, moved or removed, nor added to it, when the second was signed.
    """
    return current_services().proofs.of_heads(**query)
