"""Requests take turns, and who waits for M-Pesa hands his on."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Lock
from typing import Any

import pytest

from api.server.concurrency import ConcurrencyLimiter
from ledger.errors import Unavailable
from payments.checkout.checkout import PushSlots
from tests.support.waiting import wait_until

Answer = Callable[[], None]


def served(limiter: ConcurrencyLimiter, work: Answer, method: str = "GET") -> Callable[[], Iterable[bytes]]:
    """Return a call of an application that does some work in its turn."""

    def application(_: dict[str, Any], __: Callable[..., Any]) -> Iterable[bytes]:
        work()
        return [b"done"]

    return lambda: limiter.limit(application)({"REQUEST_METHOD": method}, lambda *_: None)


def test_no_more_work_at_once_than_there_are_turns() -> None:
    limiter, lock, meeting = ConcurrencyLimiter(3), Lock(), Barrier(3)
    working, most = 0, 0

    def work() -> None:
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        meeting.wait(timeout=10)  # Three can meet, so three work at once; a fourth would be seen.
        with lock:
            working -= 1

    with ThreadPoolExecutor(12) as pool:
        assert [list(answer.result()) for answer in [pool.submit(served(limiter, work)) for _ in range(12)]]
    assert most == 3


def test_who_waits_hands_the_turn_on_and_takes_it_again() -> None:
    limiter, told, waiting = ConcurrencyLimiter(1), Event(), Event()

    def wait() -> None:
        with limiter.released():
            waiting.set()
            assert told.wait(10)
        with limiter.released():
            pass

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(served(limiter, wait))
        assert waiting.wait(10)
        assert list(served(limiter, lambda: None)()) == [b"done"]
        held, leave = Event(), Event()

        def hold() -> None:
            held.set()
            assert leave.wait(10)

        second = pool.submit(served(limiter, hold))
        assert held.wait(10)
        told.set()
        assert not first.done()  # Its wait is over, and the turn is another's.
        leave.set()
        wait_until(lambda: first.done() and second.done(), "both are served")
    assert list(served(limiter, lambda: None)()) == [b"done"]


def test_a_turn_comes_back_whatever_happens_to_its_request() -> None:
    limiter = ConcurrencyLimiter(1)

    def fail() -> None:
        with limiter.released():
            raise RuntimeError

    for _ in range(3):
        with pytest.raises(RuntimeError):
            served(limiter, fail)()
    assert list(served(limiter, lambda: None)()) == [b"done"]


def test_who_has_no_turn_waits_without_one() -> None:
    limiter = ConcurrencyLimiter(1)
    with limiter.released():
        assert list(served(limiter, lambda: None)()) == [b"done"]


def test_beyond_the_bound_a_buyer_hears_so_at_once_and_when_to_come_again() -> None:
    slots = PushSlots(2)
    with slots.take(), slots.take():
        with pytest.raises(Unavailable) as refusal, slots.take():
            raise AssertionError
        assert (refusal.value.code, refusal.value.retry_after_seconds) == ("PAYMENTS_BUSY", 5)
    with slots.take():
        pass
