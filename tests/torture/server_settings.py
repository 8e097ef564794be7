"""Statements and settings of a PostgreSQL as its superuser gives them, past our processes."""

import psycopg


def execute(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Execute statements on a server, each by itself; return the rows of the last."""
    rows: list[tuple[object, ...]] = []
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description else []
    return rows


def configure(url: str, *settings: str) -> None:
    """Change settings of a server under way, such as `RESET idle_session_timeout`, also where it takes no writes."""
    execute(
        url,
        "SET default_transaction_read_only = off",
        *(f"ALTER SYSTEM {setting}" for setting in settings),
        "SELECT pg_reload_conf()",
    )
