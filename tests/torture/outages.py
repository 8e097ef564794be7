"""Outages of the database under load: what is refused meanwhile, what says so, and how soon all is well again."""

import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from api.setting_rules import CALLBACK_PATH
from tests.bench.lifecycles import Buyer
from tests.support.ports import LOCALHOST
from tests.support.waiting import wait_until
from tests.torture.load_generator import LoadGenerator
from tests.torture.replication import ReplicatedPostgres
from tests.torture.result import Result
from tests.torture.server_settings import configure, execute
from tests.torture.storm import SETTINGS
from tests.torture.system import SimulatorOptions, System, running_system

HEALED_WITHIN_SECONDS = 15.0
NOTICED_WITHIN_SECONDS = 60.0
LASTS_SECONDS = 3.0
IDLE_SECONDS = 1

_SUCCEEDED_SINCE = {
    "create": "SELECT min(created_at) FROM payment_sessions WHERE created_at > '{}'",
    "callback": "SELECT min(received_at) FROM daraja_inbox WHERE received_at > '{}'",
    "order": "SELECT min(order_created_at) FROM payment_sessions WHERE order_created_at > '{}'",
}
_MIGRATION = (
    "DROP SCHEMA analytics CASCADE",  # PostgreSQL retypes no column that a view reads.
    "ALTER TABLE payment_sessions ALTER COLUMN attempts TYPE bigint, ALTER COLUMN session_status TYPE varchar(64)",
    "ALTER TABLE payment_sessions ADD COLUMN added text",
    "CREATE INDEX payment_sessions_added ON payment_sessions (added)",
    "ALTER TABLE daraja_inbox ALTER COLUMN tries TYPE bigint, ADD COLUMN added text",
    "ALTER TABLE payment_sessions DROP COLUMN added",
)

Act = Callable[[System], None]


@dataclass(frozen=True)
class Outage:
    """What begins it and what ends it; `said` is part of what /readyz says meanwhile, "" where all goes on."""

    begin: Act
    end: Act
    said: str = ""
    has_replica: bool = False
    has_small_disk: bool = False


def _kill_primary(system: System) -> None:
    system.kill_postgres(signal.SIGKILL, with_backends=True)


def _silence_primary(system: System) -> None:
    system.to_database.freeze()


def _promote(system: System) -> None:
    _replicated(system).promote()


def _fence_and_promote(system: System) -> None:
    _kill_primary(system)
    system.to_database.cut()
    _promote(system)


def _kill_replica(system: System) -> None:
    _replicated(system).replica.stop()


def _commit_alone(system: System) -> None:
    _replicated(system).commit_alone()


def _replicated(system: System) -> ReplicatedPostgres:
    assert isinstance(system.postgres, ReplicatedPostgres)
    return system.postgres


def _stop(how: signal.Signals) -> Act:
    return lambda system: system.kill_postgres(how)


def _start(system: System) -> None:
    system.postgres.stop()
    system.postgres.start()


def _set(setting: str) -> Act:
    return lambda system: configure(system.database_url, setting)


def _fill(system: System) -> None:
    assert system.disk is not None, "A full disk takes a tmpfs: run this as root, on Linux."
    system.disk.fill()


def _free(system: System) -> None:
    assert system.disk is not None
    system.disk.free()
    if system.postgres.pid is None:  # Without room for its log it ends.
        _start(system)


def _migrate(system: System) -> None:
    for change in _MIGRATION:
        execute(system.database_url, change)
        time.sleep(LASTS_SECONDS / len(_MIGRATION))


def _last(_: System) -> None:
    time.sleep(LASTS_SECONDS)


_UNREACHED = "cannot reach its database"
_IS_READ_ONLY = "default_transaction_read_only"

OUTAGES = {
    "failover": Outage(_kill_primary, _promote, _UNREACHED, has_replica=True),
    "silent-primary": Outage(_silence_primary, _fence_and_promote, _UNREACHED, has_replica=True),
    "replica-away": Outage(_kill_replica, _commit_alone, "no write to it ends", has_replica=True),
    "fast-restart": Outage(_stop(signal.SIGINT), _start, _UNREACHED),
    "immediate-restart": Outage(_stop(signal.SIGQUIT), _start, _UNREACHED),
    "read-only": Outage(_set(f"SET {_IS_READ_ONLY} = on"), _set(f"RESET {_IS_READ_ONLY}"), "takes no writes"),
    "disk-full": Outage(_fill, _free, "no room", has_small_disk=True),
    "idle-cuts": Outage(
        _set(f"SET idle_session_timeout = '{IDLE_SECONDS}s'"), _set("RESET idle_session_timeout")
    ),
    "migration": Outage(_migrate, _last),
}


