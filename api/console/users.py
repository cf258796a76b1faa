"""A user's whole story: what they have, how they came to it, and every entry with where it came from."""

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request, Response
from psycopg2.extensions import cursor as Cursor
from pydantic import BeforeValidator

from api.console.charts import draw_lines, span_of
from api.console.rendering import show
from api.limits import PAGE
from api.routes import users as api
from api.service import Serving
from sinks.alert_desk import AlertFilter, list_alerts
from sinks.course import Course, fetch_course

Kind = Annotated[Literal["credits", "skill", "xp"] | None, BeforeValidator(lambda given: given or None)]


def add_pages(console: FastAPI) -> None:
    """Add them."""
    console.get("/users/{user_id}/entries")(user)
    console.get("/explanation")(explanation)


async def user(
    request: Request,
    user_id: api.UserId,
    service: Serving,
    kind: Annotated[Kind, Query()] = None,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> Response:
    """Show a user."""

    def look(sql: Cursor) -> dict[str, Any]:
        found = AlertFilter("firing", subject=f"user {user_id}")
        return {"course": fetch_course(sql, user_id), "alerts": list_alerts(sql, found)}

    balances = await api.balances(user_id, service)
    progress = await api.progress(user_id, service)
    entries = await api.entries(user_id, service, kind, cursor, PAGE)
    seen = await service.read(look)
    course: Course = seen.pop("course")
    span = span_of(course.xp, *course.levels.values())
    xp = draw_lines({"XP": course.xp}, span) if span else None
    levels = draw_lines(course.levels, span) if span and course.levels else None
    return show(
        request,
        "user.html",
        balances=balances,
        standings=progress.specializations,
        entries=entries,
        kind=kind,
        cursor=cursor,
        course=course,
        xp=xp,
        levels=levels,
        **seen,
    )


async def explanation(request: Request, entry: api.Named, service: Serving) -> Response:
    """Explain one entry or event."""
    return show(request, "explanation.html", named=entry, told=await api.explanation(entry, service))
