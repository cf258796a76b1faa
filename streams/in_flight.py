"""What a relay has sent and not yet heard of, lane by lane."""

from collections import deque

from confluent_kafka import KafkaError, Message

from sinks.outbox import OutboxRow
from streams.backoff import Backoff


class SentRow:
    """A row whose messages are on their way."""

    __slots__ = ("error", "row", "waiting")

    def __init__(self, row: OutboxRow) -> None:
        self.row = row
        self.waiting = len(row.messages)
        self.error: KafkaError | None = None

    def answered(self, error: KafkaError | None, _message: Message | None) -> None:
        """Hear that one message was delivered or refused."""
        self.waiting -= 1
        if error is not None:
            self.error = error


class SentLane:
    """What one lane has in flight, in order. After a refusal it goes on row by row, until one is delivered."""

    def __init__(self) -> None:
        self.sent: deque[SentRow] = deque()
        self._backoff = Backoff()
        self._cautious = False

    def settle(self) -> list[OutboxRow]:
        """Forget the rows delivered, in order, up to the first that is not, and return them."""
        delivered = []
        while self.sent and self.sent[0].waiting == 0 and self.sent[0].error is None:
            delivered.append(self.sent.popleft().row)
        if delivered:
            self._backoff.reset()
            self._cautious = False
        return delivered

    def refusal(self) -> KafkaError | None:
        """Return why the lane had to stop, once nothing of it is in flight any more."""
        first = next((sent.error for sent in self.sent if sent.error is not None), None)
        return None if first is None or any(sent.waiting for sent in self.sent) else first

    def begin_again(self) -> float:
        """Forget what was sent, to send it again after so many seconds."""
        self.sent.clear()
        self._cautious = True
        return self._backoff.next_seconds()

    def ready(self) -> bool:
        """Whether another row may be sent."""
        if self._backoff.waiting() or (self._cautious and self.sent):
            return False
        return all(sent.error is None for sent in self.sent)
