"""Writes the contracts as documents: `python -m schemas.generate`, or `--check` to see whether they are up to date.

The files in `schemas/json` are what is published. A change that breaks those who rely on one of them is refused: it
needs a new version beside the old one.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from schemas.compatibility import find_breaks
from schemas.documents import ANSWERS, EVENTS, Document, asyncapi, json_schema

HERE: Final = Path(__file__).parent
ASYNCAPI: Final = "asyncapi.json"


def generated() -> dict[str, Document]:
    """Every document by its path beside this file."""
    kinds = {**EVENTS, **ANSWERS}
    documents = {f"json/{name}.json": json_schema(name, kind) for name, kind in kinds.items()}
    return {**documents, ASYNCAPI: asyncapi()}


def breaks(documents: Mapping[str, Document], folder: Path) -> list[str]:
    """How `documents` break what is published in `folder`."""
    found = []
    for path in sorted(folder.glob("json/*.json")):
        name = path.stem
        document = documents.get(f"json/{path.name}")
        if document is None:
            found.append(f"{name}: published, and no struct is left for it")
            continue
        published = json.loads(path.read_text(encoding="utf-8"))
        broken = find_breaks(published, document, "sent" if name in ANSWERS else "read")
        found += [f"{name}: {each}" for each in broken]
    return found


def outdated(documents: Mapping[str, Document], folder: Path) -> list[str]:
    """The files in `folder` that are missing or say something else than `documents`."""
    return [
        name
        for name, document in documents.items()
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != written(document)
    ]


def write(documents: Mapping[str, Document], folder: Path) -> None:
    """Write every document."""
    for name, document in documents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written(document), encoding="utf-8")


def written(document: Document) -> str:
    """A document as its file has it."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str] | None = None, folder: Path = HERE) -> int:
    """0 where all is up to date (or written), 1 where something is not, or would break what is published."""
    parser = argparse.ArgumentParser(prog="python -m schemas.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is out of date")
    check = parser.parse_args(arguments).check
    documents = generated()
    broken = breaks(documents, folder)
    for line in broken:
        print(f"breaks {line}", file=sys.stderr)
    if broken:
        print("Give the changed struct a new version instead.", file=sys.stderr)
        return 1
    stale = outdated(documents, folder)
    if check:
        for name in stale:
            print(f"out of date: schemas/{name}: run python -m schemas.generate", file=sys.stderr)
        return 1 if stale else 0
    write(documents, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
