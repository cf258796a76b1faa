"""How fast events were recorded in the last minutes, counted from the latest receipts."""

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from psycopg2.extensions import cursor as Cursor

WINDOW: Final = timedelta(minutes=15)
BARS: Final = 30
MOST_RECEIPTS: Final = 50_000
"""No more are read, however fast they come: then what is shown is a shorter time."""

_LAST: Final = "SELECT last_value FROM reward_receipts_seq"

# When a receipt was recorded has no index, which every event would pay for. Their numbers rise with time and have one
# (BRIN), so the latest are found by that; the number stands in the statement so that the planner knows how few they are.
_PACE: Final = """
WITH latest AS (SELECT recorded_at FROM reward_receipts WHERE seq > %(after)s),
     span AS (SELECT least(greatest(now() - %(window)s, CASE WHEN %(after)s > 0 THEN min(recorded_at) END),
                           now() - interval '1 second') AS since, now() AS until FROM latest)
SELECT since, until, least(floor(%(bars)s * date_part('epoch', recorded_at - since) / date_part('epoch', until - since)),
                           %(bars)s - 1)::integer AS bar, count(recorded_at)
  FROM span LEFT JOIN latest ON recorded_at >= since
 GROUP BY since, until, bar
"""


class Pace(NamedTuple):
    """How many events were recorded from `since` to `until`, in parts that are equally long."""

    since: datetime
    until: datetime
    counts: list[int]

    @property
    def seconds(self) -> float:
        """How long all of it is."""
        return (self.until - self.since).total_seconds()


def fetch_pace(cursor: Cursor) -> Pace:
    """Count what was recorded lately."""
    cursor.execute(_LAST)
    ((last,),) = cursor.fetchall()
    after = max(last - MOST_RECEIPTS, 0)
    cursor.execute(_PACE, {"after": after, "window": WINDOW, "bars": BARS})
    rows: list[Any] = cursor.fetchall()
    by_bar = {bar: count for _, _, bar, count in rows}
    return Pace(rows[0][0], rows[0][1], [by_bar.get(bar, 0) for bar in range(BARS)])
