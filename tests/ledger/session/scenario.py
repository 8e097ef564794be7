"""`given(events).when(command).then(events)`: a decision of a payment session as one sentence.

Each step also checks what must hold always: versions run 1..n, and the events folded anew give an equal session.
"""

from dataclasses import fields
from typing import Any

from eventsourcing.utils import get_topic

from ledger.errors import Rejected
from ledger.session import events
from ledger.session.session import PaymentSession
from ledger.session.values import Status
from tests.ledger.session.commands import Command
from tests.ledger.session.event_specs import DAY, SESSION_ID, Spec, clock

USUAL_TIME = "10:31"
STORE_FIELDS = ("originator_id", "originator_version")


def given(*history: Spec) -> "Scenario":
    """Return a scenario with these events in the past; what one leaves open follows from those before it."""
    past: list[Any] = []
    for spec in history:
        past.append(_complete(spec, len(past) + 1, fold(past)))
    return Scenario(past)


class Scenario:
    """A session with its past events, and what the last command wrote or refused."""

    def __init__(
        self, past: list[Any], written: list[Any] | None = None, refusal: Rejected | None = None
    ) -> None:
        self.past = past
        self.written = written or []
        self.refusal = refusal

    @property
    def session(self) -> PaymentSession:
        """The session as its events give it."""
        session = fold(self.past + self.written)
        assert session is not None
        return session

    def when(self, command: Command) -> "Scenario":
        """Run a command on the session, with all that is known so far as its past."""
        session = self.session
        past, refusal = self.past + self.written, None
        try:
            command(session)
        except Rejected as error:
            refusal = error
        written = list(session.collect_events())
        assert [event.originator_version for event in past + written] == list(
            range(1, len(past + written) + 1)
        )
        assert {event.timestamp.date() for event in written} <= {DAY}, (
            "its time did not come in with the command"
        )
        assert fold(past + written) == session
        return Scenario(past, written, refusal)

    def then(self, *expected: Spec) -> "Scenario":
        """Check that the command wrote these events, in this order, and nothing else."""
        if self.refusal:
            raise AssertionError("the command was refused") from self.refusal
        assert [type(event) for event in self.written] == [spec.kind for spec in expected]
        for event, spec in zip(self.written, expected, strict=True):
            assert _tested(event, spec) == spec.fields
            assert spec.at is None or event.timestamp == clock(spec.at)
        return self

    def then_no_change(self) -> "Scenario":
        """Check that the command wrote nothing and was not refused."""
        return self.then()

    def refused(self, code: str) -> "Scenario":
        """Check that the command was refused with this code, and wrote nothing."""
        assert self.refusal is not None
        assert self.refusal.code == code
        assert is_sentence(self.refusal.message)
        assert self.written == []
        return self

    def status(self, expected: Status) -> "Scenario":
        """Check the public status."""
        assert self.session.status == expected
        return self


def is_sentence(text: str) -> bool:
    """Whether a text for people begins as a sentence and ends as one; the guide's own words have no full stop."""
    return text == "Session has expired" or (
        text[:1].isupper() and text[1:2] != "X" and text.endswith((".", "!")) and not text.isupper()
    )


def fold(history: list[Any]) -> PaymentSession | None:
    """Return the session that these events tell of."""
    session: PaymentSession | None = None
    for event in history:
        session = event.mutate(session)
    return session


def _complete(spec: Spec, version: int, session: PaymentSession | None) -> events.Event:
    values = dict(spec.fields)
    names = {field.name for field in fields(spec.kind)}
    if session is None:
        values["originator_topic"] = get_topic(PaymentSession)
    elif "previous_status" in names:
        moved = {"previous_status": str(session.status), "session_created_at": session.created_on}
        values = moved | values
    return spec.kind(
        originator_id=SESSION_ID, originator_version=version, timestamp=clock(spec.at or USUAL_TIME), **values
    )


def _tested(event: events.Event, spec: Spec) -> dict[str, Any]:
    """The fields of the event, without the store's columns, and without context that the spec does not name."""
    context = {"timestamp", "originator_topic", "session_created_at", "previous_status"} - spec.fields.keys()
    return {
        name: value for name, value in vars(event).items() if name not in context and name not in STORE_FIELDS
    }
