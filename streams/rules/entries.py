"""The entries of a tournament or a session: what its payload earns now, less what the source has given so far."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from schemas.events import Skill
from schemas.keys import Operation, SourceType, make_key
from schemas.rewards import CreditEntry, SkillEntry, XpEntry


class Names(Struct, frozen=True):
    """What the entries of one kind of source are called."""

    source_type: SourceType
    credit_operation: Operation
    entry_type: str
    skill_type: str


TOURNAMENT: Final = Names("tournament", "reward", "TOURNAMENT_REWARD", "TOURNAMENT")
SESSION: Final = Names("session", "attendance", "SESSION_ATTENDANCE", "SESSION")


class Posting(Struct, frozen=True):
    """Posts the entries of one event. `revision` is set for a correction only: it is part of types and keys then.

    With `run`, that stands there instead: the run adjusts what the event gave to another ruleset.
    """

    names: Names
    source_id: int
    user_id: int
    semester_id: int | None
    revision: int | None
    run: str | None = None

    def xp(self, specialization: str, amount: int, given: Mapping[str, int], *, withdrawn: bool) -> tuple[XpEntry, ...]:
        """The XP that makes what was `given`, by specialization, into `amount` in `specialization`."""
        entries: tuple[XpEntry, ...] = ()
        for other, sum_given in given.items():
            if other != specialization and sum_given:
                entries += (self._xp_entry(other, -sum_given, reversal=not withdrawn),)
        delta = amount - given.get(specialization, 0)
        if delta:
            entries += (self._xp_entry(specialization, delta),)
        return entries

    def _xp_entry(self, specialization: str, amount: int, *, reversal: bool = False) -> XpEntry:
        type_ = f"{self.names.entry_type}_REVERSAL" if reversal else self.names.entry_type
        key = self.key("xp", reversal=reversal)
        return XpEntry(self._revised(type_), specialization, amount, key, self.semester_id)

    def credits(self, amount: int, given: int) -> tuple[CreditEntry, ...]:
        """The credits that make what was `given` into `amount`."""
        if amount == given:
            return ()
        return (self.credit_entry(self.names.entry_type, self.names.credit_operation, amount - given),)

    def credit_entry(self, type_: str, operation: Operation, amount: int) -> CreditEntry:
        """One credit entry of the source under the event's revision."""
        return CreditEntry(self.user_id, self._revised(type_), amount, self.key(operation), self.semester_id)

    def skills(self, points: Mapping[str, int], given: Mapping[str, int]) -> tuple[SkillEntry, ...]:
        """The skill rewards that make what was `given`, by skill, into `points`."""
        type_ = self._revised(self.names.skill_type)
        if not given:
            return tuple([SkillEntry(type_, self.source_id, skill, amount) for skill, amount in points.items()])
        deltas = {skill: amount - given.get(skill, 0) for skill, amount in points.items()}
        deltas |= {skill: -amount for skill, amount in given.items() if skill not in points}
        return tuple([SkillEntry(type_, self.source_id, skill, delta) for skill, delta in deltas.items() if delta])

    def key(self, operation: Operation, *, reversal: bool = False) -> str:
        """The key of `operation` on the source under the event's revision."""
        return make_key(
            self.names.source_type,
            self.source_id,
            operation,
            self.user_id,
            revision=self.revision,
            reversal=reversal,
            run=self.run,
        )

    def _revised(self, type_: str) -> str:
        if self.run is not None:
            return f"{type_}_A{self.run.upper()}"
        return type_ if self.revision is None else f"{type_}_R{self.revision}"


def points_per_skill(skills: tuple[Skill, ...], points: int) -> dict[str, int]:
    """The skill points that a payload earns; a skill named twice counts once."""
    return dict.fromkeys([skill.name for skill in skills], points) if points else {}
