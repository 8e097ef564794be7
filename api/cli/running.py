"""`daftari serve`, `work` and `simulator`: the programs that `daftari up` runs, one by one."""

import signal
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType

import click

from api.cli.failures import NOT_AVAILABLE, Failure, read_settings
from api.local.ports import require_free_port
from ledger.errors import Unavailable


@click.command(short_help="Answer HTTP: API, documentation, shop page.")
def serve() -> None:
    """Answer HTTP: the API, its documentation and the shop page.

    \b
    Example: two processes with sixteen threads each, on all addresses
      DAFTARI_HOST=0.0.0.0 DAFTARI_WEB_WORKERS=2 DAFTARI_WEB_THREADS=16 daftari serve
    """
    from api.http.middleware.logging import configure_logging
    from api.local.databases import require_url
    from api.local.stored_credentials import claim_database
    from api.server.gunicorn_app import serve as serve_http

    settings = read_settings()
    require_url(settings.database_url)
    require_free_port(settings.daftari_host, settings.daftari_port, "DAFTARI_PORT", "daftari serve")
    with suppress(Unavailable):  # It may come up later; until then requests are answered with 503.
        claim_database(settings.database_url, settings.daftari_master_key)
    configure_logging(settings.daftari_log_format)
    serve_http(settings)


@click.command(short_help="Do what follows from payments.")
def work() -> None:
    """Do what follows from payments: orders, expiry, questions to M-Pesa, projections.

    Any number of these may run; each job has one active worker, and the others stand by.
    """
    from api.http.middleware.logging import configure_logging
    from api.local.databases import require_url
    from api.wiring import build_services
    from payments.worker.jobs import run_jobs
    from payments.worker.processes import jobs

    settings = read_settings()
    require_url(settings.database_url)
    configure_logging(settings.daftari_log_format)
    stopping, services = stop_on_signals(), build_services(settings)
    try:
        run_jobs(jobs(services.worker), stopping)
    finally:
        services.close()


@click.command(short_help="Run a simulated Daraja with a phones page.")
@click.option(
    "--auto-approve",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Pay each prompt after so many seconds; 0 pays at once. Without it, people use the phones page.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Fixes the random choices.")
@click.option(
    "--chaos",
    type=int,
    metavar="SEED",
    help="Misbehave as the real M-Pesa can, in ways that the seed fixes: answers and callbacks lost, doubled, late, "
    "early, forged, contradicted. People then answer by themselves.",
)
@click.option(
    "--chaos-longest-delay",
    type=click.FloatRange(0, 864_000),
    metavar="SECONDS",
    help="How late chaos may be.  [default: 60]",
)
@click.option(
    "--state-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Keep payments, reversals, prompts and C2B addresses here, also when killed. Without it, in memory.",
)
def simulator(
    auto_approve: float | None,
    seed: int,
    chaos: int | None,
    chaos_longest_delay: float | None,
    state_file: Path | None,
) -> None:
    """Run a simulated Daraja, with a page of phones to enter PINs on.

    \b
    Examples
      daftari simulator --auto-approve 2     pay every prompt two seconds after it is shown
      daftari simulator --chaos 7            see what survives
      MPESA_INITIATOR_PASSWORD=secret daftari simulator
                                             check the operator's credential, as M-Pesa does
    """
    from api.http.middleware.logging import configure_logging
    from api.local.local_simulator import Habits, simulator_settings
    from daraja.simulator import PortTaken, StateFileProblem, run

    settings = read_settings()
    configure_logging(settings.daftari_log_format)
    try:
        run(simulator_settings(settings, Habits(auto_approve, seed, chaos, chaos_longest_delay, state_file)))
    except (PortTaken, StateFileProblem) as error:
        raise Failure(str(error), NOT_AVAILABLE) from error


def stop_on_signals() -> threading.Event:
    """Return an event that SIGINT, SIGTERM and SIGHUP set, in place of what they usually do."""
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    return stopping
