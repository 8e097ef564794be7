import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from api.cli.running import stop_on_signals

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def stopping() -> Iterator[threading.Event]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield stop_on_signals()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("interrupted", ["set", "wait"])
def test_a_signal_that_comes_while_the_event_is_locked_locks_nobody_out(
    stopping: threading.Event, interrupted: str
) -> None:
    """Ctrl-C reaches every process of a terminal, while `daftari up` sends its children SIGTERM."""
    lines: list[int] = []

    def interrupt(frame: FrameType, event: str, _: Any) -> Any:
        """Raise the signal in the second line of the method: the first takes the lock."""
        if frame.f_code.co_name != interrupted or frame.f_locals.get("self") is not stopping:
            return None
        if event == "line":
            lines.append(frame.f_lineno)
            if len(lines) == 2:
                signal.raise_signal(signal.SIGTERM)
        return interrupt

    sys.settrace(interrupt)
    try:
        stopping.wait(0.01) if interrupted == "wait" else stopping.set()
    finally:
        sys.settrace(None)
    assert len(lines) >= 2
    assert stopping.wait(30)
