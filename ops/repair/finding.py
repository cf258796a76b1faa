"""What is to be mended: a verification tells what must be there, and this sorts out who can bring it back."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

from confluent_kafka import KafkaException
from msgspec import Struct, field, structs

from ops.oracle import ENTRY_KEYS
from ops.repair.orders import find_orders
from ops.verification.log import KafkaTopics
from ops.verification.report import Difference
from ops.verification.snapshot import Snapshot
from ops.verification.verification import Verification
from schemas.errors import LaurelsError
from schemas.settings import Settings
from sinks.database import Connect
from sinks.repair.entries import AMOUNTS, Entry
from sinks.repair.figures import SET_HERE, Wrong, fetch_latest, find_wrong, portions
from sinks.repair.rows import ORDER, Row, moment

FINAL_ROWS: Final = frozenset({"credit_transfers"})
"""Tables of rows that are never changed: one that differs stays, like an entry."""

OTHERS: Final = {
    "dead_letters": "laurels replay",
    "tournament_rosters": "laurels replay",
    "partition_positions": "laurels positions",
}
"""Who mends what else can differ."""


class Missing(Struct, frozen=True):
    """An entry that a receipt demands and the table does not have."""

    table: str
    key: str
    user_id: int
    amount: int


class Stray(Struct, frozen=True):
    """A row that nothing demands, or an entry that is not as it must be. It stays: history is never edited."""

    table: str
    key: str
    user_id: int | None
    found: dict[str, Any]
    expected: dict[str, Any] | None = None


class Left(Struct, frozen=True):
    """Something that differs and is another command's to mend."""

    table: str
    key: str
    user_id: int | None
    mended_by: str


class Findings(Struct):
    """All that was found, or mended. `moved` are users of whom more was recorded meanwhile: nothing of theirs was touched."""

    users: int = 0
    missing: list[Missing] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    balances: list[Wrong] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    moved: list[int] = field(default_factory=list)


class Damage(Struct):
    """The findings with what it takes to mend them. `latest` are the users' latest receipts as of the findings."""

    findings: Findings
    entries: dict[int, list[Entry]]
    rows: dict[int, list[Row]]
    latest: dict[int, int]


def find_damage(settings: Settings, connect: Connect, user_id: int | None) -> Damage:
    """Verify everything on one snapshot, and sort what differs. Nothing is locked, nothing written."""
    try:
        with closing(Snapshot(connect)) as snapshot:
            topics = KafkaTopics(settings.librdkafka(), settings.topic_prefix)
            report = Verification(snapshot, topics, settings.group).run()
            damage = _sort(snapshot, report.differences, user_id)
            find_orders(
                snapshot, topics, settings.group, [entry for entries in damage.entries.values() for entry in entries]
            )
            return damage
    except KafkaException as error:
        message = f"the topics, which say what must be there, cannot be read: {error}"
        raise LaurelsError(message) from error


def told(entry: Entry) -> Missing:
    """A missing entry as it is shown."""
    return Missing(entry.table, entry.key, entry.user_id, entry.values[AMOUNTS[entry.table]])


def _sort(snapshot: Snapshot, differences: Sequence[Difference], user_id: int | None) -> Damage:
    unrecorded = {each.user_id for each in differences if each.table == "reward_receipts"}
    findings = Findings()
    entries: defaultdict[int, list[Entry]] = defaultdict(list)
    rows: defaultdict[int, list[Row]] = defaultdict(list)
    for each in differences:
        if user_id is not None and each.user_id != user_id:
            continue
        match _judge(each, recorded=each.user_id not in unrecorded):
            case Entry() as entry:
                entries[entry.user_id].append(entry)
                findings.missing.append(told(entry))
            case Row() as row:
                rows[row.user_id].append(row)
                findings.rows.append(row)
            case Stray() as stray:
                findings.strays.append(stray)
            case Left() as left:
                findings.left.append(left)
    with snapshot.cursor() as cursor:
        for users in portions(cursor, user_id):
            findings.users += len(users)
            findings.balances += find_wrong(cursor, users, [entry for user in users for entry in entries.get(user, ())])
        latest = fetch_latest(cursor, sorted(entries.keys() | rows.keys()))
    # Of whom something is not recorded, neither balance nor level says anything yet.
    known = [wrong for wrong in findings.balances if wrong.user_id not in unrecorded]
    findings.balances = sorted(known, key=structs.astuple)
    for found in (findings.missing, findings.rows, findings.strays, findings.left):
        found.sort(key=by_key)
    return Damage(findings, dict(entries), dict(rows), latest)


def _judge(each: Difference, *, recorded: bool) -> Entry | Row | Stray | Left | None:
    """What a difference is to us; None where it is a figure that follows from the ledger."""
    owner = each.user_id
    if not recorded or (each.seq is not None and each.seq < 0):
        return Left(each.table, each.key, owner, "laurels replay")
    if owner is None or each.table not in (*ORDER, *AMOUNTS):
        return Left(each.table, each.key, owner, OTHERS.get(each.table, "nobody"))
    is_final = each.table in AMOUNTS or each.table in FINAL_ROWS
    if each.expected is None or (each.found is not None and is_final):
        return Stray(each.table, each.key, owner, each.found, each.expected)
    return _entry(each, owner) if each.table in AMOUNTS else _row(each, owner)


def by_key(found: Missing | Row | Stray | Left) -> tuple[str, str]:
    """Their order, whichever way they were found."""
    return found.table, found.key


def _entry(difference: Difference, owner: int) -> Entry:
    values: dict[str, Any] = difference.expected
    assert difference.seq is not None
    assert set(ENTRY_KEYS[difference.table]) <= values.keys()
    dated = {name: moment(value) if name.endswith("_at") else value for name, value in values.items()}
    return Entry(difference.table, difference.key, owner, difference.seq, dated)


def _row(difference: Difference, owner: int) -> Row | None:
    """The row without the figures that are set to what the ledger says, where it is there at all."""
    expected: dict[str, Any] = difference.expected
    found: dict[str, Any] | None = difference.found
    if found is not None:
        ours = [name for name in expected if name not in SET_HERE.get(difference.table, ())]
        expected, found = {name: expected[name] for name in ours}, {name: found[name] for name in ours}
    if not expected:
        return None
    return Row(difference.table, difference.key, owner, difference.where, found, expected)
