"""`laurels publish`: events from JSONL to their topics, checked before the first one is sent."""

import io
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Annotated, BinaryIO, Final

import typer
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from msgspec import Struct, field, json
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from ops.cli import EXIT_DIFFERENT
from ops.lines import BadLine, EventLine, LineReader, RawLine, numbered_lines
from schemas.client import Publisher
from schemas.errors import LaurelsError
from schemas.events import EVENT_TOPICS
from schemas.settings import Settings, load_settings

SPECIALIZATIONS: Final = "PLAYER,COACH,INTERNSHIP"
SOURCE: Final = "/laurels/publish"
STEP_LINES: Final = 1_000
TIMEOUT_SECONDS: Final = 30
ANSWER_SECONDS: Final = 10
"""A broker that does not answer for so long is away, and a topic that does not show is not there."""
STEP_SECONDS: Final = 0.2


class Outcome(Struct, kw_only=True):
    """What became of a file; `topics` counts the records published on each."""

    dry_run: bool
    published: int = 0
    unchecked: int = 0
    topics: dict[str, int] = field(default_factory=dict)
    bad: list[BadLine] = field(default_factory=list)
    seconds: float = 0.0


def register(app: typer.Typer) -> None:
    """Add `publish` to the command line."""
    app.command()(publish)


def publish(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="JSONL, one record a line; - is standard input.")],
    topic: Annotated[str | None, typer.Option(help="The topic of every line; then a line is just an event.")] = None,
    specializations: Annotated[str, typer.Option(help="Those that the academy has.")] = SPECIALIZATIONS,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, send nothing.")] = False,  # noqa: FBT002
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Publish all but the bad lines.")] = False,  # noqa: FBT002
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,  # noqa: FBT002
) -> None:
    """Publish events, each keyed by its user (rosters by their tournament), once all of them are checked.

    A line is {"topic": ..., "event": {...}}, or with --topic just the event; it is sent byte for byte. One bad line
    and nothing is published, and every bad line is named with its reason.

    Exit codes: 0 published (with --skip-bad also where lines were left out; with --dry-run: nothing is bad);
    1 lines are bad, nothing was published; 2 wrong use; 3 the file cannot be read or the brokers did not confirm;
    130 interrupted. After 3 and 130 publish the whole file again: what did arrive has no second effect.

    For example:

      laurels publish season.jsonl

      laurels publish results.jsonl --topic tournament-results --dry-run
    """
    if topic is not None and topic not in EVENT_TOPICS:
        raise typer.BadParameter(f"{topic} is not one of {', '.join(EVENT_TOPICS)}", param_hint="--topic")
    console = Console(stderr=True, quiet=as_json)
    reader = LineReader(topic, frozenset(specializations.split(",")), datetime.now(UTC))
    started = monotonic()
    outcome = Outcome(dry_run=dry_run)
    with _opened(file) as lines:
        begin = lines.tell()
        outcome.bad, topics = check_lines(lines, reader)
        for bad in outcome.bad:
            console.print(f"line {bad.line}: {bad.reason}: {bad.detail}", markup=False, highlight=False, soft_wrap=True)
        refused = bool(outcome.bad) and not skip_bad
        if not refused:
            settings = None if dry_run else load_settings()
            if settings is not None and topics:
                require_topics(settings, topics)
            lines.seek(begin)
            _publish_lines(lines, reader, outcome, settings, console)
    outcome.seconds = round(monotonic() - started, 3)
    if as_json:
        typer.echo(json.encode(outcome))
    else:
        console.print(_summary(outcome, refused=refused), markup=False, highlight=False)
    raise typer.Exit(EXIT_DIFFERENT if refused else 0)


def check_lines(lines: BinaryIO, reader: LineReader) -> tuple[list[BadLine], set[str]]:
    """Every bad line, and the topics of the others."""
    bad, topics = [], set()
    for number, content in numbered_lines(lines):
        line = reader.read(number, content)
        if isinstance(line, BadLine):
            bad.append(line)
        else:
            topics.add(line.topic)
    return bad, topics


