"""Posts entries again that receipts demand and a table of the ledger does not have."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from psycopg2.extensions import cursor as Cursor

from sinks.erasure import is_erased
from sinks.repair.inserting import insert

BALANCES: Final = {"xp_transactions": "xp_balance", "credit_transactions": "credit_balance"}
"""The tables whose entries move a balance, and which."""

AMOUNTS: Final = {
    **dict.fromkeys(BALANCES, "amount"),
    "skill_rewards": "points_awarded",
    "license_progressions": "to_level",
}
"""The tables of entries, and the figure that says how much."""

_OPENINGS: Final = {"xp_transactions": "opening_xp", "credit_transactions": "opening_credits"}

_BALANCE_BEFORE: Final = """
SELECT {opening} + (SELECT coalesce(sum(amount), 0)::bigint FROM {table} e
                     WHERE e.user_id = users.id AND (receipt_seq IS NULL OR receipt_seq < %(seq)s))
  FROM users WHERE id = %(user)s
"""

_LICENSE: Final = """
SELECT id, (SELECT event_key FROM reward_receipts r WHERE r.user_id = l.user_id AND r.seq = %s)
  FROM user_licenses l WHERE user_id = %s AND specialization_type = %s
"""


_COMMANDS: Final = r"""
SELECT seq, event_key, payload_hash FROM reward_receipts WHERE seq = ANY(%s) AND event_key LIKE 'command\_%%'
"""


class Entry(NamedTuple):
    """A row that must be in an append-only table. `values` are its columns; a level change names its specialization.

    A level change has who gave the command and why, where that was found; else its event is the reason.
    """

    table: str
    key: str
    user_id: int
    seq: int
    values: dict[str, Any]


def fetch_commands(cursor: Cursor, seqs: Collection[int]) -> dict[tuple[str, bytes], int]:
    """Those of the receipts that are of level commands: by event key and payload hash, the receipt's number."""
    cursor.execute(_COMMANDS, (list(seqs),))
    return {(event_key, bytes(hash_)): seq for seq, event_key, hash_ in cursor.fetchall() if hash_ is not None}


def post_entries(cursor: Cursor, entries: Sequence[Entry]) -> None:
    """Post missing entries, within the caller's transaction; the users are locked and have their licenses."""
    posted: dict[tuple[str, int, int], int] = defaultdict(int)
    for entry in sorted(entries, key=lambda entry: entry.seq):
        values = dict(entry.values)
        if entry.table in BALANCES:
            before = _BALANCE_BEFORE.format(opening=_OPENINGS[entry.table], table=entry.table)
            cursor.execute(before, {"seq": entry.seq, "user": entry.user_id})
            same = entry.table, entry.user_id, entry.seq
            posted[same] += values["amount"]
            ((balance,),) = cursor.fetchall()
            values["balance_after"] = balance + posted[same]
        if entry.table == "license_progressions":
            cursor.execute(_LICENSE, (entry.seq, values.pop("user_id"), values.pop("specialization_type")))
            ((values["user_license_id"], event_key),) = cursor.fetchall()
            values.setdefault("advancement_reason", event_key)
            if is_erased(cursor, entry.user_id):
                values["advancement_reason"] = None
        insert(cursor, entry.table, values)
