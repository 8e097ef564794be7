"""The enums of the API by their names in the OpenAPI document: one for each field, wherever it stands."""

from api.http.framework.document_parts import NamedEnum
from api.http.framework.error_codes import ERROR_CODES
from api.http.schemas.fields import TIME_SLOTS
from api.http.schemas.session_schemas import EVENT_NAMES
from ledger.session.values import AttemptState, Evidence, RefundState, RefundStatus, Status
from payments.exceptions.next_steps import Kind
from payments.reconciliation.c2b import ValidationAnswer
from payments.webhooks.deliveries import STATES
from payments.webhooks.endpoints import REASONS
from payments.webhooks.messages import MESSAGE_TYPES
from projections.booked_receipts import Missing
from projections.figures import BYS, GROUPS
from projections.postings import CHART, Account

ACCOUNT_GROUPS = sorted({facts.group for facts in CHART.values()})

NAMED_ENUMS = {
    "DisabledReason": NamedEnum("Why a webhook endpoint is disabled.", REASONS),
    "DeliveryState": NamedEnum("How far the delivery of a message is.", STATES),
    "SessionState": NamedEnum("The status of a payment session.", list(Status)),
    "RefundStatus": NamedEnum("How far what is due back of a session went back.", list(RefundStatus)),
    "RefundState": NamedEnum("The state of one refund.", list(RefundState)),
    "AttemptState": NamedEnum("The state of one attempt to pay.", list(AttemptState)),
    "Evidence": NamedEnum("By what a payment is known, from the weakest to the strongest.", list(Evidence)),
    "TimeSlot": NamedEnum("The part of the day to deliver in.", TIME_SLOTS),
    "ErrorCode": NamedEnum("Why a request was refused. Later versions may add codes.", list(ERROR_CODES)),
    "EventName": NamedEnum("The name of an event of a session.", EVENT_NAMES),
    "MessageType": NamedEnum("What a message tells. Later versions may add types.", MESSAGE_TYPES),
    "CaseKind": NamedEnum("What kind of thing an operator has to look at.", list(Kind)),
    "MetricsBy": NamedEnum("What a row of the metrics is for.", BYS),
    "MetricsGroup": NamedEnum("By what the metrics are grouped.", GROUPS),
    "Account": NamedEnum("An account of the books.", list(Account)),
    "AccountGroup": NamedEnum("The group of an account.", ACCOUNT_GROUPS),
    "ReceiptDifference": NamedEnum("How books and statement differ about a receipt.", list(Missing)),
    "ValidationCode": NamedEnum(
        "Why a payment is accepted or rejected before it is made.", list(ValidationAnswer)
    ),
    "ValidationWord": NamedEnum("Whether a payment is accepted before it is made.", ["Accepted", "Rejected"]),
}
