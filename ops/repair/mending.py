"""Finds and mends: missing entries are posted again, balances and levels set to what the ledger says, strays listed."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, Final

from msgspec import Struct, field
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from ops.repair.demanded import Entry, Receipt, demanded

AT_ONCE: Final = 500
"""As many users are looked at, and locked, at once."""

KEYS: Final = {
    "xp_transactions": ("idempotency_key",),
    "credit_transactions": ("idempotency_key",),
    "skill_rewards": ("user_id", "source_type", "source_id", "skill_name"),
    "license_progressions": ("user_id", "specialization_type", "receipt_seq"),
}
AMOUNTS: Final = {
    "xp_transactions": "amount",
    "credit_transactions": "amount",
    "skill_rewards": "points_awarded",
    "license_progressions": "to_level",
}
FROM: Final = {
    "license_progressions": "license_progressions e JOIN user_licenses l ON l.id = e.user_license_id",
}
OWNERS: Final = {
    "license_progressions": "l.user_id",
}

USERS: Final = "SELECT id FROM users WHERE id > %s AND (%s::bigint IS NULL OR id = %s) ORDER BY id LIMIT %s"

RECEIPTS: Final = """
SELECT event_key, seq, user_id, corrects, revision, "grant", occurred_at
  FROM reward_receipts WHERE user_id = ANY(%s) AND origin <> 'adopted' ORDER BY seq
"""

# What was there when an academy's database was adopted has no receipt, or an adopted one, and is as it is.
ADOPTED: Final = "SELECT coalesce(max(seq), 0), max(recorded_at) FROM reward_receipts WHERE origin = 'adopted'"

BALANCES: Final = """
SELECT id, column_name, found, expected
  FROM users CROSS JOIN LATERAL (VALUES
       ('xp_balance', xp_balance,
        opening_xp + (SELECT coalesce(sum(amount), 0)::bigint FROM xp_transactions e WHERE e.user_id = users.id)),
       ('credit_balance', credit_balance,
        opening_credits + (SELECT coalesce(sum(amount), 0)::bigint FROM credit_transactions e WHERE e.user_id = users.id))
       ) AS balance (column_name, found, expected)
 WHERE id = ANY(%(users)s)
"""

# The level is where the last recorded level change left it. A standing that never had one is at level 1, unless it came
# with an adopted database: nothing says where that was.
PROGRESS: Final = """
SELECT p.student_id, p.specialization_id, p.total_xp,
       p.opening_xp + (SELECT coalesce(sum(amount), 0)::bigint FROM xp_transactions e
                        WHERE e.user_id = p.student_id AND e.specialization_id = p.specialization_id),
       p.current_level, l.current_level, l.max_achieved_level,
       coalesce(moved.receipt_seq, 0), coalesce(moved.to_level, CASE WHEN p.created_at <= adopted.at THEN NULL ELSE 1 END)
  FROM specialization_progress p
 CROSS JOIN (SELECT max(recorded_at) AS at FROM reward_receipts WHERE origin = 'adopted') AS adopted
  LEFT JOIN user_licenses l ON l.user_id = p.student_id AND l.specialization_type = p.specialization_id
  LEFT JOIN LATERAL (SELECT receipt_seq, to_level FROM license_progressions e
                      WHERE e.user_license_id = l.id AND e.receipt_seq IS NOT NULL
                      ORDER BY e.receipt_seq DESC LIMIT 1) AS moved ON true
 WHERE p.student_id = ANY(%(users)s) ORDER BY 1, 2
"""

LOCKS: Final = (
    "SELECT FROM users WHERE id = ANY(%(users)s) ORDER BY id FOR NO KEY UPDATE",
    """SELECT FROM specialization_progress WHERE student_id = ANY(%(users)s)
        ORDER BY student_id, specialization_id FOR NO KEY UPDATE""",
    "SELECT FROM user_licenses WHERE user_id = ANY(%(users)s) ORDER BY user_id, specialization_type FOR NO KEY UPDATE",
)

BALANCE_BEFORE: Final = """
SELECT {opening} + (SELECT coalesce(sum(amount), 0)::bigint FROM {table} e
                     WHERE e.user_id = users.id AND (receipt_seq IS NULL OR receipt_seq < %(seq)s))
  FROM users WHERE id = %(user)s
