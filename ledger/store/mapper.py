"""Turn events into stored JSON and back, typed by event class."""

from dataclasses import MISSING, fields
from functools import cache
from typing import Any, ClassVar, NotRequired, TypedDict, get_origin, get_type_hints
from uuid import UUID

import msgspec
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, MapperDeserialisationError, StoredEvent
from eventsourcing.utils import resolve_topic

from ledger.session.events import EVENT_CLASSES, Event

_COLUMNS = ("originator_id", "originator_version")
_ENCODER = msgspec.json.Encoder(order="sorted")


class _Versioned(msgspec.Struct):
    """The version of the class whose fields a state has."""

    class_version: int = 1


_VERSION = msgspec.json.Decoder(_Versioned)


class SessionMapper(Mapper[UUID]):
    """Writes the state of an event as canonical JSON that SQL can read; reads it with its types.

    A field that an event class gained later has a default; a class whose fields changed otherwise has a `class_version`
    and an upcaster `upcast_vN_vM(state)`, which changes the decoded JSON of the older version.
    """

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        """Return the event with its state as canonical JSON bytes."""
        cls = type(domain_event)
        state = {name: value for name, value in vars(domain_event).items() if name not in _COLUMNS}
        if getattr(cls, "class_version", 1) > 1:
            state["class_version"] = cls.class_version  # type: ignore[attr-defined]
        return StoredEvent(
            originator_id=domain_event.originator_id,
            originator_version=domain_event.originator_version,
            topic=cls.TOPIC,  # type: ignore[attr-defined]
            state=_ENCODER.encode(state),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[UUID]:
        """Return the event; raise MapperDeserialisationError if its state does not fit its class."""
        stored = stored_event
        return self.event_of(stored.originator_id, stored.originator_version, stored.topic, stored.state)

    def event_of(self, session_id: UUID | str, version: int, topic: str, state: bytes) -> Event:
        """Return the event of these columns of the log; raise as `to_domain_event` does."""
        cls: type[Event] = resolve_topic(topic)
        try:
            fields = _decode(cls, state)
        except msgspec.MsgspecError as error:
            raise MapperDeserialisationError(
                f"Event {version} of session {session_id} ({topic}) cannot be read: {error}"
            ) from error
        fields["originator_id"] = session_id
        fields["originator_version"] = version
        event = object.__new__(cls)
        object.__setattr__(event, "__dict__", fields)
        return event


def _decode(cls: type[Event], text: bytes) -> dict[str, Any]:
    version: int = getattr(cls, "class_version", 1)
    decoder, defaults = _reader(cls)
    try:
        typed: dict[str, Any] = decoder.decode(text)
        if version == 1 or typed.pop("class_version", 1) == version:
            return defaults | typed
    except msgspec.ValidationError:
        if version == 1 or _VERSION.decode(text).class_version == version:
            raise
    state = msgspec.json.decode(text)
    for stored in range(state.pop("class_version", 1), version):
        getattr(cls, f"upcast_v{stored}_v{stored + 1}")(state)
    upcast: dict[str, Any] = msgspec.convert(state, decoder.type)
    return defaults | upcast


@cache
def _reader(cls: type[Event]) -> tuple[msgspec.json.Decoder[Any], dict[str, Any]]:
    types = {
        name: hint
        for name, hint in get_type_hints(cls).items()
        if name not in _COLUMNS and get_origin(hint) is not ClassVar and hint is not ClassVar
    }
    defaults = {field.name: field.default for field in fields(cls) if field.default is not MISSING}
    schema = {name: NotRequired[hint] if name in defaults else hint for name, hint in types.items()}
    if getattr(cls, "class_version", 1) > 1:
        schema["class_version"] = NotRequired[int]
    typed: Any = TypedDict(cls.__name__, schema)  # type: ignore[misc]
    return msgspec.json.Decoder(typed), defaults


# Made now, and not at the first read, when a test may have put a fake class in datetime's place.
for _event_class in EVENT_CLASSES:
    _reader(_event_class)
