"""`daftari trigger` makes a real payment on the simulator, and prints the message that follows."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from tests.api.cli.support import daftari
from tests.support.instance import Instance, running_instance

Types = Callable[..., CompletedProcess[str]]


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder) as running:
        running.start_worker()
        yield running
        running.stop_worker()


@pytest.fixture
def types(instance: Instance) -> Types:
    environ = {
        "DAFTARI_DATA_DIR": str(instance.settings.daftari_data_dir),
        "DAFTARI_PORT": str(urlsplit(instance.base_url).port),
        "MPESA_BASE_URL": instance.settings.mpesa_base_url,
        "DAFTARI_API_KEY": str(instance.server("a-developer").headers["Authorization"])[7:],
    }
    return lambda *arguments, **more: daftari("trigger", *arguments, **environ | more)


@pytest.mark.parametrize(
    ("type_", "status"),
    [
        ("payment.paid", "paid"),
        pytest.param("payment.failed", "failed", marks=pytest.mark.system),
        pytest.param("payment.in_doubt", "payment_initiated", marks=pytest.mark.system),
        ("order.created", "order_created"),
        pytest.param("refund.due", "payment_initiated", marks=pytest.mark.system),
        pytest.param("payment.expired", "expired", marks=pytest.mark.system),
    ],
)
def test_each_type_is_told_of_a_payment_that_was_made(
    instance: Instance, types: Types, type_: str, status: str
) -> None:
    result = types(type_, "--reference", "TRY-1")
    assert result.returncode == 0, result.stderr
    message = json.loads(result.stdout)
    data = message["data"]
    assert (message["type"], data["reference"], data["session_status"]) == (type_, "TRY-1", status)
    assert str(instance.services.ledger.session(UUID(data["session_id"])).id) in result.stderr


def test_it_works_in_development_with_a_simulator_alone(types: Types) -> None:
    result = types("payment.paid", MPESA_BASE_URL="https://sandbox.safaricom.co.ke")
    assert result.returncode == 1
    assert "simulated M-Pesa" in result.stderr


def test_a_daftari_that_does_not_run_is_named(types: Types) -> None:
    result = types("payment.paid", DAFTARI_PORT="1")
    assert result.returncode == 4
    assert "http://127.0.0.1:1 does not answer" in result.stderr
