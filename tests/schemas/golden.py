"""The golden file of events: real records, what they are read as, and the hash of their payload.

`python -m tests.schemas.golden` writes it anew, after a change that is meant. Hashes stand in databases: a change to
one of them makes every redelivered event a conflict, so it is never meant.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from ops.season import SeasonSpec, generate_season
from schemas.parse import parse
from schemas.payload import payload_hash
from schemas.rewards import Refused
from tests.schemas.examples import SPECIALIZATIONS

FILE = Path(__file__).parent / "golden" / "events.jsonl"
TIMESTAMP_MS = 1_750_000_000_000


def reading(topic: str, key: bytes, value: bytes | None) -> dict[str, Any]:
    """What one record is read as, as JSON."""
    answer = parse(topic, key, value, TIMESTAMP_MS, SPECIALIZATIONS)
    if isinstance(answer, Refused):
        # Why something is no JSON is said in Python's words, which change from version to version.
        return {"refused": answer.reason, "detail": "" if answer.reason == "undecodable" else answer.detail}
    return {"event": msgspec.to_builtins(answer), "payload_hash": payload_hash(answer).hex()}


def records() -> list[dict[str, Any]]:
    """Some records of every topic, and of every kind of poison that is not too large to look at."""
    chosen: list[dict[str, Any]] = []
    seen: dict[tuple[str, str, str | None], int] = {}
    for line in generate_season(SeasonSpec(users=60, tournaments=8, sessions=12, seed=3, corrections=0.1, poison=0.2)):
        kind = (line.kind, line.topic if line.kind != "poison" else "", line.reason)
        seen[kind] = seen.get(kind, 0) + 1
        if line.kind == "duplicate" or seen[kind] > (10 if line.reason == "undecodable" else 3):
            continue
        if line.value is None or len(line.value) < 1_000:
            value = None if line.value is None else line.value.decode("latin-1")
            chosen.append({"topic": line.topic, "key": line.key.decode(), "value": value})
    return chosen


def main() -> None:
    """Write the file."""
    with FILE.open("w", encoding="utf-8") as lines:
        for record in records():
            value = record["value"]
            said = reading(record["topic"], record["key"].encode(), None if value is None else value.encode("latin-1"))
            lines.write(json.dumps(record | said, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