"""
OPENINGS: Final = {"xp_transactions": "opening_xp", "credit_transactions": "opening_credits"}

LICENSE: Final = "SELECT id FROM user_licenses WHERE user_id = %s AND specialization_type = %s"

SETS: Final = {
    ("users", "xp_balance"): "UPDATE users SET xp_balance = %(to)s WHERE id = %(user)s",
    ("users", "credit_balance"): "UPDATE users SET credit_balance = %(to)s WHERE id = %(user)s",
    **{
        (
            "specialization_progress",
            column,
        ): f"UPDATE specialization_progress SET {column} = %(to)s, updated_at = now() "
        "WHERE student_id = %(user)s AND specialization_id = %(specialization)s"
        for column in ("total_xp", "current_level")
    },
    **{
        ("user_licenses", column): f"UPDATE user_licenses SET {column} = %(to)s "
        "WHERE user_id = %(user)s AND specialization_type = %(specialization)s"
        for column in ("current_level", "max_achieved_level")
    },
}


class Missing(Struct, frozen=True):
    """An entry that a receipt demands and the table does not have."""

    table: str
    key: str
    user_id: int
    amount: int


class Wrong(Struct, frozen=True):
    """A figure that is not what the ledger says."""

    table: str
    user_id: int
    specialization: str | None
    column: str
    found: int
    expected: int


class Stray(Struct, frozen=True):
    """An entry that no receipt demands, or not like that. It stays: the ledger is never edited."""

    table: str
    key: str
    user_id: int
    amount: int
    expected: int | None = None


class Findings(Struct):
    """All that was found, or mended."""

    users: int = 0
    missing: list[Missing] = field(default_factory=list)
    balances: list[Wrong] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)


def portions(cursor: Cursor, user_id: int | None) -> Iterator[list[int]]:
    """All users, or the one, in portions."""
    last = 0
    while True:
        cursor.execute(USERS, (last, user_id, user_id, AT_ONCE))
        ids = [id_ for (id_,) in cursor.fetchall()]
        if not ids:
            return
        yield ids
        last = ids[-1]


class Entries:
    """The entries of a portion of users: what their receipts demand, against what is there."""

    def __init__(self, cursor: Cursor, users: Sequence[int]) -> None:
        self._cursor = cursor
        cursor.execute(ADOPTED)
        self._adopted: Any = cursor.fetchall()[0]
        cursor.execute(RECEIPTS, (list(users),))
        receipts = [Receipt(*row) for row in cursor.fetchall()]
        self.demanded: dict[str, dict[tuple[Any, ...], Entry]] = {table: {} for table in KEYS}
        for receipt in receipts:
            for entry in demanded(receipt):
                self.demanded[entry.table][entry.key] = entry
        self.missing: list[Entry] = []
        self.strays: list[Stray] = []
        for table, wanted in self.demanded.items():
            self._compare(table, wanted, list(users))

    def _compare(self, table: str, wanted: dict[tuple[Any, ...], Entry], users: list[int]) -> None:
        adopted_seq, adopted_at = self._adopted
        owner = OWNERS.get(table, "e.user_id")
        keyed = table in OPENINGS
        statement = (
            f"SELECT {owner}, e.receipt_seq, {AMOUNTS[table]}, e.recorded_at, {', '.join(KEYS[table])} "
            f"FROM {FROM.get(table, f'{table} e')} WHERE {owner} = ANY(%(users)s)"
        )
        if keyed:
            statement += " OR e.idempotency_key = ANY(%(keys)s)"
        self._cursor.execute(statement, {"users": users, "keys": [key[0] for key in wanted] if keyed else []})
        there = set()
        for user_id, seq, amount, recorded_at, *columns in self._cursor.fetchall():
            key = tuple(columns)
            there.add(key)
            entry = wanted.get(key)
            if entry is not None:
                expected = entry.values[AMOUNTS[table]]
                if expected != amount:
                    self.strays.append(Stray(table, _shown(key), user_id, amount, expected))
            elif not self._is_given(seq, recorded_at, adopted_seq, adopted_at) and not self._is_others(table, key, seq):
                self.strays.append(Stray(table, _shown(key), user_id, amount))
        self.missing += [entry for key, entry in wanted.items() if key not in there]

    @staticmethod
    def _is_given(seq: int | None, recorded_at: Any, adopted_seq: int, adopted_at: Any) -> bool:
        if adopted_at is None:
            return False
        return recorded_at <= adopted_at if seq is None else seq <= adopted_seq

    def _is_others(self, table: str, key: tuple[Any, ...], seq: int | None) -> bool:
        """Whether another user's transfer demands it: its receipt is the sender's."""
        if table != "credit_transactions" or seq is None or not str(key[0]).startswith("transfer_"):
            return False
        self._cursor.execute(
            "SELECT count(*) FROM reward_receipts r JOIN credit_transfers t ON t.receipt_seq = r.seq "
            "WHERE r.user_id = t.sender_id AND r.seq = %s",
            (seq,),
        )
        return bool(self._cursor.fetchall()[0][0])

    def post_missing(self) -> None:
        """Post the missing entries again, within the caller's transaction; the users are locked."""
        posted: dict[tuple[str, int, int], int] = defaultdict(int)
        for entry in sorted(self.missing, key=lambda entry: entry.seq):
            values = {**dict(zip(KEYS[entry.table], entry.key, strict=True)), **entry.values}
            if entry.table in OPENINGS:
                before = BALANCE_BEFORE.format(opening=OPENINGS[entry.table], table=entry.table)
                self._cursor.execute(before, {"seq": entry.seq, "user": entry.user_id})
                same = entry.table, entry.user_id, entry.seq
                posted[same] += entry.values["amount"]
                values["balance_after"] = self._cursor.fetchall()[0][0] + posted[same]
            if entry.table == "license_progressions":
                self._cursor.execute(LICENSE, (values.pop("user_id"), values.pop("specialization_type")))
                license_ = self._cursor.fetchone()
                if license_ is None:
                    continue
                values["user_license_id"] = license_[0]
            insert = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(
                sql.Identifier(entry.table),
                sql.SQL(", ").join(map(sql.Identifier, values)),
                sql.SQL(", ").join([sql.Placeholder()] * len(values)),
            )
            self._cursor.execute(insert, list(values.values()))


