"""A share of the users, so that several processes can each prove one."""

from typing import NamedTuple

LONGEST_NUMBER = 19
"""As many digits a user's or a tournament's number has at most."""


class Share(NamedTuple):
    """The users, and the tournaments with their rosters, whose number leaves `number` when divided by `of`."""

    number: int = 0
    of: int = 1

    @property
    def is_all(self) -> bool:
        """Whether it is no share but everybody."""
        return self.of == 1

    def has(self, number: int) -> bool:
        """Whether the user or tournament is of the share."""
        return number % self.of == self.number

    def takes(self, key: bytes | None) -> bool:
        """Whether records with this key are of the share. What is no number's key is of the first."""
        number = int(key) if key is not None and key.isdigit() and len(key) <= LONGEST_NUMBER else 0
        return number % self.of == self.number

    def sql(self, column: str) -> str:
        """The same as a condition."""
        return "true" if self.is_all else f"mod({column}, {self.of}) = {self.number}"


EVERYBODY = Share()
