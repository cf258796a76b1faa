"""What a verification found: counts, and every difference by name."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class EventAt:
    """Where the event stands that a difference is about."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where Postgres does not hold what the events say. None is a row that is not there."""

    table: str
    key: str
    expected: Any
    found: Any
    event: EventAt | None = None
    user_id: int | None = None
    where: dict[str, Any] = field(default_factory=dict)
    """The columns that tell the row from others, where it is one of a table of state."""
    seq: int | None = None
    """The number of the receipt that demands the row; below zero where the receipt is missing, too."""


@dataclass(slots=True)
class Report:
    """The whole finding. `compared` counts rows per table; `unverifiable` what no log holds any more."""

    events: int = 0
    compared: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    unverifiable: int = 0
    seconds: float = 0.0

    def count(self, table: str, rows: int = 1) -> None:
        """Count rows of `table` as compared."""
        self.compared[table] = self.compared.get(table, 0) + rows

    def as_json(self) -> dict[str, Any]:
        """The report as plain data."""
        plain = asdict(self)
        for difference in plain["differences"]:
            del difference["where"], difference["seq"]
        return plain
