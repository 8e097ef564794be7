"""`daftari shop-check` passes the reference shop, and finds the faults that are planted in it."""

import importlib.util
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from werkzeug.serving import make_server

from api.cli import main
from tests.support.outside_shop import PROGRAM, SECRET
from tests.support.ports import LOCALHOST


@pytest.fixture
def program() -> Any:
    """The reference shop as a module of its own, so that a fault can be planted in it."""
    spec = importlib.util.spec_from_file_location("http_shop_under_test", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def served(program: Any, folder: Path) -> Iterator[str]:
    app = program.create_app(str(folder / "shop.sqlite"), SECRET)
    server = make_server(LOCALHOST, 0, app, threaded=True)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    url = f"http://{LOCALHOST}:{server.server_port}"
    requests.put(f"{url}/carts/7/1/", json={"quantity": "2"}, timeout=10).raise_for_status()
    try:
        yield f"{url}/daftari"
    finally:
        server.shutdown()
        thread.join()


def checked(url: str, *options: str, secret: str = SECRET) -> tuple[int, list[str], list[str]]:
    """Return the exit code, the rules that were kept, and the lines of those that were not."""
    result = CliRunner().invoke(
        main, ["shop-check", url, "--user", "7", *options], env={"DAFTARI_SHOP_SECRET": secret}
    )
    lines = result.output.splitlines()
    return (
        result.exit_code,
        [line[2:] for line in lines if line.startswith("✓")],
        [line[2:] for line in lines if line.startswith("✗")],
    )


def test_the_reference_shop_keeps_every_rule(program: Any, tmp_path: Path) -> None:
    with served(program, tmp_path) as url:
        code, kept, broken = checked(url)
    assert (code, broken) == (0, [])
    assert len(kept) == 15


def _two_orders(program: Any) -> None:
    program.TABLES = program.TABLES.replace("session_id TEXT UNIQUE", "session_id TEXT")
    program.TABLES = program.TABLES.replace("line_id INTEGER UNIQUE", "line_id INTEGER")

    class Forgetful(program.Shop):  # type: ignore[misc]
        def order(self, data: dict[str, Any]) -> Any:
            self.find_order = lambda _: {"order": None}
            made = super().order({**data, "lines": [line | {"cart_item_id": None} for line in data["lines"]]})
            del self.find_order
            return made if "refused" in made else {"order": self._newest()}

        def _newest(self) -> dict[str, Any]:
            [(order_id,)] = self.db.execute("SELECT max(order_id) FROM orders").fetchall()
            return {"order_id": order_id, "order_number": f"WEB-{order_id:05d}"}

    program.Shop = Forgetful


def _no_signatures(program: Any) -> None:
    class Trusting(program.Webhook):  # type: ignore[misc]
        def verify(self, data: bytes, headers: dict[str, str]) -> Any:  # noqa: ARG002
            return json.loads(data)

    program.Webhook = Trusting


def _floats(program: Any) -> None:
    quote = program.Shop.quote

    def with_floats(self: Any, data: Any) -> Any:
        answer = quote(self, data)
        return answer | {"lines": [line | {"unit_price": 150.0} for line in answer["lines"]]}

    program.Shop.quote = with_floats


def _rules_out_nothing(program: Any) -> None:
    program.Shop.rule_out = program.Shop.find_order


def _returns_again_and_again(program: Any) -> None:
    program.Shop.return_goods = lambda *_: {"returned": True}


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (_two_orders, "Eight requests at once for one session make one order. But it made 8 orders"),
        (_no_signatures, "A request without a signature is refused. But it answered with status 200."),
        (_floats, "User 7 is quoted a cart that can be bought. But Expected `str`, got `float`"),
        (_rules_out_nothing, "A session that was ruled out gets no order. But"),
        (_returns_again_and_again, "The goods of an order go back on the shelf once. But"),
    ],
)
def test_a_planted_fault_is_found(
    program: Any, tmp_path: Path, plant: Callable[[Any], None], found: str
) -> None:
    plant(program)
    with served(program, tmp_path) as url:
        code, _, broken = checked(url)
    assert code == 1
    assert any(line.startswith(found) for line in broken), broken


def test_a_shop_that_is_not_there_keeps_no_rule() -> None:
    code, kept, broken = checked("http://127.0.0.1:9/daftari")
    assert (code, kept, len(broken)) == (1, [], 15)


def test_an_empty_cart_says_what_to_do(program: Any, tmp_path: Path) -> None:
    with served(program, tmp_path) as url:
        code, _, broken = checked(url, "--user", "8")
    assert code == 1
    assert any("put something into the cart of user 8" in line for line in broken)


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("http://shop.example/", SECRET),
        ("https://shop.example/", "whsec_short"),
        ("https://shop.example/", ""),
    ],
)
def test_what_is_given_wrongly_is_a_wrong_setting(url: str, secret: str) -> None:
    assert checked(url, secret=secret)[0] == 3
