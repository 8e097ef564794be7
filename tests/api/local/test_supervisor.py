import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.local.problems import LocalRuntimeError
from api.local.supervisor import HEALTHY_AFTER_SECONDS, MAX_DEATHS, KeepsDying, Program, Supervisor
from tests.support.waiting import is_alive, wait_until

PATIENT = "import pathlib, sys, time\npathlib.Path(sys.argv[1]).open('a').write('started ')\ntime.sleep(60)"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + PATIENT
TOLD = "import pathlib, sys\npathlib.Path(sys.argv[1]).open('a').write(sys.stdin.read())"
PARENT = """
import pathlib, sys, threading
from api.local.supervisor import Program, Supervisor

child = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"
supervisor = Supervisor(threading.Event(), print)
supervisor.start(Program("The child", [sys.executable, "-c", child, sys.argv[1]], {}))
supervisor.watch()
"""


class Recorded:
    """A service in this process that writes down what is done to it."""

    def __init__(self, name: str, diary: list[str], is_alive: Callable[[], bool] = lambda: True) -> None:
        self.name = name
        self._diary = diary
        self._is_alive = is_alive

    def start(self) -> None:
        self._diary.append(f"start {self.name}")

    def stop(self) -> None:
        self._diary.append(f"stop {self.name}")

    def is_running(self) -> bool:
        return self._is_alive()

    def is_ready(self) -> bool:
        return self._is_alive()


@contextmanager
def supervised(
    messages: list[str], first_pause_seconds: float = 0
) -> Iterator[tuple[Supervisor, threading.Event]]:
    stopping = threading.Event()
    supervisor = Supervisor(stopping, messages.append, first_pause_seconds)
    try:
        yield supervisor, stopping
    finally:
        supervisor.stop()


def test_services_are_stopped_in_reverse() -> None:
    diary: list[str] = []
    with supervised([]) as (supervisor, _):
        supervisor.start(Recorded("one", diary))
        supervisor.start(Recorded("two", diary))
    assert diary == ["start one", "start two", "stop two", "stop one"]


def test_what_is_to_stop_last_is_stopped_last() -> None:
    diary: list[str] = []
    with supervised([]) as (supervisor, _):
        supervisor.start(Recorded("one", diary))
        supervisor.start(Recorded("its database", diary), stop_last=True)
    assert diary[2:] == ["stop one", "stop its database"]


def test_a_program_that_waits_is_given_its_variables_and_so_is_the_one_that_follows_it(
    tmp_path: Path,
) -> None:
    told = tmp_path / "told"
    command = [sys.executable, "-c", TOLD, str(told)]
    program = Program("The program", command, os.environ, waits=True)
    program.start()
    assert program.is_running()
    program.go_on({"DATABASE_URL": "one"})
    wait_until(lambda: not program.is_running(), "it had ended")
    program.start()
    wait_until(lambda: not program.is_running(), "the next one had ended")
    assert told.read_text() == '{"DATABASE_URL": "one"}' * 2


def test_a_program_that_ended_before_it_was_given_its_variables_is_no_error_of_ours() -> None:
    program = Program("The program", [sys.executable, "-c", ""], os.environ, waits=True)
    program.start()
    wait_until(lambda: not program.is_running(), "it had ended")
    program.go_on({"DATABASE_URL": "one"})
    program.stop()


def test_a_program_that_is_killed_is_started_again(tmp_path: Path) -> None:
    mark, messages = tmp_path / "mark", list[str]()
    with supervised(messages) as (supervisor, stopping):
        program = Program("The program", [sys.executable, "-c", PATIENT, str(mark)], os.environ)
        supervisor.start(program)
        wait_until(lambda: mark.exists() and mark.read_text() == "started ", "it had started")
        assert program.pid
        os.kill(program.pid, signal.SIGKILL)
        watcher = threading.Timer(0, lambda: wait_and_stop(mark, stopping))
        watcher.start()
        supervisor.watch()
        watcher.join()
    assert mark.read_text() == "started started "
    assert messages == ["The program has ended by itself; it is restarted in 0 s."]


def wait_and_stop(mark: Path, stopping: threading.Event) -> None:
    try:
        wait_until(lambda: mark.read_text() == "started started ", "it had started again")
    finally:
        stopping.set()


def test_the_supervisor_gives_up_a_service_that_keeps_dying() -> None:
    diary: list[str] = []
    alive = [True]
    with supervised([]) as (supervisor, _):
        supervisor.start(Recorded("It", diary, lambda: alive[0]))
        alive[0] = False
        with pytest.raises(KeepsDying, match=f"It has ended {MAX_DEATHS} times"):
            supervisor.watch()
    assert diary.count("start It") == MAX_DEATHS


def test_a_service_that_was_healthy_in_between_is_never_given_up() -> None:
    alive = [True]
    with supervised([]) as (supervisor, _):
        supervisor.start(Recorded("It", [], lambda: alive[0]))
        (watched,) = supervisor._watched
        now = watched.started_at
        for _ in range(3 * MAX_DEATHS):
            alive[0] = False
            supervisor._check(watched, now)
            alive[0] = True
            supervisor._check(watched, now)
            now += HEALTHY_AFTER_SECONDS
            supervisor._check(watched, now)
            assert watched.deaths == 0


def test_a_program_that_ends_at_once_is_not_waited_for() -> None:
    with supervised([]) as (supervisor, _):
        supervisor.start(
            Program("The program", [sys.executable, "-c", "raise SystemExit(3)"], os.environ, lambda: False)
        )
        with pytest.raises(LocalRuntimeError, match="ended while it was starting"):
            supervisor.wait_until_ready()


def test_stopping_ends_the_wait_for_a_slow_start() -> None:
    with supervised([]) as (supervisor, stopping):
        stopping.set()
        supervisor.start(Program("The program", ["sleep", "60"], os.environ, lambda: False))
        supervisor.wait_until_ready()


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    command = [sys.executable, "-c", STUBBORN, str(mark)]
    program = Program("The program", command, os.environ, stop_within_seconds=0.1)
    program.start()
    wait_until(mark.exists, "it had closed its ears")
    program.stop()
    assert not program.is_running()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's own")
def test_children_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "child"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(file)])
    wait_until(lambda: file.exists() and file.read_text() != "", "the child had started")
    child = int(file.read_text())
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_alive(child), "the child had ended too")


def test_the_supervisor_waits_for_every_service() -> None:
    looks = iter([False, False, True])
    diary: list[str] = []
    with supervised([]) as (supervisor, _):
        supervisor.start(Recorded("one", diary))
        supervisor.start(Program("two", ["sleep", "60"], os.environ, lambda: next(looks)))
        supervisor.wait_until_ready()
    assert next(looks, None) is None
