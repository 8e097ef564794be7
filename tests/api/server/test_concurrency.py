"""A limit on concurrent requests, which those that wait for M-Pesa do not count against."""

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
    """Return a call of an application that does some work in its slot."""

    def application(_: dict[str, Any], __: Callable[..., Any]) -> Iterable[bytes]:
        work()
        return [b"done"]

    return lambda: limiter.limit(application)({"REQUEST_METHOD": method}, lambda *_: None)


def test_no_more_requests_run_at_once_than_the_limit() -> None:
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


def test_a_waiting_request_releases_its_slot_and_acquires_it_again() -> None:
    limiter, notified, waiting = ConcurrencyLimiter(1), Event(), Event()

    def wait() -> None:
        with limiter.released():
            waiting.set()
            assert notified.wait(10)
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
        notified.set()
        assert not first.done()  # Its wait is over, and another request has the slot.
        leave.set()
        wait_until(lambda: first.done() and second.done(), "both are served")
    assert list(served(limiter, lambda: None)()) == [b"done"]


def test_a_slot_is_released_even_if_its_request_fails() -> None:
    limiter = ConcurrencyLimiter(1)

    def fail() -> None:
        with limiter.released():
            raise RuntimeError

    for _ in range(3):
        with pytest.raises(RuntimeError):
            served(limiter, fail)()
    assert list(served(limiter, lambda: None)()) == [b"done"]


def test_a_thread_without_a_slot_can_wait_too() -> None:
    limiter = ConcurrencyLimiter(1)
    with limiter.released():
        assert list(served(limiter, lambda: None)()) == [b"done"]


def test_beyond_the_limit_a_buyer_is_refused_at_once_with_a_retry_time() -> None:
    slots = PushSlots(2)
    with slots.take(), slots.take():
        with pytest.raises(Unavailable) as refusal, slots.take():
            raise AssertionError
        assert (refusal.value.code, refusal.value.retry_after_seconds) == ("PAYMENTS_BUSY", 5)
    with slots.take():
        pass
