"""How an entry came about, and a user's whole story, read from the ledger: entry <- receipt <- topic, partition, offset.

Rows are given as JSON has them, so that they can be shown and sent as they are.
"""

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from psycopg2.extensions import cursor as Cursor

from schemas.events import MAX_ID
from schemas.keys import adjusting_run, make_key

Row = dict[str, Any]

_RECEIPT: Final = """
SELECT to_jsonb(receipt) - 'payload_hash' || jsonb_build_object('payload_hash', encode(payload_hash, 'hex'))
  FROM reward_receipts receipt
"""

_BY_EVENT_KEY: Final = f"{_RECEIPT} WHERE event_key = %s"
_BY_SEQ: Final = f"{_RECEIPT} WHERE user_id = %s AND seq = %s"
_OF_SOURCE: Final = f"{_RECEIPT} WHERE event_key = %(key)s OR corrects = %(key)s ORDER BY seq"

_TABLES: Final = {
    "xp_transactions": "SELECT to_jsonb(e) FROM xp_transactions e",
    "credit_transactions": "SELECT to_jsonb(e) FROM credit_transactions e",
    "skill_rewards": "SELECT to_jsonb(e) FROM skill_rewards e",
    "tournament_badges": "SELECT to_jsonb(e) FROM tournament_badges e",
    "license_progressions": """
        SELECT to_jsonb(e) || jsonb_build_object('user_id', user_id, 'specialization_id', specialization_type)
          FROM license_progressions e JOIN user_licenses l ON l.id = user_license_id""",
}
"""Where entries are. Every row names its user; all but badges name the receipt that caused them."""

_KEYED: Final = ("xp_transactions", "credit_transactions")

_ROW: Final = re.compile(r"([a-z_]+):(\d{1,19})", re.ASCII)
_SOURCE_OF_KEY: Final = re.compile(r"(tournament|session)_(\d+)_[a-z_]+?_(\d+)(?:_r\d+(?:_reversal)?|_a[0-9a-f]{8})?")
_RECEIVED: Final = re.compile(r"transfer_((\d+)-.+)_credit_\d+", re.DOTALL)

_RUN: Final = "SELECT to_jsonb(r) - 'checkpoints' FROM replay_runs r WHERE id = %s"

_RULESET: Final = "SELECT to_jsonb(r) FROM rulesets r WHERE hash = %s"

_PARTICIPATION: Final = "SELECT to_jsonb(p) FROM tournament_participations p WHERE user_id = %s AND semester_id = %s"
_ATTENDANCE: Final = "SELECT to_jsonb(a) FROM session_attendances a WHERE user_id = %s AND session_id = %s"

_USER: Final = "SELECT to_jsonb(u) FROM users u WHERE id = %s"
_PROGRESS: Final = """
SELECT jsonb_build_object('specialization', coalesce(specialization_id, specialization_type),
                          'progress', to_jsonb(p), 'license', to_jsonb(l))
  FROM (SELECT * FROM specialization_progress WHERE student_id = %(user)s) p
  FULL JOIN (SELECT * FROM user_licenses WHERE user_id = %(user)s) l ON specialization_type = specialization_id
 ORDER BY coalesce(specialization_id, specialization_type)
"""

# A user's story is what the user's own receipts say, and what others' transfers brought.
_STORY: Final = f"""
{_RECEIPT}
 WHERE (user_id, seq) IN (
           SELECT %(user)s, seq FROM reward_receipts WHERE user_id = %(user)s AND seq > %(after)s
           UNION
           SELECT sender_id, receipt_seq FROM credit_transfers
            WHERE receiver_id = %(user)s AND status = 'COMPLETED' AND receipt_seq > %(after)s)
 ORDER BY seq
 LIMIT %(limit)s
"""


class Explained(NamedTuple):
    """An entry (None where an event is explained), the receipt that caused it and all receipts of its source.

    Where a run adjusted what an event gave, `run` is that, and `source` the receipt of the event.
    """

    table: str | None
    entry: Row | None
    receipt: Row | None
    history: list[Row]
    ruleset: Row | None
    run: Row | None = None
    source: Row | None = None


class Story(NamedTuple):
    """A user: balances, progress with licenses, and receipts in their order, each with the user's entries of it.

    `unreceipted` are entries that no receipt caused: they came with the academy's database, or by somebody else's SQL;
    they are told where a story begins. Where it goes on, `next` is the number after which to ask for the rest.
    """

    user: Row
    progress: list[Row]
    receipts: list[Row]
    unreceipted: list[Row]
    next: int | None


def explain_entry(cursor: Cursor, named: str) -> Explained | None:
    """Explain the entry named by its idempotency key or as `table:id`, or the event named by its event key."""
    if not _can_be_stored(named):
        return None
    row = _ROW.fullmatch(named)
    if row is not None and row[1] in _TABLES and int(row[2]) <= MAX_ID:
        entry = _one(cursor, f"{_TABLES[row[1]]} WHERE e.id = %s", row[2])
        return None if entry is None else _explained(cursor, row[1], entry)
    for keyed in _KEYED:
        entry = _one(cursor, f"{_TABLES[keyed]} WHERE idempotency_key = %s", named)
        if entry is not None:
            return _explained(cursor, keyed, entry)
    receipt = _one(cursor, _BY_EVENT_KEY, named)
    if receipt is None:
        return None
    return _caused(cursor, None, None, receipt)


