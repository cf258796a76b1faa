"""What adopting an academy's database will do to it, and what still does not add up afterwards."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from msgspec import Struct
from sqlalchemy import Connection, create_engine, inspect, make_url, text
from sqlalchemy.pool import NullPool

from sinks.migration import current_revision, rehearsal, revisions
from sinks.tables import metadata

EXAMPLES: Final = 3


class Finding(Struct, frozen=True):
    """Rows of one table that share a fate, with a few of them as examples."""

    table: str
    what: str
    rows: int
    examples: list[dict[str, Any]]


class Counted(Struct, frozen=True):
    """A table's rows before and after. What adoption adds and removes explains the difference, row by row."""

    table: str
    before: int
    removed: int
    added: int
    after: int

    @property
    def accounted(self) -> bool:
        """Whether no row appeared or disappeared unaccounted for."""
        return self.before - self.removed + self.added == self.after


class Plan(Struct, frozen=True):
    """What migrating to the newest revision will do."""

    revision: str | None
    newest: str
    tables: list[Counted]
    removed: list[Finding]
    changed: list[Finding]
    added: list[Finding]
    backfilled: list[Finding]


class Report(Struct, frozen=True):
    """What does not add up. Nothing of it was made by adoption but where `what` says so, and nothing of it is mended."""

    findings: list[Finding]


class _Backfill(NamedTuple):
    """Values that a migration fills in: shown where the column was not there before."""

    table: str
    column: str
    what: str
    columns: str
    where: str


_CANONICAL = (
    "t.idempotency_key ~ '^(tournament|session|enrollment)_[0-9]+_(reward|attendance|payment|refund|xp)_[0-9]+$'"
)

_BACKFILLS: Final = (
    _Backfill("credit_transactions", "idempotency_key", "canonical keys", "id, idempotency_key", _CANONICAL),
    _Backfill("credit_transactions", "idempotency_key", "fallback keys", "id, idempotency_key", f"NOT {_CANONICAL}"),
    _Backfill("xp_transactions", "idempotency_key", "canonical keys", "id, idempotency_key", _CANONICAL),
    _Backfill("xp_transactions", "idempotency_key", "fallback keys", "id, idempotency_key", f"NOT {_CANONICAL}"),
    _Backfill(
        "specialization_progress",
        "level_adjustment",
        "levels that stand apart from what their XP give",
        "student_id, specialization_id, current_level, total_xp, level_adjustment",
        "t.level_adjustment <> 0",
    ),
    _Backfill(
        "specialization_progress",
        "milestones_paid",
        "milestones that count as paid",
        "student_id, specialization_id, completed_sessions, milestones_paid",
        "t.milestones_paid > 0",
    ),
    _Backfill(
        "specialization_progress",
        "opening_xp",
        "XP without any XP transaction, which become the opening",
        "student_id, specialization_id, opening_xp",
        "t.opening_xp <> 0",
    ),
    _Backfill(
        "user_licenses",
        "adopted_skills",
        "ratings that later results continue from",
        "user_id, specialization_type, adopted_skills",
        "t.adopted_skills IS NOT NULL",
    ),
    _Backfill(
        "reward_receipts",
        "event_key",
        "tournaments that count as given",
        'event_key, "grant"',
        "t.origin = 'adopted' AND t.event_key LIKE 'tournament%'",
    ),
    _Backfill(
        "reward_receipts",
        "event_key",
        "sessions that count as given",
        'event_key, "grant"',
        "t.origin = 'adopted' AND t.event_key LIKE 'session%'",
    ),
)

_BALANCE = """
SELECT id AS user_id, {balance} AS balance, {opening} + coalesce(entries.total, 0) AS entries
  FROM users LEFT JOIN (SELECT user_id, sum(amount) AS total FROM {ledger} GROUP BY user_id) AS entries
    ON entries.user_id = users.id
 WHERE {balance} <> {opening} + coalesce(entries.total, 0)"""

_XP_OFF = _BALANCE.format(balance="xp_balance", opening="opening_xp", ledger="xp_transactions")

_DUPLICATE_XP = """
(SELECT coalesce(sum((row ->> 'amount')::bigint), 0) FROM migration_removed_rows
  WHERE table_name = 'xp_transactions' AND action = 'removed' AND (row ->> 'user_id')::bigint = off.user_id)"""

_SOURCE_TWICE = """
SELECT user_id, transaction_type, source, count(*) AS rows, sum(amount) AS amount
  FROM (SELECT user_id, transaction_type, amount,
               CASE transaction_type WHEN 'TOURNAMENT_REWARD' THEN semester_id ELSE enrollment_id END AS source
          FROM credit_transactions WHERE transaction_type IN ('TOURNAMENT_REWARD', 'ENROLLMENT', 'REFUND')) AS named
 WHERE source IS NOT NULL
 GROUP BY user_id, transaction_type, source
HAVING count(*) > 1"""

