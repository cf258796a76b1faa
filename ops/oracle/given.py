"""Receipts whose event no log holds: the oracle takes what their grant says as given, and goes on from there."""

import re
from typing import Any, NamedTuple

from ops.oracle.fold import Oracle
from ops.oracle.state import GAVE_NOTHING, Given, Source, SourceKey, Standing, User

SOURCE_KEY = re.compile(r"(tournament|session)_([0-9]+)_(?:result|presence)_[0-9]+(?:_r[0-9]+|_a[0-9a-f]{8})?")
ORDER_KEY = re.compile(r"(command|transfer)_(.+)_(?:level|transfer)_[0-9]+", re.DOTALL)
REVISED = re.compile(r"(_REVERSAL)?(_R[0-9]+|_A[0-9A-F]{8})$")

CREDIT_OPERATIONS = {
    "TOURNAMENT_REWARD": "reward",
    "SESSION_ATTENDANCE": "attendance",
    "ATTENDANCE_BONUS": "attendance_bonus",
    "TRANSFER_OUT": "debit",
    "TRANSFER_IN": "credit",
}


class GivenReceipt(NamedTuple):
    """What a receipt in Postgres says of an event that cannot be read any more."""

    seq: int
    event_key: str
    base_key: str
    user_id: int
    revision: int
    ruleset: str | None
    occurred_us: int
    grant: dict[str, Any]
    adopted: bool


def take_as_given(oracle: Oracle, receipt: GivenReceipt) -> bool:
    """Go on from what `receipt` says was given; False where its key is of no event, so that nobody can tell."""
    source_key = SOURCE_KEY.fullmatch(receipt.event_key)
    if source_key is not None:
        kind = source_key[1]
        source_id: int | str = int(source_key[2])
        user = oracle.user(receipt.user_id)
        where: SourceKey = kind, source_id, receipt.user_id
        source = oracle.sources.get(where)
        if source is None:
            source = oracle.sources[where] = Source(None, receipt.seq, receipt.ruleset)
        _give_source(user, source, receipt)
        if kind == "tournament":
            _give_badges(source, receipt)
    else:
        order_key = ORDER_KEY.fullmatch(receipt.event_key)
        if order_key is None:
            return False
        kind, source_id = order_key[1], order_key[2]
        source = Source(None, receipt.seq, receipt.ruleset)
        source.occurred_us = receipt.occurred_us
        named = source_id.removeprefix(f"{receipt.user_id}-") if kind == "transfer" else source_id
        oracle.sources[kind, named, receipt.user_id] = source
        if "refused" not in receipt.grant:
            oracle.user(receipt.user_id).loose |= kind == "command"
    if not receipt.adopted:
        _move(oracle, receipt, kind, source_id)
    return True


def _give_source(user: User, source: Source, receipt: GivenReceipt) -> None:
    grant, old = receipt.grant, source.given
    xp = {old.specialization: old.xp}
    for _, specialization, amount in grant.get("xp", ()):
        xp[specialization] = xp.get(specialization, 0) + amount
    holding = next((name for name, amount in xp.items() if amount), "")
    credits = sum(entry[1] for entry in grant.get("credits", ()) if not entry[0].startswith("ATTENDANCE_BONUS"))
    skills = dict(old.skills)
    for name, points in grant.get("skills", ()):
        skills[name] = skills.get(name, 0) + points
    badges = [badge for badge in old.badges if badge not in grant.get("revoked", ())]
    badges += grant.get("badges", [grant["badge"]] if "badge" in grant else [])
    counted = tuple(grant["counted"]) if grant.get("counted") else None
    for part, sign in ((old.counted, -1), (counted, 1)):
        if part is not None and not receipt.adopted:
            standing = user.standings.setdefault(part[0], Standing())
            standing.sessions += sign * part[1]
            standing.theory += sign * part[2]
            standing.practice += sign * part[3]
    source.given = Given(
        holding,
        xp.get(holding, 0),
        old.credits + credits,
        tuple((name, points) for name, points in skills.items() if points),
        tuple(badges),
        counted,
    )
    if source.given == GAVE_NOTHING:
        source.given = GAVE_NOTHING
    source.revision, source.payload, source.row = receipt.revision, None, None
    source.seq, source.ruleset, source.adopted = receipt.seq, receipt.ruleset, receipt.adopted
    source.occurred_us = receipt.occurred_us


