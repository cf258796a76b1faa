"""A verification in several processes: each proves a share of the users, and together they prove all of it.

What users give each other crosses the shares. A share takes what others' receipts gave its users as it stands there,
as whoever proves those receipts holds them against their events; and all rows that an event demands, whoever they
belong to, are in the digests of the share that the event is of. So where no share finds a difference, the digests add up
to Postgres's, and the shares agree on what passed between them, nothing differs at all. Where anything does, a
verification in one piece says what.
"""

import os
import threading
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import psycopg2
from confluent_kafka import KafkaException

from ops.verification.log import KafkaTopics
from ops.verification.report import Report
from ops.verification.share import Share
from ops.verification.snapshot import Digests, Exported, Snapshot
from ops.verification.verification import Proof, Verification, compare_digests
from schemas.errors import LaurelsError
from sinks.database import Timeouts, connector
from streams.partner import Partner, connect_to_starter


class Order(NamedTuple):
    """What a process is to prove: what `exported` shows of `share`, against the topics."""

    database_url: str
    timeouts: Timeouts
    kafka: Mapping[str, Any]
    prefix: str
    group: str
    exported: Exported
    share: Share


def prove_in_shares(snapshot: Snapshot, order: Order, shares: int) -> Report | None:
    """What so many processes prove together; None where something differs, and a closer look must say what."""
    with ExitStack() as stack:
        digests = stack.enter_context(closing(snapshot.digests()))
        proving = [
            stack.enter_context(closing(_Proving(order._replace(share=Share(number, shares)))))
            for number in range(shares)
        ]
        return agree([each.proof() for each in proving], snapshot, digests)


def agree(proofs: Sequence[Proof], snapshot: Snapshot, digests: Digests) -> Report | None:
    """The report of all shares, None where one found a difference or they do not add up."""
    report = Report()
    for proof in proofs:
        if proof.report.differences:
            return None
        report.events += proof.report.events
        report.unverifiable += proof.report.unverifiable
        for table, rows in proof.report.compared.items():
            report.count(table, rows)
    letters = sum(proof.letters for proof in proofs)
    given = _sums(proof.given for proof in proofs)
    sound = (
        all(proof.letters + proof.passed_over == letters for proof in proofs)
        and given == _sums(proof.taken for proof in proofs)
        and snapshot.count_users(given) == len(given)
        and not compare_digests(_sums(proof.digests for proof in proofs), digests, report)
    )
    return report if sound else None


def _sums(parts: Iterable[Mapping[int, int]]) -> Counter[int]:
    total = Counter[int]()
    for part in parts:
        total.update(part)
    return total


class _Proving:
    """A process that proves a share."""

    def __init__(self, order: Order) -> None:
        self._partner = Partner(__name__)
        # One that is gone by now is found out when its proof is asked for.
        with suppress(OSError):
            self._partner.connection.send(order)

    def proof(self) -> Proof:
        """What it found, once it has."""
        try:
            answer = self._partner.connection.recv()
        except (EOFError, OSError) as error:
            message = f"a process of the verification ended by itself, with {self._partner.exit_code()}"
            raise LaurelsError(message) from error
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[no-any-return]  # an error, or this

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._partner.close()


def main() -> None:
    """Prove a share, and end; end at once when nobody waits for it any more."""
    connection = connect_to_starter()
    order = connection.recv()
    threading.Thread(target=_end_with_them, args=(connection,), daemon=True).start()
    answer: Proof | LaurelsError
    try:
        answer = _prove(order)
    except LaurelsError as error:
        answer = error
    except (psycopg2.Error, KafkaException) as error:
        answer = LaurelsError(f"the verification could not look: {error}")
    except Exception as error:  # noqa: BLE001  whatever it is, who waits must hear of it
        traceback.print_exc()
        answer = LaurelsError(f"{type(error).__name__}: {error}")
    connection.send(answer)


def _end_with_them(connection: Connection) -> None:
    try:
        connection.recv()
    except (EOFError, OSError):
        os._exit(0)


def _prove(order: Order) -> Proof:
    connect = connector(order.database_url, name="laurels verify", timeouts=order.timeouts)
    with closing(Snapshot(connect, order.share, order.exported)) as snapshot:
        return Verification(snapshot, KafkaTopics(order.kafka, order.prefix), order.group).prove()
