"""Raises the alert of a debt: credits that a correction took back after they were spent. Resolved when it is paid."""

from collections.abc import Mapping

from psycopg2.extensions import cursor as Cursor

from schemas.alerts import AlertSeen
from schemas.rewards import UserState
from sinks.alerts import raise_alerts, resolve_alerts


def announce_debts(cursor: Cursor, credit_deltas: Mapping[int, int], users: Mapping[int, UserState]) -> None:
    """Compare the credit balances before and after the batch; `credit_deltas` is by how much it moved them."""
    after = {user_id: users[user_id].credit_balance for user_id, delta in credit_deltas.items() if delta}
    owing = [_debt(user_id, balance) for user_id, balance in after.items() if balance < 0]
    paid = [
        ("OPS-06", f"user {user_id}")
        for user_id, balance in after.items()
        if balance >= 0 and balance - credit_deltas[user_id] < 0
    ]
    raise_alerts(cursor, owing)
    resolve_alerts(cursor, paid)


def _debt(user_id: int, balance: int) -> AlertSeen:
    return AlertSeen(
        kind="OPS-06",
        subject=f"user {user_id}",
        expected="a credit balance of at least 0",
        found=str(balance),
        labels={"user_id": str(user_id)},
    )
