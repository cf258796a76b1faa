"""Where reading stands: positions, and replays with how far they are."""

from typing import Any, Final

from fastapi import FastAPI, Request, Response
from psycopg2.extensions import cursor as Cursor

from api.console.rendering import show
from api.problems import no_such
from api.routes import operations as api
from api.service import Serving
from sinks.replay_list import advance_of, fetch_replay, list_current
from sinks.replay_runs import fetch_alive

LATEST: Final = 50

Row = dict[str, Any]


def add_pages(console: FastAPI) -> None:
    """Add them."""
    console.get("/positions")(positions)
    console.get("/replays")(replays)
    console.get("/replays/{id}")(replay)


async def positions(request: Request, service: Serving) -> Response:
    """List where recording stands."""
    return show(request, "positions.html", positions=await api.positions(service))


async def replays(request: Request, service: Serving) -> Response:
    """List what can be resumed and the latest, with how far each is."""
    runs = await service.read(lambda cursor: fetch_runs(cursor, list_current(cursor, latest=LATEST)))
    return show(request, "replays.html", runs=runs)


async def replay(request: Request, id_: api.ReplayId, service: Serving) -> Response:
    """Show one replay with how far each of its partitions is."""

    def look(cursor: Cursor) -> list[Row]:
        found = fetch_replay(cursor, id_)
        return [] if found is None else fetch_runs(cursor, [found])

    runs = await service.read(look)
    if not runs:
        raise no_such("such replay")
    return show(request, "replay.html", run=runs[0])


def fetch_runs(cursor: Cursor, rows: list[Row]) -> list[Row]:
    """Say of each run how far it is, and whether it was interrupted: it says that it runs, and no session runs it."""
    alive = fetch_alive(cursor, [row["id"] for row in rows])
    return [
        {**row, "advance": advance_of(row), "interrupted": row["status"] == "running" and row["id"] not in alive}
        for row in rows
    ]
