"""How one state table is compared: its statement, its keys, and whom to ask what each row must hold."""

from collections.abc import Callable, Collection
from typing import Any, Generic, NamedTuple, TypeVar

from ops.oracle import Roster
from ops.oracle.state import Source, User
from ops.verification.snapshot import MICROSECONDS

Row = tuple[Any, ...]

Expected = tuple[Any, int | None]
"""The values that a row must hold, None where there must be no row; and the number of the receipt that demands it."""


class Account(NamedTuple):
    """All that the oracle remembers of one user: at least what `user` would say, if it is None."""

    user_id: int
    user: User | None
    tournaments: dict[int, Source]
    sessions: dict[int, Source]
    transfers: dict[str, Source]


Rostered = tuple[int, Roster | None]
"""A tournament, and the roster that stands for it."""

Subject = TypeVar("Subject")


class Table(NamedTuple, Generic[Subject]):
    """How one table is compared: its rows' columns after the first `keys` are values, and the first says whose it is.

    `label` names a row by its keys; `of_users` is whether the first of them is a user. `expect` is asked with a row, or
    with the keys alone where there is none.
    """

    name: str
    columns: tuple[str, ...]
    keys: int
    label: str
    of_users: bool
    statement: str
    expect: Callable[[Subject, Row], Expected]
    all_keys: Callable[[Subject], Collection[Row]]


def table_of(
    name: str,
    columns: str,
    keys: int,
    label: str,
    expect: Callable[[Subject, Row], Expected],
    all_keys: Callable[[Subject], Collection[Row]],
    *,
    of_users: bool = True,
) -> Table[Subject]:
    """The table with its statement, which asks for moments in microseconds."""
    names = tuple(columns.split())
    expressions = [
        "revoked_at IS NOT NULL" if c == "revoked_at" else MICROSECONDS.format(c) if c.endswith("_at") else c
        for c in names
    ]
    statement = f"SELECT {', '.join(expressions)} FROM {name}"
    return Table(name, names, keys, label, of_users, statement, expect, all_keys)
