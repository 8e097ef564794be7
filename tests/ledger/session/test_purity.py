"""The domain asks for nothing: no time, no chance, no input or output. What a linter of imports cannot see."""

import ast
import importlib
from pathlib import Path
from pkgutil import iter_modules

import pytest

from ledger import session

DOMAIN = (
    "errors",
    "money",
    "phone",
    *(f"session.{module.name}" for module in iter_modules(session.__path__)),
)
FORBIDDEN_MODULES = {
    "asyncio",
    "flask",
    "io",
    "logging",
    "msgspec",
    "os",
    "pathlib",
    "psycopg",
    "random",
    "requests",
    "secrets",
    "socket",
    "structlog",
    "subprocess",
    "threading",
    "time",
}
FORBIDDEN_CALLS = {
    "datetime_now_with_tzinfo",
    "getenv",
    "monotonic",
    "now",
    "open",
    "print",
    "today",
    "utcnow",
    "uuid1",
    "uuid4",
}
PURE_OF_OURS = {f"ledger.{name}" for name in DOMAIN} | {"ledger", "ledger.session"}


@pytest.fixture(params=DOMAIN)
def tree(request: pytest.FixtureRequest) -> ast.Module:
    """The parsed source of a module of the domain."""
    source = importlib.import_module(f"ledger.{request.param}").__file__
    assert source is not None
    return ast.parse(Path(source).read_text())


def imported(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(node.module or "")
    return names


def test_the_domain_imports_no_input_no_output_no_clock_and_no_randomness(tree: ast.Module) -> None:
    assert not {name.split(".")[0] for name in imported(tree)} & FORBIDDEN_MODULES


def test_the_domain_imports_nothing_else_of_ours(tree: ast.Module) -> None:
    ours = {
        name
        for name in imported(tree)
        if name.split(".")[0] in {"api", "daraja", "ledger", "payments", "projections", "shop"}
    }
    assert ours <= PURE_OF_OURS


def test_the_domain_calls_for_no_time_and_no_id(tree: ast.Module) -> None:
    called = {
        node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, (ast.Attribute, ast.Name))
    }
    assert not called & FORBIDDEN_CALLS


def test_the_domain_writes_no_float(tree: ast.Module) -> None:
    assert not [
        node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, float)
    ]
    assert "float" not in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
