"""Workers, and the topics they work on."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from bench.run import Run
from bench.stand import Stand
from bench.watching import recorded_of, wait_until_held, watch
from bench.workload import PARTITIONS
from ops.embedded.child import Child
from schemas.events import EVENT_TOPICS

GROUP: Final = "laurels"
WORKER: Final = ("-m", "ops.cli", "worker")
LEDGERS: Final = 2
"""What a worker has by default."""
HELD: Final = len(EVENT_TOPICS) * PARTITIONS


@contextmanager
def workers(
    stand: Stand,
    url: str,
    prefix: str,
    number: int = 1,
    *,
    relay: bool = False,
    group: str = GROUP,
    ledgers: int = LEDGERS,
) -> Iterator[list[Child]]:
    """So many `laurels worker` processes, as in production; `relay` leaves the relay running in them."""
    command = WORKER if relay else (*WORKER, "--no-relay")
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                stand.process(
                    f"worker-{index}", command, database=url, prefix=prefix, group=group, ledger_connections=ledgers
                )
            )
            for index in range(number)
        ]


def measure_pipeline(run: Run) -> dict[str, object]:
    """From the topics to the last commit, one worker: the clock starts when the events become visible."""
    with run.stand.database() as url:
        return {"pipeline_events_per_s": throughput(run, url, 1)}


def measure_pipeline_1_ledger(run: Run) -> dict[str, object]:
    """The same with one worker of one ledger: half of what the next row has."""
    with run.stand.database() as url:
        return {"pipeline_1_ledger_events_per_s": throughput(run, url, 1, ledgers=1)}


def measure_pipeline_2_workers(run: Run) -> dict[str, object]:
    """The same with two workers of one ledger each, each with half of the partitions."""
    with run.stand.database() as url:
        return {"pipeline_2_workers_events_per_s": throughput(run, url, 2, ledgers=1)}


def measure_pipeline_with_relay(run: Run) -> dict[str, object]:
    """The same with one worker that relays its outbox to Kafka meanwhile."""
    with run.stand.database() as url:
        return {"pipeline_with_relay_events_per_s": throughput(run, url, 1, relay=True)}


def measure_redelivery(run: Run) -> dict[str, object]:
    """The same topics a second time, by another consumer group: every event is a duplicate."""
    with run.stand.database() as url, run.stand.topics() as prefix:
        topics = run.stand.fill(prefix, run.records)
        with workers(run.stand, url, prefix) as applying:
            watch(url, recorded_of(GROUP, topics.counts), len(run.records), applying)
        run.stand.checkpoint()
        with workers(run.stand, url, prefix, group="again") as again:
            progress = watch(url, recorded_of("again", topics.counts), len(run.records), again)
    return {"redelivery_events_per_s": progress.per_second()}


def throughput(run: Run, url: str, number: int, *, relay: bool = False, ledgers: int = LEDGERS) -> float:
    """Events a second of so many workers, from the moment that the topics' records become visible to the last commit."""
    with (
        run.stand.topics() as prefix,
        run.stand.held_back(prefix, run.records) as held,
        workers(run.stand, url, prefix, number, relay=relay, ledgers=ledgers) as working,
    ):
        wait_until_held(url, GROUP, HELD, working)
        released_at = held.release()
        progress = watch(url, recorded_of(GROUP, held.topics.counts), len(run.records), working)
    return progress.per_second(released_at)
