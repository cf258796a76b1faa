"""One transaction of the ledger: fence, lock, load, decide, write. It commits nothing and retries nothing."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from msgspec import structs
from psycopg2.extensions import cursor as Cursor

from schemas.events import (
    CreditTransfer,
    LevelCommand,
    SessionAttendance,
    TournamentResult,
    TournamentRoster,
    event_subject,
)
from schemas.rewards import Decision, Duplicate, Grant, Levels, Refused, Source, Stale, UserState
from schemas.ruleset import Ruleset
from sinks import positions
from sinks.audit import write_audit
from sinks.batch import Batch, Delivery, Recorded, RuleChange
from sinks.ledger.adjusting import Amounts, refuse_decreases
from sinks.ledger.debts import announce_debts
from sinks.ledger.fold import Folded, Policy, fold
from sinks.ledger.letters import record_dead_letters
from sinks.ledger.rosters import record_rosters
from sinks.ledger.rules import RewardEvent, Rules, source_keys
from sinks.ledger.rulesets import fetch_rulesets
from sinks.ledger.settled import find_settled
from sinks.ledger.sources import Sources, create_sources
from sinks.ledger.states import Creating, States, Wanted, fetch_sources, load_results, lock_states
from sinks.ledger.writing import write_rows
from sinks.outbox import OutboxMessage, write_messages
from sinks.prepared import Statement, execute
from sinks.replay_runs import write_checkpoint

ANY_CORRECTION = 2**15
"""Above every revision: what only a correction reads is then fetched in any case."""

# One sequence for all, without a cache: numbers are taken while the users' locks are held, so that a user's receipts
# are numbered in the order in which they were decided.
NUMBER = Statement("number_receipts", "SELECT nextval('reward_receipts_seq') FROM generate_series(1, $1::int)")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who writes: the consumer group and the worker that owns the partitions. HTTP and replay own none."""

    group: str
    owner: str


@dataclass(frozen=True, slots=True)
class Decided:
    """What decisions rest on besides the events: the rules, the levels of the database and the active ruleset."""

    rules: Rules
    levels: Levels
    ruleset: Ruleset


def record_in_transaction(
    cursor: Cursor, batch: Batch, basis: Decided, identity: Identity, missing: Sources, *, expect_duplicates: bool
) -> Recorded:
    """Do all that recording `batch` means, within the caller's transaction.

    `missing` are the tournaments and sessions it speaks of that may not exist yet. `expect_duplicates` looks for what was
    recorded before without taking a lock: it pays off in a redelivery.
    """
    positions.advance(cursor, identity.group, identity.owner, batch.claims)
    if batch.rule_change is not None:
        basis = replace(basis, ruleset=batch.rule_change.ruleset)
    keys = source_keys(batch.deliveries, basis.rules)
    settled = find_settled(cursor, batch.deliveries, keys, batch.rule_change) if expect_duplicates else {}
    order = [index for index in _deciding_order(batch.deliveries) if index not in settled]
    unsettled = replace(batch, deliveries=[batch.deliveries[index] for index in order])
    folded = _record_unsettled(cursor, unsettled, [keys[index] for index in order], basis)
    # Late: whoever meets the same new source waits for the rest of this transaction, which should not be long.
    create_sources(cursor, missing)
    rosters = record_rosters(cursor, folded.rosters)
    decided = settled | dict(zip(order, folded.decisions, strict=True))
    decisions = [decided[index] for index in range(len(batch.deliveries))]
    recorded = replace(_count(decisions, rosters), adjusted=len(folded.adjusted))
    if batch.audit is not None and any(map(_is_decided, decisions)):
        write_audit(cursor, batch.audit)
    if batch.checkpoint is not None:
        # Last: the run's row is locked for the commit alone, so that a replay's partitions do not wait for each other.
        write_checkpoint(cursor, batch.checkpoint, recorded)
    return recorded


