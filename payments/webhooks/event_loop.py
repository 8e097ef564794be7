"""An event loop in a thread of its own, in which the threads of a process wait for coroutines."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from threading import Lock, Thread
from typing import Any, TypeVar

Result = TypeVar("Result")


class EventLoopThread:
    """The loop, which begins with the first coroutine. Safe to share between threads.

    Up to `max_lookups` names of hosts are looked up at once: a name service that hangs keeps a thread for longer than
    anybody waits for it.
    """

    def __init__(self, name: str, max_lookups: int) -> None:
        self._name = name
        self._max_lookups = max_lookups
        self._guard = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Wait for a coroutine; return what it returns."""
        with self._guard:
            loop = self._loop = self._loop or self._started()
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    def close(self) -> None:
        """End the loop, which nobody waits for any more."""
        with self._guard:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)

    def _started(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        loop.set_default_executor(ThreadPoolExecutor(self._max_lookups, f"{self._name}-lookups"))
        Thread(target=loop.run_forever, name=self._name, daemon=True).start()
        return loop
