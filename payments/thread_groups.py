"""Work on many items by several threads: on several groups at once, and on the items of a group in order."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import datetime
from typing import TypeVar

from ledger import clock

Item = TypeVar("Item")
Result = TypeVar("Result")


def act_in_groups(
    act: Callable[[Item], Result],
    items: Sequence[Item],
    group_of: Callable[[Item], Hashable],
    max_workers: int,
    *,
    begins_before: datetime | None = None,
) -> list[Result]:
    """Act on items, on up to `max_workers` groups at once; return the results, those of a group together.

    With one worker, nothing runs in another thread. No item is begun at `begins_before` or later; those that are left
    out have no result. What `act` raises passes through, once all that was begun has ended.
    """
    groups: dict[Hashable, list[Item]] = defaultdict(list)
    for item in items:
        groups[group_of(item)].append(item)

    def in_order(group: Sequence[Item]) -> list[Result]:
        return [act(item) for item in group if begins_before is None or clock.now() < begins_before]

    threads = min(len(groups), max_workers)
    if threads < 2:
        return in_order(items)
    # Threads of a pool do not inherit what their events are caused by.
    contexts = [copy_context() for _ in groups]
    with ThreadPoolExecutor(threads) as pool:
        done = pool.map(lambda context, group: context.run(in_order, group), contexts, groups.values())
        return [result for results in done for result in results]
