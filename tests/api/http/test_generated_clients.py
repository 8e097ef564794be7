"""Clients that others' generators make of /openapi.json are well typed, and buy on a running instance."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.scenarios.steps import TOMATOES, put_in_cart, put_on_shelf
from tests.support.instance import Instance, running_instance
from tests.support.node import PROJECT, link_node_modules, run_node, run_tool

pytestmark = pytest.mark.system

PYTHON_CLIENT = Path(__file__).with_name("checkout_client.py")
WITHIN_SECONDS = 180
KNOWN_WARNING = "Unsupported content_type application/zip"
"""Evidence packs are files: generated Python does not read them."""


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder) as running:
        put_on_shelf(running, TOMATOES, stock="40")
        put_in_cart(running.client(1), TOMATOES, "2")
        yield running


@pytest.fixture
def document(instance: Instance, tmp_path: Path) -> Path:
    """The document as an instance serves it."""
    file = tmp_path / "openapi.json"
    file.write_bytes(requests.get(f"{instance.base_url}/openapi.json", timeout=30).content)
    return file


def test_a_typescript_client_buys(instance: Instance, document: Path) -> None:
    folder = document.parent
    link_node_modules(folder)
    for name in ("checkout_client.ts", "tsconfig.json", "package.json"):
        shutil.copy(PROJECT / name, folder)
    run_tool("openapi-typescript", document.name, "--output", "openapi.ts", folder=folder)
    run_tool("tsc", "--project", ".", folder=folder)
    said = run_node("checkout_client.js", instance.base_url, instance.token(1), folder=folder)
    _assert_it_bought(json.loads(said), instance)


def test_typescript_finds_a_status_that_there_is_not(document: Path) -> None:
    folder = document.parent
    link_node_modules(folder)
    for name in ("tsconfig.json", "package.json"):
        shutil.copy(PROJECT / name, folder)
    wrong = (PROJECT / "checkout_client.ts").read_text("utf-8").replace('"payment_initiated"', '"payed"')
    (folder / "checkout_client.ts").write_text(wrong, "utf-8")
    run_tool("openapi-typescript", document.name, "--output", "openapi.ts", folder=folder)
    found = run_tool("tsc", "--project", ".", folder=folder, accept_failure=True)
    assert "Type '\"payed\"' is not assignable" in found


def test_a_python_client_buys(instance: Instance, document: Path) -> None:
    folder = document.parent
    made = _python(folder, "-m", "openapi_python_client", "generate", "--path", document, "--meta", "none",
                   "--output-path", folder / "daftari_client")  # fmt: skip
    warnings = [line for line in made.splitlines() if "Cannot parse" in line or "Unsupported" in line]
    assert all(KNOWN_WARNING in line for line in warnings), warnings
    (folder / "daftari_client" / "py.typed").touch()
    _python(folder, "-m", "mypy", "--strict", "--follow-imports=silent", PYTHON_CLIENT)
    said = _python(folder, PYTHON_CLIENT, instance.base_url, instance.token(1))
    _assert_it_bought(json.loads(said), instance)


def _python(folder: Path, *arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "MYPYPATH": str(folder), "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=WITHIN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _assert_it_bought(said: dict[str, Any], instance: Instance) -> None:
    assert said == {
        "amount": "350.00",
        "prompt": "success",
        "status": "payment_initiated",
        "receipt": None,
        "listed": [said["created"]],
        "created": said["created"],
        "refused": "SESSION_NOT_FOUND",
    }
    assert instance.client(1).events(said["created"]) == ["Created", "PaymentRequested", "PaymentInitiated"]
