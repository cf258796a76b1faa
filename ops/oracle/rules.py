"""A ruleset as the oracle reads it: plain numbers out of plain data, looked up by placement or status."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Worth(NamedTuple):
    """What one result or presence is worth under a ruleset."""

    xp: int
    credits: int
    points: int
    badge: str | None
    counts: bool


NOTHING = Worth(0, 0, 0, None, False)


class Rules:
    """One ruleset; `content` is its TOML or canonical JSON as plain dicts and lists."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.bands: list[tuple[int, int, Worth]] = []
        self.other = NOTHING
        for band in content["tournament"]:
            worth = Worth(band["xp"], band["credits"], band["skill_points"], band.get("badge"), False)
            if band.get("first") is None:
                self.other = worth
            else:
                self.bands.append((band["first"], band["last"], worth))
        self.badges = {band["badge"] for band in content["tournament"] if band.get("badge") is not None}
        self.presence = {
            status: Worth(row["xp"], row["credits"], row["skill_points"], None, row["counts"])
            for status, row in content["attendance"].items()
        }
        self.presence["withdrawn"] = NOTHING
        self.bonus_every: int = content["bonus"]["every_sessions"]
        self.bonus_credits: int = content["bonus"]["credits"]
        self.rating_start = float(content["rating"]["start"])
        self.rating_weight = float(content["rating"]["weight"])
        self.rating_digits: int = content["rating"]["digits"]

    def result(self, status: str, placement: int | None) -> Worth:
        """What a tournament result is worth."""
        if status == "withdrawn":
            return NOTHING
        if placement is not None:
            for first, last, worth in self.bands:
                if first <= placement <= last:
                    return worth
        return self.other


def target(performance: float | None, placement: int | None, participants: int | None) -> float:
    """What a result says about a skill, from 0 to 100."""
    if performance is not None:
        return performance
    if placement is not None and participants is not None and participants > 1:
        return 100 * (participants - placement) / (participants - 1)
    return 50.0
