"""`given(facts).when(command).then(facts)`: a decision of a payment session as one sentence.

Each step also checks what must hold always: versions run 1..n, and the facts folded anew give an equal session.
"""

from dataclasses import fields
from typing import Any

from eventsourcing.utils import get_topic

from ledger.errors import Rejected
from ledger.session import events
from ledger.session.session import PaymentSession
from ledger.session.values import Status
from tests.ledger.session.commands import Command
from tests.ledger.session.facts import DAY, SESSION_ID, Fact, clock

USUAL_TIME = "10:31"
STORE_FIELDS = ("originator_id", "originator_version")


def given(*history: Fact) -> "Scenario":
    """Return a scenario in which these facts are past; what a fact leaves open follows from those before it."""
    past: list[Any] = []
    for fact in history:
        past.append(_complete(fact, len(past) + 1, fold(past)))
    return Scenario(past)


class Scenario:
    """A session with its past, and what the last command made of it."""

    def __init__(
        self, past: list[Any], news: list[Any] | None = None, refusal: Rejected | None = None
    ) -> None:
        self.past = past
        self.news = news or []
        self.refusal = refusal

    @property
    def session(self) -> PaymentSession:
        """The session as its facts tell it."""
        session = fold(self.past + self.news)
        assert session is not None
        return session

    def when(self, command: Command) -> "Scenario":
        """Run a command on the session, with all that is known so far as its past."""
        session = self.session
        past, refusal = self.past + self.news, None
        try:
            command(session)
        except Rejected as error:
            refusal = error
        news = list(session.collect_events())
        assert [event.originator_version for event in past + news] == list(range(1, len(past + news) + 1))
        assert {event.timestamp.date() for event in news} <= {DAY}, (
            "its time did not come in with the command"
        )
        assert fold(past + news) == session
        return Scenario(past, news, refusal)

    def then(self, *facts: Fact) -> "Scenario":
        """Check that the command wrote these facts, in this order, and nothing else."""
        if self.refusal:
            raise AssertionError("the command was refused") from self.refusal
        assert [type(event) for event in self.news] == [fact.kind for fact in facts]
        for event, fact in zip(self.news, facts, strict=True):
            assert _tested(event, fact) == fact.says
            assert fact.at is None or event.timestamp == clock(fact.at)
        return self

    def then_no_change(self) -> "Scenario":
        """Check that the command wrote nothing and was not refused."""
        return self.then()

    def refused(self, code: str) -> "Scenario":
        """Check that the command was refused with this code, and wrote nothing."""
        assert self.refusal is not None
        assert self.refusal.code == code
        assert is_sentence(self.refusal.message)
        assert self.news == []
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


def _complete(fact: Fact, version: int, session: PaymentSession | None) -> events.Event:
    says = dict(fact.says)
    names = {field.name for field in fields(fact.kind)}
    if session is None:
        says["originator_topic"] = get_topic(PaymentSession)
    elif "previous_status" in names:
        says = {"previous_status": str(session.status), "session_created_at": session.created_on} | says
    return fact.kind(
        originator_id=SESSION_ID,
        originator_version=version,
        timestamp=clock(fact.at or USUAL_TIME),
        **says,
    )


def _tested(event: events.Event, fact: Fact) -> dict[str, Any]:
    """What the event says, without the store's columns, and without context that the fact does not name."""
    context = {"timestamp", "originator_topic", "session_created_at", "previous_status"} - fact.says.keys()
    return {
        name: value for name, value in vars(event).items() if name not in context and name not in STORE_FIELDS
    }
