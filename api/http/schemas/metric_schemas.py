"""The figures of a period: what is asked for, and what is shown."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from marshmallow import ValidationError, fields

from api.http.schemas.fields import YEARS, AwareMoment, Choice, Day, Moment, RequestSchema, ResponseSchema
from api.http.schemas.pagination import CursorText, KeysetList, KeysetQuery
from ledger.clock import start_of_day
from projections.figures import BYS, GROUPS

_DAY_LENGTH = len("2024-01-15")


class MomentOrDay(AwareMoment):
    """A moment with its zone, or a day in Nairobi: its beginning, or with `is_end` its end."""

    _HELP = "Write a day in Nairobi like 2024-01-15, or a moment with its zone, like 2024-01-15T10:30:00Z."

    def __init__(self, *, is_end: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._is_end = is_end
        self._day = Day()

    def _deserialize(self, value: Any, *arguments: Any, **names: Any) -> Any:
        if len(value) != _DAY_LENGTH:
            return super()._deserialize(value, *arguments, **names)
        day = self._day.deserialize(value)
        if day.year not in YEARS:
            raise ValidationError(f"Write a year from {YEARS[0]} to {YEARS[-1]}.")
        return start_of_day(day + timedelta(days=1)) if self._is_end else start_of_day(day)


class MetricsQuery(RequestSchema):
    """A period of session creation in whole hours, and how its figures are split."""

    since = AwareMoment(
        metadata={"description": "The beginning; 24 hours before the end where it is left out."}
    )
    until = AwareMoment(metadata={"description": "The end; now where it is left out."})
    from_ = MomentOrDay(
        data_key="from", metadata={"description": "The same as `since`; takes a day in Nairobi too."}
    )
    to = MomentOrDay(
        is_end=True,
        metadata={
            "description": "The same as `until`; takes a day in Nairobi too, to the end of which it goes."
        },
    )
    by = Choice(BYS, metadata={"description": "A row for each of these; days and weeks are Nairobi's."})
    group = Choice(
        GROUPS, metadata={"description": "A row for each of these; of counties there are whole months only."}
    )
    as_reported_at = AwareMoment(
        metadata={"description": "The figures as they were by what was recorded until then."}
    )

    def made_of(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the fields with one name for each end of the period."""
        for name, other in (("since", "from_"), ("until", "to")):
            if name in data and other in data:
                raise ValidationError(f"Leave this out, or `{name}`.", other.strip("_"))
            if other in data:
                data[name] = data.pop(other)
        return data


class ShownRate(ResponseSchema):
    """A rate, and what it is made of in words and numbers."""

    name = fields.String(metadata={"example": "payment_success_rate"})
    rate = fields.Decimal(allow_none=True, metadata={"example": 0.9312})
    numerator = fields.Integer()
    numerator_is = fields.String()
    denominator = fields.Integer()
    denominator_is = fields.String()


class ShownFigures(ResponseSchema):
    """The figures of one time, or of the period, and of one group. Those of a suppressed row are null."""

    start = Moment(allow_none=True, metadata={"description": "When it begins; null without `by`."})
    group = fields.String(
        allow_none=True,
        metadata={
            "description": "The id of a county or product, or the result code; `none` where there is none, `others`"
            " for all beyond the largest; null without `group`."
        },
    )
    suppressed = fields.Boolean(
        metadata={"description": "Whether it stands for counties with too few buyers to be shown."}
    )
    rates = fields.List(fields.Nested(ShownRate))
    seconds_to_pay_p50 = fields.Float(
        allow_none=True, metadata={"description": "From the prompt to the payment.", "example": 14.2}
    )
    seconds_to_pay_p95 = fields.Float(allow_none=True, metadata={"example": 47.5})
    sessions_created = fields.Integer(allow_none=True)
    sessions_by_status = fields.Dict(values=fields.Integer(), allow_none=True)
    open_sessions = fields.Integer(allow_none=True)
    amount_received = fields.String(allow_none=True, metadata={"example": "350.00"})


class Metrics(ResponseSchema):
    """Rates of the sessions created in a period. Open sessions are counted apart, never as failures.

    `rows` has them by time and group, with rates of refunds and of sessions created, and the time to pay.
    """

    since = Moment()
    until = Moment()
    by = fields.String(allow_none=True)
    group = fields.String(allow_none=True)
    as_reported_at = Moment(allow_none=True)
    rates = fields.List(fields.Nested(ShownRate))
    sessions_by_status = fields.Dict(values=fields.Integer())
    open_sessions = fields.Integer()
    amount_received = fields.String(metadata={"example": "350.00"})
    rows = fields.List(fields.Nested(ShownFigures))


class RestatementQuery(KeysetQuery):
    """The list of restatements."""

    cursor = CursorText(UUID, int)


class ShownRestatement(ResponseSchema):
    """What one late event changed in the figures of an hour."""

    recorded_at = Moment()
    session_id = fields.UUID()
    version = fields.Integer()
    position = fields.Integer()
    event = fields.String(metadata={"example": "Refunded"})
    hour = Moment(metadata={"description": "When the hour begins in which the session was created."})
    changes = fields.Dict(values=fields.Integer(), metadata={"description": "By figure; money in cents."})


class RestatementList(KeysetList):
    """A page of restatements, the latest recorded first."""

    results = fields.List(fields.Nested(ShownRestatement))
