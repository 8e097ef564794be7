"""The state file: what was acknowledged before a kill is true after it, and nothing else is."""

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from daraja import DarajaClient, status_verdict
from daraja.simulator import SimulatorSettings, StateFileProblem, create_simulator
from daraja.simulator.state_file import StateFile, record
from tests.daraja.simulator.conftest import NOON, PHONE, Receiver, Shop
from tests.daraja.simulator.test_paying_by_hand import register
from tests.daraja.simulator.test_reversals import results, reverse

REPOSITORY = Path(__file__).parents[3]
PROGRAM = """
import logging, sys
from pathlib import Path
from daraja.simulator import SimulatorSettings, run
logging.basicConfig(level="INFO", format="%(message)s")
run(SimulatorSettings(port=0, state_file=Path(sys.argv[1])))
"""


@pytest.fixture
def state_file(tmp_path: Path) -> Path:
    return tmp_path / "state.jsonl"


@contextmanager
def room_for(size_bytes: int) -> Iterator[None]:
    """Let files of this process grow no further, so that a line is written in part and then no more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def reopen(open_shop: Callable[..., Shop], state_file: Path) -> Callable[..., Shop]:
    """Return a function that starts a simulator on the state file, after the one before it was let go unasked."""
    running: list[Shop] = []

    def start(**settings: Any) -> Shop:
        if running:
            # As a kill does: the file is let go as it is, with nothing written at the end.
            running[-1].simulator._state_file.close()
        running.append(open_shop(state_file=state_file, **settings))
        return running[-1]

    return start


def test_payments_wallets_and_endings_survive(reopen: Callable[..., Shop]) -> None:
    shop = reopen(organisation_shillings=100)
    receipt = shop.pay()
    paid = shop.simulator.prompts()[0]
    shop.simulator.set_balance("254712345679", 5)
    again = reopen(organisation_shillings=100)
    assert [movement.receipt for movement in again.simulator.movements()] == [receipt]
    assert again.simulator.movements() == shop.simulator.movements()
    assert again.simulator.mobile_money.organisation_cents() == 450_00
    assert (again.simulator.balance(PHONE), again.simulator.balance("254712345679")) == (399_650, 5)
    assert again.simulator.prompt(paid.checkout_request_id).outcome == paid.outcome
    assert again.query(paid.checkout_request_id).json()["ResultCode"] == "0"
    assert again.simulator.statement() == shop.simulator.statement()
    assert reopen().simulator.movements() == shop.simulator.movements()


def test_an_open_prompt_can_still_be_paid_or_runs_out(
    reopen: Callable[..., Shop], receiver: Receiver
) -> None:
    shop = reopen()
    first, second = (shop.push(phone)["CheckoutRequestID"] for phone in (PHONE, "254712345679"))
    shop = reopen()
    assert shop.send_push(shop.document()).json()["errorMessage"].startswith("Unable to lock")
    shop.simulator.approve(first)
    assert shop.simulator.wait_until_idle()
    shop.simulator.advance(60)
    assert shop.simulator.wait_until_idle()
    assert receiver.codes() == [0, 1037]
    assert shop.simulator.prompt(second).outcome is not None


def test_the_rules_remember_what_was_paid(reopen: Callable[..., Shop]) -> None:
    reopen().pay()
    shop = reopen()
    assert shop.simulator.pay_by_hand(PHONE, 350, "D7").code == "17"


def test_reversals_and_their_conversations_survive(
    reopen: Callable[..., Shop], open_client: Callable[..., DarajaClient]
) -> None:
    shop = reopen()
    receipt = shop.pay()
    acknowledged = reverse(open_client(shop), shop, receipt)
    shop = reopen()
    client = open_client(shop)
    reverse(client, shop, receipt)
    client.transaction_status(
        original_conversation_id=acknowledged.conversation_id,
        remarks="What became of it",
        result_url=f"{shop.receiver.url}/results/",
        timeout_url=f"{shop.receiver.url}/timeouts/",
    )
    by_code = {post.result.result_code: post.result for post in results(shop)}
    assert set(by_code) == {"R000001", "0"}
    assert by_code["0"].one_receipt("ReceiptNo") == shop.simulator.movements()[-1].receipt


def test_a_file_that_was_written_before_there_were_payouts_is_read(
    reopen: Callable[..., Shop], open_client: Callable[..., DarajaClient], state_file: Path
) -> None:
    line = record(
        "operation",
        conversation={"id": "AG_20261115_1", "originator_id": "1-2-3"},
        original_receipt="UKF7Q2X9LM",
        shillings=350,
        code="1",
        reversal_receipt=None,
        at=NOON.isoformat(),
    )
    state_file.write_text(json.dumps([line]) + "\n")
    shop = reopen()
    open_client(shop).transaction_status(
        original_conversation_id="1-2-3",
        remarks="What became of it",
        result_url=f"{shop.receiver.url}/results/",
        timeout_url=f"{shop.receiver.url}/timeouts/",
    )
    [post] = results(shop)
    assert status_verdict(post.result).reason == "declined"


def test_addresses_and_choices_of_c2b_survive_and_so_does_their_deletion(
    reopen: Callable[..., Shop], open_client: Callable[..., DarajaClient], receiver: Receiver
) -> None:
    shop = reopen()
    register(open_client(shop), receiver)
    shop.simulator.c2b.confirm_prompts("before")
    registered = shop.simulator.c2b.registration
    assert registered is not None
    shop = reopen()
    assert (shop.simulator.c2b.registration, shop.simulator.c2b.prompt_confirmation) == (registered, "before")
    shop.simulator.c2b.register(replace(registered, version=1))
    shop = reopen()
    assert shop.simulator.c2b.registration == replace(registered, version=1)
    shop.simulator.c2b.unregister()
    assert reopen().simulator.c2b.registration is None


def test_the_certificate_stays_good(reopen: Callable[..., Shop]) -> None:
    shop = reopen(initiator_password="correct horse")
    before = shop.simulator.initiator_keys._private_key()
    after = reopen(initiator_password="correct horse").simulator.initiator_keys._private_key()
    assert before.private_numbers() == after.private_numbers()


def test_time_that_was_moved_stays_moved(reopen: Callable[..., Shop]) -> None:
    shop = reopen()
    shop.simulator.advance(86_400)
    assert reopen().simulator.now() == shop.simulator.now() != NOON


def test_a_reset_is_remembered(reopen: Callable[..., Shop], state_file: Path) -> None:
    shop = reopen()
    shop.pay()
    shop.simulator.reset()
    assert reopen().simulator.movements() == []
    assert PHONE not in state_file.read_text()


def test_prompts_written_by_chaos_keep_their_scripts(reopen: Callable[..., Shop]) -> None:
    shop = reopen(chaos_seed=3, chaos_longest_delay_seconds=60)
    shop.simulator.faults.add("push", ["truth"] * 40)
    for number in range(40):
        shop.send_push(shop.document(f"2547120000{number:02}") | {"AccountReference": f"D{number}"})
    assert shop.simulator.wait_until_idle()
    before = {prompt.checkout_request_id: prompt for prompt in shop.simulator.prompts()}
    again = reopen()
    assert {prompt.checkout_request_id: prompt.script for prompt in again.simulator.prompts()} == {
        name: prompt.script for name, prompt in before.items()
    }


def test_a_file_that_has_grown_is_compacted_to_what_still_matters(state_file: Path) -> None:
    known: dict[str, int] = {}

    def open_file() -> StateFile:
        file = StateFile(state_file, compact_at_bytes=2_000)
        readers = {"balance": lambda read: known.update(shillings=read["shillings"])}
        file.register(readers, lambda: [record("balance", **known)] if known else [])
        file.open()
        return file

    file = open_file()
    sizes = []
    for shillings in range(200):
        file.write(record("balance", shillings=shillings))
        known["shillings"] = shillings
        sizes.append(state_file.stat().st_size)
    assert max(sizes) < 2_100
    assert sizes != sorted(sizes)
    file.close()
    known.clear()
    open_file().close()
    assert known == {"shillings": 199}


def test_a_line_that_a_kill_cut_short_is_dropped(reopen: Callable[..., Shop], state_file: Path) -> None:
    shop = reopen()
    first = shop.pay()
    kept = state_file.read_bytes()
    shop.pay("254712345679")
    whole = state_file.read_bytes()
    shop.simulator._state_file.close()
    for end in (len(kept) + 1, len(whole) - 1):
        state_file.write_bytes(whole[:end])
        again = reopen()
        assert [movement.receipt for movement in again.simulator.movements()] == [first]
        again.simulator._state_file.close()


def test_an_ending_and_its_money_are_one_line(reopen: Callable[..., Shop], state_file: Path) -> None:
    shop = reopen()
    receipt = shop.pay()
    [line] = [line for line in state_file.read_text().splitlines() if receipt in line]
    assert ('"ended"' in line, '"movement"' in line) == (True, True)


@pytest.mark.parametrize("damage", [b"junk\n", b"{}\n", b'[{"is":"nonsense"}]\n', b'[{"is":"movement"}]\n'])
def test_a_file_that_is_damaged_is_refused_and_left_alone(state_file: Path, damage: bytes) -> None:
    state_file.write_bytes(damage)
    simulator = create_simulator(SimulatorSettings(state_file=state_file))
    with pytest.raises(StateFileProblem, match=r"state\.jsonl"):
        simulator.start("127.0.0.1", 0)
    assert state_file.read_bytes() == damage


def test_two_simulators_never_share_a_file(reopen: Callable[..., Shop], state_file: Path) -> None:
    reopen()
    with pytest.raises(StateFileProblem, match="Another simulator"):
        create_simulator(SimulatorSettings(state_file=state_file)).start("127.0.0.1", 0)


def test_a_missing_folder_is_named_in_the_error(tmp_path: Path) -> None:
    simulator = create_simulator(SimulatorSettings(state_file=tmp_path / "missing" / "state"))
    with pytest.raises(StateFileProblem, match="No such file"):
        simulator.start("127.0.0.1", 0)


def test_the_file_is_for_its_owner_alone(reopen: Callable[..., Shop], state_file: Path) -> None:
    reopen().pay()
    assert state_file.stat().st_mode & 0o777 == 0o600


def test_what_the_disk_does_not_take_has_not_happened(
    reopen: Callable[..., Shop], receiver: Receiver, state_file: Path
) -> None:
    shop = reopen()
    checkout_request_id = shop.push()["CheckoutRequestID"]
    written = state_file.read_bytes()
    with room_for(len(written) + 10):
        with pytest.raises(StateFileProblem, match="disk is full"):
            shop.simulator.approve(checkout_request_id)
        assert shop.simulator.movements() == []
        assert shop.simulator.balance(PHONE) == 400_000
        refused = shop.send_push(shop.document("254712345679"))
        assert (refused.status_code, refused.json()["errorCode"]) == (500, "500.003.1001")
        prompts = shop.simulator.prompt_lifecycle
        prompts._answer_if_open(prompts.get(checkout_request_id), "1037")
    assert state_file.read_bytes() == written
    shop.simulator.advance(1)
    assert shop.simulator.wait_until_idle()
    assert receiver.codes() == [1037]


@pytest.mark.system
def test_a_kill_of_the_process_loses_nothing_that_was_acknowledged(state_file: Path) -> None:
    def start() -> tuple["subprocess.Popen[str]", str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(state_file)],
            cwd=REPOSITORY,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("the simulator listens on"):
                return process, line.split()[-1]
        raise AssertionError("The simulator did not start.")

    process, url = start()
    try:
        paid = requests.post(
            f"{url}/simulator/api/payments",
            json={"phone": PHONE, "amount": 350, "reference": "D7"},
            timeout=10,
        ).json()
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert process.stderr is not None
        process.stderr.close()
        process, url = start()
        listed = requests.get(f"{url}/simulator/api/movements", timeout=10).json()["movements"]
        assert [movement["receipt"] for movement in listed] == [paid["receipt"]]
    finally:
        process.kill()
        process.wait(10)
        assert process.stderr is not None
        process.stderr.close()
