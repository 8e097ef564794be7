"""Invariants of prompts: at most one is live, of a session and on a phone."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

from ledger.session import events
from projections.integrity.session_log import SessionLog
from projections.integrity.violations import PromptWindow, Violation, Walk

CLOCKS_MAY_DIFFER = timedelta(seconds=2)
"""Machines disagree by so much; and the right to prompt a phone is taken a moment before the attempt is written."""

_CLOSES_AN_ATTEMPT = (
    events.PaymentRefused,
    events.AttemptFailed,
    events.Failed,
    events.Paid,
    events.SurplusReceived,
)


def prompts_of(log: SessionLog, prompt_seconds: int) -> list[PromptWindow]:
    """Return when the prompts of a folded session were live, each for `prompt_seconds` at most."""
    lasts = timedelta(seconds=prompt_seconds) - CLOCKS_MAY_DIFFER
    live: dict[int, PromptWindow] = {}
    for event in log.events:
        if isinstance(event, events.PaymentRequested):
            began = event.timestamp
            live[event.attempt] = PromptWindow(began, began + lasts, event.phone_sealed)
        elif isinstance(event, events.SurplusReceived) and not event.answers_attempt:
            continue
        elif isinstance(event, _CLOSES_AN_ATTEMPT) and event.attempt in live:
            prompt = live[event.attempt]
            ended = min(prompt.ended, event.timestamp - CLOCKS_MAY_DIFFER)
            live[event.attempt] = PromptWindow(prompt.began, ended, prompt.phone_sealed)
    return list(live.values())


def one_a_session(log: SessionLog, prompts: list[PromptWindow]) -> Iterator[Violation]:
    """No prompt of a session begins while another is live."""
    for detail in _overlaps(prompts):
        yield log.violation("prompts", detail)


def one_a_phone(walk: Walk) -> Iterator[Violation]:
    """No prompt on a phone begins while another is live."""
    for prompts in walk.prompts.values():
        for detail in _overlaps(prompts):
            yield Violation("prompts", f"on one phone, {detail}")


def _overlaps(prompts: list[PromptWindow]) -> Iterator[str]:
    """Report overlaps; a prompt that was over at once, as far as clocks can tell, was never live."""
    lived = [prompt for prompt in prompts if prompt.ended > prompt.began]
    ordered = sorted(lived, key=lambda prompt: prompt.began)
    for earlier, later in pairwise(ordered):
        if later.began < earlier.ended:
            yield f"a prompt began at {later.began.isoformat()} while another was live"
