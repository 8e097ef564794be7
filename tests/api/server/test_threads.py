from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Barrier, Thread, current_thread
from threading import enumerate as all_threads

import pytest

from api.server.lanes import Lane, Lanes
from api.server.threads import Threads
from tests.support.waiting import wait_until

MOST = 6
CROWD = 4


@dataclass
class Task:
    together: Barrier = field(default_factory=lambda: Barrier(1))
    lane: Lane = Lane.READING


class Server:
    """Threads that note who does each task; a task ends once all that are done together have begun."""

    def __init__(self) -> None:
        self.done: SimpleQueue[Thread] = SimpleQueue()
        self._lanes: Lanes[Task] = Lanes(MOST)
        self._arrived: SimpleQueue[Task] = SimpleQueue()
        self._others = set(all_threads())
        self.threads = Threads(self._lanes, self._lead, self._do, most=MOST)

    def send(self, *tasks: Task) -> list[Thread]:
        """Return the threads that have done the tasks."""
        for task in tasks:
            self._arrived.put(task)
        return [self.done.get(timeout=20) for _ in tasks]

    def crowd(self) -> list[Thread]:
        """Send tasks that are done at once."""
        together = Barrier(CROWD)
        return self.send(*(Task(together) for _ in range(CROWD)))

    def running(self) -> list[Thread]:
        return [each for each in set(all_threads()) - self._others if each.name.startswith("web-")]

    def _lead(self) -> None:
        try:
            self._lanes.put(self._arrived.get(timeout=0.01))
        except Empty:
            return

    def _do(self, task: Task) -> None:
        task.together.wait(timeout=20)
        self.done.put(current_thread())


@contextmanager
def running_server() -> Iterator[Server]:
    server = Server()
    runner = Thread(target=server.threads.run)
    runner.start()
    try:
        yield server
    finally:
        server.threads.stop()
        runner.join()


def test_the_thread_that_was_busy_last_is_the_next() -> None:
    with running_server() as server:
        assert len(set(server.crowd())) == CROWD
        doing = []
        for _ in range(10):
            wait_until(
                lambda: len(server.threads._waiting) == len(server.running()) - 1, "all but one to wait"
            )
            doing += server.send(Task())
        assert len(set(doing)) <= 2


def test_threads_that_nobody_needs_end_and_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.server.threads.IDLE_SECONDS", 0.05)
    with running_server() as server:
        server.crowd()
        wait_until(lambda: len(server.running()) == 1, "the crowd to end")
        assert len(set(server.crowd())) == CROWD
