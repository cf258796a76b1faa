"""Runbooks as the documentation has them, cut into blocks that a page can show."""

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Final, Literal, NamedTuple

from schemas.alerts import ALERT_KINDS

_INLINE: Final = re.compile(r"`([^`]+)`")


class Block(NamedTuple):
    """A heading, some lines to type, or a paragraph in pieces, of which every other is code."""

    kind: Literal["heading", "commands", "text"]
    pieces: list[str]


def runbook(kind: str) -> list[Block]:
    """What to do about alerts of this kind, without the title; nothing for a kind that we do not know."""
    if kind not in ALERT_KINDS:
        return []
    text = (files(__package__) / "runbooks" / f"{kind.lower()}.md").read_text(encoding="utf-8")
    return list(_blocks(text))


def _blocks(text: str) -> Iterator[Block]:
    for paragraph in re.split(r"\n\s*\n", text.strip())[1:]:
        if paragraph.startswith("#"):
            yield Block("heading", [paragraph.lstrip("# ")])
        elif paragraph.startswith("    "):
            yield Block("commands", [re.sub("^    ", "", paragraph, flags=re.MULTILINE)])
        else:
            yield Block("text", _INLINE.split(" ".join(paragraph.split())))
