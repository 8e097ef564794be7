"""Reads the tables, functions and sequences of a database from PostgreSQL's catalog, alike in all versions we support.

Text that differs from version to version is not asked for: constraints of NOT NULL (rows of the catalog since 18) and
rights beyond SELECT, INSERT, UPDATE and DELETE (MAINTAIN came with 17).
"""

from typing import Any

from psycopg import Connection

Row = dict[str, Any]

_TABLES = """
SELECT relname AS name, obj_description(oid, 'pg_class') AS comment, array_to_string(reloptions, ', ') AS options,
       array(SELECT privilege || coalesce(' (' || columns.names || ')', '')
             FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
             CROSS JOIN LATERAL (
                 SELECT string_agg(attname, ', ' ORDER BY attnum) AS names FROM pg_attribute
                 WHERE attrelid = pg_class.oid AND attnum > 0 AND privilege IN ('SELECT', 'INSERT', 'UPDATE')
                   AND NOT has_table_privilege('daftari_app', pg_class.oid, privilege)
                   AND has_column_privilege('daftari_app', pg_class.oid, attnum, privilege)) AS columns
             WHERE has_table_privilege('daftari_app', pg_class.oid, privilege) OR columns.names IS NOT NULL) AS rights
FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
"""
_COLUMNS = """
SELECT attrelid::regclass::text AS table, attname AS name, format_type(atttypid, atttypmod) AS type,
       attnotnull AS is_required, col_description(attrelid, attnum) AS comment,
       CASE WHEN attidentity <> '' THEN 'identity' ELSE pg_get_expr(adbin, adrelid) END AS default
FROM pg_attribute
JOIN pg_class ON pg_class.oid = attrelid AND relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped ORDER BY attrelid, attnum
"""
_CONSTRAINTS = """
SELECT conrelid::regclass::text AS table, conname AS name, contype AS kind, pg_get_constraintdef(oid, true) AS text
FROM pg_constraint
WHERE connamespace = current_schema()::regnamespace AND conrelid <> 0 AND contype IN ('p', 'u', 'f', 'c')
ORDER BY conrelid, array_position('{p,u,f,c}'::"char"[], contype), conname COLLATE "C"
"""
_INDEXES = """
SELECT indrelid::regclass::text AS table, pg_class.relname AS name, indisunique AS is_unique,
       pg_get_indexdef(indexrelid) AS text
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE relnamespace = current_schema()::regnamespace
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'))
ORDER BY indrelid, pg_class.relname COLLATE "C"
"""
_TRIGGERS = """
SELECT tgrelid::regclass::text AS table, tgname AS name, tgtype AS bits, tgfoid::regproc::text AS function
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace ORDER BY tgrelid, tgname COLLATE "C"
"""
_FUNCTIONS = """
SELECT proname AS name, pg_get_function_arguments(oid) AS arguments, pg_get_function_result(oid) AS result,
       obj_description(oid, 'pg_proc') AS comment, prosecdef AS is_definer,
       has_function_privilege('daftari_app', oid, 'EXECUTE') AS may_call
FROM pg_proc WHERE pronamespace = current_schema()::regnamespace ORDER BY proname COLLATE "C"
"""
_SEQUENCES = """
SELECT relname AS name, obj_description(pg_class.oid, 'pg_class') AS comment, format_type(seqtypid, NULL) AS type
FROM pg_class JOIN pg_sequence ON seqrelid = pg_class.oid
WHERE relnamespace = current_schema()::regnamespace
  AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'i')
ORDER BY relname COLLATE "C"
"""

_PARTS_OF_TABLES = {
    "columns": _COLUMNS,
    "constraints": _CONSTRAINTS,
    "indexes": _INDEXES,
    "triggers": _TRIGGERS,
}
_MOMENTS = {2: "before", 64: "instead of"}
_ACTS = {4: "INSERT", 16: "UPDATE", 8: "DELETE", 32: "TRUNCATE"}


def read_tables(connection: Connection[Row]) -> list[Row]:
    """Return the tables in any order, each with its columns, constraints, indexes and triggers."""
    tables = connection.execute(_TABLES.encode()).fetchall()
    by_name = {table["name"]: table for table in tables}
    for part, statement in _PARTS_OF_TABLES.items():
        for table in tables:
            table[part] = []
        for row in connection.execute(statement.encode()):
            by_name[row["table"]][part].append(row)
    return tables


def read_functions(connection: Connection[Row]) -> list[Row]:
    """Return the functions by name."""
    return connection.execute(_FUNCTIONS).fetchall()


def read_sequences(connection: Connection[Row]) -> list[Row]:
    """Return the sequences by name, those of identity columns left out."""
    return connection.execute(_SEQUENCES).fetchall()


def trigger_moment(bits: int) -> str:
    """Say when a trigger fires, from the bits of `pg_trigger.tgtype`: "before UPDATE or DELETE, for each row"."""
    moment = next((word for bit, word in _MOMENTS.items() if bits & bit), "after")
    acts = " or ".join(word for bit, word in _ACTS.items() if bits & bit)
    return f"{moment} {acts}, for each {'row' if bits & 1 else 'statement'}"
