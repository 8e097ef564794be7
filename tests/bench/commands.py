"""`python -m tests.bench.commands`: processor time in Python of each command of a payment, in turns with another tree.

One thread takes buyers from cart to order by the services themselves, with no HTTP of ours about them: what is counted
is that thread's processor time, on a real PostgreSQL, and with requests to a simulated M-Pesa in another process.
"""

import cProfile
import json
import os
import pstats
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import thread_time
from typing import Any, TypeVar
from uuid import UUID

import click

from api.http.middleware.logging import configure_logging, keep_loggers
from api.local.local_settings import local_settings
from api.local.postgres import EmbeddedPostgres
from api.wiring import build_services
from daraja.simulator import SimulatorSettings, create_simulator
from ledger import clock
from ledger.phone import PhoneNumber
from ledger.store.metadata import Cause, begin
from ledger.store.migrate import migrate
from payments.inbox.callback_tokens import make_token
from payments.services import Services
from projections import sessions
from shop.builtin.catalogue import ListingDraft
from tests.bench.bench_stack import folder_on_disk
from tests.support.instance import DELIVERY, SIMULATED
from tests.support.ports import LOCALHOST

Answer = TypeVar("Answer")

LISTINGS = (123, 124)
PRICE_CENTS = 50_00
STOCK_THOUSANDTHS = 1_000_000_000
STEPS = ("create", "initiate", "callback", "status")
PROFILE = Path("build/commands.prof")


class Commands:
    """Takes one buyer after another through the commands, and keeps the seconds of each step."""

    def __init__(self, services: Services) -> None:
        self.buyers = 0
        self.seconds = dict.fromkeys(STEPS, 0.0)
        self.profile: cProfile.Profile | None = None
        self._services = services
        for listing_id in LISTINGS:
            draft = ListingDraft("Njeri Farm", f"Goods {listing_id}", PRICE_CENTS, "kg", 1_000)
            services.shop.catalogue.put(listing_id, draft)

    def turn(self, count: int) -> dict[str, float]:
        """Buy so many times; return the microseconds of each step, for one buyer."""
        for listing_id in LISTINGS:
            draft = ListingDraft(
                "Njeri Farm", f"Goods {listing_id}", PRICE_CENTS, "kg", 1_000, STOCK_THOUSANDTHS
            )
            self._services.shop.catalogue.put(listing_id, draft)
        self.seconds = dict.fromkeys(STEPS, 0.0)
        for _ in range(count):
            self._buy()
        return {step: 1e6 * seconds / count for step, seconds in self.seconds.items()}

    def _buy(self) -> None:
        services = self._services
        self.buyers += 1
        user, phone = self.buyers, PhoneNumber(f"2547{self.buyers:08}")
        for listing_id in LISTINGS:
            services.shop.carts.put_line(user, listing_id, "2")
        begin(Cause.REQUEST, actor=f"user:{user}", request_id="0123456789abcdef")
        session = self._step("create", lambda: services.checkout.create(user, DELIVERY, phone))
        prompted = self._step("initiate", lambda: services.checkout.initiate(user, session.id, phone))
        assert prompted.checkout_request_id is not None
        body = _callback(prompted.checkout_request_id, phone, session.totals.total_cents, self.buyers)
        token = make_token(services.vault.sign, session.id, 1)
        receive = services.stk_callbacks.receive
        self._step("callback", lambda: receive(body, body_bytes=len(body), token=token))
        shown = self._step("status", lambda: self._status(session.id, user))
        assert shown is not None
        assert shown.session_status == "order_created", shown.session_status

    def _status(self, session_id: UUID, user: int) -> sessions.SessionRow | None:
        return sessions.status_of(self._services.database, session_id, user, clock.now())

    def _step(self, step: str, work: Callable[[], Answer]) -> Answer:
        if self.profile:
            self.profile.enable()
        started = thread_time()
        answer = work()
        self.seconds[step] += thread_time() - started
        if self.profile:
            self.profile.disable()
        return answer


def _callback(checkout_request_id: str, phone: PhoneNumber, cents: int, number: int) -> bytes:
    items: list[dict[str, Any]] = [
        {"Name": "Amount", "Value": cents / 100},
        {"Name": "MpesaReceiptNumber", "Value": f"TB{number:08}"},
        {"Name": "Balance"},
        {"Name": "TransactionDate", "Value": int(f"{clock.now().astimezone(clock.NAIROBI):%Y%m%d%H%M%S}")},
        {"Name": "PhoneNumber", "Value": int(phone.digits)},
    ]
    callback = {
        "MerchantRequestID": f"29115-{number}-1",
        "CheckoutRequestID": checkout_request_id,
        "ResultCode": 0,
        "ResultDesc": "The service request is processed successfully.",
        "CallbackMetadata": {"Item": items},
    }
    return json.dumps({"Body": {"stkCallback": callback}}).encode()


