"""Holds one service for one test run: starts it, says where it is, and stops it when the run is over."""

import json
import os
import sys
import time
from pathlib import Path

from tests.services import run
from tests.services.choice import start_kafka, start_postgres


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _answer(folder: Path, name: str, service: dict[str, str]) -> None:
    draft = folder / f"{name}.draft"
    draft.write_text(json.dumps(service), encoding="utf-8")
    draft.rename(folder / f"{name}.json")


def main(name: str) -> None:
    """Keep `name` until the run's owner says stop, or is gone."""
    folder = run.folder()
    owner = int((folder / "owner").read_text(encoding="utf-8"))
    kept = folder / f"{name}.kept"
    kept.touch()
    stop = None
    try:
        service, stop = (start_postgres if name == "postgres" else start_kafka)(folder)
        _answer(folder, name, service)
        while _alive(owner) and not (folder / "stop").exists():
            time.sleep(0.05)
    except Exception as error:
        _answer(folder, name, {"failed": f"{type(error).__name__}: {error}"})
        raise
    finally:
        if stop is not None:
            stop()
        kept.unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1])