def lock(cursor: Cursor, users: Sequence[int]) -> None:
    """Lock what the users have, in the order in which everybody does."""
    for statement in LOCKS:
        cursor.execute(statement, {"users": list(users)})


def find_wrong(cursor: Cursor, users: Sequence[int], missing: Sequence[Entry] = ()) -> list[Wrong]:
    """The balances, totals and levels of `users` that are not what the ledger says, once `missing` is posted."""
    more: dict[tuple[Any, ...], int] = defaultdict(int)
    levels: dict[tuple[int, str], tuple[int, int | None]] = {}
    for entry in missing:
        if entry.table == "license_progressions":
            user_id, name, seq = entry.key
            levels[user_id, name] = max(levels.get((user_id, name), (0, None)), (seq, entry.values["to_level"]))
        if entry.table in OPENINGS:
            column = "xp_balance" if entry.table == "xp_transactions" else "credit_balance"
            more[entry.user_id, column] += entry.values["amount"]
            more[entry.user_id, entry.values.get("specialization_id"), "total_xp"] += entry.values["amount"]
    cursor.execute(BALANCES, {"users": list(users)})
    wrong = [
        Wrong("users", user_id, None, column, found, expected + more[user_id, column])
        for user_id, column, found, expected in cursor.fetchall()
    ]
    cursor.execute(PROGRESS, {"users": list(users)})
    for user_id, name, found, total, level, licensed, highest, seq, said in cursor.fetchall():
        total_xp = total + more[user_id, name, "total_xp"]
        wrong.append(Wrong("specialization_progress", user_id, name, "total_xp", found, total_xp))
        _, expected = max((seq, said), levels.get((user_id, name), (0, None)), key=itemgetter(0))
        if expected is None:
            continue
        wrong.append(Wrong("specialization_progress", user_id, name, "current_level", level, expected))
        if licensed is not None:
            wrong.append(Wrong("user_licenses", user_id, name, "current_level", licensed, expected))
            most = max(expected, highest)
            wrong.append(Wrong("user_licenses", user_id, name, "max_achieved_level", highest, most))
    return [each for each in wrong if each.found != each.expected]


def set_right(cursor: Cursor, wrong: Sequence[Wrong]) -> None:
    """Set the figures to what the ledger says, within the caller's transaction; the users are locked."""
    for each in wrong:
        values = {"to": each.expected, "user": each.user_id, "specialization": each.specialization}
        cursor.execute(SETS[each.table, each.column], values)


def told(entry: Entry) -> Missing:
    """A missing entry as it is shown."""
    return Missing(entry.table, _shown(entry.key), entry.user_id, entry.values[AMOUNTS[entry.table]])


def _shown(key: tuple[Any, ...]) -> str:
    return " ".join(map(str, key))
