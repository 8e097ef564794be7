"""The tables of the architecture tests: the files' paths, what is not counted, and the way of each command."""

import re
from dataclasses import dataclass
from fnmatch import fnmatch

from tests.architecture.tracing import Function, Trace

PACKAGES = ("api", "daraja", "ledger", "projections", "shop", "payments")

WRITES = re.compile(
    r"^\s*(INSERT|UPDATE|DELETE|WITH\b.*\b(INSERT|UPDATE|DELETE))\b|append_events|reserve_reference",
    re.DOTALL,
)
"""Statements that write: each is a commit of its own where no transaction is open."""

MAX_SPINE_FILES = 5

UNCOUNTED = {
    "middleware": ("api/http/middleware/*", "api/tracing.py", "payments/idempotency/*"),
    "framework": ("api/http/app.py", "api/http/framework/*"),
    # A request with a key renders its answer before the commit that keeps it, others after.
    "answer": ("api/http/schemas/*",),
    "value": (
        "daraja/codes.py",
        "daraja/eat.py",
        "daraja/daraja_errors.py",
        "ledger/clock.py",
        "ledger/errors.py",
        "ledger/identifiers.py",
        "ledger/money.py",
        "ledger/phone.py",
        "ledger/session/cart.py",
        "ledger/session/state.py",
        "ledger/session/values.py",
        "ledger/session/*event*.py",
        "shop/quantities.py",
    ),
    "store": ("ledger/store/*",),
}
"""Why a file is not counted, and which ones: patterns of paths."""


APPEND = Function("ledger/store/recorder.py", "SessionRecorder.append_part")
"""Where events are written: whatever is running then has carried the command."""


@dataclass(frozen=True)
class Piece:
    """A traced piece of a way: the function at which it begins, a view or what the worker runs, and its spine.

    The spine are the files that carry the command, from the top down; the last two are the aggregate and the recorder.
    """

    trace: str
    begins: Function
    spine: tuple[str, ...]

    def part(self, traces: dict[str, Trace]) -> Trace:
        """Return what counts of the piece's trace: from its beginning to its last commit."""
        return traces[self.trace].within(self.begins)


@dataclass(frozen=True)
class Way:
    """The way of a command: its title on the page, its pieces, and how many files it may take."""

    title: str
    pieces: tuple[Piece, ...]
    max_files: int | None = None

    @property
    def spine(self) -> frozenset[str]:
        """The files of the spines of all pieces."""
        return frozenset(file for piece in self.pieces for file in piece.spine)

    def part(self, traces: dict[str, Trace]) -> Trace:
        """Return what counts of all pieces."""
        return sum((piece.part(traces) for piece in self.pieces), Trace(()))


_LEDGER, _RECORDER = "ledger/application.py", "ledger/store/recorder.py"
_WRITING = (_LEDGER, "ledger/session/session.py", _RECORDER)
_PAYING = (_LEDGER, "ledger/session/outcome_commands.py", _RECORDER)
_REFUNDING = (_LEDGER, "ledger/session/refund_commands.py", _RECORDER)
_SESSIONS = ("api/http/resources/sessions.py", "payments/checkout/checkout.py", *_WRITING)

WAYS = (
    Way(
        "Create a session",
        (Piece("create", Function("api/http/resources/sessions.py", "create_session"), _SESSIONS),),
        max_files=10,
    ),
    Way(
        "Extend a session",
        (Piece("extend", Function("api/http/resources/sessions.py", "extend_session"), _SESSIONS),),
    ),
    Way(
        "Send the prompt",
        (Piece("initiate", Function("api/http/resources/sessions.py", "initiate_payment"), _SESSIONS),),
        max_files=20,
    ),
    Way(
        "Take a callback, and make the order",
        (
            Piece(
                "callback",
                Function("api/http/resources/stk_callbacks.py", "take_callback"),
                ("api/http/resources/stk_callbacks.py", "payments/settlement/receiver.py", *_PAYING),
            ),
        ),
        max_files=14,
    ),
    Way(
        "Approve a refund",
        (
            Piece(
                "approve",
                Function("api/http/resources/refunds.py", "approve_refund"),
                ("api/http/resources/refunds.py", "payments/refunds/decisions.py", *_REFUNDING),
            ),
        ),
    ),
    Way(
        "Send a refund",
        (
            Piece(
                "send",
                Function("payments/refunds/reversals.py", "RefundSender.run"),
                ("payments/refunds/reversals.py", *_REFUNDING),
            ),
        ),
    ),
    Way(
        "Take a reversal's result",
        (
            Piece(
                "result",
                Function("api/http/resources/result_callbacks.py", "take_result"),
                (
                    "api/http/resources/result_callbacks.py",
                    "payments/refunds/reversal_results.py",
                    *_REFUNDING,
                ),
            ),
        ),
    ),
)


def why_uncounted(file: str) -> str | None:
    """Return why a file is not counted; None for one that is."""
    reasons = (why for why, patterns in UNCOUNTED.items() if any(fnmatch(file, one) for one in patterns))
    return next(reasons, None)


def counted_files(part: Trace) -> list[str]:
    """Return the files that count, in the order in which they are entered first."""
    return [file for file in part.files if why_uncounted(file) is None]


def files_to_list(way: Way, part: Trace) -> list[str]:
    """Return the files that the page lists: those that count, and all of the spine."""
    return [file for file in part.files if why_uncounted(file) is None or file in way.spine]
