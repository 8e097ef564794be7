"""The fields of requests and responses: strict and bounded, with a clear error message for each field."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, post_load, validate

from api.http.framework.blueprint import UNKNOWN
from api.http.framework.json import moment_text
from api.http.framework.lean import CONVERTS
from ledger.clock import NAIROBI, now
from ledger.errors import InvalidValue
from ledger.phone import PhoneNumber

TIME_SLOTS = ("morning", "afternoon", "evening")
MAX_ID = 2**31 - 1
MAX_DAYS = 366

YEARS = range(2000, 2200)
"""Outside these years there is nothing to report, and arithmetic with the first and last years of a datetime fails."""

_PHONE_FORMS = r"^(\+?254|0)?[17][0-9]{8}$"
"""The documented form. Blanks, brackets and dashes between the digits are accepted too."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class RequestSchema(Schema):
    """A body or a query. Unknown names are refused."""

    class Meta:
        """Refuse unknown names."""

        unknown = RAISE

    error_messages = {"unknown": UNKNOWN}  # noqa: RUF012 - marshmallow's name

    def made_of(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return what is made of fields that are all good: the fields."""
        return data

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return self.made_of(data)


class LenientSchema(RequestSchema):
    """A body or a query of the checkout contract. Unknown names are ignored, and reported in a header."""

    class Meta:
        """Ignore unknown names."""

        unknown = EXCLUDE


class ResponseSchema(LenientSchema):
    """A response. Every key is always there; a missing value is null."""

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:  # noqa: ARG002 - marshmallow's hook
        """Document that the key is always there."""
        field_obj.required = True


class Phone(fields.String):
    """A Kenyan mobile number as people type it; loads to a PhoneNumber."""

    def __init__(self, **kwargs: Any) -> None:
        shown = {"example": "0712345678", "pattern": _PHONE_FORMS}
        super().__init__(metadata=shown | kwargs.pop("metadata", {}), **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        try:
            return PhoneNumber.parse(value)
        except InvalidValue as error:
            raise ValidationError(error.message) from None


class WholeNumber(fields.Integer):
    """A JSON integer within bounds: never a boolean, a fraction or text."""

    def __init__(self, *, least: int = 1, most: int = MAX_ID, **kwargs: Any) -> None:
        self._message = f"Write a whole number from {least} to {most}."
        super().__init__(validate=validate.Range(least, most, error=self._message), **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if type(value) is not int:
            raise ValidationError(self._message)
        return value


class Text(fields.String):
    """Text of `least` to `most` characters, trimmed, without control characters except new lines."""

    def __init__(self, *, least: int = 1, most: int = 100, **kwargs: Any) -> None:
        length = validate.Length(least, most, error=f"Write {least} to {most} characters.")
        super().__init__(validate=length, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("Write text.")
        text = value.replace("\r\n", "\n").strip()
        if _CONTROL.search(text):
            raise ValidationError("Remove the control characters.")
        return text


def one_of(choices: Iterable[str]) -> validate.OneOf:
    """Return what documents that a field of a response is one of these words."""
    return validate.OneOf([str(choice) for choice in choices])


class Choice(fields.String):
    """One of a fixed list of words."""

    def __init__(self, choices: Sequence[str], **kwargs: Any) -> None:
        message = "Choose one of: " + ", ".join(choices) + "."
        super().__init__(validate=validate.OneOf(choices, error=message), **kwargs)


class TimeSlot(Choice):
    """The part of the day to deliver in."""

    def __init__(self, choices: Sequence[str] = TIME_SLOTS, **kwargs: Any) -> None:
        super().__init__(choices, **kwargs)


class Day(fields.Date):
    """A calendar day, YYYY-MM-DD and nothing else."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> date:
        if not isinstance(value, str) or not _DAY.fullmatch(value):
            raise ValidationError("Write a day like 2024-01-15.")
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValidationError("There is no such day in the calendar.") from None


class DeliveryDay(Day):
    """A day from today on, in Nairobi, within a year."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> date:
        day = super()._deserialize(value)
        ahead = (day - now().astimezone(NAIROBI).date()).days
        if not 0 <= ahead <= MAX_DAYS:
            raise ValidationError("Choose today or a later day, within a year.")
        return day


class AwareMoment(fields.String):
    """A moment in a query or a body: RFC 3339 with its zone."""

    _HELP = "Write a moment with its zone, like 2024-01-15T10:30:00Z."

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        try:
            moment = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            moment = None
        if moment is None or moment.tzinfo is None:
            raise ValidationError(self._HELP)
        if moment.year not in YEARS:
            raise ValidationError(f"Write a year from {YEARS[0]} to {YEARS[-1]}.")
        return moment.astimezone(UTC)


class Moment(fields.DateTime):
    """A time in a response: RFC 3339 in UTC, whole seconds."""

    def _serialize(self, value: datetime | None, *_: Any, **__: Any) -> str | None:
        return None if value is None else moment_text(value)


CONVERTS |= {Moment: moment_text, Choice: str}
