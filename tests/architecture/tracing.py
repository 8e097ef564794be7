"""Which of our functions a command runs, on one thread, and from which file each one was entered.

Generators that go on, returns, comprehensions, properties, class bodies and the code that dataclasses write are no
entries. A lambda or an inner function is of the file that it is written in, so a call back into that file shows.
"""

import inspect
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from psycopg.pq import TransactionStatus

ROOT = Path(__file__).resolve().parents[2]

_UNNAMED = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"})
_EXECUTES = (("psycopg/cursor.py", "execute"), ("ledger/store/connection.py", "_run_prepared"))
_COMMITS = (("psycopg/transaction.py", "_commit_gen"), ("psycopg/connection.py", "commit"))


@dataclass(frozen=True, slots=True)
class Function:
    """A function of ours: the file relative to the repository, and its name with its class's."""

    file: str
    name: str

    def __str__(self) -> str:
        return f"{self.file}:{self.name}"


@dataclass(frozen=True, slots=True)
class Call:
    """A function of ours that was called. `stack` holds those that were running, the caller last."""

    callee: Function
    stack: tuple[Function, ...]

    @property
    def caller(self) -> Function | None:
        """The nearest function of ours that was running."""
        return self.stack[-1] if self.stack else None

    @property
    def is_entry(self) -> bool:
        """Whether it came from another file."""
        return self.caller is None or self.caller.file != self.callee.file

    @property
    def jumps_back(self) -> bool:
        """Whether it enters a file that is still running further up."""
        return self.is_entry and any(running.file == self.callee.file for running in self.stack)


@dataclass(frozen=True, slots=True)
class Commit:
    """A moment at which something was written for good, and the last statement that wrote it."""

    statement: str
    stack: tuple[Function, ...]


@dataclass(frozen=True)
class Trace:
    """What was called, and what was committed, in order."""

    moments: tuple[Call | Commit, ...]

    def __add__(self, later: "Trace") -> "Trace":
        return Trace(self.moments + later.moments)

    @cached_property
    def calls(self) -> list[Call]:
        """Every call."""
        return [moment for moment in self.moments if isinstance(moment, Call)]

    @cached_property
    def entries(self) -> list[Call]:
        """The calls that came from another file."""
        return [call for call in self.calls if call.is_entry]

    @property
    def commits(self) -> list[Commit]:
        """Every commit."""
        return [moment for moment in self.moments if isinstance(moment, Commit)]

    @property
    def files(self) -> list[str]:
        """Every file that was entered, in the order of the first time."""
        return list(dict.fromkeys(call.callee.file for call in self.entries))

    @property
    def visits(self) -> list[str]:
        """The files as they were entered, several entries of one file in a row as one."""
        entered = [call.callee.file for call in self.entries]
        return [file for number, file in enumerate(entered) if number == 0 or entered[number - 1] != file]

    @property
    def times_entered(self) -> Counter[str]:
        """How often each file was entered."""
        return Counter(call.callee.file for call in self.entries)

    def functions_entered(self, file: str) -> list[str]:
        """Return the names of a file's functions that were called from other files, in the order of the first time."""
        return list(dict.fromkeys(call.callee.name for call in self.entries if call.callee.file == file))

    def within(self, entry: Function) -> "Trace":
        """Return the part from the call of `entry` to the last commit below it, or to its end where there is none."""
        inside = [below for moment in self.moments if (below := _below(moment, entry)) is not None]
        commits = [number for number, moment in enumerate(inside) if isinstance(moment, Commit)]
        return Trace(tuple(inside[: commits[-1] + 1] if commits else inside))

    def carriers(self, append: Function) -> list[str]:
        """Return the files that were running when `append` was called, and its own, in the order of the way down."""
        stacks = [(*call.stack, call.callee) for call in self.calls if call.callee == append]
        return list(dict.fromkeys(function.file for stack in stacks for function in stack))

    def upward(self, spine: Sequence[str]) -> list[Call]:
        """Return the calls that enter a file of the spine from below: from a later one, or while it is running."""
        place = {file: number for number, file in enumerate(spine)}

        def is_upward(call: Call) -> bool:
            if call.callee.file not in place or call.caller is None:
                return False
            return call.jumps_back or place.get(call.caller.file, -1) > place[call.callee.file]

        return [call for call in self.entries if is_upward(call)]


