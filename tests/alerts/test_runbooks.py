"""Every kind of alert has its page, and the commands on it are commands."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer import Context
from typer.core import TyperGroup
from typer.main import get_command

from ops.cli import build_app
from schemas.alerts import ALERT_KINDS, AlertKind, AlertSeen

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/runbooks").glob("*.md"))
STAND_FOR = {
    "USER_ID": "5",
    "EVENT_KEY": "tournament_227_result_5",
    "TOPIC": "tournament-results",
    "PARTITION": "0",
    "REASON": "unknown_version",
    "NUMBER:HASH": f"1:{'0' * 64}",
    "ID...": "1 2",
    "ID": "1",
}
"""What a person puts in a word's place; any other is text, and stands for itself."""


def commands(text: str) -> Iterator[str]:
    """The lines of code and the words in backticks that run `laurels`."""
    for line in re.findall(r"^    (laurels .*)$", text, re.MULTILINE):
        yield line.partition(" #")[0].strip()
    yield from re.findall(r"`(laurels [^`]+)`", text.replace("\n", " "))


def parse(line: str) -> Context:
    """Have the command line take this without running it; raises where it does not. A group alone stands for all of it."""
    _, *arguments = shlex.split(" ".join(STAND_FOR.get(word, word) for word in line.split()))
    command = get_command(build_app(arguments))
    context = Context(command)
    while isinstance(command, TyperGroup) and arguments:
        name, found, arguments = command.resolve_command(context, arguments)
        assert found is not None
        command, context = found, Context(found, context, name)
    return (
        context
        if isinstance(command, TyperGroup)
        else command.make_context(context.info_name, arguments, context.parent)
    )


def test_a_command_that_there_is_not_is_noticed() -> None:
    for wrong in ("laurels mend", "laurels alerts mend 5", "laurels reconcile --deep", "laurels explain user"):
        with pytest.raises(Exception, match=r"No such|Missing"):
            parse(wrong)
    assert parse("laurels dlq list --topic TOPIC").params["topic"] == "tournament-results"
    assert list(commands("    laurels a b   # why\nor `laurels c` or `laurels\nd`\n")) == [
        "laurels a b",
        "laurels c",
        "laurels d",
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_runbook_are_commands(page: Path) -> None:
    found = list(commands(page.read_text(encoding="utf-8")))
    assert found
    for line in found:
        parse(line)


@pytest.mark.parametrize("kind", ALERT_KINDS.values(), ids=lambda kind: kind.id)
def test_every_kind_of_alert_has_its_runbook_and_a_command_that_explains_it(kind: AlertKind) -> None:
    labels = {"user_id": "5", "topic": "tournament-results", "event_key": "tournament_227_result_5"}
    told = AlertSeen(kind=kind.id, subject="user 5", expected="a", found="b", labels=labels).annotations()
    page = (ROOT / told["runbook"]).read_text(encoding="utf-8")
    assert page.startswith(f"# {kind.id}: ")
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == ["Look", "Mend"]
    assert "\nThe alert resolves " in page
    parse(told["explain"])


def test_no_runbook_is_about_an_alert_that_there_is_not() -> None:
    assert [page.stem.upper() for page in PAGES] == sorted(ALERT_KINDS)
