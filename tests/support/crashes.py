"""Processes that crash at a chosen statement, before PostgreSQL gets it or before its answer comes back."""

from collections.abc import Callable, Iterator
from contextlib import suppress

from api.local.local_settings import local_settings
from api.wiring import build_services
from ledger.errors import Unavailable
from payments.services import Services
from tests.support.instance import Instance
from tests.support.proxy import DatabaseProxy

MIN_STATEMENTS, MAX_STATEMENTS = 4, 60


class CrashingProcess:
    """A process beside the instance that crashes at a chosen statement: services of its own, behind the proxy."""

    def __init__(self, instance: Instance, proxy: DatabaseProxy) -> None:
        self._instance = instance
        self._proxy = proxy

    def do(self, work: Callable[[Services], object], statement: int, *, answer_is_lost: bool) -> bool:
        """Begin some work and crash at its n-th statement; return whether it got that far."""
        settings = local_settings({**self._instance.settings.environ, "DATABASE_URL": self._proxy.url})
        services = build_services(settings)
        services.check_database(1)
        services.database.pool.timeout = 0.1  # A crashed process waits for no database.
        self._proxy.break_at(statement, answer_is_lost=answer_is_lost)
        with suppress(Unavailable):
            work(services)
        broke = self._proxy.has_broken
        self._proxy.cut()
        services.close()
        self._proxy.restore()
        return broke


def each_crash_point(
    instance: Instance, proxy: DatabaseProxy, step: int = 1
) -> Iterator[tuple[int, bool, Callable[..., bool]]]:
    """Yield (user, whether the answer is lost, how to crash) for each statement of some work, and for each answer.

    With a `step` they are those of every so many statements, from the first.
    """
    process = CrashingProcess(instance, proxy)
    for answer_is_lost in (False, True):
        for statement in range(1, MAX_STATEMENTS, step):
            user = 1_000 * (1 + answer_is_lost) + statement
            broke: list[bool] = []

            def crash(
                work: Callable[[Services], object], at: int = statement, lost: bool = answer_is_lost
            ) -> bool:
                broke.append(process.do(work, at, answer_is_lost=lost))  # noqa: B023 - called before the next round
                return broke[-1]  # noqa: B023 - as above

            yield user, answer_is_lost, crash
            if not broke[-1]:
                assert statement > MIN_STATEMENTS
                break
        else:
            raise AssertionError("The work never ended.")
