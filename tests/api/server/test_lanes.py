"""Who gets a slot: the longest waiting of those that may, callbacks always, and those that return before new ones."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

import pytest

from api.server.lanes import (
    CALLBACK_SLOTS,
    MAX_POLLS_TOGETHER,
    MAX_QUEUED,
    OPENING_WITHIN_SECONDS,
    Lane,
    Lanes,
    lane_of,
    opens_checkout,
)
from ledger.errors import Unavailable
from payments.checkout.push_slots import PushSlots
from tests.support.waiting import wait_until

STATUS = "/api/payments/sessions/a38d0889-82a5-42db-b32b-2746a2a26d6f/status/"


@dataclass(frozen=True)
class Task:
    lane: Lane
    number: int = 0


def taken(lanes: Lanes[Task]) -> list[Lane]:
    """Return the lanes of all tasks that get a slot now, each in its turn."""
    found = []
    while (task := lanes.take()) is not None:
        found.append(task.lane)
    return found


@pytest.mark.parametrize(
    ("method", "path", "lane"),
    [
        ("GET", "/api/cart/", Lane.READING),
        ("GET", "/api/payments/callbacks/", Lane.READING),
        ("GET", "/readyz", Lane.HEALTH),
        ("GET", f"{STATUS}", Lane.POLLS),
        ("HEAD", f"{STATUS}", Lane.READING),
        ("GET", f"{STATUS}?wait=20", Lane.READING),
        ("GET", f"{STATUS[:-1]}?", Lane.READING),
        ("GET", "/api/payments/refunds_/a38d0889-82a5-42db-b32b-2746a2a26d6f/status/", Lane.READING),
        ("POST", "/api/payments/sessions/", Lane.CHANGING),
        ("POST", "/api/payments/callbacks/", Lane.CALLBACKS),
        ("POST", "/api/payments/callbacks/token/", Lane.CALLBACKS),
        ("POST", "/api/payments/transactions/mpesa_callback/", Lane.CALLBACKS),
        ("POST", "/api/payments/c2b/token/validation/", Lane.CALLBACKS),
        ("POST", "/api/payments/results/token/", Lane.CALLBACKS),
        ("POST", "/api/payments/timeouts/token/", Lane.CALLBACKS),
    ],
)
def test_what_a_request_is_follows_from_its_method_and_path(method: str, path: str, lane: Lane) -> None:
    assert lane_of(method, path.encode()) is lane


def test_writers_leave_slots_to_readers_and_buyers_leave_theirs_to_callbacks() -> None:
    lanes = Lanes[Task](8)
    for lane in (Lane.CHANGING, Lane.RESUMED, Lane.READING, Lane.CALLBACKS, Lane.HEALTH):
        for _ in range(9):
            lanes.put(Task(lane))
    found = taken(lanes)
    assert found.count(Lane.CHANGING) == 2
    assert found.count(Lane.RESUMED) == 4
    assert found.count(Lane.READING) == 2
    assert found.count(Lane.CALLBACKS) == CALLBACK_SLOTS
    assert found.count(Lane.HEALTH) == 1


def test_polls_are_taken_together_by_one_thread() -> None:
    lanes = Lanes[Task](8)
    for number in range(MAX_POLLS_TOGETHER + 2):
        lanes.put(Task(Lane.POLLS, number))
    first = lanes.take()
    assert lanes.take() is None
    together = [first, *lanes.take_polls()]
    assert together == [Task(Lane.POLLS, number) for number in range(MAX_POLLS_TOGETHER)]
    lanes.finish()
    assert taken(lanes) == [Lane.POLLS]


def test_a_checkout_begins_only_while_changes_are_taken_in_time() -> None:
    now = 0.0
    lanes = Lanes[Task](1, clock=lambda: now)
    assert lanes.put(Task(Lane.CHANGING), opens_checkout=True)
    now = OPENING_WITHIN_SECONDS
    assert lanes.put(Task(Lane.CHANGING), opens_checkout=True)
    now += 0.1
    assert not lanes.put(Task(Lane.CHANGING), opens_checkout=True)
    assert lanes.put(Task(Lane.CHANGING))
    assert lanes.put(Task(Lane.CALLBACKS))
    assert lanes.take() is not None
    assert lanes.put(Task(Lane.CHANGING), opens_checkout=True)


@pytest.mark.parametrize(
    ("method", "target", "opens"),
    [
        ("POST", b"/api/payments/sessions/", True),
        ("POST", b"/api/payments/sessions/?a=1", True),
        ("GET", b"/api/payments/sessions/", False),
        ("POST", b"/api/payments/sessions/550e8400-e29b-41d4-a716-446655440000/initiate_payment/", False),
    ],
)
def test_what_begins_a_checkout(method: str, target: bytes, opens: bool) -> None:
    assert opens_checkout(method, target) is opens


def test_who_came_first_is_first() -> None:
    lanes = Lanes[Task](1)
    for number, lane in enumerate((Lane.READING, Lane.CHANGING, Lane.READING)):
        assert lanes.put(Task(lane, number))
    for number in range(3):
        task = lanes.take()
        assert task is not None
        assert task.number == number
        assert lanes.take() is None
        lanes.finish()


def test_a_queue_is_bounded() -> None:
    lanes = Lanes[Task](1)
    assert all(lanes.put(Task(Lane.CHANGING)) for _ in range(MAX_QUEUED))
    assert not lanes.put(Task(Lane.CHANGING))
    assert lanes.put(Task(Lane.CALLBACKS))


def test_a_slot_that_is_released_is_taken_by_another_and_then_given_back_first() -> None:
    lanes, waiting, may_return = Lanes[Task](1, max_waiting=1), Event(), Event()
    lanes.on_room = waiting.set
    for number in range(3):
        lanes.put(Task(Lane.READING, number))

    def wait() -> None:
        assert lanes.take() == Task(Lane.READING, 0)
        with lanes.released():
            assert may_return.wait(10)
        assert lanes.take() is None
        lanes.finish()

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(wait)
        assert waiting.wait(10)
        assert lanes.take() == Task(Lane.READING, 1)
        may_return.set()
        wait_until(lambda: bool(lanes._returning[Lane.READING]), "the first waits for a slot again")
        lanes.finish()
        assert lanes.take() is None
        first.result(10)
    assert lanes.take() == Task(Lane.READING, 2)


def test_writers_that_return_together_leave_slots_to_readers() -> None:
    lanes, go_on = Lanes[Task](8, max_waiting=4), Event()

    def wait() -> None:
        assert lanes.take() is not None
        with lanes.released():
            assert go_on.wait(10)
        assert more.wait(10)
        lanes.finish()

    more = Event()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            lanes.put(Task(Lane.CHANGING))
        futures = [pool.submit(wait) for _ in range(4)]
        wait_until(lambda: lanes._may_release == 0, "all have released their slots")
        go_on.set()
        wait_until(lambda: lanes._returning[Lane.CHANGING] == 2, "two of them wait for the others")
        for _ in range(9):
            lanes.put(Task(Lane.READING))
        assert taken(lanes) == [Lane.READING] * 6
        more.set()
        for future in futures:
            future.result(10)


def test_no_more_wait_without_a_slot_than_there_are_threads_for() -> None:
    lanes = Lanes[Task](1)
    lanes.put(Task(Lane.READING))
    lanes.put(Task(Lane.READING))
    assert lanes.take() is not None
    with lanes.released():
        assert lanes.take() is None


def test_a_thread_without_a_slot_can_wait_too() -> None:
    lanes = Lanes[Task](1, max_waiting=1)
    with lanes.released():
        lanes.put(Task(Lane.READING))
        assert lanes.take() is not None


def test_beyond_the_limit_a_buyer_is_refused_at_once_with_a_retry_time() -> None:
    slots = PushSlots(2)
    with slots.take(), slots.take():
        with pytest.raises(Unavailable) as refusal, slots.take():
            raise AssertionError
        assert (refusal.value.code, refusal.value.retry_after_seconds) == ("PAYMENTS_BUSY", 5)
    with slots.take():
        pass
