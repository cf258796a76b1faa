"""Exceptions, told apart by what the shell must do about them. Expected results are values, never exceptions."""

from functools import partial


class LaurelsError(Exception):
    """Something a person must mend. The message says what and how."""


class MustStop(LaurelsError):
    """The worker stops, with its batch unacknowledged."""


class Fenced(MustStop):
    """Another worker owns the partition now: nothing of this batch was written."""

    def __init__(self, message: str, *, topic: str, partition: int) -> None:
        super().__init__(message)
        self.topic = topic
        self.partition = partition

    def __reduce__(self) -> tuple[object, ...]:
        return partial(Fenced, topic=self.topic, partition=self.partition), self.args


class SteppedOver(MustStop):
    """The batch does not begin where the position ends: a record was skipped, so nothing was written."""


class WrongCluster(MustStop):
    """The positions are of another Kafka cluster: `laurels positions adopt` says that the move is meant."""


class DatabaseUnavailable(MustStop):
    """Postgres did not answer within the bounded retries."""


class TooManyDeadLetters(MustStop):
    """More dead letters in a row than the limit: the input, not one event, is broken."""
