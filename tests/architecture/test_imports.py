"""The import rules of setup.cfg catch what they are for: each kind of wrong arrow, planted in a copy of the code."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]
PACKAGES = ("api", "daraja", "ledger", "payments", "projections", "shop")
PLANTED = {
    "ledger/money.py": ("payments.services", "ledger is not allowed to import payments"),
    "payments/worker/jobs.py": ("api.settings", "payments is not allowed to import api"),
    "payments/inbox/inbox.py": (
        "payments.checkout.terms",
        "payments.inbox is not allowed to import payments.checkout",
    ),
    "payments/prompts/phone_locks.py": ("flask", "payments is not allowed to import flask"),
    "payments/reconciliation/movements.py": (
        "payments.reconciliation.matcher",
        "No cycles are allowed in payments.reconciliation",
    ),
    "api/http/app.py": ("api.wiring", "api.http is not allowed to import api.wiring"),
    "api/http/resources/health.py": ("psycopg", "api.http is not allowed to import psycopg"),
    "shop/port.py": ("daraja", "shop is not allowed to import daraja"),
    "ledger/session/values.py": ("os", "ledger.session is not allowed to import os"),
}
"""A file, what it must not import, and what import-linter says of it."""


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says of a copy of the code that has all of these imports, and one room without a place."""
    copy = tmp_path_factory.mktemp("planted")
    for package in PACKAGES:
        shutil.copytree(HERE / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE / "setup.cfg", copy)
    for file, (module, _) in PLANTED.items():
        with (copy / file).open("a", encoding="utf-8") as planted:
            planted.write(f"\nimport {module}\n")
    (copy / "payments/elsewhere.py").touch()
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize(("module", "complaint"), PLANTED.values(), ids=PLANTED)
def test_a_planted_import_is_refused(complaints: str, module: str, complaint: str) -> None:
    assert complaint in complaints, module


def test_a_new_room_needs_a_place_in_the_layers(complaints: str) -> None:
    assert "payments.elsewhere" in complaints
