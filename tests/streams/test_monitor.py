"""What a worker tells about itself over HTTP."""

from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from schemas.metrics import METRICS
from sinks.batch import Recorded
from streams import telemetry as telemetry_module
from streams.monitor import Monitor
from streams.telemetry import Telemetry


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def monitor(telemetry: Telemetry) -> Iterator[Monitor]:
    monitor = Monitor(telemetry, "127.0.0.1", 0)
    monitor.start()
    yield monitor
    monitor.stop()


def ask(monitor: Monitor, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://127.0.0.1:{monitor.port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_every_metric_is_served_with_its_meaning(monitor: Monitor) -> None:
    status, text = ask(monitor, "/metrics")
    assert status == 200
    for name, meaning in METRICS.items():
        assert f"# HELP {name} {meaning}" in text


def test_events_are_counted_by_what_became_of_them(monitor: Monitor, telemetry: Telemetry) -> None:
    telemetry.committed(7, Recorded(recorded=4, duplicates=2, dead_letters=1), 0.02)
    _, text = ask(monitor, "/metrics")
    assert 'laurels_events_total{outcome="recorded"} 4.0' in text
    assert 'laurels_events_total{outcome="dead_letter"} 1.0' in text


def test_a_worker_is_ready_once_it_knows_what_it_holds(monitor: Monitor, telemetry: Telemetry) -> None:
    assert ask(monitor, "/readyz")[0] == 503
    telemetry.holds([])
    assert ask(monitor, "/readyz")[0] == 200
    telemetry.rejoined("Fenced")
    assert ask(monitor, "/readyz")[0] == 503


def test_a_worker_with_work_in_hand_that_is_never_committed_is_not_alive(
    monitor: Monitor, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry_module, "STUCK_SECONDS", 0.0)
    telemetry.busy()
    assert ask(monitor, "/livez")[0] == 503
    monkeypatch.undo()
    assert ask(monitor, "/livez")[0] == 200


def test_a_worker_whose_event_loop_hangs_is_not_alive(
    monitor: Monitor, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry.turned()
    monkeypatch.setattr(telemetry_module, "LOOP_SECONDS", 0.0)
    assert ask(monitor, "/livez")[0] == 503


def test_what_it_does_not_serve_is_not_found(monitor: Monitor) -> None:
    assert ask(monitor, "/")[0] == 404