def _deciding_order(deliveries: Sequence[Delivery]) -> Sequence[int]:
    """The deliveries' indexes, user by user, each user's in the order given.

    So a user's rows of a batch are written side by side, in the tables and in every index that begins with the user.
    A transfer ties two users together: with one in it, the batch is decided as it stands.
    """
    users = []
    for delivery in deliveries:
        parsed = delivery.parsed
        if type(parsed) is CreditTransfer:
            return range(len(deliveries))
        users.append(0 if type(parsed) is Refused or type(parsed) is TournamentRoster else event_subject(parsed))
    return sorted(range(len(deliveries)), key=users.__getitem__)


def _record_unsettled(cursor: Cursor, batch: Batch, keys: Sequence[str], basis: Decided) -> Folded:
    events = reward_events(batch.deliveries, keys)
    if events:
        states = _load(cursor, batch, events, basis)
        execute(cursor, (NUMBER, (len(events) * (1 if batch.rule_change is None else 2),)))
        seqs = iter([number for (number,) in cursor.fetchall()])
        folded = _fold(cursor, batch, keys, states, basis, seqs)
        if batch.rule_change is not None and not batch.rule_change.allow_decrease:
            _refuse_decreases(folded)
        write_rows(cursor, folded.rows, states)
        announce_debts(cursor, folded.rows.credit_deltas, states.users)
    else:
        folded = _fold(cursor, batch, keys, States(), basis, iter(()))
    if folded.refused:
        record_dead_letters(cursor, folded.refused, replayed=batch.checkpoint is not None)
    if batch.origin in {"http", "cli"}:
        folded.rows.messages.extend(_publications(batch.deliveries, folded))
    write_messages(cursor, folded.rows.messages)
    return folded


KeyedEvent = tuple[str, RewardEvent]


def reward_events(deliveries: Sequence[Delivery], keys: Sequence[str]) -> list[KeyedEvent]:
    """The events that decide rewards, each with its source's key."""
    return [
        (key, event)
        for delivery, key in zip(deliveries, keys, strict=True)
        if type(event := delivery.parsed) is not Refused and type(event) is not TournamentRoster
    ]


def _refuse_decreases(folded: Folded) -> None:
    decreases: dict[int, Amounts] = {}
    for adjusted in folded.adjusted:
        decreases.setdefault(adjusted.user_id, Amounts()).add(adjusted.decrease)
    refuse_decreases(decreases)


def _load(cursor: Cursor, batch: Batch, keyed: Sequence[KeyedEvent], basis: Decided) -> States:
    events = [event for _, event in keyed]
    users = {event_subject(event) for event in events}
    users |= {event.receiver_id for event in events if type(event) is CreditTransfer}
    states = lock_states(cursor, users, creating=_creating(keyed, basis), levels=basis.levels)
    wanted = wanted_sources(keyed, everything=batch.rule_change is not None)
    for key, recorded in fetch_sources(cursor, wanted).items():
        states.users[wanted[key].user_id].sources[key] = recorded
    _load_results(cursor, events, states, basis, batch.rule_change)
    return states


def _creating(keyed: Sequence[KeyedEvent], basis: Decided) -> list[Creating]:
    """The users that recording creates where they are missing.

    Of an order (a command, a transfer) only what decides it creates somebody: not its duplicates, nor its conflicts. Nor
    does a refused command, whose refusal hangs on the command alone where the user is unknown: it can be foreseen without
    a lock.
    """
    certain: set[int] = set()
    by_order: set[Creating] = set()
    orders: set[str] = set()
    for key, event in keyed:
        if isinstance(event, TournamentResult | SessionAttendance):
            certain.add(event.user_id)
        elif key not in orders:
            orders.add(key)
            if isinstance(event, CreditTransfer):
                by_order |= {Creating(event.sender_id, key), Creating(event.receiver_id, key)}
            elif not isinstance(_decide_for_nobody(event, basis), Refused):
                by_order.add(Creating(event.user_id, key))
    return [*map(Creating, certain), *[user for user in by_order if user.user_id not in certain]]


def _decide_for_nobody(event: LevelCommand, basis: Decided) -> Decision:
    return basis.rules.decide(UserState(event.user_id, basis.levels), event, b"", basis.ruleset)