def _below(moment: Call | Commit, entry: Function) -> Call | Commit | None:
    """Return what happened below a call of `entry`, with the stack from there on; None for what happened elsewhere."""
    if isinstance(moment, Call) and moment.callee == entry:
        return replace(moment, stack=())
    return replace(moment, stack=moment.stack[moment.stack.index(entry) :]) if entry in moment.stack else None


@dataclass
class Tracer:
    """Records the calls of functions in some packages of the repository, and the commits of psycopg.

    `writes` matches the statements that write; each is a commit of its own where no transaction is open.
    """

    packages: Collection[str]
    writes: re.Pattern[str]
    _known: dict[CodeType, Function | None] = field(default_factory=dict)
    _properties: set[CodeType] = field(default_factory=set)
    _generators: set[FrameType] = field(default_factory=set)
    _moments: list[Call | Commit] = field(default_factory=list)
    _written: str | None = None
    """The last statement that wrote in the transaction that is open."""

    @contextmanager
    def recording(self) -> Iterator[list[Trace]]:
        """Record what this thread does; the list that is lent holds the trace afterwards."""
        recorded: list[Trace] = []
        self._properties = set(_code_of_properties(self.packages))
        self._known.clear()
        self._moments.clear()
        self._written = None
        before = sys.getprofile()
        sys.setprofile(self._note)
        try:
            yield recorded
        finally:
            sys.setprofile(before)
            self._generators.clear()
            recorded.append(Trace(tuple(self._moments)))

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or self._goes_on(frame):
            return
        function = self._function(frame.f_code)
        if function is not None:
            self._moments.append(Call(function, self._stack(frame)))
        if _is_one_of(frame.f_code, _EXECUTES):
            self._note_statement(frame)
        elif _is_one_of(frame.f_code, _COMMITS) and _ends_transaction(frame.f_locals["self"]):
            self._note_commit(frame)

    def _goes_on(self, frame: FrameType) -> bool:
        """Say whether this is a generator that was running before."""
        if not frame.f_code.co_flags & inspect.CO_GENERATOR:
            return False
        was_running = frame in self._generators
        self._generators.add(frame)
        return was_running

    def _note_statement(self, frame: FrameType) -> None:
        query = frame.f_locals["query"]
        text = " ".join((query.decode() if isinstance(query, bytes) else str(query)).split())
        if text.upper().startswith("COMMIT"):
            self._note_commit(frame)
        if not self.writes.search(text):
            return
        executes = frame.f_locals["self"]
        if getattr(executes, "connection", executes).info.transaction_status == TransactionStatus.IDLE:
            self._moments.append(Commit(text, self._stack(frame)))
        else:
            self._written = text

    def _note_commit(self, frame: FrameType) -> None:
        if self._written is not None:
            self._moments.append(Commit(self._written, self._stack(frame)))
            self._written = None

    def _stack(self, frame: FrameType) -> tuple[Function, ...]:
        functions: list[Function] = []
        above = frame.f_back
        while above is not None:
            function = self._function(above.f_code)
            if function is not None:
                functions.append(function)
            above = above.f_back
        return tuple(reversed(functions))

    def _function(self, code: CodeType) -> Function | None:
        if code not in self._known:
            self._known[code] = self._look_at(code)
        return self._known[code]

    def _look_at(self, code: CodeType) -> Function | None:
        if code.co_name in _UNNAMED or not code.co_flags & inspect.CO_OPTIMIZED or code in self._properties:
            return None
        path = Path(code.co_filename)
        if not path.is_relative_to(ROOT):
            return None
        file = path.relative_to(ROOT)
        return Function(file.as_posix(), code.co_qualname) if file.parts[0] in self.packages else None


def _ends_transaction(committing: object) -> bool:
    """Say whether what commits is a connection or a whole transaction: a savepoint's end writes nothing for good."""
    return bool(getattr(committing, "_outer_transaction", True))


def _is_one_of(code: CodeType, wanted: Sequence[tuple[str, str]]) -> bool:
    return any(code.co_name == name and code.co_filename.endswith(file) for file, name in wanted)


def _code_of_properties(packages: Collection[str]) -> Iterator[CodeType]:
    """Give the code of every property's getter in the modules that are loaded."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in packages:
            for kind in [value for value in vars(module).values() if isinstance(value, type)]:
                yield from (code for code in map(_getter, vars(kind).values()) if code is not None)


def _getter(member: object) -> CodeType | None:
    getter = member.fget if isinstance(member, property) else None
    getter = member.func if isinstance(member, cached_property) else getter
    return getattr(getter, "__code__", None)
