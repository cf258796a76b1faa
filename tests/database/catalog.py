"""A database as its catalog describes it: everything that two schemas can differ in, by name, so that they compare."""

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

_QUERIES = {
    "columns": """
SELECT table_name || '.' || column_name, data_type, udt_name, character_maximum_length, numeric_precision, numeric_scale,
       is_nullable, CASE WHEN is_identity = 'NO' THEN column_default END, is_identity, identity_generation
  FROM information_schema.columns WHERE table_schema = 'public'""",
    "constraints": """
SELECT conrelid::regclass || '.' || conname, contype::text, pg_get_constraintdef(oid)
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 't'""",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "options": """
SELECT relname, relkind::text, coalesce(reloptions::text, '')
  FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'""",
    "triggers": """
SELECT tgrelid::regclass || '.' || tgname, tgenabled::text, pg_get_triggerdef(oid)
  FROM pg_trigger WHERE NOT tgisinternal""",
    "functions": "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    "sequences": """
SELECT sequencename, data_type::text, start_value, increment_by, cache_size, last_value
  FROM pg_sequences WHERE schemaname = 'public'""",
}

FROM_TABLES = ("columns", "constraints", "indexes", "options")
"""What `sinks.tables` says; triggers, functions and the sequences between them are the migrations' own."""

Schema = dict[str, dict[str, tuple[Any, ...]]]


def engine_on(url: str) -> Engine:
    """An engine that keeps no connection."""
    return create_engine(make_url(url).set(drivername="postgresql+psycopg2"), poolclass=NullPool)


def schema(connection: Connection, parts: tuple[str, ...] = tuple(_QUERIES)) -> Schema:
    """The schema, without Alembic's own table and the academy's that are not ours."""
    found = {part: connection.execute(text(_QUERIES[part])).all() for part in parts}
    return {
        part: {
            row[0]: tuple(row[1:]) for row in rows if not row[0].startswith(("alembic_version", "internship_levels"))
        }
        for part, rows in found.items()
    }


def rows(connection: Connection, tables: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Every row of the tables, in one order."""
    return {
        table: [row for (row,) in connection.execute(text(f"SELECT to_jsonb(t) FROM {table} t ORDER BY to_jsonb(t)"))]
        for table in tables
    }


def table_names(connection: Connection) -> list[str]:
    """Every table."""
    found = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"))
    return list(found.scalars())
