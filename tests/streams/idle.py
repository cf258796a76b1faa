"""A recorder that is given nothing."""

from sinks.batch import Recorded
from streams.crew import Bounds
from streams.intake import Gathered
from streams.recorder import Recorder
from streams.telemetry import Telemetry


class NothingToRecord:
    """A ledger for such a recorder."""

    def record(self, gathered: Gathered) -> Recorded:
        raise AssertionError(gathered)

    def close(self) -> None:
        """Hold nothing, give nothing back."""


def idle_recorder() -> Recorder:
    """A recorder that claims and records nothing; needs a running event loop."""
    return Recorder(NothingToRecord, lambda _partitions, _generation: {}, Bounds(), Telemetry())
