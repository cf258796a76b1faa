"""What several migrations do alike: keep the rows they remove or change, put them back, name constraints.

Frozen with the migrations: what they did must not change when the application does.
"""

from alembic import context, op
from sqlalchemy import text


def say(message: str) -> None:
    """Tell whoever runs the migration, at once."""
    progress = context.config.attributes.get("progress")
    if progress is not None:
        progress(f"  {message}")


def count(sql: str) -> int:
    """The number that a query answers with."""
    return int(op.get_bind().execute(text(sql)).scalar_one())


def keep(revision: str, table: str, action: str, reason: str, rows: str, row_id: str = "id") -> int:
    """Copy the rows of `table` whose `row_id` the query `rows` lists into `migration_removed_rows`; say how many."""
    kept = op.get_bind().execute(
        text(
            f"INSERT INTO migration_removed_rows (revision, table_name, row_id, action, reason, row) "
            f"SELECT :revision, :table, r.{row_id}, :action, :reason, to_jsonb(r) FROM {table} r "
            f"WHERE r.{row_id} IN ({rows}) ORDER BY r.{row_id}"
        ),
        {"revision": revision, "table": table, "action": action, "reason": reason},
    )
    if kept.rowcount:
        say(f"{table}: {kept.rowcount} rows {action} ({reason})")
    return kept.rowcount


def remove(revision: str, table: str, reason: str, rows: str) -> int:
    """Delete the rows whose id the query lists, keeping them in `migration_removed_rows`."""
    number = keep(revision, table, "removed", reason, rows)
    op.execute(
        f"DELETE FROM {table} WHERE id IN (SELECT row_id FROM migration_removed_rows "
        f"WHERE revision = '{revision}' AND table_name = '{table}' AND action = 'removed')"
    )
    return number


def put_back(revision: str, table: str) -> None:
    """Insert again what `remove` took."""
    op.execute(
        f"INSERT INTO {table} SELECT (jsonb_populate_record(NULL::{table}, row)).* FROM migration_removed_rows "
        f"WHERE revision = '{revision}' AND table_name = '{table}' AND action = 'removed' ORDER BY row_id"
    )
    _forget(revision, table, "removed")


def change_back(revision: str, table: str, columns: tuple[str, ...], unless: str = "false") -> None:
    """Give `columns` of changed rows their old values, but where the condition `unless` holds for the row today."""
    old = ", ".join(f"{column} = (jsonb_populate_record(NULL::{table}, m.row)).{column}" for column in columns)
    op.execute(
        f"UPDATE {table} t SET {old} FROM migration_removed_rows m WHERE m.revision = '{revision}' "
        f"AND m.table_name = '{table}' AND m.action = 'changed' AND t.id = m.row_id AND NOT ({unless})"
    )
    _forget(revision, table, "changed")


def take_back(revision: str, table: str) -> None:
    """Delete the rows that the migration added."""
    op.execute(
        f"DELETE FROM {table} WHERE id IN (SELECT row_id FROM migration_removed_rows "
        f"WHERE revision = '{revision}' AND table_name = '{table}' AND action = 'added')"
    )
    _forget(revision, table, "added")


def _forget(revision: str, table: str, action: str) -> None:
    op.execute(
        f"DELETE FROM migration_removed_rows "
        f"WHERE revision = '{revision}' AND table_name = '{table}' AND action = '{action}'"
    )


def say_lost(table: str, what: str, condition: str = "true") -> None:
    """Before something is dropped that nothing can bring back: say how much of it there is."""
    number = count(f"SELECT count(*) FROM {table} WHERE {condition}")
    if number:
        say(f"lost for good: {what} ({number} rows of {table})")
