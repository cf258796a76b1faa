"""The oracle: folds records one by one, as an auditor with a calculator would, and says what must have been written."""

from collections.abc import Mapping, Sequence
from sys import intern
from typing import Any, Literal, NamedTuple

from ops.oracle.accounts import Accounts, Changes
from ops.oracle.book import Book, RowBook
from ops.oracle.reading import Fact, Unreadable, read
from ops.oracle.rules import Rules
from ops.oracle.state import GAVE_NOTHING, Given, Memory, Receipt, Source, SourceKey, Standing, User

Judgement = Literal["first", "correction", "duplicate", "remembered", "stale", "conflict"]
OutcomeKind = Literal["recorded", "duplicate", "stale", "dead_letter"]


class Record(NamedTuple):
    """One record of a topic. `topic` is the plain name, `timestamp_ms` None where the record has none."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int | None


class Outcome(NamedTuple):
    """What a record must have led to. A refused command is a dead letter that leaves a receipt too."""

    kind: OutcomeKind
    reason: str = ""
    detail: str = ""
    receipt: Receipt | None = None


class Roster(NamedTuple):
    """The roster that stands for a tournament, and the record that it came in."""

    finalized_us: int
    participants: int
    user_ids: tuple[int, ...] | None
    partition: int
    offset: int


class Oracle(Accounts):
    """All users' state as the records folded so far make it.

    `levels` holds the XP needed for level 1, 2, 3, ... per specialization; `rulesets` their contents by hash, `active`
    the one that decides new sources unless `apply` is told another. Rows of append-only tables go to `book`. What is
    remembered by event goes to `sources` and `rosters`; all else is by user.
    """

    def __init__(
        self,
        levels: Mapping[str, Sequence[int]],
        rulesets: Mapping[str, Mapping[str, Any]],
        active: str,
        book: Book | None = None,
        sources: Memory[Source] | None = None,
        rosters: Memory[Roster] | None = None,
    ) -> None:
        super().__init__(levels, RowBook() if book is None else book)
        self.rules = {name: Rules(content) for name, content in rulesets.items()}
        self.active = active
        self.sources: Memory[Source] = {} if sources is None else sources
        self.rosters: Memory[Roster] = {} if rosters is None else rosters

    # One record.

    def apply(self, record: Record, seq: int | None = None, ruleset: str | None = None) -> Outcome:
        """Fold one record in. `seq` is its receipt's number, `ruleset` the one that decides if its source is new."""
        try:
            fact = self.read(record)
        except Unreadable as unreadable:
            return Outcome("dead_letter", unreadable.reason, unreadable.detail)
        if fact.kind == "roster":
            return self.apply_roster(fact, record)
        return self.apply_fact(fact, self.judge(fact), seq, ruleset)

    def read(self, record: Record) -> Fact:
        """What the record says, or `Unreadable`."""
        return read(record.topic, record.key, record.value, record.timestamp_ms, self.levels)

    def source(self, fact: Fact) -> Source | None:
        """The recorded source that a fact is about."""
        return self.sources.get((fact.kind, fact.source, fact.user_id))

    def judge(self, fact: Fact) -> Judgement:
        """How the fact stands to what is recorded of its source."""
        source = self.source(fact)
        if source is None:
            return "first"
        if fact.revision > source.revision:
            return "correction"
        if fact.revision < source.revision:
            return "stale"
        if source.payload is None:
            return "remembered"
        return "duplicate" if fact.payload == source.payload else "conflict"

    def apply_fact(self, fact: Fact, judgement: Judgement, seq: int | None, ruleset: str | None) -> Outcome:
        """Fold a fact in, as judged."""
        match judgement:
            case "stale":
                return Outcome("stale")
            case "duplicate":
                return Outcome("duplicate")
            case "conflict":
                return Outcome("dead_letter", "conflict", event_key(fact))
            case "remembered":
                source = self.source(fact)
                assert source is not None
                source.payload = fact.payload
                return Outcome("duplicate")
            case "first" | "correction":
                if fact.kind == "command":
                    return self._apply_command(fact, seq)
                if fact.kind == "transfer":
                    return self._apply_transfer(fact, seq)
                known = None if judgement == "first" else self.source(fact)
                return self._apply_source(fact, known, seq, intern(ruleset or self.active))

    def apply_roster(self, fact: Fact, record: Record) -> Outcome:
        """A later roster replaces the earlier; of equal times the later offset does, unless it says the same."""
        known = self.rosters.get(source_key(fact))
        if known is not None:
            if fact.occurred_us < known.finalized_us:
                return Outcome("stale")
            if fact.occurred_us == known.finalized_us and fact.payload == (known.participants, known.user_ids):
                return Outcome("duplicate")
        self.rosters[source_key(fact)] = Roster(
            fact.occurred_us, fact.payload[0], fact.payload[1], record.partition, record.offset
        )
        return Outcome("recorded")

    # Results and presences.

    def _apply_source(self, fact: Fact, known: Source | None, seq: int | None, ruleset: str) -> Outcome:
        user = self.user(fact.user_id)
        changes = Changes(fact.occurred_us, seq)
        first = known is None
        source = Source(fact, seq, ruleset) if known is None else known
        rules = self.rules[source.ruleset or ruleset]
        new = self._give(user, fact, source, rules, "" if first else f"_R{fact.revision}", changes)
        if not first:
            source.revision, source.payload, source.adopted = fact.revision, fact.payload, False
            source.occurred_us = fact.occurred_us
            source.withdrawn = fact.payload[0] == "withdrawn"
            if not source.withdrawn:
                source.row = fact.payload
        source.given, source.seq, source.ruleset = new, seq, source.ruleset or ruleset
        if first:
            self.sources[source_key(fact)] = source
        base = event_key(fact)
        key = base if first else f"{base}_r{fact.revision}"
        receipt = Receipt(
            key, fact.user_id, None if first else base, fact.revision, source.ruleset, fact.occurred_us, changes.grant
        )
        return Outcome("recorded", "", "", receipt)

    def adjust(self, base_key: str, user_id: int, run: str, ruleset: str, seq: int) -> Receipt | None:
        """Bring a source to another ruleset, as `run` did: what its last payload is worth by it, less what it has given.

        None where nobody can tell: the payload is not known, or the source counts as given.
        """
        user = self.users.get(user_id)
        if user is None or ruleset not in self.rules:
            return None
        source_id = int(base_key.split("_")[1])
        kind: Literal["tournament", "session"] = "tournament" if base_key.startswith("tournament_") else "session"
        source = self.sources.get((kind, source_id, user_id))
        if source is None or source.payload is None or source.adopted:
            return None
        fact = Fact(kind, user_id, source_id, source.revision, source.payload, source.occurred_us)
        changes = Changes(fact.occurred_us, seq)
        source.given = self._give(user, fact, source, self.rules[ruleset], f"_A{run.upper()}", changes)
        source.seq, source.ruleset = seq, ruleset
        key = f"{base_key}_a{run}"
        return Receipt(key, user_id, base_key, source.revision, ruleset, fact.occurred_us, changes.grant)

    def _give(self, user: User, fact: Fact, source: Source, rules: Rules, mark: str, changes: Changes) -> Given:
        """Make what a source has given into what the fact is worth. `mark` ends the types and keys of the entries."""
        old, new = source.given, self.worth_of(fact, rules)
        if old.badges:
            new = new._replace(badges=self._badges_left_alone(source, rules) + new.badges)
        self.touch(user, _specialization(fact), changes)
        self._book_credits(fact, new.credits - old.credits, mark, changes)
        self._book_skills(fact, old, new, mark, changes)
        self._book_xp(fact, old, new, mark, changes)
        if old.badges != new.badges:
            _move_badges(source, fact.occurred_us, new.badges, changes)
        for counted, sign in ((old.counted, -1), (new.counted, 1)):
            if counted is not None:
                self.touch(user, counted[0], changes)
                _count(user.standings[counted[0]], counted, sign)
        if new.counted:
            changes.grant["counted"] = list(new.counted)
        if fact.kind == "session":
            self._pay_bonus(user, fact, rules, mark, changes)
        self.settle_levels(fact.user_id, user, changes)
        return new

    def _badges_left_alone(self, source: Source, rules: Rules) -> tuple[str, ...]:
        """Those of an adopted source's badges that no placement earns: they are nobody's to revoke."""
        decided = self.rules.get(source.ruleset or "", rules)
        return tuple([badge for badge in source.given.badges if badge not in rules.badges | decided.badges])

    def worth_of(self, fact: Fact, rules: Rules) -> Given:
        """All that the fact's payload gives, bonuses apart."""
        payload = fact.payload
        if payload[0] == "withdrawn":
            return GAVE_NOTHING
        counted = None
        if fact.kind == "tournament":
            worth, specialization, skills = rules.result(payload[0], payload[1]), payload[3], payload[4]
        else:
            worth, specialization, skills = rules.presence[payload[0]], payload[1], payload[5]
            if worth.counts:
                counted = (specialization, 1, payload[3], payload[4])
        named = tuple(dict.fromkeys([name for name, _ in skills])) if worth.points else ()
        return Given(
            specialization,
            worth.xp,
            worth.credits,
            tuple([(name, worth.points) for name in named]),
            (worth.badge,) if worth.badge else (),
            counted,
        )

    def _book_xp(self, fact: Fact, old: Given, new: Given, mark: str, changes: Changes) -> None:
        kind = "TOURNAMENT_REWARD" if fact.kind == "tournament" else "SESSION_ATTENDANCE"
        key = f"{fact.kind}_{fact.source}_xp_{fact.user_id}"
        withdrawn = fact.payload[0] == "withdrawn"
        if old.xp and (withdrawn or old.specialization != new.specialization):
            reversal = "" if withdrawn else "_REVERSAL"
            self.post_xp(
                fact,
                old.specialization,
                -old.xp,
                f"{kind}{reversal}{mark}",
                f"{key}{mark.lower()}{reversal.lower()}",
                changes,
            )
            old = GAVE_NOTHING
        if new.xp != old.xp:
            self.post_xp(fact, new.specialization, new.xp - old.xp, f"{kind}{mark}", f"{key}{mark.lower()}", changes)

    def _book_credits(self, fact: Fact, amount: int, mark: str, changes: Changes) -> None:
        if not amount:
            return
        kind, operation = (
            ("TOURNAMENT_REWARD", "reward") if fact.kind == "tournament" else ("SESSION_ATTENDANCE", "attendance")
        )
        self.post_credit(fact.user_id, fact, operation, kind, amount, mark, changes)

    def _book_skills(self, fact: Fact, old: Given, new: Given, mark: str, changes: Changes) -> None:
        if old.skills == new.skills:
            return
        before, after = dict(old.skills), dict(new.skills)
        source_type = f"{fact.kind.upper()}{mark}"
        for skill in before | after:
            points = after.get(skill, 0) - before.get(skill, 0)
            if points:
                self.book.write(
                    "skill_rewards",
                    (fact.user_id, source_type, fact.source, skill, points, changes.at_us, changes.seq),
                )
                changes.add("skills", [skill, points])

    def _pay_bonus(self, user: User, fact: Fact, rules: Rules, mark: str, changes: Changes) -> None:
        standing = user.standings[_specialization(fact)]
        reached = standing.sessions // rules.bonus_every
        if reached > standing.milestones:
            amount = (reached - standing.milestones) * rules.bonus_credits
            standing.milestones = reached
            if amount:
                self.post_credit(fact.user_id, fact, "attendance_bonus", "ATTENDANCE_BONUS", amount, mark, changes)

    # Orders.

    def _apply_command(self, fact: Fact, seq: int | None) -> Outcome:
        key = event_key(fact)
        self.sources[source_key(fact)] = Source(fact, seq, None)
        reason = self._refusal(fact)
        if reason:
            receipt = Receipt(key, fact.user_id, None, 1, None, fact.occurred_us, {"refused": reason})
            return Outcome("dead_letter", reason, key, receipt)
        specialization, new_level, xp, sessions, theory, practice, _, _ = fact.payload
        user = self.user(fact.user_id)
        changes = Changes(fact.occurred_us, seq)
        self.touch(user, specialization, changes)
        if xp:
            self.post_xp(fact, specialization, xp, "LEVEL_COMMAND", f"command_{fact.source}_xp_{fact.user_id}", changes)
        standing = user.standings[specialization]
        standing.sessions += sessions
        standing.theory += theory
        standing.practice += practice
        if new_level is not None:
            self.unsettled.discard((fact.user_id, specialization))
            standing.adjustment = new_level - self.xp_level(specialization, standing.xp)
        self.settle_levels(fact.user_id, user, changes)
        return Outcome("recorded", receipt=Receipt(key, fact.user_id, None, 1, None, fact.occurred_us, changes.grant))

    def watch(self, fact: Fact) -> None:
        """Note what a recorded command moved, whatever it comes to here: who started too low would be refused it."""
        specialization, _, _, *moves, _, _ = fact.payload
        watched = self.watched.get((fact.user_id, specialization))
        if watched is not None:
            watched[:] = [total + change for total, change in zip(watched, moves, strict=True)]

    def _refusal(self, fact: Fact) -> str | None:
        specialization, new_level, *moves, _, _ = fact.payload
        if new_level is None and not any(moves):
            return "empty_command"
        if new_level is not None and not 1 <= new_level <= len(self.levels[specialization]):
            return "invalid_level"
        user = self.users.get(fact.user_id)
        standing = (user.standings.get(specialization) if user else None) or Standing()
        totals = (standing.xp, standing.sessions, standing.theory, standing.practice)
        if any(change < 0 and total + change < 0 for total, change in zip(totals, moves, strict=True)):
            return "negative_total"
        return None

    def _apply_transfer(self, fact: Fact, seq: int | None) -> Outcome:
        key = event_key(fact)
        source = self.sources[source_key(fact)] = Source(fact, seq, None)
        receiver, amount, _ = fact.payload
        sender = self.user(fact.user_id)
        self.user(receiver)
        changes = Changes(fact.occurred_us, seq)
        if sender.credits >= amount:
            source.result = "COMPLETED"
            leg = fact._replace(source=f"{fact.user_id}-{fact.source}")
            self.post_credit(fact.user_id, leg, "debit", "TRANSFER_OUT", -amount, "", changes)
            self.post_credit(receiver, leg, "credit", "TRANSFER_IN", amount, "", changes)
        else:
            source.result = "REJECTED"
        return Outcome("recorded", receipt=Receipt(key, fact.user_id, None, 1, None, fact.occurred_us, changes.grant))


