"""Rulesets as people name them: a file, a hash or as much of one as no other has, or the active one."""

from pathlib import Path
from typing import Final

from psycopg2.extensions import cursor as Cursor

from schemas.errors import LaurelsError
from schemas.ruleset import InvalidRuleset, Ruleset, parse_ruleset
from sinks.ledger.rulesets import fetch_active_ruleset
from sinks.ruleset_store import find_rulesets

ACTIVE: Final = "active"


def find_ruleset(cursor: Cursor, named: str) -> Ruleset:
    """The ruleset called `named`; an error says all that is wrong with a file, or which hashes begin like that."""
    if not named.strip():
        raise LaurelsError("a ruleset is named by its file or its hash, and neither is given")
    if named == ACTIVE:
        return fetch_active_ruleset(cursor)
    if Path(named).is_file():
        return _read(Path(named))
    found = find_rulesets(cursor, named)
    if len(found) == 1:
        return found[0]
    if found:
        message = f"{named} could be {' or '.join(ruleset.hash for ruleset in found)}: give more of the hash"
        raise LaurelsError(message)
    message = f"{named} is neither a file nor the hash of a published ruleset"
    raise LaurelsError(message)


def _read(file: Path) -> Ruleset:
    try:
        return parse_ruleset(file.read_text(encoding="utf-8"))
    except InvalidRuleset as error:
        message = f"{file}: {error}"
        raise LaurelsError(message) from error
    except (OSError, UnicodeDecodeError) as error:
        message = f"{file} cannot be read: {error}"
        raise LaurelsError(message) from error
