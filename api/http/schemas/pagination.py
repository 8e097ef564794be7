"""Lists in pages: newest first, and no row moves to another page while new ones are added.

The first page fixes the time as of which the list is read; the links carry it along.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from flask import request
from marshmallow import ValidationError, fields, post_load, validate

from api.http.middleware.proxies import base_url
from api.http.schemas.fields import AwareMoment, RequestSchema, ResponseSchema
from ledger.clock import now
from ledger.store.listing import Key, Place

DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 100
MAX_PAGE = 1_000_000
_DIGITS = re.compile(r"[0-9]{1,9}")
_AS_OF_FORM = re.compile(r"2[01][0-9]{2}-[0-9:.T-]{21}Z")
_AS_OF = "%Y-%m-%dT%H:%M:%S.%fZ"
_CURSOR_FORM = re.compile(r"(?P<side>after|before)~(?P<moment>[0-9:.TZ-]{27})~(?P<rest>[0-9a-f~-]{1,60})")
_PART_FORMS: dict[Callable[[str], Any], re.Pattern[str]] = {
    UUID: re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    int: re.compile(r"[0-9]{1,9}"),
}
_FOLLOW = "Follow the `next` and `previous` links as they are."
_SECOND = 2
"""The page before this one is the first, which is found without a cursor."""


@dataclass(frozen=True)
class Cursor:
    """The row that a page lies after, or before."""

    key: Key
    is_after: bool

    def __str__(self) -> str:
        moment, *rest = self.key
        side = "after" if self.is_after else "before"
        return "~".join([side, moment.astimezone(UTC).strftime(_AS_OF), *map(str, rest)])


@dataclass(frozen=True)
class Page:
    """One page of a list as it stood at `as_of`; a cursor finds it at once, where the list takes one."""

    number: int
    size: int
    as_of: datetime
    cursor: Cursor | None = None

    @property
    def place(self) -> Place:
        """Where its rows are: beside the row whose key one of our links gave, else behind those of the pages before."""
        beside = {"after" if self.cursor.is_after else "before": self.cursor.key} if self.cursor else {}
        return Place(self.as_of, self.size, self.offset, **beside)

    @property
    def offset(self) -> int:
        """The number of rows before this page."""
        return (self.number - 1) * self.size

    def show(self, count: int, results: Sequence[Any], keys: Sequence[Key] = ()) -> dict[str, Any]:
        """Return the contract's list: the count of all rows, absolute links to the neighbours, this page's rows.

        With the `keys` of its rows the links carry cursors.
        """
        last = max(1, -(-count // self.size))
        after = Cursor(keys[-1], is_after=True) if keys else None
        before = Cursor(keys[0], is_after=False) if keys and self.number > _SECOND else None
        return {
            "count": count,
            "next": self._link(self.number + 1, after) if self.number < last else None,
            "previous": self._link(min(self.number - 1, last), before) if self.number > 1 else None,
            "results": list(results),
        }

    def _link(self, number: int, cursor: Cursor | None) -> str:
        kept = [(name, value) for name, value in request.args.items(multi=True) if name not in _PAGE_FIELDS]
        paging = [("page", number), ("page_size", self.size), ("as_of", self.as_of.strftime(_AS_OF))]
        paging += [("cursor", str(cursor))] if cursor else []
        return f"{base_url()}{quote(request.path)}?{urlencode([*kept, *paging])}"


class AsOf(fields.String):
    """The time that one of our links carries, exactly as we wrote it."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        return _moment(value)


class CursorText(fields.String):
    """The cursor that one of our links carries, exactly as we wrote it: a moment, then parts of these types."""

    def __init__(self, *parts: Callable[[str], Any]) -> None:
        super().__init__(metadata={"description": "What the links carry; leave it out at the start."})
        self._parts = parts

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        match = _CURSOR_FORM.fullmatch(value)
        texts = match["rest"].split("~") if match else []
        if match is None or len(texts) != len(self._parts):
            raise ValidationError(_FOLLOW)
        parts = zip(self._parts, texts, strict=True)
        key = _moment(match["moment"]), *(_part(kind, text) for kind, text in parts)
        return Cursor(key, is_after=match["side"] == "after")


def _part(kind: Callable[[str], Any], text: str) -> Any:
    if _PART_FORMS[kind].fullmatch(text):
        return kind(text)
    raise ValidationError(_FOLLOW)


def _moment(text: str) -> datetime:
    if _AS_OF_FORM.fullmatch(text):
        with suppress(ValueError):
            return datetime.strptime(text, _AS_OF).replace(tzinfo=UTC)
    raise ValidationError(_FOLLOW)


class Ordinal(fields.Integer):
    """A number in a query, of up to nine digits."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if not _DIGITS.fullmatch(value):
            raise ValidationError("Write a whole number in digits.")
        return int(value)


class AsOfQuery(RequestSchema):
    """A session as it was: by what was recorded until a moment, or up to a version, or both."""

    as_of = AwareMoment(metadata={"description": "By what was recorded until then."})
    at_version = Ordinal(metadata={"description": "Up to this version."})


RECORDED_AS_OF = {"description": "The list as it was by what was recorded until then."}


class PageQuery(RequestSchema):
    """The query of a list; subclasses add filters. Loads to `{"page": Page, ...filters}`."""

    page = Ordinal(
        load_default=1,
        validate=validate.Range(1, MAX_PAGE),
        metadata={"description": "The page, from 1."},
    )
    page_size = Ordinal(
        load_default=DEFAULT_PAGE_SIZE,
        validate=validate.Range(1),
        metadata={"description": f"Rows a page; more than {MAX_PAGE_SIZE} means {MAX_PAGE_SIZE}."},
    )
    as_of = AsOf(metadata={"description": "The time that the links carry; leave it out at the start."})

    @post_load
    def _to_page(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        size = min(data.pop("page_size"), MAX_PAGE_SIZE)
        as_of = data.pop("as_of", None) or now()
        as_of = min(as_of, data.get("recorded_as_of", as_of))
        page = Page(data.pop("page"), size, as_of, data.pop("cursor", None))
        return data | {"page": page}


class KeysetQuery(RequestSchema):
    """The query of a list without numbers of pages; subclasses add filters and a cursor."""

    page_size = Ordinal(
        load_default=DEFAULT_PAGE_SIZE,
        validate=validate.Range(1),
        metadata={"description": f"Rows a page; more than {MAX_PAGE_SIZE} means {MAX_PAGE_SIZE}."},
    )

    def made_of(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the fields with a size that is not too large."""
        return data | {"page_size": min(data["page_size"], MAX_PAGE_SIZE)}


class KeysetList(ResponseSchema):
    """A page of a list without numbers of pages; subclasses add `results`. It may be short before the end."""

    next = fields.String(
        allow_none=True, metadata={"description": "Where the list goes on; null at its end."}
    )


def link_after(name: str, value: str) -> str:
    """Return the absolute link to this list with one name of its query replaced."""
    kept = [(key, text) for key, text in request.args.items(multi=True) if key != name]
    return f"{base_url()}{quote(request.path)}?{urlencode([*kept, (name, value)])}"


class PagedList(ResponseSchema):
    """A page of a list; subclasses add `results`."""

    count = fields.Integer()
    next = fields.String(allow_none=True)
    previous = fields.String(allow_none=True)


_PAGE_FIELDS = frozenset(PageQuery().fields) | {"cursor"}