def require_topics(settings: Settings, topics: Iterable[str]) -> None:
    """Ask the brokers for the topics before anything is sent; one that was just made takes a moment to show."""
    admin = AdminClient(settings.librdkafka())
    names = {settings.topic_prefix + topic for topic in topics}
    give_up_at = monotonic() + ANSWER_SECONDS
    while True:
        try:
            missing = sorted(names - set(admin.list_topics(timeout=ANSWER_SECONDS).topics))
        except KafkaException as error:
            raise LaurelsError(f"no broker answers at {settings.bootstrap_servers}: {error.args[0].str()}") from error
        if not missing:
            return
        if monotonic() > give_up_at:
            raise LaurelsError(f"there is no topic {', '.join(missing)}: `laurels topics` creates what is missing")
        sleep(STEP_SECONDS)


def _publish_lines(
    lines: BinaryIO, reader: LineReader, outcome: Outcome, settings: Settings | None, console: Console
) -> None:
    """Send every good line, or without settings only count them."""
    published = Counter[str]()
    known_as_bad = {bad.line for bad in outcome.bad}
    with ExitStack() as stack:
        bar = stack.enter_context(_progress(console))
        publisher = None if settings is None else stack.enter_context(_publisher(settings))
        task = bar.add_task("published" if publisher else "checked", total=_size(lines))
        for number, line in numbered_lines(lines):
            match reader.read(number, line):
                case EventLine(topic, event, value):
                    published[topic] += 1
                    if publisher is not None:
                        publisher.send_event(topic, event, value)
                case RawLine(topic, key, value):
                    published[topic] += 1
                    outcome.unchecked += 1
                    if publisher is not None:
                        publisher.send(topic, key, value, name=f"line {number}")
                case BadLine(number) as bad if number not in known_as_bad:
                    raise LaurelsError(f"the file changed while it was read: line {number} is {bad.reason} now")
            if number % STEP_LINES == 0:
                bar.update(task, completed=lines.tell())
        bar.update(task, completed=lines.tell())
    outcome.topics = dict(published)
    outcome.published = published.total()


def _publisher(settings: Settings) -> Publisher:
    return Publisher(
        settings.bootstrap_servers,
        source=SOURCE,
        topic_prefix=settings.topic_prefix,
        timeout_seconds=TIMEOUT_SECONDS,
        config=settings.librdkafka(),
    )


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    """The file's bytes, such that they can be read twice."""
    with ExitStack() as stack:
        try:
            source = _standard_input() if file == "-" else stack.enter_context(Path(file).open("rb"))
            if source.seekable():
                lines: BinaryIO = source
            else:
                lines = stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(source, lines)
                lines.seek(0)
        except OSError as error:
            raise LaurelsError(f"{file}: {error.strerror}") from error
        yield lines


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise LaurelsError("-: standard input is closed")
    return sys.stdin.buffer


def _size(lines: BinaryIO) -> int:
    here = lines.tell()
    size = lines.seek(0, io.SEEK_END)
    lines.seek(here)
    return size


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=console.quiet or not console.is_terminal,
        transient=True,
    )


def _summary(outcome: Outcome, *, refused: bool) -> str:
    bad = _count(len(outcome.bad), "bad line")
    if refused:
        return f"nothing published: {bad}"
    said = "would publish" if outcome.dry_run else "published"
    topics = ", ".join(f"{count} on {topic}" for topic, count in sorted(outcome.topics.items()))
    unchecked = f", {outcome.unchecked} of them unchecked bytes" if outcome.unchecked else ""
    left_out = f"; left out {bad}" if outcome.bad else ""
    records = _count(outcome.published, "record")
    return f"{said} {records} in {outcome.seconds:.1f} s ({topics or 'none'}){unchecked}{left_out}"


def _count(number: int, of: str) -> str:
    return f"{number} {of}" if number == 1 else f"{number} {of}s"
