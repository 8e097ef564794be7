"""`daftari serve`, `work` and `simulator`: the programs that `daftari up` runs."""

import _thread
import gc
import json
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from api.cli.failures import NOT_AVAILABLE, Failure, read_settings

if TYPE_CHECKING:
    from flask import Flask

    from api.settings import Settings


_WAITS = click.option("--variables-from-stdin", "waits", is_flag=True, hidden=True)
"""Given by `daftari up`, which starts programs before it knows their database: they import what they need meanwhile."""


@click.command(short_help="Run the web server: API, documentation, shop page.")
@_WAITS
def serve(*, waits: bool) -> None:
    """Run the web server: the API, its documentation and the shop page.

    \b
    Example: two processes of sixteen threads each, on all addresses, which needs production
      DAFTARI_MODE=production DAFTARI_HOST=0.0.0.0 DAFTARI_WEB_WORKERS=2 DAFTARI_WEB_THREADS=16 daftari serve
    """
    from api.setting_values import METRICS_FOLDER

    # Before prometheus-client is imported, which looks then whether it is there, and reads it at the first metric.
    os.environ.setdefault(METRICS_FOLDER, "")
    from api.http.middleware.logging import configure_logging
    from api.local.databases import claim_database, require_url
    from api.local.ports import require_free_port
    from api.local.problems import DatabaseProblem
    from api.safe_database import require_safe_database
    from api.server.web_server import import_application
    from api.server.web_server import serve as serve_http
    from ledger.errors import Unavailable

    import_application()
    settings = _settings_of_program(waits=waits)
    settings.require_safe_mode()
    require_url(settings.database_url)
    require_free_port(settings.daftari_host, settings.daftari_port, "DAFTARI_PORT", "daftari serve")
    with suppress(DatabaseProblem, Unavailable):  # It may come up later; until then requests get a 503.
        require_safe_database(settings)
        claim_database(settings.database_url, settings.daftari_master_key)
    configure_logging(settings.daftari_log_format)
    serve_http(settings, _install_pages)


def _install_pages(app: "Flask") -> None:
    from api.pages import install_pages  # Imports prometheus-client, which the web server prepares first.

    install_pages(app)


@click.command(short_help="Run the background worker.")
@_WAITS
def work(*, waits: bool) -> None:
    """Run the background worker: orders, refunds, callbacks, status queries, expiry, projections.

    Any number can run: each job is active in one of them, and the others stand by.
    """
    from api.http.middleware.logging import configure_logging
    from api.local.databases import require_url
    from api.wiring import build_services
    from payments.worker.jobs import run_jobs
    from payments.worker.processes import LOOK_SECONDS, jobs

    settings = _settings_of_program(waits=waits)
    settings.require_safe_mode()
    require_url(settings.database_url)
    configure_logging(settings.daftari_log_format)
    stopping, services = stop_on_signals(), build_services(settings)
    gc.freeze()  # What was imported stays: the collector walked it again and again while a view caught up.
    try:
        run_jobs(jobs(services.worker, look_seconds=LOOK_SECONDS), stopping)
    finally:
        services.close()


@click.command(short_help="Run a simulated Daraja with a phones page.")
@click.option(
    "--auto-approve",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Pay each prompt after this many seconds; 0 pays at once. Without it, use the phones page.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The seed of the random choices.")
@click.option(
    "--chaos",
    type=int,
    metavar="SEED",
    help="Misbehave as the real M-Pesa can, reproducibly for a seed: lost, repeated, late, early, forged and "
    "conflicting responses and callbacks. Prompts are then answered at random.",
)
@click.option(
    "--chaos-longest-delay",
    type=click.FloatRange(0, 864_000),
    metavar="SECONDS",
    help="The longest delay of --chaos.  [default: 60]",
)
@click.option(
    "--state-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Keep payments, payouts, prompts and C2B URLs in this file. Without it, in memory.",
)
@click.option(
    "--opening-balance",
    type=click.IntRange(min=0),
    metavar="SHILLINGS",
    help="What the organisation's account holds at the start, for payouts.  [default: 0]",
)
@click.option("--lax", is_flag=True, help="Take what Daraja documents otherwise but is not known to refuse.")
def simulator(
    auto_approve: float | None,
    seed: int,
    chaos: int | None,
    chaos_longest_delay: float | None,
    state_file: Path | None,
    opening_balance: int | None,
    lax: bool,
) -> None:
    """Run a simulated Daraja, with a page of phones on which to enter PINs.

    \b
    Examples
      daftari simulator --auto-approve 2     pay every prompt after two seconds
      daftari simulator --chaos 7            test with faults
      MPESA_INITIATOR_PASSWORD=secret daftari simulator
                                             check the initiator's credential, as M-Pesa does
    """
    from api.http.middleware.logging import configure_logging
    from api.local.local_simulator import SimulatorOptions, simulator_settings
    from daraja.simulator import PortTaken, StateFileProblem, run

    settings = read_settings()
    options = SimulatorOptions(
        auto_approve, seed, chaos, chaos_longest_delay, state_file, opening_balance, False if lax else None
    )
    configure_logging(settings.daftari_log_format)
    try:
        run(simulator_settings(settings, options))
    except (PortTaken, StateFileProblem) as error:
        raise Failure(str(error), NOT_AVAILABLE) from error


def _settings_of_program(*, waits: bool) -> "Settings":
    """Return the settings, once the rest of the variables is there if the program waits for it.

    It ends if `daftari up` ends before it has them.
    """
    if waits:
        given = sys.stdin.read() or sys.exit(NOT_AVAILABLE)
        os.environ.update(json.loads(given))
    return read_settings()


def stop_on_signals() -> threading.Event:
    """Return an event that SIGINT, SIGTERM and SIGHUP set instead of ending the process."""
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        # In a thread: the signal may have come while this one held the event's lock, in `wait` or in an earlier `set`.
        _thread.start_new_thread(stopping.set, ())

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    return stopping