def _simulate(pipe: Connection) -> None:
    simulator = create_simulator(SimulatorSettings(initiator_name=SIMULATED["MPESA_INITIATOR_NAME"]))
    pipe.send(simulator.start(LOCALHOST, 0))
    pipe.recv()
    simulator.stop()


@contextmanager
def _simulator() -> Iterator[str]:
    """Run a simulator in a process of its own; yield its address."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_simulate, args=(theirs,))
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        process.join()


@contextmanager
def _commands() -> Iterator[Commands]:
    folder = folder_on_disk()
    try:
        with ExitStack() as stack:
            server = stack.enter_context(EmbeddedPostgres(folder))
            simulator_url = stack.enter_context(_simulator())
            environ = {
                "DATABASE_URL": server.database_url,
                "DAFTARI_DATA_DIR": str(folder),
                "MPESA_BASE_URL": simulator_url,
                "MPESA_CALLBACK_URL": "http://127.0.0.1:9/api/payments/callbacks/",
                **SIMULATED,
            }
            configure_logging("json", stack.enter_context((folder / "log").open("w", encoding="utf-8")))
            keep_loggers()
            migrate(server.database_url)
            services = stack.enter_context(closing(build_services(local_settings(environ))))
            yield Commands(services)
    finally:
        shutil.rmtree(folder)


class Tree:
    """A child process that runs the commands of one checkout of the code."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.bench.commands", "--child"]
        environ = os.environ | {"PYTHONPATH": str(folder)}
        self._process = subprocess.Popen(
            command, cwd=folder, env=environ, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def turn(self, count: int) -> dict[str, float]:
        """Run a turn of so many buyers."""
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        print(count, file=self._process.stdin, flush=True)
        for line in self._process.stderr:
            if line.startswith('{"create":'):
                figures: dict[str, float] = json.loads(line)
                return figures
        raise RuntimeError("The child ended.")

    def close(self) -> None:
        """End the child."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@click.command()
@click.option("--against", type=click.Path(exists=True, path_type=Path), help="Another checkout, in turns.")
@click.option("--turns", default=12, show_default=True)
@click.option("--buyers", default=40, show_default=True, help="In each turn.")
@click.option("--profile", is_flag=True, help="Print a profile of calls instead.")
@click.option("--child", is_flag=True, hidden=True)
def commands(against: Path | None, turns: int, buyers: int, *, profile: bool, child: bool) -> None:
    """Print the microseconds of processor time that each command takes in Python, the median of all turns."""
    if child:
        with _commands() as own:
            for line in sys.stdin:
                click.echo(json.dumps(own.turn(int(line))), err=True)
    elif profile:
        with _commands() as own:
            own.turn(buyers)
            own.profile = cProfile.Profile(thread_time)
            own.turn(buyers)
            pstats.Stats(own.profile).sort_stats("tottime").print_stats(60)
            PROFILE.parent.mkdir(exist_ok=True)
            own.profile.dump_stats(PROFILE)
    else:
        with ExitStack() as stack:
            trees = [Tree(folder) for folder in (Path.cwd(), against) if folder]
            for tree in trees:
                stack.callback(tree.close)
                tree.turn(buyers)
            _show([[tree.turn(buyers) for tree in trees] for _ in range(turns)])


def _show(taken: Sequence[Sequence[dict[str, float]]]) -> None:
    """Print median and least of each tree, and the ratio of the trees: in the median of all turns, and of the least."""
    for step in (*STEPS, "sum"):
        figures = [[sum(each.values()) if step == "sum" else each[step] for each in turn] for turn in taken]
        columns = list(zip(*figures, strict=True))
        shown = "  ".join(f"{median(column):6.0f} (least {min(column):5.0f}) µs" for column in columns)
        if len(columns) > 1:
            least = min(columns[0]) / min(columns[1])
            shown += f"  {median(turn[0] / turn[1] for turn in figures):.3f} (least {least:.3f})"
        click.echo(f"{step:9} {shown}")


if __name__ == "__main__":
    commands()
