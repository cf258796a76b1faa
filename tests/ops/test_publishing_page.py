"""What docs/publishing.md shows works as it stands there."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from ops.lines import EventLine, LineReader
from schemas.events import EVENT_TOPICS
from schemas.rewards import RefusalReason
from tests.ops.broker import create_topics, stored
from tests.schemas.examples import SPECIALIZATIONS

PAGE = Path(__file__).parents[2].joinpath("docs", "publishing.md").read_text(encoding="utf-8")


def shown(language: str) -> str:
    """The page's one example in this language."""
    (example,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(example)


def test_the_python_of_the_page_publishes_its_event(bootstrap_servers: str, namespace: str) -> None:
    topic = namespace + "tournament-results"
    create_topics(bootstrap_servers, [topic])
    here = shown("python").replace('"localhost:9092"', f'"{bootstrap_servers}", topic_prefix="{namespace}"')
    exec(here, {})  # noqa: S102  that is what readers do with it
    (record,) = stored(bootstrap_servers, [topic])
    assert (record.key, record.headers["ce_source"]) == (b"5", b"/scoreboard")


def test_the_lines_of_the_page_are_good_and_show_every_topic() -> None:
    reader = LineReader(None, SPECIALIZATIONS, datetime.now(UTC))
    lines = [reader.read(number, line.encode()) for number, line in enumerate(shown("jsonl").splitlines(), 1)]
    assert [line.topic if isinstance(line, EventLine) else line for line in lines] == list(EVENT_TOPICS)


def test_the_page_names_every_reason_for_a_refusal() -> None:
    named = {
        reason for row in re.findall(r"^\| (`[a-z_`, ]+) \|", PAGE, re.MULTILINE) for reason in re.findall(r"\w+", row)
    }
    assert named == set(get_args(RefusalReason))
