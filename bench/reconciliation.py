"""What it costs the pipeline that reconciliation follows it."""

from typing import Final

from bench.following import following
from bench.run import Run
from bench.watching import recorded_of, wait_until_held, watch
from bench.workers import GROUP, HELD, throughput, workers

ROUNDS: Final = 2


def measure_pipeline_with_relay_and_reconciliation(run: Run) -> dict[str, object]:
    """The pipeline with one worker that relays its outbox, and `laurels reconcile --follow` checking whoever is touched."""
    return {"pipeline_with_relay_and_reconciliation_events_per_s": _followed(run)}


def measure_reconcile_cost(run: Run) -> dict[str, object]:
    """By how many per cent `laurels reconcile --follow` slows down the pipeline with relay: the best of two rounds of each."""
    alone: list[float] = []
    followed: list[float] = []
    # In turns, so that a machine that slows down meanwhile slows both.
    for _ in range(ROUNDS):
        with run.stand.database() as url:
            alone.append(throughput(run, url, 1, relay=True))
        followed.append(_followed(run))
    return {"reconcile_cost_percent": 100 * (1 - max(followed) / max(alone))}


def _followed(run: Run) -> float:
    with (
        run.stand.database() as url,
        run.stand.topics() as prefix,
        run.stand.held_back(prefix, run.records) as held,
        workers(run.stand, url, prefix, relay=True) as working,
        following(run.stand, url, prefix) as reconciling,
    ):
        wait_until_held(url, GROUP, HELD, working)
        released_at = held.release()
        progress = watch(url, recorded_of(GROUP, held.topics.counts), len(run.records), [*working, reconciling])
    return progress.per_second(released_at)
