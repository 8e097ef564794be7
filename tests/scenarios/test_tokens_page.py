"""The programs of `docs/tokens.md` make tokens that buy."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jwt
import pytest

from payments.users.user_ids import FIRST, LAST, MAX_CHARACTERS, MAX_NUMBER
from tests.scenarios.steps import TOMATOES, put_in_cart
from tests.support.instance import Client, Instance
from tests.support.node import run_node

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tokens.md"
USER = "6fa1b2c8-5b0e-4c2f-9a51-0d8a3d0c7e11"


def program(language: str) -> str:
    """Return the only program of a language on the page."""
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return str(found)


def buys(instance: Instance, token: str) -> None:
    """Create a session with a token, and find its user named by a number of those of texts."""
    buyer = Client(instance.base_url, token)
    put_in_cart(buyer, TOMATOES, "2")
    created = buyer.create()
    assert created.status_code == 201, created.text
    assert FIRST <= created.json()["user"] <= LAST


def claims_of(token: str, secret: str) -> dict[str, object]:
    claims: dict[str, object] = jwt.decode(token, secret, ["HS256"])
    assert set(claims) == {"sub", "roles", "iat", "exp", "jti"}
    return claims


def test_the_program_in_python_makes_a_token_that_buys(instance: Instance) -> None:
    secret = instance.settings.daftari_jwt_secret
    done = subprocess.run(
        [sys.executable, "-c", program("python")],
        env={**os.environ, "DAFTARI_JWT_SECRET": secret},
        capture_output=True,
        text=True,
        check=True,
    )
    token = done.stdout.strip()
    assert claims_of(token, secret)["sub"] == USER
    buys(instance, token)


@pytest.mark.system
def test_the_program_for_node_makes_a_token_that_buys(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = instance.settings.daftari_jwt_secret
    monkeypatch.setenv("DAFTARI_JWT_SECRET", secret)
    (tmp_path / "token.mjs").write_text(program("js"), "utf-8")
    token = run_node("token.mjs", folder=tmp_path).strip()
    assert claims_of(token, secret)["sub"] == USER
    buys(instance, token)


@pytest.mark.skipif(shutil.which("php") is None, reason="PHP is not installed; the page says so")
def test_the_program_in_php_makes_a_token_that_buys(instance: Instance, tmp_path: Path) -> None:
    secret = instance.settings.daftari_jwt_secret
    (tmp_path / "token.php").write_text(program("php"), "utf-8")
    environ = {**os.environ, "DAFTARI_JWT_SECRET": secret}
    command = ["php", str(tmp_path / "token.php")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    token = done.stdout.strip()
    assert claims_of(token, secret)["sub"] == USER
    buys(instance, token)


def test_the_program_in_php_names_the_same_user_and_claims() -> None:
    """Also where PHP is not installed; it is read against the one in Python."""
    text = program("php")
    assert f"token_for('{USER}')" in text
    assert re.findall(r"'(\w+)' =>", text) == ["sub", "roles", "iat", "exp", "jti", "alg", "typ"]


def test_the_numbers_on_the_page_are_those_of_the_code() -> None:
    text = PAGE.read_text("utf-8")
    assert f"any text of 1 to {MAX_CHARACTERS} characters" in text
    assert f"from 1 to {MAX_NUMBER} is that number" in text
    assert re.search(rf"from {FIRST} to\s{LAST} when", text)
