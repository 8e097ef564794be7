"""Bounds how many requests wait for M-Pesa."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from ledger.errors import Unavailable


class PushSlots:
    """Bounds how many requests of this process wait for Daraja; one too many is refused at once."""

    def __init__(self, max_slots: int) -> None:
        self._slots = BoundedSemaphore(max_slots)

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a slot. Raises Unavailable PAYMENTS_BUSY if none is free."""
        if not self._slots.acquire(blocking=False):
            raise Unavailable(
                "Too many payments are being started at this moment. Please try again in a few seconds.",
                code="PAYMENTS_BUSY",
                retry_after_seconds=5,
            )
        try:
            yield
        finally:
            self._slots.release()
