from importlib import resources

import pytest

from schemas.ruleset import (
    InvalidRuleset,
    from_canonical_json,
    load_default,
    parse_ruleset,
    ruleset_hash,
    to_canonical_json,
)

ACADEMY = resources.files("schemas").joinpath("rulesets", "academy.toml").read_text(encoding="utf-8")
OTHERS = "[[tournament]]\nxp = 50\ncredits = 0\nskill_points = 1\n"
REST = ACADEMY[ACADEMY.index("[attendance.present]") :]


def band(first: object, last: object, badge: str | None = None) -> str:
    earned = f'badge = "{badge}"\n' if badge else ""
    return f"[[tournament]]\nfirst = {first}\nlast = {last}\nxp = {first}\ncredits = 0\nskill_points = 0\n{earned}\n"


def ruleset_with(*bands: str) -> str:
    return 'name = "trial"\n' + "".join(bands) + OTHERS + REST


def test_the_default_ruleset_has_the_academys_numbers() -> None:
    content = load_default().content
    assert [(b.first, b.last, b.xp, b.credits, b.skill_points, b.badge) for b in content.tournament] == [
        (1, 1, 500, 100, 10, "CHAMPION"),
        (2, 2, 300, 60, 7, "RUNNER_UP"),
        (3, 3, 200, 40, 5, "THIRD_PLACE"),
        (4, 8, 100, 10, 3, None),
        (None, None, 50, 0, 1, None),
    ]
    assert {name: (a.xp, a.credits, a.skill_points, a.counts) for name, a in content.attendance.items()} == {
        "present": (20, 2, 1, True),
        "late": (10, 0, 0, True),
        "absent": (0, 0, 0, False),
        "excused": (0, 0, 0, False),
    }
    assert (content.bonus.every_sessions, content.bonus.credits) == (10, 50)
    assert (content.rating.start, content.rating.weight, content.rating.digits) == (50, 0.2, 4)


@pytest.mark.parametrize(
    ("placement", "xp"),
    [(None, 50), (1, 50), (2, 2), (4, 2), (5, 5), (6, 50), (8, 50), (9, 9), (10, 50), (100_000, 50)],
)
def test_a_placement_outside_every_range_falls_into_the_band_for_all_others(placement: int | None, xp: int) -> None:
    ruleset = parse_ruleset(ruleset_with(band(9, 9), band(2, 4), band(5, 5)))
    assert ruleset.band(placement).xp == xp


def test_a_ruleset_may_treat_all_placements_alike() -> None:
    ruleset = parse_ruleset(ruleset_with())
    assert {ruleset.band(placement).xp for placement in (None, 1, 2, 100_000)} == {50}


def test_the_hash_names_what_a_ruleset_says_and_not_how_it_is_written() -> None:
    rewritten = "# moved\n" + ACADEMY.replace("start = 50", "start = 50.0").replace(
        "xp = 500\ncredits = 100", "credits = 100\nxp = 500"
    )
    assert rewritten != ACADEMY
    assert parse_ruleset(rewritten).hash == load_default().hash
    assert parse_ruleset(ACADEMY.replace("xp = 500", "xp = 501")).hash != load_default().hash


def test_the_default_rulesets_hash_is_the_one_that_receipts_carry() -> None:
    assert load_default().hash == "15e43bcd75bab62d"


def test_a_stored_ruleset_comes_back_as_it_was() -> None:
    ruleset = parse_ruleset(ACADEMY)
    stored = to_canonical_json(ruleset.content)
    assert from_canonical_json(stored) == ruleset
    assert ruleset_hash(ruleset.content) == ruleset.hash


@pytest.mark.parametrize("stored", ["", "[]", "null", "{", '{"name": null}'])
def test_what_is_stored_is_checked_like_any_other_ruleset(stored: str) -> None:
    with pytest.raises(InvalidRuleset):
        from_canonical_json(stored)


