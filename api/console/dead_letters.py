"""Dead letters: found, read whole, retried, given up."""

from typing import Annotated, Final

from fastapi import FastAPI, Query, Request, Response
from pydantic import BeforeValidator

from api.auth import CalledBy
from api.console.rendering import show
from api.console.session import Form, to
from api.limits import PAGE, AfterId
from api.roles import CONSOLE
from api.routes import dead_letters as api
from api.service import Serving
from schemas.events import EVENT_TOPICS
from sinks import dead_letters as letters

SENTENCES: Final = {
    "recorded": "Retried: it is recorded now.",
    "duplicate": "Retried: it had been recorded before, so nothing was to be done.",
    "stale": "Retried: a later revision had been recorded before, so nothing was to be done.",
    "refused": "Retried, and refused again: it says below why.",
    "dropped": "Given up. It stays on record.",
}

Status = Annotated[letters.Status | None, BeforeValidator(lambda given: given or None)]
Text = Annotated[api.Text | None, BeforeValidator(lambda given: given or None)]
UserId = Annotated[api.UserId | None, BeforeValidator(lambda given: given or None)]
Told = Annotated[str, Query(max_length=20)]


def add_pages(console: FastAPI) -> None:
    """Add them."""
    console.get("/dead-letters")(dead_letters)
    console.get("/dead-letters/{id}")(dead_letter)
    console.post("/dead-letters/{id}/retry")(retry)
    console.post("/dead-letters/{id}/drop")(drop)


async def dead_letters(
    request: Request,
    service: Serving,
    topic: Annotated[Text, Query()] = None,
    reason: Annotated[Text, Query()] = None,
    status: Annotated[Status, Query()] = "open",
    user_id: Annotated[UserId, Query()] = None,
    after: AfterId = 0,
) -> Response:
    """List dead letters, the oldest first."""
    page = await api.dead_letters(service, topic, reason, status, user_id, after, PAGE)
    wanted = {"topic": topic, "reason": reason, "status": status, "user_id": user_id}
    return show(request, "dead_letters.html", page=page, wanted=wanted, topics=list(EVENT_TOPICS), after=after)


async def dead_letter(request: Request, id_: api.LetterId, service: Serving, told: Told = "") -> Response:
    """Show one dead letter whole."""
    return show(request, "dead_letter.html", letter=await api.dead_letter(id_, service), told=SENTENCES.get(told))


async def retry(id_: api.LetterId, service: Serving, caller: CalledBy) -> Response:
    """Record it if it can be recorded by now."""
    retried = await api.retry(id_, service, caller)
    return to(f"{CONSOLE}/dead-letters/{id_}?told={retried.outcome}")


async def drop(id_: api.LetterId, form: Form, service: Serving, caller: CalledBy) -> Response:
    """Give it up, for a reason."""
    await api.drop_for(id_, form.get("reason"), service, caller)
    return to(f"{CONSOLE}/dead-letters/{id_}?told=dropped")