@contextmanager
def running_for(names: Sequence[str], parent: Path | None = None) -> Iterator[System]:
    """Run a system that can go through these outages."""
    wanted = [OUTAGES[name] for name in names]
    with running_system(
        SimulatorOptions(),
        SETTINGS,
        parent=parent,
        has_small_disk=any(outage.has_small_disk for outage in wanted),
        has_replica=any(outage.has_replica for outage in wanted),
    ) as system:
        yield system


def outages(
    system: System,
    buyers: Sequence[Buyer],
    result: Result,
    *,
    names: Sequence[str],
    at_once: int,
    say: Callable[[str], None],
) -> None:
    """Let buyers buy through outages, one after another; add what was seen, and violations, to the result."""
    began = time.monotonic()
    load = LoadGenerator(system.to_api.port, buyers, at_once, 1, result.acknowledged, all_pay=True)
    load.start()
    spells: list[tuple[datetime, datetime]] = []
    try:
        for name in names:
            _await_successes(system, datetime.now(UTC), NOTICED_WITHIN_SECONDS)
            time.sleep(LASTS_SECONDS)
            spells.append(_suffer(system, name, result))
            say(f"{name}: {result.more[name]}")
        assert not load.is_done, "There were too few buyers."
    finally:
        system.end_faults()
        load.finish()
    result.seconds += time.monotonic() - began
    result.violations += _refused_without_need(system.api.log, spells)


def _suffer(system: System, name: str, result: Result) -> tuple[datetime, datetime]:
    """Go through one outage; return when it began, and when all had to be well again."""
    outage, began_at = OUTAGES[name], datetime.now(UTC)
    outage.begin(system)
    said = _await_refusal(system, outage.said) if outage.said else ""
    time.sleep(LASTS_SECONDS)
    outage.end(system)
    wait_until(system.postgres.answers, "the database is well", NOTICED_WITHIN_SECONDS)
    well_at = datetime.now(UTC)
    seconds = _await_successes(system, well_at, HEALED_WITHIN_SECONDS)
    wait_until(lambda: readiness(system)[0] == 200, "it is ready again", HEALED_WITHIN_SECONDS)
    result.counts.faults[name] += 1
    result.more[name] = {"readyz": said, "seconds_until": seconds}
    until = well_at + timedelta(seconds=HEALED_WITHIN_SECONDS) if outage.said else began_at
    return began_at, until


def _await_refusal(system: System, what: str) -> str:
    """Wait until /readyz answers 503 with words among which are these; return all of them."""
    said = ""

    def is_said() -> bool:
        nonlocal said
        status, said = readiness(system)
        return status == 503 and what in said

    wait_until(is_said, f"/readyz says that it {what}", NOTICED_WITHIN_SECONDS)
    return said


def readiness(system: System) -> tuple[int, str]:
    """Ask /readyz; return the status, and what is wrong."""
    try:
        with urllib.request.urlopen(f"http://{LOCALHOST}:{system.api_port}/readyz", timeout=10) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, str(json.load(error)["message"])


def _await_successes(system: System, since: datetime, within_seconds: float) -> dict[str, float]:
    """Wait until a session was created, a callback kept and an order made; return the seconds until each."""
    found: dict[str, float] = {}

    def have_succeeded() -> bool:
        for what, statement in _SUCCEEDED_SINCE.items():
            ((moment,),) = execute(system.database_url, statement.format(since.isoformat()))
            if isinstance(moment, datetime):
                found[what] = round((moment - since).total_seconds(), 2)
        return len(found) == len(_SUCCEEDED_SINCE)

    wait_until(
        have_succeeded, f"each of {', '.join(_SUCCEEDED_SINCE)} succeeds; so far {found}", within_seconds
    )
    return found


def _refused_without_need(log: Path, spells: Sequence[tuple[datetime, datetime]]) -> Iterator[str]:
    """Yield a sentence for each callback that was refused while the database was well."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        requests = [json.loads(line) for line in lines if line.startswith("{") and '"request"' in line]
    for line in requests:
        if not str(line.get("route")).startswith(CALLBACK_PATH) or line.get("status") == 200:
            continue
        moment = datetime.fromisoformat(line["timestamp"])
        if not any(began <= moment <= until for began, until in spells):
            yield f"a callback was answered {line['status']} at {moment:%H:%M:%S}, with the database well"
