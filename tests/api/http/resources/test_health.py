from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.http.framework.services import LazyServices
from api.settings import Settings
from ledger.errors import Unavailable
from ledger.store.database import Database
from tests.api.http.conftest import ProbeServices

Bearer = Callable[..., dict[str, str]]


@pytest.fixture
def database(database_url: str, services: ProbeServices) -> Iterator[Database]:
    services.database = Database(database_url)
    yield services.database
    services.database.close()


@pytest.fixture
def lost_database(services: ProbeServices, free_port: int) -> Iterator[Database]:
    services.database = Database(f"postgresql://nobody@127.0.0.1:{free_port}/nothing")
    yield services.database
    services.database.close()


def test_a_process_is_up_whatever_the_database_does(client: FlaskClient) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


@pytest.mark.usefixtures("database")
def test_a_service_whose_database_answers_is_ready(client: FlaskClient) -> None:
    assert client.get("/readyz").status_code == 200


@pytest.mark.usefixtures("lost_database")
def test_a_service_without_its_database_is_not_ready(client: FlaskClient) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.json is not None
    assert answer.json["error_code"] == "UNAVAILABLE"


def test_the_figures_are_for_operators(client: FlaskClient, bearer: Bearer) -> None:
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers=bearer(7, "customer")).status_code == 403


@pytest.mark.usefixtures("lost_database")
def test_the_figures_count_requests_by_template_and_never_by_address(
    client: FlaskClient, bearer: Bearer
) -> None:
    session = "550e8400-e29b-41d4-a716-446655440000"
    client.get(f"/api/probes/things/{session}/", headers=bearer())
    client.get("/api/nothing/254712345678", headers=bearer())
    client.open("/api/probes/who/", method="BREW", headers=bearer())
    shown = client.get("/metrics", headers=bearer(1, "operator"))
    assert shown.mimetype == "text/plain"
    count = "daftari_http_request_seconds_count"
    assert (
        f'{count}{{method="GET",route="/api/probes/things/<uuid:session_id>/",status="200"}} 1.0'
        in shown.text
    )
    assert f'{count}{{method="GET",route="(none)",status="404"}} 1.0' in shown.text
    assert f'{count}{{method="OTHER",route="(none)",status="405"}} 1.0' in shown.text
    assert session not in shown.text
    assert "254712345678" not in shown.text


def test_requests_that_wait_for_services_share_the_failure_to_build_them() -> None:
    building, go_on, tries = Event(), Event(), []

    def build() -> Any:
        tries.append(1)
        building.set()
        go_on.wait(timeout=20)
        raise Unavailable()

    lazy = LazyServices(build)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(lazy.get)
        assert building.wait(timeout=20)
        lazy._lock = TellsWhoWaits(lazy._lock, go_on)  # type: ignore[assignment]
        second = threads.submit(lazy.get)
        assert isinstance(first.exception(timeout=20), Unavailable)
        assert isinstance(second.exception(timeout=20), Unavailable)
    assert tries == [1]
    with pytest.raises(Unavailable):
        lazy.get()
    assert tries == [1, 1]


class TellsWhoWaits:
    """A lock that says when a thread begins to wait for it."""

    def __init__(self, lock: Any, waiting: Event) -> None:
        self._lock, self._waiting = lock, waiting

    def __enter__(self) -> None:
        self._waiting.set()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@pytest.mark.usefixtures("database")
def test_the_figures_tell_of_open_cases_and_of_what_is_switched_off(
    client: FlaskClient, bearer: Bearer
) -> None:
    shown = client.get("/metrics", headers=bearer(1, "operator")).text
    assert 'daftari_open_cases{kind="refund_due"} 0.0' in shown
    assert 'daftari_switched_off{kind="prompts"} 0.0' in shown


MONITOR = "f3Zq8Lw1Kx7Vb2Nc9Tm4Rh6Yd0Sg5PjQ8t"


@pytest.mark.usefixtures("lost_database")
def test_the_token_of_the_monitor_opens_the_figures_and_nothing_else(
    make_app: Callable[[Settings], Flask], settings: Settings
) -> None:
    client = make_app(replace(settings, daftari_metrics_token=MONITOR)).test_client()
    header = {"Authorization": f"Bearer {MONITOR}"}
    assert client.get("/metrics", headers=header).status_code == 200
    assert client.get("/metrics", headers={"Authorization": f"Bearer {MONITOR}x"}).status_code == 401
    assert client.get("/metrics").status_code == 401
    for path in ("/api/probes/who/", "/api/work-list/"):
        assert client.get(path, headers=header).status_code == 401


def test_without_a_token_of_the_monitor_no_token_is_taken_for_it(client: FlaskClient) -> None:
    for token in ("", " ", "None", MONITOR):
        assert client.get("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 401


@pytest.mark.usefixtures("lost_database")
def test_without_a_database_the_counts_are_shown_all_the_same(client: FlaskClient, bearer: Bearer) -> None:
    shown = client.get("/metrics", headers=bearer(1, "operator")).text
    assert "\ndaftari_database_answers 0.0\n" in shown
    assert "daftari_open_cases" not in shown
    assert "daftari_http_request_seconds" in shown
