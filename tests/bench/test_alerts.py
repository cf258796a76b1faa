"""Whatever is planted by plain SQL under load is told, and nothing else is."""

import json

from bench.plants import PLANTS
from tests.bench.test_bench import run_bench


def test_every_kind_of_violation_is_told_and_resolved_and_nothing_else_is(
    postgres: dict[str, str], real_kafka: str
) -> None:
    ran = run_bench(
        *("--only", "alerts", "--events", "2000", "--json"),
        DATABASE_URL=postgres["url"],
        KAFKA_BOOTSTRAP_SERVERS=real_kafka,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["plants"] == len(PLANTS)
    assert [told[name] for name in ("missed", "unresolved", "false_alerts")] == [0, 0, 0]
    assert told["per_invariant"].keys() == PLANTS.keys()
    for of_kind in (told, *told["per_invariant"].values()):
        for what in ("alert_ms", "resolve_ms"):
            assert 0 < of_kind[what]["p50"] <= of_kind[what]["p99"] <= of_kind[what]["max"]
