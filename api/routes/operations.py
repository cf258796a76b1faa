"""How the pipeline stands: replays, positions and lag."""

from typing import Annotated

from fastapi import FastAPI, Path, Query

from api.limits import PAGE, Limit
from api.models import Positions, ReplayRun, ReplayRuns
from api.openapi import problems
from api.problems import no_such
from api.service import Serving
from sinks.position_moves import list_positions
from sinks.replay_list import fetch_replay, list_replays
from sinks.replay_runs import Status as ReplayStatus

ReplayId = Annotated[str, Path(alias="id", pattern=r"^[0-9A-Za-z_-]{1,32}$")]
Text = Annotated[str, Query(max_length=255, pattern=r"^[^\x00]*$")]


def add_routes(app: FastAPI) -> None:
    """Add them."""
    app.get("/api/v1/replays")(replays)
    app.get("/api/v1/replays/{id}", responses=problems(404))(replay)
    app.get("/api/v1/positions")(positions)


async def replays(service: Serving, status: ReplayStatus | None = None, limit: Limit = PAGE) -> ReplayRuns:
    """List replays, the latest first."""
    found = await service.read(lambda cursor: list_replays(cursor, status, limit=limit))
    return ReplayRuns(replays=[ReplayRun.model_validate(row) for row in found])


async def replay(id_: ReplayId, service: Serving) -> ReplayRun:
    """Show one replay."""
    found = await service.read(lambda cursor: fetch_replay(cursor, id_))
    if found is None:
        raise no_such("such replay")
    return ReplayRun.model_validate(found)


async def positions(service: Serving, group: Text | None = None, topic: Text | None = None) -> Positions:
    """List where recording stands in each partition, and how far that is from the end."""
    found = await service.read(lambda cursor: list_positions(cursor, group, topic))
    return Positions(positions=found, lag=sum(position.lag for position in found))
