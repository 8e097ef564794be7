"""`python -m tests.support.events_page`: write docs/events.md anew, from the event classes and their stored samples."""

import inspect
import json
import types
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

from ledger.session.cart import SnapshotLine, Totals
from ledger.session.event import Event
from ledger.session.events import EVENT_CLASSES, PUBLIC_NAMES
from tests.support.event_words import CAUSES, FIELDS, METADATA, UNITS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "events.md"
SAMPLES = ROOT / "tests" / "ledger" / "session" / "vectors" / "stored"

_COLUMNS = ("originator_id", "originator_version")
_TYPES = {str: "text", int: "integer", bool: "true or false", datetime: "text", types.NoneType: "null"}
_HEAD = """# The events of a payment session

Every event that the log can hold, in the order in which a session lives them. `make events` writes this page from the
event classes, `tests/support/event_words.py` and the stored samples; a test holds it to them.

An event is a row of `payment_events` ([schema.md](schema.md)): its topic says its kind, `state` holds its fields,
`metadata` what caused it. It is never changed. A field that came later is *optional*: older events lack it, and are
read with the value shown. Where fields changed otherwise the class has versions: `class_version` stands in the state
from version 2 on, and older events are read as the newest. A sample of every version is kept as the database stores it,
and must be readable for ever.

Amounts are whole cents of a shilling; moments are RFC 3339 in UTC; fields that end in `_sealed` are encrypted with the
buyer's key, and unreadable after an erasure. `daftari export` writes events out ([export.md](export.md)).

## Metadata: what caused an event

Events from before there were metadata have none. `cause` is `request` (a caller of the API), `operator` (a person who
decides), `callback` (M-Pesa posted a message), `status_query` (M-Pesa was asked), `event` (it follows from an event
before), `sweep` (the worker, by the clock), `statement` or `pull` (M-Pesa's books).

| name | meaning |
| --- | --- |"""
_FIELDS_HEAD = "| field | type | unit | meaning |\n| --- | --- | --- | --- |"


def write_page() -> str:
    """Return the page."""
    parts = [_HEAD, *(f"| `{name}` | {meaning} |" for name, meaning in METADATA.items()), ""]
    for cls in EVENT_CLASSES:
        parts += _event(cls)
    for title, part in (("A line of a cart", SnapshotLine), ("Totals", Totals)):
        parts += [f"## {title}", "", _sentences(part), "", _FIELDS_HEAD, *_rows(part, ""), ""]
    return "\n".join(parts)


def versions(cls: type[Event]) -> range:
    """Return the versions of an event class that may be stored."""
    return range(1, getattr(cls, "class_version", 1) + 1)


def field_names() -> set[str]:
    """Return the names that the words may use: of fields, alone and after the name of their event."""
    names = {name for part in (SnapshotLine, Totals) for name in get_type_hints(part)}
    for cls in EVENT_CLASSES:
        names |= set(_hints(cls)) | {f"{PUBLIC_NAMES[cls]}.{name}" for name in _hints(cls)}
    return names


def _event(cls: type[Event]) -> Iterator[str]:
    name = PUBLIC_NAMES[cls]
    yield f"## {name}\n"
    yield f"`{cls.TOPIC}`, version {versions(cls)[-1]}\n"
    yield f"{_sentences(cls)}\n"
    yield f"*Cause.* {CAUSES[name]}\n"
    yield _FIELDS_HEAD
    yield from _rows(cls, name)
    yield ""
    for version in versions(cls)[:-1]:
        upcast = getattr(cls, f"upcast_v{version}_v{version + 1}")
        yield f"*Version {version} is read as {version + 1}.* {_sentences(upcast)}\n"
    for version in versions(cls):
        state = (SAMPLES / f"{cls.TOPIC}.{version}.json").read_text("utf-8")
        of_version = f" of version {version}" if len(versions(cls)) > 1 else ""
        yield f"A sample{of_version}:\n\n```json\n{state}\n```\n"


def _sentences(part: Any) -> str:
    return " ".join((inspect.getdoc(part) or "").split())


def _hints(cls: Any) -> dict[str, Any]:
    return {
        name: hint
        for name, hint in get_type_hints(cls).items()
        if name not in _COLUMNS and hint is not ClassVar and get_origin(hint) is not ClassVar
    }


def _rows(cls: Any, event: str) -> Iterator[str]:
    defaults = {field.name: field.default for field in fields(cls) if field.default is not MISSING}
    for name, hint in _hints(cls).items():
        kind = _type(hint)
        if name in defaults:
            kind += f", optional: {json.dumps(defaults[name])}"
        unit = next((unit for end, unit in UNITS.items() if name.endswith(end)), "")
        yield f"| `{name}` | {kind} | {unit} | {FIELDS.get(f'{event}.{name}') or FIELDS[name]} |"


def _type(hint: Any) -> str:
    if get_origin(hint) in (types.UnionType, Union):
        return " or ".join(_type(part) for part in get_args(hint))
    if get_origin(hint) is tuple:
        return "list of objects"
    return "object" if is_dataclass(hint) else _TYPES[hint]


if __name__ == "__main__":
    PAGE.write_text(write_page(), "utf-8")
