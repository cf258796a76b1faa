"""Finds, without a lock, the deliveries that were settled before: what a redelivery or a replay mostly consists of.

Receipts are never removed and a source's revision never falls, so what a plain read calls settled stays so. Whatever it
does not settle takes the ordinary way, where receipts are read again under the users' locks.
"""

from collections.abc import Sequence

from psycopg2.extensions import cursor as Cursor

from schemas.events import SessionAttendance, TournamentResult
from schemas.rewards import Duplicate, Stale
from sinks.batch import Delivery, RuleChange
from sinks.ledger.adjusting import fetch_own, is_ruled
from sinks.ledger.states import text_array
from sinks.prepared import Statement, execute

FETCH_RECORDED = Statement(
    "fetch_recorded",
    """
SELECT event_key, revision, payload_hash, ruleset FROM reward_receipts
WHERE event_key = ANY($1::text[]) AND payload_hash IS NOT NULL
""",
)

FETCH_LAST_CORRECTIONS = Statement(
    "fetch_last_corrections",
    """
SELECT DISTINCT ON (corrects) corrects, revision, payload_hash, ruleset FROM reward_receipts
WHERE corrects = ANY($1::text[]) ORDER BY corrects, seq DESC
""",
)


def find_settled(
    cursor: Cursor, deliveries: Sequence[Delivery], keys: Sequence[str], rule_change: RuleChange | None = None
) -> dict[int, Duplicate | Stale]:
    """The deliveries, by their index, that have no effect any more, and why. `keys` are `source_keys` of theirs.

    With `rule_change`, one that was decided by another ruleset may still have one, once for each run.
    """
    execute(cursor, (FETCH_RECORDED, (text_array(set(keys)),)))
    recorded = {key: (revision, bytes(hash_), ruleset) for key, revision, hash_, ruleset in cursor.fetchall()}
    if not recorded:
        return {}
    execute(cursor, (FETCH_LAST_CORRECTIONS, (text_array(recorded),)))
    recorded |= {key: (revision, bytes(hash_), ruleset) for key, revision, hash_, ruleset in cursor.fetchall()}
    own = set() if rule_change is None else fetch_own(cursor, recorded, rule_change.run_id)
    settled: dict[int, Duplicate | Stale] = {}
    for index, key in enumerate(keys):
        if key not in recorded:
            continue
        known_revision, known_hash, ruleset = recorded[key]
        event = deliveries[index].parsed
        revision = event.revision if isinstance(event, (TournamentResult, SessionAttendance)) else 1
        if revision < known_revision:
            settled[index] = Stale(key)
        elif revision == known_revision and deliveries[index].payload_hash == known_hash:
            other = rule_change is not None and is_ruled(event) and ruleset not in (None, rule_change.ruleset.hash)
            if not other or key in own:
                settled[index] = Duplicate(key)
    return settled
