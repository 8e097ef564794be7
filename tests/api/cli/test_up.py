import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.api.cli.support import CHECKOUT, daftari, environment
from tests.support.database import reachable_folder
from tests.support.ports import free_port
from tests.support.waiting import is_alive, wait_until

DELIVERY = {
    "full_name": "Wanjiku Kamau",
    "phone_number": "0712345678",
    "county_id": 1,
    "subcounty_id": 5,
    "detailed_address": "Moi Avenue 1",
}
MONITOR = "f3Zq8Lw1Kx7Vb2Nc9Tm4Rh6Yd0Sg5PjQ8t"
READY_WITHIN_SECONDS = 60
STOP_WITHIN_SECONDS = 40
PAY_AT_ONCE = ("--auto-approve", "0")


@dataclass
class Instance:
    """A whole Daftari on ports and a data folder of its own."""

    environ: dict[str, str]
    process: subprocess.Popen[str]
    output: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environ['DAFTARI_PORT']}"

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def token(self) -> str:
        found = re.search(r"TOKEN=(\S+)", self.said)
        assert found
        return found.group(1)

    @property
    def first_steps(self) -> list[str]:
        """What it says to paste."""
        _, _, steps = self.said.partition("paste into another terminal:\n\n")
        return [step.removeprefix("  ") for step in steps.partition("\n\n")[0].splitlines()]

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": str(uuid4())}
        answer = requests.request(method, self.url + path, json=body, headers=headers, timeout=20)
        assert answer.ok, answer.text
        answered: dict[str, Any] = answer.json()
        return answered

    def children(self) -> list[int]:
        return children_of(self.process.pid)

    def stop(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout=STOP_WITHIN_SECONDS)


def start(folder: Path, environ: dict[str, str], *options: str) -> Instance:
    output = folder / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "api.cli", "up", *options],
            cwd=CHECKOUT,
            env=environment(**environ),
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    instance = Instance(environ, process, output)
    wait_until(
        lambda: "Daftari is running" in instance.said or process.poll() is not None,
        "it ran",
        READY_WITHIN_SECONDS,
    )
    assert process.poll() is None, instance.said
    return instance


@pytest.fixture
def place() -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder and an environment to run in, on ports that nobody uses."""
    folder = reachable_folder()
    environ = {
        "DAFTARI_DATA_DIR": str(folder / "data"),
        "DAFTARI_PORT": str(free_port()),
        "DAFTARI_SIMULATOR_PORT": str(free_port()),
        "DAFTARI_METRICS_TOKEN": MONITOR,
        "DAFTARI_MASTER_KEY": "",  # That of the data folder, as for a newcomer.
    }
    yield folder, environ
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def pay(instance: Instance) -> str:
    """Buy what is in the cart of the demo buyer, and return the session's id once it has its order."""
    created = instance.call("POST", "/api/payments/sessions/", {"delivery_details": DELIVERY})
    path = f"/api/payments/sessions/{created['session_id']}"
    instance.call("POST", f"{path}/initiate_payment/", {})
    wait_until(
        lambda: instance.call("GET", f"{path}/status/")["session_status"] == "order_created",
        "the order was there",
    )
    return str(created["session_id"])


def shown_to_monitor(environ: dict[str, str]) -> str:
    """Return what is shown to the monitor."""
    url = f"http://127.0.0.1:{environ['DAFTARI_PORT']}/metrics"
    answer = requests.get(url, headers={"Authorization": f"Bearer {MONITOR}"}, timeout=30)
    assert answer.status_code == 200
    return answer.text


