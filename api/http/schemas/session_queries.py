"""The queries of payment sessions: which of a list, how long to wait for a change, where a stream goes on."""

from uuid import UUID

from marshmallow import validate

from api.http.schemas.fields import AwareMoment, Choice, LenientSchema, RequestSchema
from api.http.schemas.pagination import RECORDED_AS_OF, CursorText, Ordinal, PageQuery
from ledger.session.values import Status

MAX_WAIT_SECONDS = 30


class SessionQuery(PageQuery):
    """The query of the list of sessions."""

    class Meta(LenientSchema.Meta):
        """Ignore unknown names: the list is the checkout contract's."""

    status = Choice(
        [str(status) for status in Status], metadata={"description": "Only sessions in this status."}
    )
    recorded_as_of = AwareMoment(metadata=RECORDED_AS_OF)
    cursor = CursorText(UUID)


class LongPollQuery(LenientSchema):
    """How long a client waits for a change, and beyond which version."""

    empty_is_constant = True
    """An empty query is loaded once."""

    wait = Ordinal(
        load_default=0,
        validate=validate.Range(0, MAX_WAIT_SECONDS),
        metadata={"description": "Seconds to wait for a change; 0 returns the status as it is."},
    )
    after = Ordinal(
        metadata={"description": "The version that the client knows; by default the current one."}
    )


class LastEvent(RequestSchema):
    """The header with which a stream is resumed."""

    last_event_id = Ordinal(
        data_key="Last-Event-ID",
        metadata={"description": "The id of the last event received, which is the session's version."},
    )
