"""An academy's database before and after its adoption, and how to look at both."""

from typing import Any, NamedTuple

from sinks.migration import migrate_to_head
from tests.database.catalog import engine_on, rows, table_names

Row = dict[str, Any]
Tables = dict[str, dict[int, Row]]


class Adopted(NamedTuple):
    """The rows by table and id, the receipts by event key, and `migration_removed_rows`."""

    url: str
    before: Tables
    after: Tables
    receipts: dict[str, Row]
    kept: list[Row]


def adopt(url: str) -> Adopted:
    """Migrate the database."""
    with engine_on(url).connect() as connection:
        names = [name for name in table_names(connection) if name != "internship_levels"]
        before = by_id(rows(connection, names))
    migrate_to_head(url)
    with engine_on(url).connect() as connection:
        after = by_id(rows(connection, names))
        more = rows(connection, ["reward_receipts", "migration_removed_rows"])
    receipts = {receipt["event_key"]: receipt for receipt in more["reward_receipts"]}
    return Adopted(url, before, after, receipts, more["migration_removed_rows"])


def by_id(found: dict[str, list[Row]]) -> Tables:
    """The rows of each table by their ids."""
    return {table: {row["id"]: row for row in table_rows} for table, table_rows in found.items()}
