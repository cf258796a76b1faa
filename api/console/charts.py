"""Charts as figures: where the lines and bars of an SVG go. The templates only write them down."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil, floor, log10
from typing import Final, NamedTuple

from sinks.course import Series
from sinks.pace import Pace

WIDTH: Final = 640
HEIGHT: Final = 200
LEFT: Final = 56
RIGHT: Final = 12
TOP: Final = 12
BOTTOM: Final = 28
MARKS: Final = 4
_STEPS: Final = (1, 2, 2.5, 5, 10)


class Mark(NamedTuple):
    """A place on an axis, and what stands there."""

    at: float
    label: str


class Line(NamedTuple):
    """A line of steps, by its points as SVG has them."""

    name: str
    points: str
    last: int


class Bar(NamedTuple):
    """A bar, and what it says in words."""

    x: float
    y: float
    width: float
    height: float
    title: str


class Lines(NamedTuple):
    """A chart of lines."""

    lines: list[Line]
    across: list[Mark]
    up: list[Mark]


class Bars(NamedTuple):
    """A chart of bars."""

    bars: list[Bar]
    across: list[Mark]
    up: list[Mark]


def span_of(*series: Series) -> tuple[datetime, datetime] | None:
    """From a little before the first change of any of `series` to a little after the last; None where there was none."""
    moments = [step.at for one in series for step in one.steps]
    if not moments:
        return None
    since, until = min(moments), max(moments)
    margin = max((until - since) / 40, timedelta(minutes=1))
    return since - margin, until + margin


def draw_lines(series: dict[str, Series], span: tuple[datetime, datetime]) -> Lines:
    """Draw `series`, of which there is at least one, over the time from the one moment to the other."""
    since, until = span
    values = [value for one in series.values() for value in (one.first, *(step.value for step in one.steps))]
    scale = _scale(min(*values, 0), max(values))

    def x(at: datetime) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * ((at - since) / (until - since))

    def points(one: Series) -> str:
        value, drawn = one.first, [(x(since), _y(one.first, scale))]
        for step in one.steps:
            drawn += [(x(step.at), _y(value, scale)), (x(step.at), _y(step.value, scale))]
            value = step.value
        drawn.append((x(until), _y(value, scale)))
        return " ".join(f"{across:.1f},{up:.1f}" for across, up in drawn)

    lines = [Line(name, points(one), one.last) for name, one in series.items()]
    days = until - since >= timedelta(days=2)
    across = [Mark(x(at), f"{at:%Y-%m-%d}" if days else f"{at:%H:%M:%S}") for at in (since, until)]
    return Lines(lines, across, [Mark(_y(value, scale), f"{value:,}") for value in scale])


def draw_pace(pace: Pace) -> Bars:
    """Draw how many events a second were recorded."""
    each = pace.seconds / len(pace.counts)
    rates = [count / each for count in pace.counts]
    scale = _scale(0, ceil(max(rates)))
    width = (WIDTH - LEFT - RIGHT) / len(rates)
    bars = []
    for number, (count, rate) in enumerate(zip(pace.counts, rates, strict=True)):
        top = _y(rate, scale)
        begins = pace.since + timedelta(seconds=number * each)
        title = f"{count:,} from {begins:%H:%M:%S} on, {rate:,.1f} a second"
        bars.append(Bar(LEFT + number * width + 1, top, width - 2, HEIGHT - BOTTOM - top, title))
    across = [Mark(LEFT, f"{pace.since:%H:%M:%S}"), Mark(WIDTH - RIGHT, f"{pace.until:%H:%M:%S}")]
    return Bars(bars, across, [Mark(_y(value, scale), f"{value:,}") for value in scale])


def _y(value: float, scale: Sequence[int]) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - scale[0]) / (scale[-1] - scale[0])


def _scale(lowest: int, highest: int) -> list[int]:
    """Round numbers from at most `lowest` to at least `highest`."""
    rough = max((highest - lowest) / MARKS, 1)
    power = 10 ** floor(log10(rough))
    step = max(int(next(step * power for step in _STEPS if step * power >= rough)), 1)
    first = floor(lowest / step)
    return [step * number for number in range(first, max(ceil(highest / step), first + 1) + 1)]