def wanted_sources(keyed: Iterable[KeyedEvent], *, everything: bool = False) -> dict[str, Wanted]:
    """The sources that the events speak of, by the key of their first receipt, each at the highest revision they bring.

    With `everything`, also what only a correction reads is wanted of them, in any case.
    """
    wanted: dict[str, Wanted] = {}
    for key, event in keyed:
        source = _wanted(event)
        known = wanted.get(key)
        if known is None or known.revision < source.revision:
            wanted[key] = structs.replace(source, revision=ANY_CORRECTION) if everything else source
    return wanted


def _wanted(event: RewardEvent) -> Wanted:
    if type(event) is TournamentResult:
        return Wanted(event.user_id, "tournament", event.tournament_id, event.revision)
    if type(event) is SessionAttendance:
        return Wanted(event.user_id, "session", event.session_id, event.revision)
    if type(event) is LevelCommand:
        return Wanted(event.user_id, "command", event.command_id, 1)
    if type(event) is CreditTransfer:
        return Wanted(event.sender_id, "transfer", event.idempotency_key, 1)
    assert_never(event)


def _load_results(
    cursor: Cursor, events: Sequence[RewardEvent], states: States, basis: Decided, rule_change: RuleChange | None
) -> None:
    by_user: dict[int, list[TournamentResult]] = {}
    for event in events:
        if type(event) is TournamentResult:
            by_user.setdefault(event.user_id, []).append(event)
    wanted = {
        (user_id, specialization)
        for user_id, results in by_user.items()
        for specialization in basis.rules.results_needed(states.users[user_id], results)
    }
    if rule_change is not None and _rates_otherwise(cursor, states, basis):
        wanted |= {(event.user_id, event.specialization) for results in by_user.values() for event in results}
    load_results(cursor, states, wanted)


def _rates_otherwise(cursor: Cursor, states: States, basis: Decided) -> bool:
    """Whether one of the sources was decided by a ruleset that rates otherwise than the one at hand."""
    pinned = policy_for(cursor, states.sources(), basis.ruleset).pinned.values()
    return any(ruleset.content.rating != basis.ruleset.content.rating for ruleset in pinned)


def _fold(
    cursor: Cursor, batch: Batch, keys: Sequence[str], states: States, basis: Decided, seqs: Iterator[int]
) -> Folded:
    policy = policy_for(cursor, states.sources(), basis.ruleset)
    return fold(
        batch.deliveries,
        keys,
        states.users,
        rules=basis.rules,
        policy=policy,
        seqs=seqs,
        origin=batch.origin,
        rule_change=batch.rule_change,
    )


def policy_for(cursor: Cursor, sources: Iterable[Source], active: Ruleset) -> Policy:
    """The active ruleset with those that decided `sources`."""
    pins = {source.ruleset for source in sources} - {None, active.hash}
    pinned = fetch_rulesets(cursor, {pin for pin in pins if pin is not None}) if pins else {}
    return Policy(active, {**pinned, active.hash: active})


def _publications(deliveries: Sequence[Delivery], folded: Folded) -> Iterator[tuple[int, OutboxMessage]]:
    """What was applied at once also goes to its own topic, so that the log stays the whole truth."""
    for delivery, decision in zip(deliveries, folded.decisions, strict=True):
        event = delivery.parsed
        if _is_decided(decision) and delivery.publication is not None and not isinstance(event, Refused):
            yield event_subject(event), delivery.publication


def _is_decided(decision: Decision | None) -> bool:
    """Whether it leaves a receipt."""
    return isinstance(decision, Grant) or (isinstance(decision, Refused) and decision.source_after is not None)


def _count(decisions: Sequence[Decision | None], rosters: tuple[int, int, int]) -> Recorded:
    kinds = Counter(map(type, decisions))
    recorded, duplicates, stale = rosters
    return Recorded(
        recorded=recorded + kinds[Grant],
        duplicates=duplicates + kinds[Duplicate],
        stale=stale + kinds[Stale],
        dead_letters=kinds[Refused],
        decisions=decisions,
    )
