"""The metadata that every table belongs to, and the columns that many of them have."""

from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, ForeignKeyConstraint, Identity, MetaData, text

metadata = MetaData()

NOW = text("now()")
STATE_FILLFACTOR = 70
"""Room in each page of a state table, so that updates stay in it and touch no index."""


def identity() -> Column[int]:
    """An `id` that Postgres counts up."""
    return Column("id", BigInteger, Identity(), nullable=False)


def moment(name: str, *, nullable: bool = False, now: bool = False) -> Column[Any]:
    """A moment; with `now` the one at which the row was written, unless it is given."""
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=NOW if now else None)


def count(name: str, type_: type[Any] = BigInteger, default: str = "0") -> Column[int]:
    """A number that is always there."""
    return Column(name, type_, nullable=False, server_default=text(default))


def references(table: str, column: str, target: str) -> ForeignKeyConstraint:
    """A foreign key, named as all of them are."""
    return ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}")