def _give_badges(source: Source, receipt: GivenReceipt) -> None:
    badges = dict(source.badges)
    for badge in receipt.grant.get("revoked", ()):
        earned, _ = badges.get(badge, (0, False))
        badges[badge] = (earned, True)
    for badge in receipt.grant.get("badges", [receipt.grant["badge"]] if "badge" in receipt.grant else []):
        earned, _ = badges.get(badge, (0 if receipt.adopted else receipt.occurred_us, False))
        badges[badge] = (earned, False)
    source.badges = badges


def _move(oracle: Oracle, receipt: GivenReceipt, kind: str, source_id: int | str) -> None:
    """Post the grant's entries, and move balances and levels as they say."""
    user_id, at, seq, grant = receipt.user_id, receipt.occurred_us, receipt.seq, receipt.grant
    semester = source_id if kind == "tournament" else None
    touched = {level[0] for level in grant.get("levels", ())} | set(grant.get("counted", ())[:1])
    for entry_type, specialization, amount in grant.get("xp", ()):
        user = oracle.user(user_id)
        user.xp += amount
        user.standings.setdefault(specialization, Standing()).xp += amount
        touched.add(specialization)
        key = _entry_key(kind, source_id, "xp", user_id, entry_type)
        oracle.book.write("xp_transactions", (user_id, key, entry_type, amount, semester, specialization, at, seq))
    for entry_type, amount, *other in grant.get("credits", ()):
        owner = other[0] if other else user_id
        oracle.user(owner).credits += amount
        key = _entry_key(kind, source_id, CREDIT_OPERATIONS[REVISED.sub("", entry_type)], owner, entry_type)
        oracle.book.write("credit_transactions", (owner, key, entry_type, amount, semester, at, seq))
    source_type = f"{kind.upper()}{receipt.event_key.removeprefix(receipt.base_key).upper()}"
    for skill, points in grant.get("skills", ()):
        oracle.book.write("skill_rewards", (user_id, source_type, source_id, skill, points, at, seq))
    for specialization, before, after in grant.get("levels", ()):
        oracle.book.write("license_progressions", (user_id, specialization, before, after, at, seq))
    _move_levels(oracle, receipt, touched)


def _entry_key(kind: str, source_id: int | str, operation: str, user_id: int, entry_type: str) -> str:
    key = f"{kind}_{source_id}_{operation}_{user_id}"
    revised = REVISED.search(entry_type)
    if revised is None:
        return key
    reversal, mark = revised.groups(default="")
    return f"{key}{mark.lower()}{reversal.lower()}"


def _move_levels(oracle: Oracle, receipt: GivenReceipt, touched: set[str]) -> None:
    moved = {specialization: after for specialization, _, after in receipt.grant.get("levels", ())}
    for specialization in touched:
        standing = oracle.user(receipt.user_id).standings.setdefault(specialization, Standing())
        level = moved.get(specialization, standing.level or 1)
        by_xp = oracle.xp_level(specialization, standing.xp)
        if min(max(by_xp + standing.adjustment, 1), len(oracle.levels[specialization])) != level:
            standing.adjustment = level - by_xp
        standing.level = standing.license = level
        standing.highest = max(standing.highest, level)
        if any(entry[0].startswith("ATTENDANCE_BONUS") for entry in receipt.grant.get("credits", ())):
            every = oracle.rules[receipt.ruleset or oracle.active].bonus_every
            standing.milestones = max(standing.milestones, standing.sessions // every)
