"""A worker that is killed while it delivers loses nothing: another sends again what was not marked."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shop.demo import make_buyers
from tests.scenarios.steps import approve
from tests.support.instance import SIMULATED, Instance, running_instance
from tests.support.waiting import wait_until
from tests.support.webhook_receiver import answering, webhook_receiver

PAID, ORDERED = "payment.paid", "order.created"
PRIVATE = {"DAFTARI_WEBHOOK_ALLOW_PRIVATE": "1"}
BUYERS = (1, 2, 3)
WITHIN_SECONDS = 60


@contextmanager
def worker(instance: Instance) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker in a process of its own; kill it in the end, if nobody has."""
    environ = {
        **SIMULATED,
        **PRIVATE,
        "DATABASE_URL": instance.settings.database_url,
        "DAFTARI_DATA_DIR": str(instance.settings.daftari_data_dir),
        "MPESA_BASE_URL": instance.settings.mpesa_base_url,
        "MPESA_CALLBACK_URL": instance.settings.mpesa_callback_url,
    }
    with subprocess.Popen([sys.executable, "-m", "api.cli", "work"], env=os.environ | environ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.system
def test_what_a_killed_worker_was_sending_arrives_again_in_order(
    database_url: str, data_folder: Path
) -> None:
    with (
        running_instance(database_url, data_folder, **PRIVATE) as instance,
        webhook_receiver() as receiver,
    ):
        assert len(list(make_buyers(instance.services.database, BUYERS[0], len(BUYERS)))) == len(BUYERS)
        server = instance.server("web-shop")
        added = server.post(
            "/api/webhook-endpoints/", json={"url": receiver.url, "events": [PAID, ORDERED]}
        ).json()
        sessions = []
        for buyer in BUYERS:
            sessions.append(instance.pay(instance.client(buyer)))
            approve(instance)
        receiver.answer = receiver.hang
        with worker(instance) as killed:
            wait_until(lambda: len(receiver.received) == len(BUYERS), "all are under way", WITHIN_SECONDS)
            killed.kill()
            killed.wait()
        receiver.answer = answering(204)
        receiver.released.set()

        def states() -> list[str]:
            shown = server.get(f"/api/webhook-endpoints/{added['id']}/deliveries/").json()["results"]
            return [each["state"] for each in shown]

        with worker(instance):
            wait_until(lambda: states() == ["delivered"] * 2 * len(BUYERS), "all is taken", WITHIN_SECONDS)
        for session in sessions:
            told = [each for each in receiver.received if each.message["data"]["session_id"] == session]
            assert [each.message["type"] for each in told] == [PAID, PAID, ORDERED]
            assert told[0].headers["webhook-id"] == told[1].headers["webhook-id"]
            assert told[0].body == told[1].body
        assert len(receiver.received) == 3 * len(BUYERS)
