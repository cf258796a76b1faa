"""Folds `decide` over a batch's deliveries in order, and gathers what each decision writes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from schemas.events import TournamentRoster, event_subject
from schemas.messages import GrantNote
from schemas.rewards import Decision, Duplicate, Grant, Refused, Stale, UserState
from schemas.ruleset import Ruleset
from sinks.batch import Delivery, Origin
from sinks.ledger.rows import Rows, add_grant, add_receipt
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


def fold(
    deliveries: Sequence[Delivery],
    states: Mapping[int, UserState],
    *,
    rules: Rules,
    policy: Policy,
    seqs: Iterator[int],
    origin: Origin,
) -> Folded:
    """Decide every delivery in order; each decision sees what the ones before it did."""
    folded = Folded()
    for delivery in deliveries:
        parsed = delivery.parsed
        if isinstance(parsed, Refused):
            folded.decisions.append(parsed)
            folded.refused.append((delivery, parsed))
        elif isinstance(parsed, TournamentRoster):
            folded.decisions.append(None)
            folded.rosters.append((delivery, parsed))
        else:
            _fold_event(folded, delivery, parsed, states, rules=rules, policy=policy, seqs=seqs, origin=origin)
    return folded


def _fold_event(
    folded: Folded,
    delivery: Delivery,
    event: RewardEvent,
    states: Mapping[int, UserState],
    *,
    rules: Rules,
    policy: Policy,
    seqs: Iterator[int],
    origin: Origin,
) -> None:
    state = states[event_subject(event)]
    base_key = rules.base_key(event)
    decision = rules.decide(state, event, delivery.payload_hash, policy.of(state, base_key))
    folded.decisions.append(decision)
    match decision:
        case Grant():
            source = state.sources.get(base_key)
            state.advance(decision, base_key)
            add_grant(
                folded.rows,
                event,
                decision,
                delivery,
                seq=next(seqs),
                origin=origin,
                had_row=source is not None and source.specialization is not None,
                balances=iter(_move_balances(folded.rows, decision, state, states)),
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
                    folded.rows, event, decision.event_key, decision.source_after, note, delivery, next(seqs), origin
                )
        case Stale():
            return
        case _:
            assert_never(decision)


def _move_balances(rows: Rows, grant: Grant, state: UserState, states: Mapping[int, UserState]) -> list[int]:
    """Move the balances by the grant's entries; the balance after each XP, then each credit entry."""
    after: list[int] = []
    for xp in grant.xp:
        state.xp_balance += xp.amount
        rows.xp_deltas[state.user_id] = rows.xp_deltas.get(state.user_id, 0) + xp.amount
        after.append(state.xp_balance)
    for credit in grant.credits:
        owner = states[credit.user_id]
        owner.credit_balance += credit.amount
        rows.credit_deltas[owner.user_id] = rows.credit_deltas.get(owner.user_id, 0) + credit.amount
        after.append(owner.credit_balance)
    return after
