"""What the API answers, as it is documented and checked."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sinks.position_moves import ListedPosition
from sinks.replay_runs import Status as ReplayStatus

Row = dict[str, Any]


class Model(BaseModel):
    """Fields are always there; what is not known is null."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class Version(Model):
    """Which version serves."""

    version: Annotated[str, Field(examples=["0.1.0"])]


class Check(Model):
    """Something that serving depends on."""

    name: str
    ok: bool
    detail: str


class Readiness(Model):
    """Whether requests can be served; `checks` only if asked for."""

    ready: bool
    checks: list[Check] | None = None


class Published(Model):
    """An event that the brokers have stored; a worker records it."""

    topic: Annotated[str, Field(examples=["tournament-results"])]
    key: Annotated[str, Field(examples=["5"])]
    id: Annotated[str, Field(examples=["r-227-5"])]


class LineResult(Model):
    """What became of one line: `published`, `refused` (never sent), or `undelivered` (send it again)."""

    line: Annotated[int, Field(ge=1)]
    outcome: Literal["published", "refused", "undelivered"]
    code: str | None = None
    detail: str | None = None


class PublishedBatch(Model):
    """What became of each line."""

    published: int
    refused: int
    undelivered: int
    results: list[LineResult]


class Transfer(Model):
    """A transfer as it was decided, once and for all for its sender's key."""

    sender_id: Annotated[int, Field(examples=[5])]
    idempotency_key: Annotated[str, Field(examples=["rent-2026-11"])]
    receiver_id: Annotated[int, Field(examples=[7])]
    amount: Annotated[int, Field(examples=[25])]
    memo: Annotated[str, Field(examples=["thanks"])]
    status: Literal["COMPLETED", "REJECTED"]
    receipt_seq: int
    occurred_at: datetime
    recorded_at: datetime


class CommandReceipt(Model):
    """A level command as it was decided; `grant` is what it changed."""

    event_key: Annotated[str, Field(examples=["command_c-17_level_5"])]
    seq: int
    user_id: int
    grant: Row
    occurred_at: datetime
    recorded_at: datetime


class Balances(Model):
    """What a user has, or had at the moment `at`."""

    user_id: Annotated[int, Field(examples=[5])]
    xp: Annotated[int, Field(examples=[820])]
    credits: Annotated[int, Field(examples=[102])]
    at: datetime | None = None


class Entry(Model):
    """One row of the ledger. `kind` says of what; the others are null where they mean nothing for it."""

    seq: int
    kind: Literal["credits", "skill", "xp"]
    id: int
    type: Annotated[str, Field(examples=["TOURNAMENT_REWARD"])]
    amount: int
    skill: str | None
    specialization: str | None
    source_id: int | None
    idempotency_key: Annotated[str | None, Field(examples=["tournament_227_reward_5"])]
    created_at: datetime
    recorded_at: datetime


class Entries(Model):
    """A page of entries in the order they were recorded; `next` is the cursor of the page after it, null on the last."""

    entries: list[Entry]
    next: str | None


class Standing(Model):
    """Progress and license in one specialization; the side that is missing is null."""

    specialization: Annotated[str, Field(examples=["PLAYER"])]
    level: int | None
    total_xp: int | None
    completed_sessions: int | None
    theory_hours: int | None
    practice_hours: int | None
    level_adjustment: int | None
    license_level: int | None
    highest_level: int | None
    skills: Row | None


class Progress(Model):
    """A user's standing in every specialization."""

    user_id: int
    specializations: list[Standing]


class Story(Model):
    """A user's rewards, receipt by receipt; `next` is the `after` of the page that follows, null on the last."""

    user: Row
    progress: list[Row]
    receipts: list[Row]
    unreceipted: list[Row]
    next: int | None


class Explanation(Model):
    """Entry <- rule <- ruleset <- receipt, which names topic, partition and offset.

    `rule` is null where no row of the event is left; `history` are the keys of all receipts of the same source. Where a
    replay adjusted what an event gave to another ruleset, `run` is that replay, and `source` the receipt of the event.
    """

    entry: Row | None
    rule: Annotated[str | None, Field(examples=["placement 1 of 16"])]
    ruleset: Row | None
    receipt: Row | None
    run: Row | None
    source: Row | None
    history: list[str]


