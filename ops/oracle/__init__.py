"""An independent fold of the events, written from the rules' text alone: what Postgres must hold if nothing went wrong.

It shares no code with the rules it checks, not even the reading of bytes. An import contract holds it to that.
"""

from ops.oracle.book import ENTRY_COLUMNS, ENTRY_KEYS, DigestBook, RowBook
from ops.oracle.fold import Oracle, Outcome, Record, Roster, event_key
from ops.oracle.given import GivenReceipt, take_as_given
from ops.oracle.ratings import ratings
from ops.oracle.reading import Fact, Unreadable, read

__all__ = [
    "ENTRY_COLUMNS",
    "ENTRY_KEYS",
    "DigestBook",
    "Fact",
    "GivenReceipt",
    "Oracle",
    "Outcome",
    "Record",
    "Roster",
    "RowBook",
    "Unreadable",
    "event_key",
    "ratings",
    "read",
    "take_as_given",
]
