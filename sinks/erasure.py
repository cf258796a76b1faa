"""Erasing a person: every word about them goes, every figure and the user's id stay.

The id must stay: without the user's receipts a replay would pay again. What goes leaves its SHA-256 in `erased_values`,
so that the ledger's seals still hold. Only the tables' owner may: no role of ours may update these columns, and the
append-only triggers let words go only while `laurels.erasing` is on, and only to nothing.
"""

from typing import Final, NamedTuple

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from schemas.errors import LaurelsError
from sinks.audit import AuditEntry, write_audit

NOT_PERMITTED: Final = "42501"


class NotPermitted(LaurelsError):
    """Erasing takes the rights of the tables' owner: give the command that user's DATABASE_URL."""


class _Column(NamedTuple):
    """One column that holds words of a person; `of_user` finds the rows, `value` is the content as bytes."""

    table: str
    column: str
    of_user: str
    row_id: str = "id"
    blank: str = "NULL"
    value: str = "convert_to({column}, 'UTF8')"


# A transfer that somebody else sent to the user stands under the sender; its bytes are all that names the receiver.
_LETTERS: Final = r"""(user_id = %(user)s OR (topic = 'credit-transfers'
    AND encode(value, 'escape') ~ ('"(sender_id|receiver_id)"\s*:\s*' || %(user)s::bigint || '\M')))"""

COLUMNS: Final = (
    _Column("users", "email", "id = %(user)s"),
    _Column("xp_transactions", "description", "user_id = %(user)s"),
    _Column("credit_transactions", "description", "user_id = %(user)s"),
    _Column(
        "license_progressions",
        "advancement_reason",
        "user_license_id IN (SELECT id FROM user_licenses WHERE user_id = %(user)s)",
    ),
    _Column("credit_transfers", "memo", "%(user)s IN (sender_id, receiver_id)", row_id="receipt_seq", blank="''"),
    _Column("dead_letters", "headers", _LETTERS, blank="'[]'", value="convert_to({column}::text, 'UTF8')"),
    _Column("dead_letters", "detail", _LETTERS, blank="''"),
    _Column("dead_letters", "value", _LETTERS, value="{column}"),
)
"""What is blanked, in this order: the bytes of a dead letter last, since they tell whose it is."""

_KEEP_HASHES: Final = """
INSERT INTO erased_values (table_name, column_name, row_id, value_hash, user_id)
SELECT '{table}', '{column}', {row_id}, sha256({value}), %(user)s
  FROM {table} WHERE {of_user} AND {column} IS NOT NULL AND {column} <> {empty}
    ON CONFLICT ON CONSTRAINT pk_erased_values DO NOTHING
"""

_BLANK: Final = "UPDATE {table} SET {column} = {blank} WHERE {of_user} AND {column} IS NOT NULL AND {column} <> {empty}"

_EMPTY: Final = {"headers": "'[]'", "value": "''"}

_ERASED: Final = "SELECT count(*) FROM erased_values WHERE user_id = ANY(%s)"

# Without its bytes a letter can be retried no more.
_CLOSE_LETTERS: Final = f"""
UPDATE dead_letters SET status = 'dropped', resolved_by = %(actor)s, resolution = 'erased', updated_at = now()
 WHERE status = 'open' AND {_LETTERS}
"""

# Rows that migrations removed are kept as they were, words included.
_REMOVED: Final = """
UPDATE migration_removed_rows
   SET row = row || (SELECT jsonb_object_agg(word, NULL::text)
                       FROM unnest(ARRAY['description', 'advancement_reason', 'email']) AS word WHERE row ? word)
 WHERE (row ->> 'user_id' = %(user)s::text OR (table_name = 'users' AND row_id = %(user)s)
        OR (table_name = 'license_progressions'
            AND row ->> 'user_license_id' IN (SELECT id::text FROM user_licenses WHERE user_id = %(user)s)))
   AND (coalesce(row ->> 'description', '') <> '' OR coalesce(row ->> 'advancement_reason', '') <> ''
        OR coalesce(row ->> 'email', '') <> '')
"""


def is_erased(cursor: Cursor, *user_ids: int) -> bool:
    """Whether words of any of these users were blanked: none that is found again may come back."""
    cursor.execute(_ERASED, (list(user_ids),))
    return bool(cursor.fetchall()[0][0])


def erase_user(connection: Connection, user_id: int, *, actor: str, reason: str) -> dict[str, int] | None:
    """Blank every word about a user, in one transaction with its audit row; how many of each, None for nobody we know.

    Safe to repeat: what came in since goes then.
    """
    try:
        with connection, connection.cursor() as cursor:
            return _erase(cursor, user_id, actor, reason)
    except psycopg2.Error as error:
        if error.pgcode == NOT_PERMITTED:
            raise NotPermitted(f"{NotPermitted.__doc__} ({' '.join(str(error).split())})") from error
        raise


def _erase(cursor: Cursor, user_id: int, actor: str, reason: str) -> dict[str, int] | None:
    cursor.execute("SET LOCAL laurels.erasing = 'on'")
    cursor.execute("SELECT FROM users WHERE id = %s FOR UPDATE", (user_id,))
    if cursor.fetchone() is None:
        return None
    who = {"user": user_id, "actor": actor}
    cursor.execute(_CLOSE_LETTERS, who)
    blanked = {}
    for one in COLUMNS:
        parts = {
            **one._asdict(),
            "blank": one.blank,
            "value": one.value.format(column=one.column),
            "empty": _EMPTY.get(one.column, "''"),
        }
        cursor.execute(_KEEP_HASHES.format(**parts), who)
        cursor.execute(_BLANK.format(**parts), who)
        blanked[f"{one.table}.{one.column}"] = cursor.rowcount
    cursor.execute(_REMOVED, who)
    blanked["migration_removed_rows"] = cursor.rowcount
    write_audit(cursor, AuditEntry(actor, "user.erased", f"user {user_id}", {"reason": reason, "blanked": blanked}))
    return blanked
