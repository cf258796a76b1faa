"""Mends what was found, portion by portion, each in a transaction of its own, under the locks that recording takes."""

from collections.abc import Iterator, Sequence

import msgspec
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from ops.repair.finding import Damage, Findings, by_key, told
from sinks.audit import AuditEntry, write_audit
from sinks.repair.entries import Entry, post_entries
from sinks.repair.figures import AT_ONCE, fetch_latest, find_wrong, lock, portions, set_right
from sinks.repair.rows import Row, put_back


def mend(connection: Connection, damage: Damage, user_id: int | None, actor: str) -> Findings:
    """Rows first, which entries refer to, then entries, then the figures that follow from them; what was done."""
    found = damage.findings
    done = Findings(users=found.users, strays=found.strays, left=found.left)
    left_alone = {each.user_id for each in found.left}
    with connection.cursor() as cursor:
        for users in _in_portions(damage):
            lock(cursor, users)
            latest = fetch_latest(cursor, users)
            still = [user for user in users if latest.get(user) == damage.latest.get(user)]
            done.moved += sorted(set(users) - set(still))
            rows = [row for user in still for row in damage.rows.get(user, ())]
            entries = [entry for user in still for entry in damage.entries.get(user, ())]
            put_back(cursor, rows)
            post_entries(cursor, entries)
            _audit(cursor, actor, rows, entries)
            done.rows += rows
            done.missing += map(told, entries)
            connection.commit()
        done.rows.sort(key=by_key)
        done.missing.sort(key=by_key)
        left_alone |= set(done.moved)
        for users in portions(cursor, user_id):
            lock(cursor, users)
            wrong = [each for each in find_wrong(cursor, users) if each.user_id not in left_alone]
            set_right(cursor, wrong)
            for each in wrong:
                write_audit(cursor, AuditEntry(actor, "repair.set", f"user {each.user_id}", msgspec.to_builtins(each)))
            done.balances += wrong
            connection.commit()
    return done


def _in_portions(damage: Damage) -> Iterator[list[int]]:
    users = sorted(damage.rows.keys() | damage.entries.keys())
    for first in range(0, len(users), AT_ONCE):
        yield users[first : first + AT_ONCE]


def _audit(cursor: Cursor, actor: str, rows: Sequence[Row], entries: Sequence[Entry]) -> None:
    for row in rows:
        action = "repair.restored" if row.found is None else "repair.set"
        write_audit(cursor, AuditEntry(actor, action, f"user {row.user_id}", msgspec.to_builtins(row)))
    for entry in entries:
        detail = {"table": entry.table, "key": entry.key, "receipt_seq": entry.seq}
        write_audit(cursor, AuditEntry(actor, "repair.posted", f"user {entry.user_id}", detail))
