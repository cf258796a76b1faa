"""What a plan keeps in memory while it reads a range."""

from contextlib import closing
from importlib import resources

import psycopg2

from schemas.events import SESSION_ATTENDANCE
from schemas.ruleset import parse_ruleset
from sinks.batch import RuleChange
from sinks.ledger.foresight import Foresight
from sinks.ledger.rules import source_keys
from sinks.ledger.rulesets import fetch_levels
from sinks.ledger.transaction import Decided
from streams import rules
from tests.oracle.academy_log import Academy, presence

TOML = resources.files("schemas").joinpath("rulesets", "academy.toml").read_text(encoding="utf-8")
GENEROUS = parse_ruleset(TOML.replace("xp = 20\n", "xp = 25\n"))


def test_sources_that_give_the_same_share_what_they_give(database_url: str) -> None:
    academy = Academy(database_url)
    skills = [{"name": "passing"}]
    academy.tell(SESSION_ATTENDANCE, presence(1, 7, skills=skills), presence(2, 7, skills=skills))
    deliveries = [academy.delivery(each) for each in academy.topics.records[SESSION_ATTENDANCE, 0]]
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        basis = Decided(rules, fetch_levels(cursor), GENEROUS)
        foresight = Foresight(cursor, basis, RuleChange("0" * 8, GENEROUS, allow_decrease=True))
        foresight.take(deliveries, source_keys(deliveries, rules))
    academy.close()
    one, other = (source for user in foresight.states.users.values() for source in user.sources.values())
    assert one.xp_given == {"PLAYER": 25}
    assert one.xp_given is other.xp_given
    assert one.skills_given is other.skills_given
    assert one.counted is other.counted
