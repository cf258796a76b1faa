"""Who looks at the console: a token typed into a form and kept in a cookie that nothing but this server is sent."""

import hmac
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Final
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.responses import RedirectResponse

from api.auth import admit
from api.bodies import unsupported
from api.console.rendering import csrf_of, show
from api.limits import read_body
from api.problems import Problem
from api.roles import ACCESS, CONSOLE, Role
from api.service import Service, Serving

COOKIE: Final = "laurels_console"
LASTING_SECONDS: Final = 12 * 3600
LONGEST_TOKEN: Final = 3_500
"""Browsers keep cookies of up to 4 KiB."""
MOST_FIELDS: Final = 20
FORM: Final = "application/x-www-form-urlencoded"
HOME: Final = f"{CONSOLE}/"

Fields = Mapping[str, str]
Next = Annotated[str, Query(max_length=2_000)]


async def enter(request: Request) -> None:
    """Let whoever has the role in, and a form only if one of our own pages sent it."""
    if request.method == "POST":
        await _read_form(request)
    needed = ACCESS[request.method, CONSOLE + request.scope["route"].path]
    if needed is Role.PUBLIC:
        return
    service: Service = request.app.state.service
    token = request.cookies.get(COOKIE)
    request.state.caller = await admit(service.gate, token, needed)
    request.state.token = token
    if request.method == "POST" and not hmac.compare_digest(csrf_of(token or ""), _given(request, "csrf")):
        raise _not_ours()


def _form(request: Request) -> Fields:
    fields: Fields = request.state.form
    return fields


Form = Annotated[Fields, Depends(_form)]


def add_pages(console: FastAPI) -> None:
    """Add them."""
    console.get("/login")(login)
    console.post("/login")(sign_in)
    console.post("/logout")(sign_out)


def login(request: Request, onward: Annotated[Next, Query(alias="next")] = HOME) -> Response:
    """Ask for a token."""
    return show(request, "login.html", onward=_ours(onward), said=None)


async def sign_in(request: Request, form: Form, service: Serving) -> Response:
    """Keep the token, if it is one."""
    token, onward = form.get("token", "").strip(), _ours(form.get("next", HOME))
    said = None
    if not token:
        said = "Type a token; laurels tokens create makes one."
    elif len(token) > LONGEST_TOKEN:
        said = f"This token is longer than the {LONGEST_TOKEN:,} characters that fit a cookie; make one by laurels tokens create."
    elif await service.gate.identify(token) is None:
        said = "This token lets nobody in: it was never issued, was revoked, or has expired."
    if said is not None:
        return show(request, "login.html", HTTPStatus.UNAUTHORIZED, onward=onward, said=said)
    answer = to(onward)
    https = request.url.scheme == "https"
    answer.set_cookie(COOKIE, token, LASTING_SECONDS, path=CONSOLE, secure=https, httponly=True, samesite="strict")
    return answer


def sign_out() -> Response:
    """Forget the token."""
    answer = to(f"{CONSOLE}/login")
    answer.delete_cookie(COOKIE, path=CONSOLE, httponly=True, samesite="strict")
    return answer


def to(path: str) -> Response:
    """Lead to another page."""
    return RedirectResponse(path, HTTPStatus.SEE_OTHER)


def show_problem(request: Request, problem: Problem) -> Response:
    """Show what went wrong; a stranger is asked for a token instead."""
    path = request.url.path
    if problem.status == HTTPStatus.UNAUTHORIZED:
        here = f"{path}?{request.url.query}" if request.url.query else path
        return to(f"{CONSOLE}/login?next={quote(here if request.method == 'GET' else HOME, safe='/')}")
    back = path.rpartition("/")[0] if request.method == "POST" else HOME
    answer = show(request, "problem.html", problem.status, problem=problem, back=back)
    answer.headers.update(problem.headers)
    return answer


async def _read_form(request: Request) -> None:
    """Read what a page of ours sends. A browser says where a form comes from; who says nothing has no cookie to misuse."""
    came_from = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if came_from is not None:
        if came_from != "same-origin":
            raise _not_ours()
    elif origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise _not_ours()
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise unsupported(FORM)
    body = await read_body(request)
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, "BAD_REQUEST", "the form cannot be read") from error
    request.state.form = dict(fields)


def _given(request: Request, field: str) -> str:
    value = str(request.state.form.get(field, ""))
    return value if value.isascii() else ""


def _not_ours() -> Problem:
    detail = "this form is not from a page of this console, or from before you signed in: open the page again"
    return Problem(HTTPStatus.FORBIDDEN, "FORBIDDEN", detail)


def _ours(path: str) -> str:
    """The page to go on to, if it is one of ours."""
    plain = path.startswith(HOME) and "\\" not in path and path.isascii() and path.isprintable()
    return path if plain else HOME
