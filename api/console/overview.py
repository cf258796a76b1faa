"""The first page: whether all is well, at a glance; and the search box."""

import re
from http import HTTPStatus
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import quote

from fastapi import FastAPI, Query, Request, Response
from psycopg2.extensions import cursor as Cursor

from api.auth import CalledBy
from api.console.charts import draw_pace
from api.console.pipeline import fetch_runs
from api.console.rendering import show
from api.console.session import to
from api.problems import Problem
from api.roles import ACCESS, CONSOLE
from api.routes.operations import positions
from api.service import Serving
from schemas.alerts import ALERT_KINDS
from schemas.events import MAX_ID
from sinks.alert_desk import AlertFilter, count_firing, list_alerts
from sinks.dead_letters import Filter, count_dead_letters
from sinks.invariants.sweeping import SCHEDULED
from sinks.pace import fetch_pace
from sinks.replay_list import list_replays
from sinks.schedule import LastRun, fetch_last_run
from streams.reconciliation import ALL
from streams.sealing import CHECKING, TAMPERED

MOST_ALERTS: Final = 10
MOST_RUNNING: Final = 5
_USER: Final = re.compile(r"(?:user\s+)?(\d{1,19})", re.IGNORECASE | re.ASCII)
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{32}")

Sought = Annotated[str, Query(alias="q", max_length=255, pattern=r"^[^\x00]*$")]


class Invariant(NamedTuple):
    """What must hold, how many alerts say that it does not, and when all of it was last looked at."""

    id: str
    sentence: str
    firing: int
    checked: LastRun | None


def add_pages(console: FastAPI) -> None:
    """Add them."""
    console.get("/")(overview)
    console.get("/search")(search)


async def overview(request: Request, service: Serving, caller: CalledBy) -> Response:
    """Show how everything stands."""
    sees_letters = caller.role >= ACCESS["GET", f"{CONSOLE}/dead-letters"]

    def look(cursor: Cursor) -> dict[str, Any]:
        firing = count_firing(cursor)
        runs = fetch_runs(cursor, list_replays(cursor, "running", limit=MOST_RUNNING))
        return {
            "pace": fetch_pace(cursor),
            "alerts": list_alerts(cursor, AlertFilter("firing"), limit=MOST_ALERTS),
            "firing": sum(firing.values()),
            "invariants": _invariants(firing, fetch_last_run(cursor, SCHEDULED), fetch_last_run(cursor, CHECKING)),
            "waiting": count_dead_letters(cursor, Filter(status="open")) if sees_letters else [],
            "runs": runs,
        }

    seen = await service.read(look)
    chart = draw_pace(seen["pace"])
    return show(request, "overview.html", chart=chart, positions=await positions(service), **seen)


def search(q: Sought = "") -> Response:
    """Lead to the user, alert, entry or event that is meant."""
    sought = q.strip()
    if not sought:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "INVALID_REQUEST", "type a user's number, or the key of an entry"
        )
    user = _USER.fullmatch(sought)
    if user is not None and 1 <= int(user[1]) <= MAX_ID:
        return to(f"{CONSOLE}/users/{int(user[1])}/entries")
    if _FINGERPRINT.fullmatch(sought):
        return to(f"{CONSOLE}/alerts/{sought}")
    return to(f"{CONSOLE}/explanation?entry={quote(sought, safe='')}")


def _invariants(firing: dict[str, int], sweep: LastRun | None, chain: LastRun | None) -> list[Invariant]:
    checked = {**{kind: sweep for kind in ALL if not kind.startswith("OPS")}, TAMPERED: chain}
    return [Invariant(kind, ALERT_KINDS[kind].sentence, firing.get(kind, 0), run) for kind, run in checked.items()]