_CHECKS: Final = (
    (
        "users",
        "XP balances that are off by exactly the duplicate XP that adoption removed",
        f"SELECT * FROM ({_XP_OFF}) AS off WHERE balance - entries = {_DUPLICATE_XP}",
    ),
    (
        "users",
        "XP balances that are off for another reason",
        f"SELECT * FROM ({_XP_OFF}) AS off WHERE balance - entries <> {_DUPLICATE_XP}",
    ),
    (
        "users",
        "credit balances that are off",
        _BALANCE.format(balance="credit_balance", opening="opening_credits", ledger="credit_transactions"),
    ),
    (
        "specialization_progress",
        "XP of a specialization that its XP transactions do not give",
        """
SELECT p.student_id, p.specialization_id, p.total_xp, p.opening_xp + coalesce(sum(x.amount), 0) AS entries
  FROM specialization_progress p
  LEFT JOIN xp_transactions x ON x.user_id = p.student_id AND x.specialization_id = p.specialization_id
 GROUP BY p.id HAVING p.total_xp <> p.opening_xp + coalesce(sum(x.amount), 0)""",
    ),
    ("credit_transactions", "sources that gave or took credits more than once", _SOURCE_TWICE),
    (
        "user_licenses",
        "levels that progress and license disagree on (SYNC-01)",
        """
SELECT p.student_id AS user_id, p.specialization_id, p.current_level AS progress, l.current_level AS license
  FROM specialization_progress p
  JOIN user_licenses l ON l.user_id = p.student_id AND l.specialization_type = p.specialization_id
 WHERE p.current_level <> l.current_level""",
    ),
    (
        "user_licenses",
        "progress without license (SYNC-02)",
        """
SELECT p.student_id AS user_id, p.specialization_id, p.current_level FROM specialization_progress p
 WHERE NOT EXISTS (SELECT FROM user_licenses l
                    WHERE l.user_id = p.student_id AND l.specialization_type = p.specialization_id)""",
    ),
    (
        "specialization_progress",
        "license without progress (SYNC-03)",
        """
SELECT l.user_id, l.specialization_type, l.current_level FROM user_licenses l
 WHERE NOT EXISTS (SELECT FROM specialization_progress p
                    WHERE p.student_id = l.user_id AND p.specialization_id = l.specialization_type)""",
    ),
)


def plan_adoption(database_url: str) -> Plan:
    """What migrating will remove, change and backfill, found by doing it in a transaction that is rolled back."""
    with rehearsal(database_url) as (connection, migrate):
        revision = current_revision(connection)
        columns = _columns(connection)
        before = {table: _count(connection, table) for table in metadata.tables if table in columns}
        kept = _newest_kept(connection) if "migration_removed_rows" in columns else 0
        migrate()
        return Plan(
            revision=revision,
            newest=revisions()[-1],
            tables=[_counted(connection, table, rows, kept) for table, rows in before.items()],
            removed=_kept(connection, "removed", kept),
            changed=_kept(connection, "changed", kept),
            added=_kept(connection, "added", kept),
            backfilled=list(_backfilled(connection, columns)),
        )


def report_adoption(database_url: str) -> Report:
    """What does not add up in a migrated database, counted, with examples."""
    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg2"), poolclass=NullPool)
    with engine.connect() as connection:
        return Report([_finding(connection, table, what, query) for table, what, query in _CHECKS])


def _columns(connection: Connection) -> dict[str, set[str]]:
    present = inspect(connection)
    return {table: {column["name"] for column in present.get_columns(table)} for table in present.get_table_names()}


def _count(connection: Connection, table: str) -> int:
    return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def _newest_kept(connection: Connection) -> int:
    return int(connection.execute(text("SELECT coalesce(max(id), 0) FROM migration_removed_rows")).scalar_one())


def _counted(connection: Connection, table: str, before: int, kept: int) -> Counted:
    fates = text(
        "SELECT count(*) FILTER (WHERE action = 'removed'), count(*) FILTER (WHERE action = 'added') "
        "FROM migration_removed_rows WHERE table_name = :table AND id > :kept"
    )
    removed, added = connection.execute(fates, {"table": table, "kept": kept}).one()
    return Counted(table, before, removed, added, _count(connection, table))


def _kept(connection: Connection, action: str, kept: int) -> list[Finding]:
    groups = connection.execute(
        text(
            "SELECT table_name, reason, count(*), (array_agg(row ORDER BY id))[1:3] FROM migration_removed_rows "
            "WHERE action = :action AND id > :kept AND row <> '{}' GROUP BY table_name, reason ORDER BY min(id)"
        ),
        {"action": action, "kept": kept},
    )
    return [Finding(table, reason, rows, list(examples)) for table, reason, rows, examples in groups]


def _backfilled(connection: Connection, columns: dict[str, set[str]]) -> Iterable[Finding]:
    for table, column, what, shown, where in _BACKFILLS:
        if column not in columns.get(table, set()):
            finding = _finding(connection, table, what, f"SELECT {shown} FROM {table} t WHERE {where}")
            if finding.rows:
                yield finding


def _finding(connection: Connection, table: str, what: str, query: str) -> Finding:
    found = connection.execute(
        text(f"SELECT to_jsonb(f), count(*) OVER () FROM ({query}) AS f ORDER BY 1 LIMIT {EXAMPLES}")
    ).all()
    return Finding(table, what, found[0][1] if found else 0, [row for row, _ in found])
