"""The benchmarks of reconciliation find what they planted, and nothing in a season in which everything holds."""

import json
from typing import Any

from tests.bench.test_bench import run_bench


def measured(only: str, events: int, url: str, kafka: str) -> dict[str, Any]:
    ran = run_bench(
        *("--only", only, "--events", str(events), "--json"), DATABASE_URL=url, KAFKA_BOOTSTRAP_SERVERS=kafka
    )
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return answer


def test_a_season_raises_no_alert_that_is_not_due(postgres: dict[str, str], real_kafka: str) -> None:
    found = measured("false_alerts", 2_000, postgres["url"], real_kafka)["season_false_alerts"]
    assert found["events"] > 2_000
    # Conflicts and dead letters are among its poison.
    assert (found["alerts"] > 0, found["false"]) == (True, 0)


def test_a_sweep_of_what_was_loaded_finds_nothing_but_what_was_planted(
    postgres: dict[str, str], real_kafka: str
) -> None:
    swept = measured("sweep", 300, postgres["url"], real_kafka)["sweep"]
    assert abs(swept["users"] - 5 * 300) < 10
    assert abs(swept["entries"] - 50 * 300) < 100
    assert (swept["violations"], swept["planted"], swept["found"]) == (0, 1, 1)


def test_the_pipeline_is_followed_while_it_is_measured(postgres: dict[str, str], real_kafka: str) -> None:
    name = "pipeline_with_relay_and_reconciliation"
    assert measured(name, 300, postgres["url"], real_kafka)[f"{name}_events_per_s"] > 0
