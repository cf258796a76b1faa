"""Pages from templates, with what every page needs: who looks at it, what they may do, and which origins it may use."""

import hmac
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from msgspec import json

from api.auth import Caller
from api.problems import no_such
from api.roles import ACCESS, CONSOLE, Role

POLICY: Final = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
"""Nothing from elsewhere, nothing inline: text that got into a page where it should not could still do nothing."""

HEADERS: Final = {"Content-Security-Policy": POLICY, "Referrer-Policy": "same-origin"}
_KINDS: Final = {"console.css": "text/css", "console.js": "text/javascript", "laurel.svg": "image/svg+xml"}
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_UNITS: Final = ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min"))


def add_pages(console: FastAPI) -> None:
    """Add what pages are dressed with."""
    console.get("/static/{name}")(static)


def static(name: str) -> Response:
    """Give a file that pages name; their address changes when it does."""
    if name not in _KINDS:
        raise no_such("such file")
    return Response(_STATIC[name], 200, {**HEADERS, "Cache-Control": _FOR_EVER}, _KINDS[name])


def show(request: Request, template: str, status: int = 200, **told: Any) -> Response:
    """Make the page of `template` for whoever looks at it."""
    caller: Caller | None = getattr(request.state, "caller", None)
    page = _TEMPLATES.get_template(template).render(
        **told,
        caller=caller,
        csrf="" if caller is None else csrf_of(request.state.token),
        may=partial(_may, Role.PUBLIC if caller is None else caller.role),
        path=request.url.path,
        static=_ADDRESSES,
        now=datetime.now(UTC),
    )
    return Response(page, status, HEADERS, "text/html")


def csrf_of(token: str) -> str:
    """What a form must bring: only a page that was made for this token can know it."""
    return hmac.new(token.encode(), b"laurels console", sha256).hexdigest()


def _may(role: Role, method: str, path: str) -> bool:
    """Whether `role` may use a page, by the one table that says so."""
    return role >= ACCESS[method, CONSOLE + path]


def moment(at: datetime | str) -> datetime:
    """The moment itself, where a row has it as text."""
    return datetime.fromisoformat(at) if isinstance(at, str) else at


def ago(at: datetime | str, now: datetime) -> str:
    """How long ago that is."""
    past = max(now - moment(at), timedelta(0))
    for unit, name in _UNITS:
        if past >= unit:
            return f"{past // unit:,} {name} ago"
    return f"{past.seconds} s ago"


def utc(at: datetime | str) -> str:
    """The moment in words."""
    return f"{moment(at).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


_STATIC: Final = {name: (files(__package__) / "static" / name).read_bytes() for name in _KINDS}
_ADDRESSES: Final = {
    name: f"{CONSOLE}/static/{name}?{sha256(content).hexdigest()[:12]}" for name, content in _STATIC.items()
}
_TEMPLATES: Final = Environment(
    loader=PackageLoader("api.console"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {
    "ago": ago,
    "utc": utc,
    "iso": lambda at: moment(at).isoformat(),
    "plain_json": lambda value: json.encode(value).decode(),
}
_TEMPLATES.globals |= {"base": CONSOLE}