INVALID = [
    ("not TOML", "name = ", ["not TOML: Invalid value (at end of document)"]),
    ("lists within lists within lists", "name = " + "[" * 5000,
     ["not a ruleset: nested too deep, or a number of thousands of digits"]),
    ("a number longer than any is read", f"name = {'1' * 5000}",
     ["not a ruleset: nested too deep, or a number of thousands of digits"]),
    ("a byte-order mark", "\ufeff" + ACADEMY, ["not TOML: it begins with a byte-order mark, which must go"]),
    ("a name that Postgres cannot hold", ACADEMY.replace('"academy"', r'"a\u0000"'),
     [r"name: Expected `str` matching regex '\\A[^\\x00-\\x1f\\x7f]*\\Z'"]),
    ("a status for all", "attendance = 3\n" + ACADEMY[: ACADEMY.index("[attendance.present]")] + ACADEMY[ACADEMY.index("[bonus]") :],
     ["attendance: must be a table"]),
    ("a milestone beyond what can be counted", ACADEMY.replace("every_sessions = 10", "every_sessions = 99999999999999999999"),
     ["bonus.every_sessions: Expected `int` <= 1000000000"]),
    ("an empty file", "", ["name: missing", "tournament: missing", "attendance: missing", "bonus: missing",
                           "rating: missing"]),
    ("an empty name", ACADEMY.replace('"academy"', '""'), ["name: Expected `str` of length >= 1"]),
    ("an unknown field", "colour = 1\n" + ACADEMY, ["colour: unknown"]),
    ("an unknown field of a band", ruleset_with(band(1, 1) + "medal = 1\n"), ["tournament[0].medal: unknown"]),
    ("bands that overlap", ruleset_with(band(1, 3), band(3, 5)), ["tournament: placement 3 is in two bands"]),
    ("a band inside another, and one after it", ruleset_with(band(1, 9), band(2, 3), band(5, 6)),
     ["tournament: placement 2 is in two bands", "tournament: placement 5 is in two bands"]),
    ("a band that ends before it starts", ruleset_with(band(5, 4)), ["tournament[0]: first 5 is above last 4"]),
    ("a band with one end", ruleset_with(band(5, 5).replace("last = 5\n", "")),
     ["tournament[0]: first and last go together"]),
    ("a placement that cannot be", ruleset_with(band(0, 1)), ["tournament[0].first: Expected `int` >= 1"]),
    ("no band for all others", ruleset_with().replace(OTHERS, band(1, 1)),
     ["tournament: one band must have neither first nor last, to take all others; 0 do"]),
    ("two bands for all others", ruleset_with(OTHERS),
     ["tournament: one band must have neither first nor last, to take all others; 2 do"]),
    ("no bands", 'name = "trial"\ntournament = []\n' + REST,
     ["tournament: one band must have neither first nor last, to take all others; 0 do"]),
    ("bands that are no list", 'name = "trial"\ntournament = 3\n' + REST, ["tournament: Expected `array`, got `int`"]),
    ("a band that is no table", 'name = "trial"\ntournament = [1]\n' + REST, ["tournament[0]: must be a table"]),
    ("one badge for two bands", ruleset_with(band(1, 1, "CUP"), band(2, 2, "CUP")), ["tournament: badge CUP is in two bands"]),
    ("a badge in small letters", ruleset_with(band(1, 1, "cup")),
     [r"tournament[0].badge: Expected `str` matching regex '\\A[A-Z][A-Z0-9_]{0,49}\\Z'"]),
    ("a negative amount", ACADEMY.replace("xp = 500", "xp = -1"), ["tournament[0].xp: Expected `int` >= 0"]),
    ("an amount with a fraction", ACADEMY.replace("xp = 500", "xp = 0.5"), ["tournament[0].xp: Expected `int`, got `float`"]),
    ("an amount too large", ACADEMY.replace("xp = 500", "xp = 1000000001"), ["tournament[0].xp: Expected `int` <= 1000000000"]),
    ("a status that is missing", ACADEMY.replace("[attendance.late]", "[attendance.tardy]"),
     ["attendance.tardy: unknown", "attendance.late: missing"]),
    ("too few statuses", ACADEMY[: ACADEMY.index("[attendance.absent]")] + ACADEMY[ACADEMY.index("[bonus]") :],
     ["attendance.absent: missing", "attendance.excused: missing"]),
    ("a reward for withdrawing", ACADEMY + "[attendance.withdrawn]\nxp = 1\ncredits = 0\nskill_points = 0\ncounts = false\n",
     ["attendance.withdrawn: unknown"]),
    ("a number for a yes or no", ACADEMY.replace("counts = true", "counts = 1", 1),
     ["attendance.present.counts: Expected `bool`, got `int`"]),
    ("a bonus for every zero sessions", ACADEMY.replace("every_sessions = 10", "every_sessions = 0"),
     ["bonus.every_sessions: Expected `int` >= 1"]),
    ("a bonus that is no table", ruleset_with().replace("[bonus]\nevery_sessions = 10\ncredits = 50\n", "")
     .replace('name = "trial"\n', 'name = "trial"\nbonus = 5\n'), ["bonus: must be a table"]),
    ("a rating that starts nowhere", ACADEMY.replace("start = 50", "start = nan"), ["rating.start: Expected `float` >= 0.0"]),
    ("a rating that never moves", ACADEMY.replace("weight = 0.2", "weight = 0"), ["rating.weight: Expected `float` > 0.0"]),
    ("several things at once", ACADEMY.replace("xp = 500", 'xp = "a"').replace("digits = 4", "digits = 10")
     .replace("credits = 2\n", ""),
     ["tournament[0].xp: Expected `int`, got `str`", "attendance.present.credits: missing",
      "rating.digits: Expected `int` <= 9"]),
]  # fmt: skip


@pytest.mark.parametrize(("toml", "problems"), [row[1:] for row in INVALID], ids=[row[0] for row in INVALID])
def test_everything_that_is_wrong_with_a_ruleset_is_named(toml: str, problems: list[str]) -> None:
    with pytest.raises(InvalidRuleset) as caught:
        parse_ruleset(toml)
    assert caught.value.problems == problems
