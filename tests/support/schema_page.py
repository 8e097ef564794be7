"""`python -m tests.support.schema_page`: write docs/schema.md anew, from a database that was just migrated."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from ledger.store.migrate import PACKAGES, created_names, migrations
from tests.support.database import migrated_database
from tests.support.schema_catalog import Row, read_functions, read_sequences, read_tables, trigger_moment
from tests.support.schema_words import COLUMNS, FUNCTIONS, PURPOSES, SEQUENCES, WRITERS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "schema.md"

_HEAD = """# The schema

The tables, functions and sequences as they stand after all migrations. `make schema` writes this page from a
database that was just migrated, and a test holds it to that: change a migration or `tests/support/schema_words.py`,
not the page.

Amounts that end in `_cents` are whole cents of a shilling. Columns with `sealed` in their name are encrypted; those
that end in `_digest` are blind indexes. What the words mean is in [glossary.md](glossary.md); what analysts may rely
on is in [analysts.md](analysts.md).

*Written by* names the room of the code that inserts and updates a table. *`daftari_app` may* names the rights of the
application's role: it cannot write the log but through `append_events`.
"""
_FUNCTIONS_HEAD = """### Functions

| function | returns | `daftari_app` may call it | what it does |
| --- | --- | --- | --- |"""
_SEQUENCES_HEAD = """### Sequences

| sequence | type | what it numbers |
| --- | --- | --- |"""
_OWN_OF_MIGRATE = {"schema_migrations": "ledger.store"}
_CONSTRAINT_HEADS = {"p": "Primary key", "u": "Unique", "f": "Foreign key", "c": "Check"}


def write_page(database_url: str) -> str:
    """Return the page for a migrated database."""
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        tables, functions = read_tables(connection), read_functions(connection)
        sequences = read_sequences(connection)
    packages = package_of()
    order = list(packages)
    tables.sort(key=lambda table: order.index(table["name"]))
    by_name = {table["name"]: table for table in tables}
    parts = [_HEAD]
    for package in PACKAGES:
        parts.append(f"## {package}\n")
        parts += [_table(table, by_name) for table in tables if packages[table["name"]] == package]
        parts += _functions([row for row in functions if packages[row["name"]] == package])
        parts += _sequences([row for row in sequences if packages[row["name"]] == package])
    return "\n".join(parts)


def package_of() -> dict[str, str]:
    """Return, for each table, function and sequence in the order of creation, the package whose migration made it."""
    found = dict(_OWN_OF_MIGRATE)
    for step in migrations():
        for name in created_names(step):
            found.setdefault(name, step.package)
    return found


def purpose(table: Row) -> str:
    """Say what a table is for: its COMMENT, or else our own sentence. Raises KeyError where there is neither."""
    return str(table["comment"] or PURPOSES[table["name"]])


def _table(table: Row, by_name: dict[str, Row]) -> str:
    lines = [f"### {table['name']}", "", purpose(table), "", *_about(table), ""]
    original = by_name.get(table["name"].removesuffix("_rebuilt"))
    if original is not None and original is not table:
        assert _plain(table["columns"]) == _plain(original["columns"]), table["name"]
        return "\n".join([*lines, f"Columns, keys and indexes are those of `{original['name']}`.", ""])
    return "\n".join([*lines, *_columns(table), "", *_rules(table), ""])


def _about(table: Row) -> Iterator[str]:
    yield f"Written by `{WRITERS[table['name']]}`. `daftari_app` may {', '.join(table['rights'])}."
    if table["options"]:
        yield f"Stored with `{table['options']}`."


def _plain(columns: list[Row]) -> list[tuple[Any, ...]]:
    return [(column["name"], column["type"], column["is_required"]) for column in columns]


def _columns(table: Row) -> Iterator[str]:
    yield "| column | type | null | default | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for column in table["columns"]:
        meaning = COLUMNS.get(f"{table['name']}.{column['name']}") or column["comment"] or ""
        default = f"`{column['default']}`" if column["default"] else ""
        null = "" if column["is_required"] else "yes"
        cells = (f"`{column['name']}`", column["type"], null, default, meaning)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _rules(table: Row) -> Iterator[str]:
    for rule in table["constraints"]:
        text = re.sub(r"^(PRIMARY KEY|UNIQUE|FOREIGN KEY|CHECK) ", "", rule["text"])
        yield f"- {_CONSTRAINT_HEADS[rule['kind']]}: `{text}`"
    for index in table["indexes"]:
        _, _, text = index["text"].partition(" USING btree ")
        yield f"- {'Unique index' if index['is_unique'] else 'Index'} `{index['name']}`: `{text}`"
    for trigger in table["triggers"]:
        moment = trigger_moment(trigger["bits"])
        yield f"- Trigger `{trigger['name']}`: {moment}, calls `{trigger['function']}`"


def _functions(functions: list[Row]) -> Iterator[str]:
    if not functions:
        return
    yield _FUNCTIONS_HEAD
    for function in functions:
        name = f"`{function['name']}({function['arguments']})`"
        may_call = (
            ("yes, as the owner" if function["is_definer"] else "yes") if function["may_call"] else "no"
        )
        sentence = function["comment"] or FUNCTIONS[function["name"]]
        yield f"| {name} | {function['result']} | {may_call} | {sentence} |"
    yield ""


def _sequences(sequences: list[Row]) -> Iterator[str]:
    if not sequences:
        return
    yield _SEQUENCES_HEAD
    for sequence in sequences:
        sentence = sequence["comment"] or SEQUENCES[sequence["name"]]
        yield f"| `{sequence['name']}` | {sequence['type']} | {sentence} |"
    yield ""


def main() -> None:
    """Migrate a fresh database of a server of our own, and write the page."""
    with migrated_database() as database_url:
        PAGE.write_text(write_page(database_url), "utf-8")


if __name__ == "__main__":
    main()