def fetch_story(cursor: Cursor, user_id: int, *, after: int = 0, limit: int = 1_000) -> Story | None:
    """Tell the user's story, receipts from the one after the number `after`; None for nobody we know."""
    user = _one(cursor, _USER, user_id)
    if user is None:
        return None
    progress = _all(cursor, _PROGRESS, {"user": user_id})
    receipts = _all(cursor, _STORY, {"user": user_id, "after": after, "limit": limit + 1})
    goes_on = len(receipts) > limit
    caused: dict[int, list[Row]] = {receipt["seq"]: [] for receipt in receipts[:limit]}
    for entry in _entries(cursor, "e.receipt_seq = ANY (%(seqs)s)", {"user": user_id, "seqs": list(caused)}):
        caused[entry["receipt_seq"]].append(entry)
    told = [receipt | {"entries": caused[receipt["seq"]]} for receipt in receipts[:limit]]
    unreceipted = [] if after else list(_entries(cursor, "e.receipt_seq IS NULL", {"user": user_id}))
    return Story(user, progress, told, unreceipted, told[-1]["seq"] if goes_on else None)


def fetch_source_row(cursor: Cursor, receipt: Row) -> Row | None:
    """Fetch the participation or attendance that the receipt's event left, if it still is of that revision."""
    match = _SOURCE_OF_KEY.fullmatch(receipt["event_key"])
    if match is None:
        return None
    statement = _PARTICIPATION if match[1] == "tournament" else _ATTENDANCE
    row = _one(cursor, statement, receipt["user_id"], match[2])
    return row if row is not None and row["revision"] == receipt["revision"] else None


def _explained(cursor: Cursor, table: str, entry: Row) -> Explained:
    receipt = _receipt_of(cursor, table, entry)
    if receipt is None:
        return Explained(table, entry, None, [], None)
    return _caused(cursor, table, entry, receipt)


def _caused(cursor: Cursor, table: str | None, entry: Row | None, receipt: Row) -> Explained:
    history = _history(cursor, receipt)
    run_id = adjusting_run(receipt["event_key"], receipt["corrects"])
    if run_id is None:
        return Explained(table, entry, receipt, history, _ruleset(cursor, receipt))
    of_events = [each for each in history if adjusting_run(each["event_key"], each["corrects"]) is None]
    source = next(each for each in of_events if each["revision"] == receipt["revision"])
    return Explained(table, entry, receipt, history, _ruleset(cursor, receipt), _one(cursor, _RUN, run_id), source)


def _can_be_stored(text: str) -> bool:
    """Whether Postgres has room for it: a NUL or half of a surrogate pair names nothing that there is."""
    return "\0" not in text and text.encode(errors="ignore").decode() == text


def _receipt_of(cursor: Cursor, table: str, entry: Row) -> Row | None:
    if table == "tournament_badges":
        return _granting(cursor, entry)
    if entry.get("receipt_seq") is not None:
        own = _one(cursor, _BY_SEQ, entry["user_id"], entry["receipt_seq"])
        received = _RECEIVED.fullmatch(entry.get("idempotency_key", ""))
        if own is None and received is not None:
            key = make_key("transfer", received[1], "transfer", int(received[2]))
            return _one(cursor, _BY_EVENT_KEY, key)
        return own
    event_key = _source_key(table, entry)
    return None if event_key is None else _one(cursor, _BY_EVENT_KEY, event_key)


def _granting(cursor: Cursor, badge: Row) -> Row | None:
    """The last receipt of the badge's tournament that granted it. The badge itself names none."""
    key = make_key("tournament", badge["semester_id"], "result", badge["user_id"])
    granting = None
    for receipt in _all(cursor, _OF_SOURCE, {"key": key}):
        grant = receipt["grant"]
        if badge["badge_type"] in grant.get("badges", [grant.get("badge")]):
            granting = receipt
    return granting


def _source_key(table: str, entry: Row) -> str | None:
    """The event key of the source of a row that names no receipt, as what an adopted database came with."""
    user_id = entry["user_id"]
    if table == "skill_rewards":
        return _first_key(entry["source_type"].lower(), entry["source_id"], user_id)
    match = _SOURCE_OF_KEY.fullmatch(entry.get("idempotency_key", ""))
    return None if match is None else _first_key(match[1], match[2], user_id)


def _first_key(source_type: str, source_id: int | str, user_id: int) -> str | None:
    if source_type == "tournament":
        return make_key("tournament", source_id, "result", user_id)
    return make_key("session", source_id, "presence", user_id) if source_type == "session" else None


def _history(cursor: Cursor, receipt: Row) -> list[Row]:
    return _all(cursor, _OF_SOURCE, {"key": receipt["corrects"] or receipt["event_key"]})


def _ruleset(cursor: Cursor, receipt: Row) -> Row | None:
    return None if receipt["ruleset"] is None else _one(cursor, _RULESET, receipt["ruleset"])


def _entries(cursor: Cursor, condition: str, parameters: dict[str, Any]) -> Iterable[Row]:
    for table, select in _TABLES.items():
        if table == "tournament_badges":
            continue
        for row in _all(cursor, f"{select} WHERE user_id = %(user)s AND {condition} ORDER BY e.id", parameters):
            yield {"table": table, **row}


def _one(cursor: Cursor, statement: str, *parameters: object) -> Row | None:
    cursor.execute(statement, parameters)
    row = cursor.fetchone()
    return None if row is None else row[0]


def _all(cursor: Cursor, statement: str, parameters: dict[str, Any]) -> list[Row]:
    cursor.execute(statement, parameters)
    return [row[0] for row in cursor.fetchall()]
