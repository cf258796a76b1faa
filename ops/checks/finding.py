"""The form of everything that is found."""

from typing import Literal

from msgspec import Struct

State = Literal["well", "warning", "failed"]


class Finding(Struct, frozen=True):
    """One thing that was looked at. `mend` is empty where all is well."""

    name: str
    state: State
    found: str
    mend: str = ""


def well(name: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(name, "well", found)


def warning(name: str, found: str, mend: str) -> Finding:
    """Laurels works, and would work better."""
    return Finding(name, "warning", found, mend)


def failed(name: str, found: str, mend: str) -> Finding:
    """Laurels does not work like this."""
    return Finding(name, "failed", found, mend)
