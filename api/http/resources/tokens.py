"""Revocation of bearer tokens: a user who lost a token, or may no longer act, is shut out at once."""

from typing import Any

from marshmallow import fields

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.auth import MAX_TOKEN_ID, MAX_USER, caller, require_role
from api.http.middleware.idempotency import idempotent
from api.http.schemas.fields import RequestSchema, ResponseSchema, Text
from api.issued_tokens import Role
from ledger.errors import InvalidValue
from payments.refunds.notes import MAX_CHARACTERS, parse_note

blueprint = ApiBlueprint("tokens", __name__, description="Tokens that are refused before they end.")


class TokenRevocation(RequestSchema):
    """Which tokens of the user, and why."""

    reason = Text(
        most=MAX_CHARACTERS,
        required=True,
        metadata={"description": "Why. It is kept for ever: write no phone number and no name."},
    )
    token_id = Text(
        most=MAX_TOKEN_ID,
        metadata={
            "description": "Only the token with this `jti`; without it, all that were issued until now."
        },
    )


class TokensRevoked(ResponseSchema):
    """Confirmation of a revocation."""

    status = fields.String(metadata={"example": "success"})
    message = fields.String()


@blueprint.route("/api/users/<int:user_id>/revoke-tokens/", methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.arguments(TokenRevocation)
@blueprint.response(200, TokensRevoked)
def revoke_tokens(wanted: dict[str, Any], user_id: int) -> dict[str, Any]:
    """Revoke a user's tokens.

    Every token that was issued until now, or one by its `jti`. Every process refuses them within two seconds, in the
    API and in the console; tokens that do not say when they were issued (`iat`) stay refused.
    """
    if not 1 <= user_id <= MAX_USER:
        raise InvalidValue(f"A user is a whole number from 1 to {MAX_USER}.")
    revocations, by = current_services().revocations, caller().actor
    reason, token_id = parse_note(wanted["reason"], "reason"), wanted.get("token_id")
    if token_id is None:
        revocations.revoke_all(user_id, by=by, reason=reason)
        return {"status": "success", "message": f"The tokens of user {user_id} issued until now are refused."}
    revocations.revoke(user_id, token_id, by=by, reason=reason)
    return {"status": "success", "message": f"This token of user {user_id} is refused."}
