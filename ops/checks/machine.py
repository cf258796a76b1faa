"""This machine: Python, packages, the environment, the disk."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final

from ops.checks.finding import Finding, failed, warning, well
from schemas.settings import VARIABLES

OLDEST_PYTHON: Final = (3, 11)
TOO_NEW_PYTHON: Final = (3, 15)
ENOUGH_DISK_BYTES: Final = 10 * 1024**3
TIGHT_DISK_BYTES: Final = 1024**3
NOT_SETTINGS: Final = frozenset({"LAURELS_FAILPOINT", "LAURELS_TEST_RUN", "LAURELS_REQUIRE_REAL_KAFKA"})
"""Variables of ours that are read by tests only."""

_GIGABYTE: Final = 1024**3


def check_machine() -> Iterator[Finding]:
    """Everything that can be said without asking anybody else."""
    yield check_python(sys.version_info[:2])
    yield check_packages()
    yield check_variables(set(os.environ))
    yield check_disk(shutil.disk_usage(Path()).free)


def check_python(found: tuple[int, ...]) -> Finding:
    """The versions that the tests run on."""
    shown = ".".join(map(str, found))
    if OLDEST_PYTHON <= found < TOO_NEW_PYTHON:
        return well("Python", shown)
    return failed("Python", shown, "install Python 3.11 to 3.14, and make the virtual environment with it")


def check_packages() -> Finding:
    """Whether everything is installed that this project asks for."""
    if not _is_installed("laurels"):
        return failed("packages", "laurels itself is not installed", "make up, or pip install -e .")
    names = [
        name.group()
        for requirement in requires("laurels") or []
        if "extra ==" not in requirement and (name := re.match(r"[\w.-]+", requirement))
    ]
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        return failed("packages", f"missing: {', '.join(missing)}", "pip install --require-hashes -r requirements.lock")
    return well("packages", f"{len(names)} installed, laurels {version('laurels')}")


def _is_installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def check_variables(names: set[str]) -> Finding:
    """Whether a variable that looks like a setting is one."""
    known = set(VARIABLES) | {f"{name}_FILE" for name in VARIABLES} | NOT_SETTINGS
    strangers = sorted(name for name in names if name.startswith("LAURELS_") and name not in known)
    if not strangers:
        return well("settings", f"{len(names & set(VARIABLES))} variables set")
    meant = get_close_matches(strangers[0], VARIABLES, n=1)
    guess = f"; {strangers[0]} may mean {meant[0]}" if meant else ""
    return warning("settings", f"not read by anybody: {', '.join(strangers)}", f"unset or rename them{guess}")


def check_disk(free: int) -> Finding:
    """Whether there is room for WAL and logs."""
    shown = f"{free / _GIGABYTE:.1f} GB free"
    if free < TIGHT_DISK_BYTES:
        return failed("disk", shown, "make room: Postgres and the broker stop when there is none")
    if free < ENOUGH_DISK_BYTES:
        return warning("disk", shown, "the advised WAL alone takes up to 8 GB: make room")
    return well("disk", shown)
