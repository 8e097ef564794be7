"""The schema of a decision that waits for a second person."""

from typing import Any

from marshmallow import fields

from api.http.framework.json import amount
from api.http.schemas.fields import Moment, ResponseSchema
from payments.operators.proposals import Proposal

NOT_YOURS = ("OWN_PAYMENT", "SECOND_PERSON_NEEDED")
"""The codes with which an operator may be refused a decision."""

PROPOSED = "A second person has to approve it"
"""What a 202 means."""

NEEDS_ANOTHER = "This amount needs a second person: another operator has to approve it."


class ShownProposal(ResponseSchema):
    """A decision that one operator, or the refund policy, proposed."""

    proposal_id = fields.UUID()
    action = fields.String(metadata={"example": "approve"})
    session_id = fields.UUID(allow_none=True)
    amount = fields.Decimal(metadata={"example": 350.00})
    proposed_by = fields.String(metadata={"example": "operator 9"})
    proposed_at = Moment()
    expires_at = Moment(metadata={"description": "From then on it counts no more."})
    approve = fields.String(metadata={"description": "Where another operator approves it: POST."})


def show_proposal(proposal: Proposal) -> dict[str, Any]:
    """Return a proposal with its amount in shillings."""
    return {
        "proposal_id": proposal.proposal_id,
        "action": proposal.action,
        "session_id": proposal.session_id,
        "amount": amount(proposal.amount_cents),
        "proposed_by": proposal.proposed_by,
        "proposed_at": proposal.proposed_at,
        "expires_at": proposal.expires_at,
        "approve": f"/api/work-list/decision_proposed/{proposal.proposal_id}/approve/",
    }
