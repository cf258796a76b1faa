"""What Laurels itself publishes: the value of a `reward-entries` message, and of a `reward-alerts` message."""

from datetime import datetime
from typing import Annotated, Literal, TypedDict

from msgspec import Meta, Struct

from schemas.events import Id, Revision

EntryFields = tuple[str | int, ...]
"""One entry, in the order that `GrantNote` names for its kind."""

Moment = Annotated[datetime, Meta(tz=True)]
Origin = Literal["event", "http", "cli", "replay", "adopted"]
AlertSeverity = Literal["critical", "warning", "info"]
AlertStatus = Literal["firing", "resolved"]


class GrantNote(TypedDict, total=False):
    """What a receipt says was given, as plain JSON; what is empty is left out.

    `xp`: type, specialization, amount. `credits`: type, amount, and the user where it is not the receipt's.
    `skills`: skill, points. `badge` is the type granted, `revoked` the types taken back. `levels`: specialization,
    from, to. `counted` (specialization, sessions, theory hours, practice hours) is what the source counts for after
    the event, null for nothing. `refused` is the reason of a refused command.
    """

    xp: list[EntryFields]
    credits: list[EntryFields]
    skills: list[EntryFields]
    badge: str
    revoked: list[str]
    levels: list[EntryFields]
    counted: EntryFields | None
    refused: str


class RecordedEntry(Struct, frozen=True, kw_only=True, tag_field="kind", tag="recorded", gc=False):
    """An event was recorded: its receipt, whole.

    `topic`, `log_id`, `partition` and `offset` are null where no record of a topic was applied (HTTP, CLI), `ruleset`
    where no ruleset decided. `announce` is false where a replay catches up on the past: what notifies users passes over
    it, what keeps accounts does not.
    """

    event_key: str
    seq: int
    user_id: Id
    revision: Revision
    origin: Origin
    topic: str | None = None
    log_id: str | None = None
    partition: int | None = None
    offset: int | None = None
    occurred_at: Moment
    ruleset: str | None = None
    announce: bool = True
    grant: GrantNote


class ChangedRows(Struct, frozen=True, kw_only=True, tag_field="kind", tag="changed"):
    """Somebody else changed a reward table with SQL of their own.

    `truncated` says that more users are touched than `user_ids` lists, so that only a sweep can check them all.
    """

    table: str
    operation: Literal["INSERT", "UPDATE", "DELETE", "TRUNCATE"]
    user_ids: list[Id]
    truncated: bool = False


RewardEntry = RecordedEntry | ChangedRows
"""The value of a `reward-entries` message; `kind` tells which."""


class Alert(Struct, frozen=True, kw_only=True):
    """An alert, firing or resolved; its `fingerprint` (of kind and subject) is the message's key."""

    fingerprint: Annotated[str, Meta(min_length=1, max_length=64)]
    kind: str
    subject: str
    severity: AlertSeverity
    status: AlertStatus
    labels: dict[str, str]
    annotations: dict[str, str]
    first_seen: Moment
    last_seen: Moment
    resolved_at: Moment | None = None
    count: Annotated[int, Meta(ge=1)] = 1
