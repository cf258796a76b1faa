"""What a replay would insert and change, decided on a snapshot: nothing is locked, and nothing of the ledger written."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct, field
from psycopg2.extensions import cursor as Cursor

from ops.replay.reading import read_range
from ops.replay.request import Request
from ops.replay.rule_change import rule_change
from schemas.events import (
    CreditTransfer,
    SessionAttendance,
    TournamentResult,
    TournamentRoster,
    event_subject,
)
from schemas.rewards import Grant, Refused
from schemas.settings import Settings
from sinks.batch import Delivery, RuleChange
from sinks.ledger.adjusting import Adjusted, Amounts, refuse_decreases
from sinks.ledger.fold import Folded
from sinks.ledger.foresight import Foresight
from sinks.ledger.rosters import KeptRoster, as_kept, fetch_rosters
from sinks.ledger.rules import source_keys
from sinks.ledger.rulesets import fetch_active_ruleset, fetch_levels
from sinks.ledger.transaction import Decided
from sinks.replay_plan import fetch_sources, has_badge, is_dead_letter
from streams import rules
from streams.interpreter import prepared

APPENDED = ("reward_receipts", "xp_transactions", "credit_transactions", "skill_rewards", "credit_transfers")

_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class UserChange(Struct):
    """What one user would get."""

    user_id: int
    events: int = 0
    xp: int = 0
    credits: int = 0
    skill_points: int = 0
    badges: list[str] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    levels: list[tuple[str, int, int]] = field(default_factory=list)


class Plan(Struct, kw_only=True):
    """A plan as it is shown. `changes` are rows by table: those to be inserted and those to be changed.

    `increases` and `decreases` are what a change of rules gives and takes, `ruleset` the hash of the one that then stands
    for all that the range holds.
    """

    plan: str
    events: int
    changes: dict[str, int]
    inserted: dict[str, int]
    changed: dict[str, int]
    users: list[UserChange]
    ruleset: str | None = None
    increases: Amounts = field(default_factory=Amounts)
    decreases: Amounts = field(default_factory=Amounts)
    seconds: float = 0.0


def make_plan(cursor: Cursor, settings: Settings, request: Request, advanced: Callable[[int], None]) -> Plan:
    """Foresee the replay of `request`; `advanced` is told how many records were read. `cursor` is in a read-only snapshot.

    Raises `DecreaseRefused` where a change of rules would take something, and `request` does not allow it.
    """
    levels = fetch_levels(cursor)
    change = rule_change(cursor, request)
    basis = Decided(rules, levels, fetch_active_ruleset(cursor) if change is None else change.ruleset)
    planning = Planning(cursor, basis, change)
    with prepared():
        for deliveries in read_range(settings, request, levels.keys(), advanced):
            planning.take(deliveries)
    return planning.plan()


class Planning:
    """Gathers what batches come to."""

    def __init__(self, cursor: Cursor, basis: Decided, change: RuleChange | None) -> None:
        self._cursor = cursor
        self._change_of_rules = change
        self._foresight = Foresight(cursor, basis, change)
        self._increases = Amounts()
        self._decreases: dict[int, Amounts] = {}
        self._inserted: dict[str, set[Any]] = defaultdict(set)
        self._changed: dict[str, set[Any]] = defaultdict(set)
        self._appended = Counter[str]()
        self._users: dict[int, UserChange] = {}
        self._rosters: dict[int, KeptRoster | None] = {}
        self._digest = hashlib.sha256()
        self._events = 0
        if change is not None:
            self._hash("rules", change.ruleset.hash, change.allow_decrease)

    def take(self, deliveries: Sequence[Delivery]) -> None:
        """Take the next deliveries in."""
        self._events += len(deliveries)
        unsettled, folded = self._foresight.take(deliveries, source_keys(deliveries, rules))
        for table in APPENDED:
            self._appended[table] += len(folded.rows.copies[table])
        self._appended["license_progressions"] += len(folded.rows.progressions)
        self._changed["reward_receipts"].update(folded.rows.remembered)
        self._note_sources(unsettled, folded)
        self._note_states(folded)
        for delivery, decision in zip(unsettled, folded.decisions, strict=True):
            if isinstance(decision, Grant):
                self._note_grant(delivery, decision)
        for adjusted in folded.adjusted:
            self._note_adjusted(adjusted)
        self._note_letters(folded.refused)
        self._note_rosters(folded.rosters)

    def plan(self) -> Plan:
        """All that was taken in, as a plan; refuses decreases that are not allowed."""
        change = self._change_of_rules
        if change is not None and not change.allow_decrease:
            refuse_decreases(self._decreases)
        decreases = Amounts()
        for amounts in self._decreases.values():
            decreases.add(amounts)
        inserted = Counter({table: len(rows) for table, rows in self._inserted.items()}) + self._appended
        changed = Counter({table: len(rows - self._inserted[table]) for table, rows in [*self._changed.items()]})
        changes = inserted + changed
        return Plan(
            plan=self._digest.hexdigest()[:16],
            events=self._events,
            changes=dict(sorted(changes.items())),
            inserted=dict(sorted((+inserted).items())),
            changed=dict(sorted((+changed).items())),
            users=[change for _, change in sorted(self._users.items())],
            ruleset=None if change is None else change.ruleset.hash,
            increases=self._increases,
            decreases=decreases,
        )

    def _note_sources(self, unsettled: Sequence[Delivery], folded: Folded) -> None:
        met: dict[Literal["semesters", "sessions"], set[int]] = defaultdict(set)
        for delivery in unsettled:
            event = delivery.parsed
            if isinstance(event, TournamentResult | TournamentRoster):
                met["semesters"].add(event.tournament_id)
            elif isinstance(event, SessionAttendance):
                met["sessions"].add(event.session_id)
        for sources, ids in met.items():
            self._inserted[sources] |= ids - fetch_sources(self._cursor, sources, ids)
        for table, kept in (
            ("tournament_participations", folded.rows.participations),
            ("session_attendances", folded.rows.attendances),
        ):
            for key, row in kept.items():
                (self._inserted if row.is_new else self._changed)[table].add(key)
        for badge in folded.rows.badges:
            (self._changed if has_badge(self._cursor, badge) else self._inserted)["tournament_badges"].add(badge)

    def _note_states(self, folded: Folded) -> None:
        states = self._foresight.states
        for table, keys, ids in (
            ("specialization_progress", folded.rows.progress, states.progress_ids),
            ("user_licenses", folded.rows.licenses, states.license_ids),
        ):
            for key in keys:
                (self._changed if key in ids else self._inserted)[table].add(key)
        moved = {user_id for deltas in (folded.rows.xp_deltas, folded.rows.credit_deltas) for user_id in deltas}
        self._changed["users"] |= moved

    def _note_grant(self, delivery: Delivery, grant: Grant) -> None:
        event = delivery.parsed
        assert not isinstance(event, Refused)
        user_id = event_subject(event)
        concerned = {user_id, event.receiver_id} if isinstance(event, CreditTransfer) else {user_id}
        self._inserted["users"] |= concerned - self._foresight.users
        change = self._change(user_id)
        change.events += 1
        change.xp += sum(entry.amount for entry in grant.xp)
        change.skill_points += sum(entry.points for entry in grant.skills)
        change.badges += [grant.badge] if grant.badge else []
        change.revoked += grant.revoked_badges
        change.levels += [(each.specialization, each.from_level, each.to_level) for each in grant.level_changes]
        for entry in grant.credits:
            self._change(entry.user_id).credits += entry.amount
        entries = (grant.xp, grant.credits, grant.skills, grant.badge, grant.revoked_badges, grant.level_changes)
        self._hash(grant.event_key, delivery.payload_hash.hex(), entries)

    def _note_adjusted(self, adjusted: Adjusted) -> None:
        """Of an adjustment that moves nothing there is only its receipt."""
        if adjusted.increase or adjusted.decrease:
            self._increases.add(adjusted.increase)
            self._decreases.setdefault(adjusted.user_id, Amounts()).add(adjusted.decrease)
            self._note_grant(adjusted.delivery, adjusted.grant)
        else:
            self._hash(adjusted.grant.event_key, adjusted.delivery.payload_hash.hex(), ())

    def _change(self, user_id: int) -> UserChange:
        return self._users.setdefault(user_id, UserChange(user_id))

    def _note_letters(self, refused: Iterable[tuple[Delivery, Refused]]) -> None:
        for delivery, refusal in refused:
            where = delivery.coordinates
            assert where is not None
            if not is_dead_letter(self._cursor, where):
                key = where.log_id, where.topic, where.partition, where.offset
                self._inserted["dead_letters"].add(key)
                self._hash("dead letter", key, refusal.reason)

    def _note_rosters(self, rosters: Sequence[tuple[Delivery, TournamentRoster]]) -> None:
        unknown = {roster.tournament_id for _, roster in rosters} - self._rosters.keys()
        found = fetch_rosters(self._cursor, unknown)
        self._rosters |= {id_: found.get(id_) for id_ in unknown}
        for delivery, roster in sorted(rosters, key=lambda pair: pair[1].tournament_id):
            id_, said = roster.tournament_id, as_kept(delivery, roster)
            known = self._rosters[id_]
            if known is None:
                self._inserted["tournament_rosters"].add(id_)
            elif not known.gives_way_to(said):
                continue
            self._rosters[id_] = said
            self._changed["tournament_rosters"].add(id_)
            self._changed["semesters"].add(id_)
            self._hash("roster", id_, (said.participants, said.user_ids, said.finalized_at))

    def _hash(self, *what: object) -> None:
        self._digest.update(_encode_sorted(what) + b"\n")
