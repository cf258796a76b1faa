"""Every metric, by name, and what it means. Nothing measures under a name that does not stand here."""

from collections.abc import Mapping
from typing import Final, Literal

MetricName = Literal[
    "laurels_events_total",
    "laurels_batches_total",
    "laurels_batch_seconds",
    "laurels_batch_events",
    "laurels_lag_events",
    "laurels_position",
    "laurels_partitions_held",
    "laurels_partitions_stopped",
    "laurels_oldest_work_seconds",
    "laurels_rejoins_total",
    "laurels_ledger_retries_total",
    "laurels_outbox_messages",
    "laurels_recording_held",
]

METRICS: Final[Mapping[MetricName, str]] = {
    "laurels_events_total": "Events settled, by outcome: recorded, duplicate, stale or dead_letter.",
    "laurels_batches_total": "Transactions committed by the ledger.",
    "laurels_batch_seconds": "How long one transaction took, retries included.",
    "laurels_batch_events": "How many events one transaction held.",
    "laurels_lag_events": "Offsets between a partition's recorded position and the end of its log.",
    "laurels_position": "The next offset to record of a partition, as committed in Postgres.",
    "laurels_partitions_held": "Partitions that this worker has claimed.",
    "laurels_partitions_stopped": "Claimed partitions that are not read until somebody accepts what is missing there.",
    "laurels_oldest_work_seconds": "For how long there has been work in hand without a commit; 0 when idle.",
    "laurels_rejoins_total": "Times this worker left its consumer group and joined it again, by reason.",
    "laurels_ledger_retries_total": "Transactions tried again because the database could not serve, by SQLSTATE.",
    "laurels_outbox_messages": "Messages in the outbox that are still to be relayed.",
    "laurels_recording_held": "1 while recording is held because the outbox is full.",
}

HttpMetricName = Literal["laurels_http_requests_total", "laurels_http_request_seconds"]

HTTP_METRICS: Final[Mapping[HttpMetricName, str]] = {
    "laurels_http_requests_total": "Requests that the API has answered, by method, route and status.",
    "laurels_http_request_seconds": "How long the API took to answer, by method and route.",
}
"""What the API measures, as the others are a worker's."""
