"""The rows of one batch: decisions in, lines of COPY and final row values out.

Everything that is append-only becomes a line of COPY at once. Rows that a batch may touch twice (a result and its
correction) are kept as their last value and written once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, assert_never, cast

import msgspec
from msgspec import Struct

from schemas.cloudevents import MESSAGE_TYPES
from schemas.events import (
    REWARD_ENTRIES,
    CreditTransfer,
    LevelCommand,
    SessionAttendance,
    TournamentResult,
    event_subject,
)
from schemas.messages import GrantNote, RecordedEntry
from schemas.rewards import Grant, Source, UserState
from sinks.batch import Delivery, Origin
from sinks.ledger.rules import RewardEvent
from sinks.outbox import OutboxMessage, recorded_id

_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
RECORDED_TYPE: Final = MESSAGE_TYPES[RecordedEntry]
_BACKSLASH: Final = "\\"
_NULL: Final = "\\N"
_NO_COORDINATES: Final = "\t".join([_NULL] * 4)
_encode_json = msgspec.json.Encoder().encode

COLUMNS: Final = {
    "reward_receipts": (
        'event_key, seq, user_id, corrects, revision, origin, payload_hash, ruleset, topic, log_id, partition, "offset", '
        '"grant", occurred_at'
    ),
    "xp_transactions": (
        "user_id, transaction_type, amount, balance_after, semester_id, specialization_id, idempotency_key, receipt_seq, "
        "created_at"
    ),
    "credit_transactions": (
        "user_id, transaction_type, amount, balance_after, semester_id, idempotency_key, receipt_seq, created_at"
    ),
    "skill_rewards": "user_id, source_type, source_id, skill_name, points_awarded, receipt_seq, created_at",
    "credit_transfers": (
        "sender_id, idempotency_key, receiver_id, amount, memo, status, reason, receipt_seq, occurred_at"
    ),
}
"""The append-only tables in the order they are written, with the columns that the lines below fill."""


def text(value: str) -> str:
    """`value` as COPY's text format has it. Most are plain names, which is much cheaper to see than to translate."""
    return value if value.isidentifier() else value.translate(_ESCAPES)


class SourceRow(Struct, gc=False):
    """The participation or attendance of a source, as the batch leaves it.

    `event` is the last one whose values the row takes; None where withdrawals only changed its status and revision.
    """

    is_new: bool
    event: TournamentResult | SessionAttendance | None
    status: str
    revision: int
    after: Source


class BadgeRow(Struct, gc=False):
    """A badge as the batch leaves it."""

    earned_at: datetime
    revoked_at: datetime | None = None


class Progression(Struct, kw_only=True, gc=False):
    """A level change, waiting for its license's id."""

    user_id: int
    specialization: str
    from_level: int
    to_level: int
    advanced_by: int | None
    reason: str
    seq: int
    at: str


def time_text(moment: datetime) -> str:
    """`moment` as Postgres reads it, written by msgspec: several times as fast as `isoformat`, which adds up."""
    return cast("str", msgspec.to_builtins(moment))


@dataclass(slots=True)
class Rows:
    """All that one batch writes."""

    copies: dict[str, list[str]] = field(default_factory=lambda: {table: [] for table in COLUMNS})
    xp_deltas: dict[int, int] = field(default_factory=dict)
    credit_deltas: dict[int, int] = field(default_factory=dict)
    participations: dict[tuple[int, int], SourceRow] = field(default_factory=dict)
    attendances: dict[tuple[int, int], SourceRow] = field(default_factory=dict)
    badges: dict[tuple[int, int, str], BadgeRow] = field(default_factory=dict)
    progress: set[tuple[int, str]] = field(default_factory=set)
    licenses: set[tuple[int, str]] = field(default_factory=set)
    progressions: list[Progression] = field(default_factory=list)
    remembered: dict[str, bytes] = field(default_factory=dict)
    messages: list[tuple[int, OutboxMessage]] = field(default_factory=list)


