from contextvars import ContextVar
from datetime import timedelta
from threading import Barrier, current_thread

import pytest

from ledger import clock
from payments.thread_groups import act_in_groups


def test_groups_are_acted_on_at_once_and_a_group_in_order() -> None:
    together, acted_on = Barrier(2), []

    def act(item: tuple[str, int]) -> str:
        if item[1] == 1:
            together.wait(20)
        acted_on.append(item)
        return item[0]

    items = [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3)]
    results = act_in_groups(act, items, lambda item: item[0], 2)
    assert results == ["a", "a", "a", "b", "b"]
    assert [number for group, number in acted_on if group == "a"] == [1, 2, 3]


def test_one_worker_acts_in_the_order_of_the_items_on_the_callers_thread() -> None:
    items = [3, 1, 2]
    assert act_in_groups(lambda item: (item, current_thread()), items, lambda item: item % 2, 1) == [
        (item, current_thread()) for item in items
    ]


def test_threads_inherit_what_was_said_of_the_cause() -> None:
    said = ContextVar("said", default="nothing")
    said.set("a sweep")
    assert act_in_groups(lambda _: said.get(), [1, 2], lambda item: item, 2) == ["a sweep", "a sweep"]


def test_no_item_is_begun_once_the_time_is_up() -> None:
    begun: list[int] = []
    for begins_before, expected in ((clock.now(), []), (clock.now() + timedelta(hours=1), [1, 2])):
        for max_workers in (1, 2):
            begun.clear()
            act_in_groups(begun.append, [1, 2], lambda item: item, max_workers, begins_before=begins_before)
            assert sorted(begun) == expected


@pytest.mark.parametrize("max_workers", [1, 2])
def test_what_an_item_raises_passes_through(max_workers: int) -> None:
    with pytest.raises(ZeroDivisionError):
        act_in_groups(lambda item: 1 // item, [1, 0], lambda item: item, max_workers)
