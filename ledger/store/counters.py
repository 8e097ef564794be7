"""What a process counts of its work, for Prometheus: commands, appended events, inbound messages, calls of M-Pesa.

Counts start at 0 with each process; what has to survive that is read from tables (`payments/exceptions/figures.py`). No
label names a person or a payment, and each has few values.
"""

from collections.abc import Iterable
from multiprocessing import parent_process
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Histogram

from ledger.errors import LedgerError, Unavailable

REGISTRY = CollectorRegistry()
"""Of all counters here, for a process that shares no folder with others."""

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 30)
_is_counted = parent_process() is None
"""Not in a process that is made for one task: the file of its counts would stay behind, and they of each such task."""


class Count:
    """A counter. To look its labels up costs more than to count, so that is done once for each of their values."""

    def __init__(self, name: str, text: str, labels: Iterable[str]) -> None:
        self._counter = Counter(name, text, labels, registry=REGISTRY)
        self._children: dict[tuple[str, ...], Counter] = {}

    def add(self, *values: str) -> None:
        """Count one of these values of the labels."""
        if _is_counted:
            child = self._children.get(values)
            if child is None:
                child = self._children[values] = self._counter.labels(*values)
            child.inc()


class Timing:
    """A histogram of seconds, whose children are looked up once, as those of a Count."""

    def __init__(self, name: str, text: str, labels: Iterable[str]) -> None:
        self._histogram = Histogram(name, text, labels, buckets=_SECONDS, registry=REGISTRY)
        self._children: dict[tuple[str, ...], Histogram] = {}

    def add(self, seconds: float, *values: str) -> None:
        """Count one of these values of the labels, which took so long."""
        if _is_counted:
            child = self._children.get(values)
            if child is None:
                child = self._children[values] = self._histogram.labels(*values)
            child.observe(seconds)


COMMANDS = Timing(
    "daftari_command_seconds",
    "Seconds that a command took; its outcome is done, repeated (the kept answer of a key), refused, unavailable or "
    "failed.",
    ("command", "outcome"),
)
EVENTS = Count("daftari_events_appended", "Events appended to the log.", ("event",))
CONFLICTS = Count(
    "daftari_append_conflicts",
    "Appends that met another writer of the session, and were decided again.",
    ("found",),
)
MESSAGES = Count(
    "daftari_messages_received",
    "Messages taken into the inbox, and whether their URL was ours.",
    ("channel", "authenticated"),
)
VERDICTS = Count(
    "daftari_messages_settled",
    "Inbound messages by how they ended: acted_on, or dead_lettered.",
    ("channel", "verdict"),
)
MPESA_CALLS = Timing(
    "daftari_mpesa_call_seconds",
    "Seconds that a call of M-Pesa took, by its code: M-Pesa's own if it is known, else http_4xx and the like, "
    "not_sent or answer_lost.",
    ("operation", "code"),
)
WEBHOOK_ATTEMPTS = Count(
    "daftari_webhook_attempts",
    "Attempts to deliver webhooks by what came of them: taken, refused (an HTTP status), unanswered; or not sent: "
    "not_told (not its session, or tampered with), not_made (a fault of ours).",
    ("outcome",),
)
JOB_FAILURES = Count(
    "daftari_job_failures", "Rounds of the worker's jobs that ended in an error.", ("process",)
)


class timed:  # noqa: N801 - reads as the statement that it is
    """A context that is counted as a command of this name, by what came of it."""

    __slots__ = ("_command", "_started")

    def __init__(self, command: str) -> None:
        self._command = command

    def __enter__(self) -> None:
        self._started = perf_counter()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        COMMANDS.add(perf_counter() - self._started, self._command, _outcome(error))


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "done"
    if isinstance(error, Unavailable):
        return "unavailable"
    return "refused" if isinstance(error, LedgerError) else getattr(error, "outcome", "failed")
