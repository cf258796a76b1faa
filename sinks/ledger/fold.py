"""Folds `decide` over a batch's deliveries in order, and gathers what each decision writes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from msgspec import structs

from schemas.events import TournamentRoster, event_subject
from schemas.messages import GrantNote
from schemas.rewards import Adjustment, Decision, Duplicate, Grant, Outdated, Refused, Stale, UserState
from schemas.ruleset import Ruleset
from sinks.batch import Delivery, Origin, RuleChange, Standing
from sinks.ledger.adjusting import Adjusted, compare, is_ruled, is_to_adjust
from sinks.ledger.rows import Rows, add_receipt, post_grant, time_text
from sinks.ledger.rules import RewardEvent, Rules


@dataclass(frozen=True, slots=True)
class Policy:
    """The rulesets a batch is decided by: the active one, and those that decided the sources it corrects."""

    active: Ruleset
    pinned: Mapping[str, Ruleset]

    def of(self, state: UserState, base_key: str) -> Ruleset:
        """The ruleset that decided the source, else the active one."""
        source = state.sources.get(base_key)
        if source is None or source.ruleset is None:
            return self.active
        return self.pinned[source.ruleset]


@dataclass(slots=True)
class Folded:
    """What the fold came to. `decisions` stand in the order of the deliveries, None for rosters."""

    rows: Rows = field(default_factory=Rows)
    decisions: list[Decision | None] = field(default_factory=list)
    refused: list[tuple[Delivery, Refused]] = field(default_factory=list)
    rosters: list[tuple[Delivery, TournamentRoster]] = field(default_factory=list)
    adjusted: list[Adjusted] = field(default_factory=list)


def fold(
    deliveries: Sequence[Delivery],
    keys: Sequence[str],
    states: Mapping[int, UserState],
    *,
    rules: Rules,
    policy: Policy,
    seqs: Iterator[int],
    origin: Origin,
    rule_change: RuleChange | None = None,
) -> Folded:
    """Decide every delivery in order; each decision sees what the ones before it did. `keys` are their `source_keys`.

    With `rule_change` an event takes up to two numbers: its own, and that of what adjusts it.
    """
    folded = Folded()
    for delivery, base_key in zip(deliveries, keys, strict=True):
        parsed = delivery.parsed
        if type(parsed) is Refused:
            folded.decisions.append(parsed)
            folded.refused.append((delivery, parsed))
        elif type(parsed) is TournamentRoster:
            folded.decisions.append(None)
            folded.rosters.append((delivery, parsed))
        else:
            _fold_event(folded, delivery, parsed, base_key, states, rules, policy, seqs, origin)
            if rule_change is not None:
                _adjust(folded, delivery, base_key, states, rules=rules, policy=policy, seqs=seqs, change=rule_change)
    return folded


def _fold_event(
    folded: Folded,
    delivery: Delivery,
    event: RewardEvent,
    base_key: str,
    states: Mapping[int, UserState],
    rules: Rules,
    policy: Policy,
    seqs: Iterator[int],
    origin: Origin,
) -> None:
    state = states[event_subject(event)]
    decision = rules.decide(state, event, delivery.payload_hash, policy.of(state, base_key))
    if delivery.only_if is not None:
        decision = _unless_outdated(decision, state, delivery.only_if)
    folded.decisions.append(decision)
    match decision:
        case Grant():
            source = state.sources.get(base_key)
            state.advance(decision, base_key)
            post_grant(
                folded.rows,
                event,
                decision,
                delivery,
                states,
                seq=next(seqs),
                origin=origin,
                had_row=source is not None and source.specialization is not None,
            )
        case Duplicate():
            if decision.remember is not None:
                state.remember(base_key, decision.remember)
                folded.rows.remembered[decision.event_key] = decision.remember
        case Refused():
            folded.refused.append((delivery, decision))
            if decision.source_after is not None and decision.event_key is not None:
                state.sources[base_key] = decision.source_after
                note: GrantNote = {"refused": decision.reason}
                add_receipt(
                    folded.rows,
                    event,
                    delivery,
                    event_key=decision.event_key,
                    source=decision.source_after,
                    note=note,
                    seq=next(seqs),
                    at=time_text(event.occurred_at),
                    origin=origin,
                )
        case Stale() | Outdated():
            return
        case _:
            assert_never(decision)


def _adjust(
    folded: Folded,
    delivery: Delivery,
    base_key: str,
    states: Mapping[int, UserState],
    *,
    rules: Rules,
    policy: Policy,
    seqs: Iterator[int],
    change: RuleChange,
) -> None:
    """Bring the event's source to the ruleset of `change`, where the event stands and another ruleset decided it."""
    event = delivery.parsed
    if not is_ruled(event):
        return
    state = states[event.user_id]
    source = state.sources.get(base_key)
    if source is None or not is_to_adjust(event, delivery.payload_hash, source, change.ruleset):
        return
    adjustment = Adjustment(change.run_id, policy.of(state, base_key), change.ruleset)
    grant = rules.adjust(state, event, delivery.payload_hash, adjustment)
    state.advance(grant, base_key)
    # No record says it: what the event's own receipt names stays the event's.
    of_the_run = structs.replace(delivery, coordinates=None)
    post_grant(folded.rows, event, grant, of_the_run, states, seq=next(seqs), origin="replay", had_row=True)
    folded.adjusted.append(compare(event.user_id, delivery, grant, source))


def _unless_outdated(decision: Decision, state: UserState, expected: Standing) -> Decision:
    """`decision`, unless it grants something to a user who no longer stands as expected. The user is locked by now."""
    if not isinstance(decision, Grant):
        return decision
    progress = state.progress.get(expected.specialization)
    license_ = state.licenses.get(expected.specialization)
    found = Standing(
        expected.specialization,
        None if progress is None else progress.level,
        None if license_ is None else license_.level,
    )
    if found == expected:
        return decision
    return Outdated(decision.event_key, f"progress is at {found.progress}, license at {found.license}")
