"""A developer's program gets what happens from `daftari listen`, signed, in order, and past a restart of Daftari."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from standardwebhooks import Webhook

from ledger import clock
from tests.api.cli.support import CHECKOUT, daftari
from tests.support.checkouts import Checkout
from tests.support.instance import Instance, running_instance
from tests.support.waiting import wait_until
from tests.support.webhook_receiver import WebhookHandler, WebhookReceiver, reply, webhook_receiver

KEY = "DAFTARI_API_KEY"


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder) as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as receiver:
        yield receiver


def key_of(instance: Instance) -> str:
    return str(instance.server("a-developer").headers["Authorization"]).removeprefix("Bearer ")


@contextmanager
def answering_in_turn(*answers: tuple[int, dict[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Run a server that gives these answers, the last for ever; yield its URL, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers[min(len(asked), len(answers) - 1)]
            asked.append(self.path)
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def listening(
    instance: Instance, folder: Path, target: str, *options: str
) -> Iterator[subprocess.Popen[str]]:
    """Run `daftari listen`, once it says that it listens."""
    environ = {**os.environ, KEY: key_of(instance), "DAFTARI_DATA_DIR": str(folder)}
    command = [sys.executable, "-m", "api.cli", "listen", "--forward-to", target]
    with (
        (folder / "said").open("w") as said,
        subprocess.Popen(
            [*command, "--server", instance.base_url, *options],
            cwd=CHECKOUT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        ) as process,
    ):
        try:
            wait_until(lambda: "Ctrl-C" in (folder / "said").read_text(), "it listens", within_seconds=30)
            yield process
        finally:
            process.kill()


def test_messages_go_on_signed_by_the_secret_that_it_prints_and_ctrl_c_ends_it(
    instance: Instance, tmp_path: Path, receiver: WebhookReceiver
) -> None:
    secret = daftari("listen", "--print-secret", DAFTARI_DATA_DIR=str(tmp_path)).stdout.strip()
    assert daftari("listen", "--print-secret", DAFTARI_DATA_DIR=str(tmp_path)).stdout.strip() == secret
    Checkout(instance.services.ledger, at=clock.now()).prompt().cancel()
    with listening(instance, tmp_path, receiver.url) as process:
        assert secret in (tmp_path / "said").read_text()
        paid = Checkout(instance.services.ledger, at=clock.now()).prompt().pay().order()
        wait_until(lambda: len(receiver.received) == 2, "both arrived", within_seconds=30)
        for each in receiver.received:
            assert Webhook(secret).verify(each.body, each.headers)["data"]["session_id"] == str(
                paid.session_id
            )
        process.terminate()
        said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert [line.split()[1:] for line in said.splitlines()] == [
        ["payment.paid", str(paid.session_id), "204"],
        ["order.created", str(paid.session_id), "204"],
    ]


def test_what_is_not_taken_is_tried_three_times_and_then_the_next_follows(
    instance: Instance, tmp_path: Path, receiver: WebhookReceiver
) -> None:
    def fail_the_first(handler: WebhookHandler) -> None:
        reply(handler, 500 if handler.got.message["type"] == "payment.paid" else 204)

    receiver.answer = fail_the_first
    with listening(instance, tmp_path, receiver.url):
        Checkout(instance.services.ledger, at=clock.now()).prompt().pay().order()
        wait_until(lambda: len(receiver.received) == 4, "the next arrived", within_seconds=40)
    kinds = [each.message["type"] for each in receiver.received]
    assert kinds == ["payment.paid"] * 3 + ["order.created"]
    assert len({each.headers["webhook-id"] for each in receiver.received}) == 2


def test_it_waits_for_a_daftari_that_is_away_and_goes_on_where_it_was(
    tmp_path: Path, receiver: WebhookReceiver
) -> None:
    message = {"id": "msg_1", "type": "payment.paid", "timestamp": "t", "data": {"session_id": "s"}}
    away = (503, {"message": "away"})
    page = (
        200,
        {"results": [message], "next": "http://elsewhere/api/events/?after=1%3A7", "has_more": False},
    )
    with answering_in_turn(page, away, away, page) as (url, asked):
        environ = {KEY: "dk_test_" + "0" * 48, "DAFTARI_DATA_DIR": str(tmp_path)}
        command = [sys.executable, "-m", "api.cli", "listen", "--forward-to", receiver.url, "--server", url]
        with subprocess.Popen(command, cwd=CHECKOUT, env={**os.environ, **environ}) as process:
            try:
                wait_until(lambda: len(receiver.received) == 2, "it went on", within_seconds=40)
            finally:
                process.terminate()
    assert process.returncode == 0
    first, *later = asked
    assert first.startswith("/api/events/?from=")
    assert set(later) == {"/api/events/?after=1%3A7"}


def test_types_narrow_it(instance: Instance, tmp_path: Path, receiver: WebhookReceiver) -> None:
    with listening(instance, tmp_path, receiver.url, "--types", "order.created"):
        Checkout(instance.services.ledger, at=clock.now()).prompt().pay().order()
        wait_until(lambda: bool(receiver.received), "it arrived", within_seconds=30)
    assert [each.message["type"] for each in receiver.received] == ["order.created"]


def test_it_says_what_is_missing(tmp_path: Path) -> None:
    folder = {"DAFTARI_DATA_DIR": str(tmp_path)}
    assert daftari("listen", **folder).returncode == 2
    without = daftari("listen", "--forward-to", "http://127.0.0.1:9/", **folder)
    assert without.returncode == 3
    assert "daftari api-keys create" in without.stderr


def test_a_key_that_is_refused_ends_it(instance: Instance, tmp_path: Path) -> None:
    refused = daftari(
        *("listen", "--forward-to", "http://127.0.0.1:9/", "--server", instance.base_url),
        DAFTARI_DATA_DIR=str(tmp_path),
        DAFTARI_API_KEY="dk_test_" + "0" * 48,
    )
    assert refused.returncode == 1
    assert "answers 401" in refused.stderr
