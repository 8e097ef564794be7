"""Invariants of prompts: at most one is live, of a session and on a phone."""

import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from operator import itemgetter
from tempfile import SpooledTemporaryFile
from typing import Any

from ledger.session import events
from projections.integrity.session_log import SessionLog
from projections.integrity.violations import PromptWindow, Tally, Violation

CLOCKS_MAY_DIFFER = timedelta(seconds=2)
"""Machines disagree by so much; and the right to prompt a phone is taken a moment before the attempt is written."""

PARTS = 64
"""Prompts are compared in so many parts, by phone: at 100 million sessions a part has some 70 MB."""
MAX_BYTES_IN_MEMORY = 256 * 1024

_ON_A_PHONE = struct.Struct(">8sqqhqhq")
_EPOCH = datetime.fromtimestamp(0, UTC)

_CLOSES_AN_ATTEMPT = frozenset(
    {
        events.PaymentRefused.TOPIC,
        events.AttemptFailed.TOPIC,
        events.Failed.TOPIC,
        events.Paid.TOPIC,
        events.SurplusReceived.TOPIC,
    }
)


def prompts_of(log: SessionLog, prompt_seconds: int) -> list[PromptWindow]:
    """Return when the prompts of a folded session were live, each for `prompt_seconds` at most."""
    lasts = timedelta(seconds=prompt_seconds) - CLOCKS_MAY_DIFFER
    live: dict[int, PromptWindow] = {}
    for event, row, recorded in zip(log.events, log.rows, log.recorded, strict=True):
        topic, state = recorded.topic, recorded.state
        if topic == events.PaymentRequested.TOPIC:
            began, written = event.timestamp, (row["origin"], row["position"])
            live[state["attempt"]] = PromptWindow(began, began + lasts, state["phone_sealed"], written)
        elif topic in _CLOSES_AN_ATTEMPT and state.get("answers_attempt", True):
            prompt = live.get(state["attempt"])
            if prompt is not None:
                ended = min(prompt.ended, event.timestamp - CLOCKS_MAY_DIFFER)
                closed = row["origin"], row["position"]
                live[state["attempt"]] = prompt._replace(ended=ended, closed=closed)
    return list(live.values())


def one_a_session(log: SessionLog) -> Iterator[Violation]:
    """No prompt of a session begins while another is live."""
    for detail in _overlaps(log.prompts):
        yield log.violation("prompts", detail)


def note(tally: Tally, phone_digest: str, prompt: PromptWindow) -> None:
    """Note when a phone, by its digest, had a prompt, for `PhonePrompts`."""
    if prompt.ended > prompt.began:
        began, ended = (round(moment.timestamp() * 1_000_000) for moment in (prompt.began, prompt.ended))
        phone = bytes.fromhex(phone_digest[:16])
        tally.prompts += _ON_A_PHONE.pack(phone, began, ended, *prompt.requested, *prompt.closed)


class PhonePrompts:
    """The prompts of all sessions by phone; small stores' in memory, beyond that in files without a name.

    A phone is the first 8 bytes of its digest, so that what is noted of a prompt is 44 bytes.
    """

    def __init__(self) -> None:
        self._files = [
            SpooledTemporaryFile(MAX_BYTES_IN_MEMORY)  # noqa: SIM115 - closed with the others
            for _ in range(PARTS)
        ]

    def close(self) -> None:
        """Close the files, after which they are gone."""
        for file in self._files:
            file.close()

    def add(self, noted: bytearray) -> None:
        """Take in what was noted in a tally."""
        parts = defaultdict[int, bytearray](bytearray)
        for start in range(0, len(noted), _ON_A_PHONE.size):
            parts[noted[start] % PARTS] += noted[start : start + _ON_A_PHONE.size]
        for number, part in parts.items():
            self._files[number].write(part)

    def violations(self) -> Iterator[Violation]:
        """No prompt on a phone begins while another is live."""
        for file in self._files:
            file.seek(0)
            for _, noted in groupby(sorted(_ON_A_PHONE.iter_unpack(file.read())), key=itemgetter(0)):
                for overlap in _overlaps([_prompt_of(each) for each in noted]):
                    yield Violation("prompts", f"on one phone, {overlap}")


def _prompt_of(noted: tuple[Any, ...]) -> PromptWindow:
    began, ended = (_EPOCH + timedelta(microseconds=moment) for moment in noted[1:3])
    return PromptWindow(began, ended, "", noted[3:5], noted[5:])


def _overlaps(prompts: Sequence[PromptWindow]) -> Iterator[str]:
    """Report overlaps; a prompt that was over at once, as far as clocks can tell, was never live.

    A process may pause between the moment that an attempt names and its commit, which takes the phone's lock. So a
    prompt that is closed in the log before the attempt did not overlap with it, whatever the moments say.
    """
    if len(prompts) < 2:
        return
    lived = [prompt for prompt in prompts if prompt.ended > prompt.began]
    ordered = sorted(lived, key=lambda prompt: prompt.began)
    for earlier, later in pairwise(ordered):
        if later.began < earlier.ended and not earlier.is_closed_before(later.requested):
            yield f"a prompt began at {later.began.isoformat()} while another was live"