OPERATIONS = {"tournament": "result", "session": "presence", "command": "level"}


def source_key(fact: Fact) -> SourceKey:
    """What the fact's source is remembered under."""
    return fact.kind, fact.source, fact.user_id


def event_key(fact: Fact) -> str:
    """The key of the source's first receipt."""
    if fact.kind == "transfer":
        return f"transfer_{fact.user_id}-{fact.source}_transfer_{fact.user_id}"
    return f"{fact.kind}_{fact.source}_{OPERATIONS[fact.kind]}_{fact.user_id}"


def _specialization(fact: Fact) -> str:
    """The specialization that a result or presence names."""
    specialization: str = fact.payload[3 if fact.kind == "tournament" else 1]
    return specialization


def _move_badges(source: Source, at_us: int, new: tuple[str, ...], changes: Changes) -> None:
    old, badges = source.given.badges, dict(source.badges)
    for badge in old:
        if badge not in new:
            earned, _ = badges.get(badge, (0, False))
            badges[badge] = (earned, True)
            changes.add("revoked", badge)
    for badge in new:
        if badge not in old:
            earned, _ = badges.get(badge, (at_us, False))
            badges[badge] = (earned, False)
            changes.grant["badge"] = badge
    source.badges = badges


def _count(standing: Standing, counted: tuple[str, int, int, int], sign: int) -> None:
    _, sessions, theory, practice = counted
    standing.sessions += sign * sessions
    standing.theory += sign * theory
    standing.practice += sign * practice
