"""What the rules read and what they answer: a user's recorded state, and the decision on one event.

The rules (`streams.rules`) turn `UserState` and an event into a `Decision` without touching either. The ledger
(`sinks.ledger`) loads the state under row locks, folds the decisions of a batch with `UserState.advance`, and records
them. These types are all that the two share.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, NamedTuple, final

from msgspec import Struct, field, structs

from schemas.events import Skill
from schemas.ruleset import RatingRule, Ruleset

RefusalReason = Literal[
    "undecodable",
    "unknown_version",
    "invalid_event",
    "key_mismatch",
    "future_event",
    "conflict",
    "empty_command",
    "invalid_level",
    "negative_total",
    "refused_by_database",
]

Levels = Mapping[str, tuple[int, ...]]
"""XP needed for level 1, 2, 3, ... of each specialization, as `specialization_levels` has it."""


class Rating(Struct, frozen=True, gc=False):
    """A skill's moving average and how many results made it; the shape kept in `football_skills`."""

    rating: float
    results: int


class RatingPoint(NamedTuple):
    """Where a result stands in the order that ratings follow."""

    occurred_at: datetime
    tournament_id: int


class RatedResult(Struct, frozen=True, gc=False):
    """A recorded participation that counts for the skill ratings of its specialization, as its own ruleset rates it."""

    placement: int | None
    participants: int | None
    skills: tuple[Skill, ...]
    rule: RatingRule


class Progress(Struct, frozen=True, gc=False):
    """A user's progress in one specialization."""

    level: int = 1
    total_xp: int = 0
    sessions: int = 0
    theory_hours: int = 0
    practice_hours: int = 0
    level_adjustment: int = 0
    milestones_paid: int = 0


class License(Struct, frozen=True, gc=False):
    """A user's license in one specialization.

    `adopted_skills` are the ratings it came with; `rated_to` is the last result in `skills`, None while there is none.
    """

    level: int = 1
    highest_level: int = 1
    skills: dict[str, Rating] = field(default_factory=dict)
    adopted_skills: dict[str, Rating] = field(default_factory=dict)
    rated_to: RatingPoint | None = None


class Counted(Struct, frozen=True, gc=False):
    """The session and hours that a source counts for, and where."""

    specialization: str
    sessions: int
    theory_hours: int
    practice_hours: int


class Source(Struct, frozen=True, gc=False):
    """What is recorded of one source (a tournament, a session, a command, a transfer) for one user.

    `given` figures are sums over its receipts. `payload_hash` is None for an adopted source whose revision 1 has not
    come by yet; `ruleset` is None where nothing says which ruleset decided it. `specialization` is the one its
    participation or attendance row names, None where there is no such row.
    """

    revision: int
    payload_hash: bytes | None
    ruleset: str | None = None
    specialization: str | None = None
    xp_given: dict[str, int] = field(default_factory=dict)
    credits_given: int = 0
    skills_given: dict[str, int] = field(default_factory=dict)
    badges: frozenset[str] = frozenset()
    counted: Counted | None = None


class XpEntry(Struct, frozen=True, gc=False):
    """One row of `xp_transactions` to be."""

    type: str
    specialization: str
    amount: int
    key: str
    semester_id: int | None = None


class CreditEntry(Struct, frozen=True, gc=False):
    """One row of `credit_transactions` to be."""

    user_id: int
    type: str
    amount: int
    key: str
    semester_id: int | None = None


class SkillEntry(Struct, frozen=True, gc=False):
    """One row of `skill_rewards` to be."""

    source_type: str
    source_id: int
    skill: str
    points: int


class LevelChange(Struct, frozen=True, gc=False):
    """One row of `license_progressions` to be."""

    specialization: str
    from_level: int
    to_level: int


class Adjustment(Struct, frozen=True, gc=False):
    """A run of `laurels replay --rules` by which a source comes from the ruleset `before` to the one `after`."""

    run: str
    before: Ruleset
    after: Ruleset


class Grant(Struct, frozen=True, kw_only=True, gc=False):
    """What a rule decided for one event. Progress, licenses, source and results are the values after it.

    `corrects` is the event key of the source's first receipt when this is a correction or, with `adjusts`, an adjustment
    to another ruleset. `transfer` is the outcome of a credit transfer. `results_after` holds, per specialization, the rated results that the event adds (a value) or
    takes away (None).
    """

    event_key: str
    source_after: Source
    corrects: str | None = None
    adjusts: bool = False
    xp: tuple[XpEntry, ...] = ()
    credits: tuple[CreditEntry, ...] = ()
    skills: tuple[SkillEntry, ...] = ()
    badge: str | None = None
    revoked_badges: tuple[str, ...] = ()
    level_changes: tuple[LevelChange, ...] = ()
    progress_after: dict[str, Progress] = field(default_factory=dict)
    licenses_after: dict[str, License] = field(default_factory=dict)
    results_after: dict[str, dict[RatingPoint, RatedResult | None]] = field(default_factory=dict)
    transfer: Literal["COMPLETED", "REJECTED"] | None = None


class Duplicate(Struct, frozen=True, gc=False):
    """The event was applied before. `remember` is its payload's hash where an adopted source had none."""

    event_key: str
    remember: bytes | None = None


class Stale(Struct, frozen=True, gc=False):
    """A higher revision of the source is recorded already."""

    event_key: str


@final
class Refused(Struct, frozen=True, gc=False):
    """The event can never be applied. With `source_after` the refusal is final for its key and leaves a receipt."""

    reason: RefusalReason
    detail: str
    event_key: str | None = None
    source_after: Source | None = None


class Outdated(Struct, frozen=True, gc=False):
    """The event was to be applied only while its user stood as expected, and stands otherwise: it has no effect."""

    event_key: str
    detail: str


Decision = Grant | Duplicate | Stale | Refused | Outdated


class UserState(Struct):
    """Everything recorded that a rule may read for one user.

    `sources` holds, by base event key, the sources that the batch speaks of. `results` holds the rated results of the
    specializations for which `streams.rules.results_needed` asked; elsewhere results only ever arrive in order.
    """

    user_id: int
    levels: Levels
    xp_balance: int = 0
    credit_balance: int = 0
    progress: dict[str, Progress] = field(default_factory=dict)
    licenses: dict[str, License] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    results: dict[str, dict[RatingPoint, RatedResult]] = field(default_factory=dict)

    def advance(self, grant: Grant, base_key: str) -> None:
        """Take over what `grant` says of this user, but for balances (a transfer touches two users' balances)."""
        self.sources[base_key] = grant.source_after
        self.progress.update(grant.progress_after)
        self.licenses.update(grant.licenses_after)
        for specialization, changes in grant.results_after.items():
            known = self.results.get(specialization)
            if known is None:
                continue
            for point, result in changes.items():
                if result is None:
                    known.pop(point, None)
                else:
                    known[point] = result

    def remember(self, base_key: str, payload_hash: bytes) -> None:
        """Take over the payload that an adopted source's first event brought."""
        self.sources[base_key] = structs.replace(self.sources[base_key], payload_hash=payload_hash)
