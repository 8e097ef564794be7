"""The schemas of webhook endpoints and their deliveries."""

import re
from collections.abc import Sequence
from typing import Any

from marshmallow import ValidationError, fields, validate

from api.http.schemas.catalogue_schemas import Flag
from api.http.schemas.fields import (
    AwareMoment,
    Choice,
    Moment,
    RequestSchema,
    ResponseSchema,
    Text,
    WholeNumber,
)
from api.http.schemas.pagination import KeysetList, KeysetQuery
from payments.webhooks.deliveries import STATES, Delivery
from payments.webhooks.endpoints import MISSED_AT_MOST, REASONS, Endpoint
from payments.webhooks.messages import MESSAGE_TYPES
from payments.webhooks.targets import MAX_URL_CHARACTERS

MAX_DELIVERY = 2**53 - 1
_DELIVERY = re.compile(r"[1-9][0-9]{0,15}")
_URL = {
    "description": "An https URL of a public host, without user, password and fragment.",
    "example": "https://shop.example/hooks/daftari",
}


class DeliveryNumber(fields.Integer):
    """The number of a delivery in a query."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if not isinstance(value, str) or not _DELIVERY.fullmatch(value) or int(value) > MAX_DELIVERY:
            raise ValidationError("Follow the `next` link as it is.")
        return int(value)


def _events(**options: Any) -> fields.List[Any]:
    return fields.List(
        Choice(MESSAGE_TYPES),
        validate=validate.Length(1, len(MESSAGE_TYPES), error="Name at least one type."),
        metadata={
            "description": "The types of messages that it is sent.",
            "example": ["payment.paid", "order.created"],
        },
        **options,
    )


class NewEndpoint(RequestSchema):
    """A webhook endpoint to be added; without `events` it is sent all types."""

    url = Text(most=MAX_URL_CHARACTERS, required=True, metadata=_URL)
    events = _events(load_default=list(MESSAGE_TYPES))


class EndpointChange(RequestSchema):
    """What to change of a webhook endpoint; what is left out stays."""

    url = Text(most=MAX_URL_CHARACTERS, metadata=_URL)
    events = _events()
    enabled = Flag(metadata={"description": "Enabled again, it is sent what it missed in the last 30 days."})


class Redelivery(RequestSchema):
    """What to deliver again: one `delivery`, or all that was recorded `since` a moment."""

    delivery = WholeNumber(most=MAX_DELIVERY, metadata={"description": "The id of a delivery."})
    since = AwareMoment(
        metadata={
            "description": f"At most {MISSED_AT_MOST.days} days ago.",
            "example": "2026-11-27T08:00:00Z",
            "format": "date-time",
        }
    )


class ShownEndpoint(ResponseSchema):
    """A webhook endpoint."""

    id = fields.UUID()
    url = fields.String(metadata=_URL)
    events = fields.List(fields.String(validate=validate.OneOf(MESSAGE_TYPES)))
    key = fields.String(
        allow_none=True,
        metadata={
            "description": "The name of the key that it belongs to; null for one that hears of all sessions.",
            "example": "shop",
        },
    )
    enabled = fields.Boolean()
    disabled_reason = fields.String(allow_none=True, validate=validate.OneOf([*REASONS, None]))
    created_at = Moment()
    failing_since = Moment(
        allow_none=True,
        metadata={"description": "Since when it has taken nothing, null if it takes what it is sent."},
    )


class EndpointWithSecret(ShownEndpoint):
    """A webhook endpoint with the secret by which its messages are signed. The secret is never shown again."""

    secret = fields.String(metadata={"example": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="})


class EndpointList(ResponseSchema):
    """Webhook endpoints, the oldest first."""

    results = fields.List(fields.Nested(ShownEndpoint))


class WebhookDeliveryQuery(KeysetQuery):
    """The query of the deliveries of an endpoint."""

    before = DeliveryNumber(metadata={"description": "What the link carries; leave it out at the start."})


class ShownWebhookDelivery(ResponseSchema):
    """One event for one endpoint, and what came of it. What was sent is not kept: it is made of the record."""

    id = fields.Integer()
    type = fields.String(validate=validate.OneOf(MESSAGE_TYPES))
    session_id = fields.UUID()
    version = fields.Integer(metadata={"description": "The version of the session that it tells of."})
    state = fields.String(validate=validate.OneOf(STATES))
    queued_at = Moment()
    attempts = fields.Integer()
    last_attempt_at = Moment(allow_none=True)
    last_status = fields.Integer(
        allow_none=True,
        metadata={"description": "The HTTP status of the last answer, null if there was none."},
    )
    last_error = fields.String(allow_none=True, metadata={"example": "no answer in time"})
    next_attempt_at = Moment(
        allow_none=True,
        metadata={
            "description": "Null once it is over, and while an earlier message of its session is pending."
        },
    )


class WebhookDeliveryList(KeysetList):
    """A page of deliveries, the latest first."""

    results = fields.List(fields.Nested(ShownWebhookDelivery))


def show_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    """Return an endpoint without its secrets."""
    return {
        "id": endpoint.endpoint_id,
        "url": endpoint.definition.url,
        "events": list(endpoint.definition.events),
        "key": endpoint.definition.key_name,
        "enabled": endpoint.is_enabled,
        "disabled_reason": endpoint.reason,
        "created_at": endpoint.created_at,
        "failing_since": endpoint.failing_since,
    }


def show_deliveries(deliveries: Sequence[Delivery]) -> list[dict[str, Any]]:
    """Return deliveries as they are listed."""
    names = [name for name in ShownWebhookDelivery().fields if name != "id"]
    return [{"id": each.delivery_id} | {name: getattr(each, name) for name in names} for each in deliveries]