class Alert(Model):
    """An alert, firing or resolved."""

    fingerprint: str
    kind: Annotated[str, Field(examples=["INV-R01"])]
    subject: Annotated[str, Field(examples=["user 5"])]
    severity: Literal["critical", "warning", "info"]
    status: Literal["firing", "resolved"]
    labels: Row
    annotations: Row
    count: int
    first_seen: datetime
    last_seen: datetime
    resolved_at: datetime | None
    acknowledged_by: str | None


class Silence(Model):
    """What is not announced until `expires_at`: alerts of this kind, about this subject; null means any."""

    id: int
    kind: Annotated[str | None, Field(examples=["INV-R01"])]
    subject: Annotated[str | None, Field(examples=["user 5"])]
    reason: str
    created_by: str
    created_at: datetime
    expires_at: datetime


class Alerts(Model):
    """Alerts, the worst of those that fire first."""

    alerts: list[Alert]


class DeadLetterSummary(Model):
    """An event that could not be applied."""

    id: int
    topic: str
    partition: int
    offset: int
    reason: Annotated[str, Field(examples=["invalid_event"])]
    detail: str
    user_id: int | None
    status: Literal["open", "final", "retried", "dropped"]
    attempts: int
    recorded_at: datetime


class DeadLetter(DeadLetterSummary):
    """The same, whole. Bytes are given as text where they are text, and as base64."""

    log_id: str
    event_key: str | None
    key: str | None
    key_base64: str | None
    value: str | None
    value_base64: str | None
    headers: list[list[str | None]]
    produced_at: datetime | None
    resolved_by: str | None
    resolution: str | None
    updated_at: datetime


class DeadLetters(Model):
    """A page of dead letters, oldest first; `next` is the `after` of the page that follows, null on the last."""

    dead_letters: list[DeadLetterSummary]
    next: int | None


class Retried(Model):
    """How a retry came out; a `refused` one stays a dead letter, with this reason and detail."""

    id: int
    outcome: Literal["recorded", "duplicate", "stale", "refused"]
    reason: str | None
    detail: str | None


class Dropped(Model):
    """A dead letter that was given up."""

    id: int
    status: Literal["dropped"] = "dropped"


class ReplayRun(Model):
    """A replay, planned or further on."""

    id: str
    status: ReplayStatus
    request: Row
    checkpoints: Any
    counts: Row
    requested_by: str
    error: str | None
    created_at: datetime
    updated_at: datetime


class ReplayRuns(Model):
    """Replays, the latest first."""

    replays: list[ReplayRun]


class Positions(Model):
    """Every position, and the lag of all of them."""

    positions: list[ListedPosition]
    lag: int


DesyncKind = Literal[
    "level_mismatch",
    "progress_without_license",
    "license_without_progress",
    "level_above_maximum",
    "highest_below_current",
]


class DesyncIssue(Model):
    """A user whose progress and license in a specialization are not as they should be; a missing side is null."""

    user_id: Annotated[int, Field(examples=[5])]
    specialization: Annotated[str, Field(examples=["COACH"])]
    progress_level: int | None
    license_level: int | None
    highest_level: int | None
    max_level: int
    kinds: list[DesyncKind]


class DesyncIssues(Model):
    """A page of desyncs; `counts` are all there are, by kind; `next` is the `after` of the page that follows."""

    counts: dict[DesyncKind, int]
    issues: list[DesyncIssue]
    next: str | None


class SyncItem(Model):
    """One repair: how it was found, the level both sides get, and what came of it."""

    user_id: int
    specialization: str
    kinds: list[DesyncKind]
    progress_level: int | None
    license_level: int | None
    highest_level: int | None
    new_level: int
    outcome: Literal["pending", "synced", "changed", "refused"]
    detail: str | None
    applied_at: datetime | None


class Pair(Model):
    """Progress and license in one specialization, compared."""

    specialization: str
    consistent: bool
    progress_level: int | None
    license_level: int | None
    difference: int | None
    message: str
    recommended_action: str


class UserSynced(Model):
    """What was found apart and mended, and how the user stands afterwards."""

    user_id: int
    items: list[SyncItem]
    after: list[Pair]


class PlanApplied(Model):
    """A plan and what came of it; the first 1,000 of its items. Until it is `complete`, some are pending."""

    plan_id: Annotated[str, Field(examples=["0f3a2b1c4d5e6f70"])]
    dry_run: bool
    complete: bool
    source: Literal["progress", "license"]
    counts: dict[Literal["pending", "synced", "changed", "refused"], int]
    items: list[SyncItem]
    truncated: bool