def post_grant(
    rows: Rows,
    event: RewardEvent,
    grant: Grant,
    delivery: Delivery,
    states: Mapping[int, UserState],
    *,
    seq: int,
    origin: Origin,
    had_row: bool,
) -> None:
    """Add everything that `grant` writes, and move the balances in `states` by its entries."""
    user_id = event_subject(event)
    at = time_text(event.occurred_at)
    user, tail = str(user_id), f"\t{seq}\t{at}\n"
    if grant.xp:
        _post_xp(rows, grant, states[user_id], tail)
    if grant.credits:
        _post_credits(rows, grant, states, tail)
    if grant.skills:
        rows.copies["skill_rewards"] += [
            f"{user}\t{skill.source_type}\t{skill.source_id}\t{skill.skill}\t{skill.points}{tail}"
            for skill in grant.skills
        ]
    _keep_source(rows, event, grant, had_row=had_row, seq=seq, at=at)
    for specialization in grant.progress_after:
        rows.progress.add((user_id, specialization))
    for specialization in grant.licenses_after:
        rows.licenses.add((user_id, specialization))
    for change in grant.level_changes:
        by, reason = (event.advanced_by, event.reason) if isinstance(event, LevelCommand) else (None, grant.event_key)
        rows.progressions.append(
            Progression(
                user_id=user_id,
                specialization=change.specialization,
                from_level=change.from_level,
                to_level=change.to_level,
                advanced_by=by,
                reason=reason,
                seq=seq,
                at=at,
            )
        )
    add_receipt(
        rows,
        event,
        delivery,
        event_key=grant.event_key,
        source=grant.source_after,
        note=_note(grant, user_id),
        seq=seq,
        at=at,
        origin=origin,
        corrects=grant.corrects,
    )


def _post_xp(rows: Rows, grant: Grant, state: UserState, tail: str) -> None:
    for entry in grant.xp:
        state.xp_balance += entry.amount
        rows.xp_deltas[state.user_id] = rows.xp_deltas.get(state.user_id, 0) + entry.amount
        rows.copies["xp_transactions"].append(
            f"{state.user_id}\t{entry.type}\t{entry.amount}\t{state.xp_balance}\t{entry.semester_id or _NULL}\t"
            f"{entry.specialization}\t{text(entry.key)}{tail}"
        )


def _post_credits(rows: Rows, grant: Grant, states: Mapping[int, UserState], tail: str) -> None:
    for entry in grant.credits:
        owner = states[entry.user_id]
        owner.credit_balance += entry.amount
        rows.credit_deltas[owner.user_id] = rows.credit_deltas.get(owner.user_id, 0) + entry.amount
        rows.copies["credit_transactions"].append(
            f"{owner.user_id}\t{entry.type}\t{entry.amount}\t{owner.credit_balance}\t{entry.semester_id or _NULL}\t"
            f"{text(entry.key)}{tail}"
        )


def add_receipt(
    rows: Rows,
    event: RewardEvent,
    delivery: Delivery,
    *,
    event_key: str,
    source: Source,
    note: GrantNote,
    seq: int,
    at: str,
    origin: Origin,
    corrects: str | None = None,
) -> None:
    """Add the receipt that `event` was decided, and the message that says so."""
    user_id = event_subject(event)
    topic = log_id = partition = offset = None
    coordinates = _NO_COORDINATES
    if (where := delivery.coordinates) is not None:
        topic, log_id, partition, offset = where.topic, where.log_id, where.partition, where.offset
        coordinates = f"{topic}\t{log_id}\t{partition}\t{offset}"
    note_json = _encode_json(note)
    rows.copies["reward_receipts"].append(
        f"{text(event_key)}\t{seq}\t{user_id}\t{corrects or _NULL}\t{source.revision}\t{origin}\t"
        f"\\\\x{delivery.payload_hash.hex()}\t{source.ruleset or _NULL}\t{coordinates}\t"
        f"{note_json.decode().replace(_BACKSLASH, _BACKSLASH * 2)}\t{at}\n"
    )
    recorded = RecordedEntry(
        event_key=event_key,
        seq=seq,
        user_id=user_id,
        revision=source.revision,
        origin=origin,
        topic=topic,
        log_id=log_id,
        partition=partition,
        offset=offset,
        occurred_at=event.occurred_at,
        ruleset=source.ruleset,
        announce=delivery.announce,
        grant=cast("GrantNote", msgspec.Raw(note_json)),  # encoded once for the receipt, embedded as it stands
    )
    message = OutboxMessage(
        topic=REWARD_ENTRIES,
        key=str(user_id),
        id=recorded_id(event_key),
        type=RECORDED_TYPE,
        time=event.occurred_at,
        value=cast("msgspec.Raw", recorded),  # becomes JSON as part of the message
    )
    rows.messages.append((user_id, message))