@pytest.mark.system
def test_a_buyer_pays_on_one_machine_which_stops_cleanly_and_finds_its_data_again(
    place: tuple[Path, dict[str, str]],
) -> None:
    folder, environ = place
    instance = start(folder, environ, *PAY_AT_ONCE)
    children = instance.children()
    try:
        session_id = pay(instance)
        replayed = daftari("replay", session_id, "--json", **environ)
        assert replayed.returncode == 0, replayed.stderr
        names = [entry["event"] for entry in json.loads(replayed.stdout)]
        assert names[0] == "Created"
        assert names[-1] == "OrderCreated"
        assert "OrderCreated" in daftari("replay", session_id, **environ).stdout
        assert daftari("replay", str(uuid4()), **environ).returncode == 1
        assert daftari("check", **environ).returncode == 0
        counted = shown_to_monitor(environ)
        assert 'daftari_events_appended_total{event="OrderCreated"} 1.0' in counted
        assert 'daftari_messages_settled_total{channel="stk",verdict="acted_on"} 1.0' in counted
        families = re.findall(r"^# TYPE (\S+)", shown_to_monitor(environ), re.MULTILINE)
        assert sorted(families) == sorted(set(families))
        assert "pid=" not in shown_to_monitor(environ), (
            "what a process read once is no figure of another moment"
        )
        second = daftari("up", **environ)
        assert second.returncode == 4
        assert "already running" in second.stderr
    finally:
        code = instance.stop(signal.SIGINT)
    assert code == 0, instance.said
    assert "Everything has stopped" in instance.said
    assert len(children) == 4
    assert not any(is_alive(pid) for pid in children)

    again = start(folder, environ)
    try:
        listed = again.call("GET", "/api/payments/sessions/")
        assert [session["session_id"] for session in listed["results"]] == [session_id]
        assert [movement["kind"] for movement in movements(again)] == ["payment"]
        replayed_steps = paste(folder, again.first_steps)
        assert "OrderCreated" in replayed_steps.splitlines()[-1], replayed_steps
    finally:
        assert again.stop(signal.SIGTERM) == 0


@pytest.mark.system
def test_a_ctrl_c_while_it_starts_stops_it_cleanly_too(place: tuple[Path, dict[str, str]]) -> None:
    folder, environ = place
    process = subprocess.Popen(
        [sys.executable, "-m", "api.cli", "up"],
        cwd=CHECKOUT,
        env=environment(**environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until((folder / "data" / "postgres.unfinished").exists, "PostgreSQL was being made")
        os.killpg(process.pid, signal.SIGINT)  # As a terminal does: to all that run in it.
        said, _ = process.communicate(timeout=STOP_WITHIN_SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert "Error" not in said
    assert said.endswith("Everything has stopped. Your data are kept: `daftari up` finds them again.\n")


@pytest.mark.system
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's own")
def test_after_a_kill_nothing_is_left_running_and_the_next_start_works(
    place: tuple[Path, dict[str, str]],
) -> None:
    folder, environ = place
    instance = start(folder, environ, *PAY_AT_ONCE)
    children = instance.children()
    session_id = pay(instance)
    instance.stop(signal.SIGKILL)
    wait_until(lambda: not any(is_alive(pid) for pid in children), "all children had ended")

    again = start(folder, environ)
    try:
        status = again.call("GET", f"/api/payments/sessions/{session_id}/status/")
        assert status["session_status"] == "order_created"
    finally:
        assert again.stop(signal.SIGINT) == 0


@pytest.mark.system
def test_the_first_curl_of_the_readme_works_and_a_program_that_dies_is_restarted(
    place: tuple[Path, dict[str, str]],
) -> None:
    folder, environ = place
    instance = start(folder, environ, *PAY_AT_ONCE)
    try:
        readme = re.search(r"^    (curl .*)$", (CHECKOUT / "README.md").read_text(), re.MULTILINE)
        assert readme
        printed = paste(folder, [readme.group(1).replace("http://127.0.0.1:8000", instance.url)])
        assert len(json.loads(printed)["results"]) == 3

        children = instance.children()
        grandchildren = [pid for child in children for pid in children_of(child)]
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: instance.said.count("has ended by itself") == 4, "all four deaths were noticed")
        wait_until(lambda: not any(is_alive(pid) for pid in grandchildren), "no old worker answered any more")
        wait_until(lambda: answers(instance), "the API answered again", READY_WITHIN_SECONDS)
        pay(instance)
    finally:
        assert instance.stop(signal.SIGINT) == 0


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


def paste(home: Path, steps: list[str]) -> str:
    """Type commands into a new terminal, one after another; return what it prints."""
    bare = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home)}
    shell = subprocess.run(
        ["bash", "-u"],
        input="\n".join(steps),
        env=bare,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert shell.returncode == 0, shell.stderr
    return shell.stdout


def movements(instance: Instance) -> list[dict[str, Any]]:
    """Return what the simulated M-Pesa has in its books."""
    port = instance.environ["DAFTARI_SIMULATOR_PORT"]
    answer = requests.get(f"http://127.0.0.1:{port}/simulator/api/movements", timeout=5)
    listed: list[dict[str, Any]] = answer.json()["movements"]
    return listed


def answers(instance: Instance) -> bool:
    try:
        return requests.get(f"{instance.url}/readyz", timeout=5).ok
    except requests.RequestException:
        return False
