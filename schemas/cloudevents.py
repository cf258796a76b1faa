"""CloudEvents in binary mode: the envelope travels in Kafka headers and the value stays plain JSON.

They are produced on everything we send. On what we read they are accepted and change nothing: the value alone says
what happened.
"""

from datetime import UTC, datetime
from typing import Final, cast

import msgspec

from schemas.events import CreditTransfer, Event, LevelCommand, SessionAttendance, TournamentResult, TournamentRoster
from schemas.messages import Alert, ChangedRows, RecordedEntry

SPEC_VERSION: Final = ("ce_specversion", b"1.0")
CONTENT_TYPE: Final = ("content-type", b"application/json")

MESSAGE_TYPES: Final[dict[type, str]] = {
    TournamentResult: "laurels.tournament-result.v1",
    SessionAttendance: "laurels.session-attendance.v1",
    LevelCommand: "laurels.level-command.v1",
    CreditTransfer: "laurels.credit-transfer.v1",
    TournamentRoster: "laurels.tournament-roster.v1",
    RecordedEntry: "laurels.recorded-entry.v1",
    ChangedRows: "laurels.changed-rows.v1",
    Alert: "laurels.alert.v1",
}
"""`ce_type` of each struct: its name and its version."""


def cloudevent_headers(
    id: str,  # noqa: A002 - the names are CloudEvents' own
    type: str,  # noqa: A002
    source: str,
    time: datetime | None,
) -> list[tuple[str, bytes]]:
    """The headers of one message; without a `time` it has none, as the specification allows."""
    headers = [
        SPEC_VERSION,
        ("ce_id", id.encode()),
        ("ce_type", type.encode()),
        ("ce_source", source.encode()),
        CONTENT_TYPE,
    ]
    if time is not None:
        headers.append(("ce_time", rfc3339(time).encode()))
    return headers


def rfc3339(moment: datetime) -> str:
    """`moment` in UTC, ending in Z. Written by msgspec: the relay does it for every message, and it adds up."""
    return cast("str", msgspec.to_builtins(moment if moment.tzinfo is UTC else moment.astimezone(UTC)))


def message_id(event: Event) -> str:
    """`ce_id` of an event: stable, so that a repetition shows."""
    match event:
        case TournamentResult() | SessionAttendance():
            return event.event_id
        case LevelCommand():
            return event.command_id
        case CreditTransfer():
            return f"{event.sender_id}-{event.idempotency_key}"
        case TournamentRoster():
            return f"{event.tournament_id}-{rfc3339(event.finalized_at)}"
