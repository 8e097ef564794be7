"""The table of processes says what the worker does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.local.local_settings import local_settings
from api.wiring import build_services
from payments.worker.processes import PROCESSES, OnEvent, WorkerParts, jobs
from tests.support.instance import SIMULATED

NAMES = (
    "orders",
    "payment_metrics",
    "payment_figures",
    "payment_refunds",
    "payment_cases",
    "payment_search",
    "journal_entries",
    "journal_movements",
    "refund_policy",
    "goods_returns",
    "refund_sending",
    "refund_retries",
    "refund_doubts",
    "refund_questions",
    "letters",
    "unauthenticated_messages",
    "expiry",
    "ladder",
    "money_left_over",
    "statement_uploads",
    "signing_blocks",
    "publishing_heads",
    "notifying",
    "webhook_queue",
    "webhook_sending",
    "tidying",
    "unproven_letters",
    "reencryption",
    "rebuilding",
    "pull",
    "verifying",
)
SETTINGS = {
    "MPESA_BASE_URL": "http://127.0.0.1:9",
    "DAFTARI_PULL": "on",
    "DAFTARI_PUBLISH_HEADS": "/tmp/heads",
    "DAFTARI_NOTIFY": "http://127.0.0.1:9/hook",
    "DAFTARI_SEAL_SECONDS": "7",
}


@pytest.fixture
def parts(database_url: str, tmp_path: Path) -> Iterator[WorkerParts]:
    places = {"DATABASE_URL": database_url, "DAFTARI_DATA_DIR": str(tmp_path)}
    services = build_services(local_settings({**places, **SIMULATED, **SETTINGS}))
    yield services.worker
    services.close()


def test_the_names_are_keys_of_stored_positions_and_locks_and_stay() -> None:
    assert tuple(process.name for process in PROCESSES) == NAMES


def test_each_process_has_a_job_an_event_handler_one_more_that_retries_and_views_one_in_common(
    parts: WorkerParts,
) -> None:
    rests = {job.name: job.rest_seconds for job in jobs(parts)}
    again = {"orders_again", "refund_policy_again", "goods_returns_again"}
    assert set(rests) == {"views", *NAMES, *again, "orders_left_over", "refund_policy_left_over"}
    assert rests["signing_blocks"] == 7


def test_the_table_names_the_events_that_a_handler_follows(parts: WorkerParts) -> None:
    for process in PROCESSES:
        if isinstance(process, OnEvent):
            handler = process.handler(parts)
            assert handler.name == process.name
            assert tuple(handler.topics) == tuple(event.TOPIC for event in process.on)