def _note(grant: Grant, user_id: int) -> GrantNote:
    """The grant as its receipt keeps it: enough to post any of its entries again."""
    note: GrantNote = {}
    if grant.xp:
        note["xp"] = [(entry.type, entry.specialization, entry.amount) for entry in grant.xp]
    if grant.credits:
        note["credits"] = [
            (entry.type, entry.amount) if entry.user_id == user_id else (entry.type, entry.amount, entry.user_id)
            for entry in grant.credits
        ]
    if grant.skills:
        note["skills"] = [(entry.skill, entry.points) for entry in grant.skills]
    if grant.badge:
        note["badge"] = grant.badge
    if grant.revoked_badges:
        note["revoked"] = list(grant.revoked_badges)
    if grant.level_changes:
        note["levels"] = [(change.specialization, change.from_level, change.to_level) for change in grant.level_changes]
    if grant.source_after.counted is not None:
        note["counted"] = msgspec.structs.astuple(grant.source_after.counted)
    return note


def _keep_source(rows: Rows, event: RewardEvent, grant: Grant, *, had_row: bool, seq: int, at: str) -> None:
    if type(event) is TournamentResult:
        # An adjustment leaves the row as the event wrote it, but for what it gave.
        if not grant.adjusts or grant.xp or grant.credits:
            _keep(rows.participations, (event.user_id, event.tournament_id), event, grant, had_row=had_row)
        _add_badges(rows, event, grant)
    elif type(event) is SessionAttendance:
        if not grant.adjusts:
            _keep(rows.attendances, (event.user_id, event.session_id), event, grant, had_row=had_row)
    elif type(event) is CreditTransfer:
        status, reason = ("COMPLETED", "\\N") if grant.transfer == "COMPLETED" else ("REJECTED", "insufficient_funds")
        rows.copies["credit_transfers"].append(
            f"{event.sender_id}\t{text(event.idempotency_key)}\t{event.receiver_id}\t{event.amount}\t"
            f"{text(event.memo)}\t{status}\t{reason}\t{seq}\t{at}\n"
        )
    elif type(event) is LevelCommand:
        return
    else:
        assert_never(event)


def _keep(
    kept: dict[tuple[int, int], SourceRow],
    key: tuple[int, int],
    event: TournamentResult | SessionAttendance,
    grant: Grant,
    *,
    had_row: bool,
) -> None:
    row = kept.get(key)
    only_status = event.status == "withdrawn" and (had_row or row is not None)
    if row is None:
        row = kept[key] = SourceRow(not had_row, None, event.status, event.revision, grant.source_after)
    row.status, row.revision, row.after = event.status, event.revision, grant.source_after
    if not only_status:
        row.event = event


def _add_badges(rows: Rows, event: TournamentResult, grant: Grant) -> None:
    if grant.badge is not None:
        key = (event.user_id, event.tournament_id, grant.badge)
        rows.badges.setdefault(key, BadgeRow(event.occurred_at)).revoked_at = None
    for badge in grant.revoked_badges:
        key = (event.user_id, event.tournament_id, badge)
        rows.badges.setdefault(key, BadgeRow(event.occurred_at)).revoked_at = event.occurred_at
