"""Signing in and out: the cookie, wrong tokens, forms of other sites."""

from http.cookies import SimpleCookie

import httpx
import pytest

from api.console.session import COOKIE
from tests.api.serving import Served, serving
from tests.console.conftest import Visitor
from tests.console.page import read


def cookie_of(answer: httpx.Response) -> dict[str, str]:
    (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
    return {name: value for name, value in cookie.items() if value}


def test_a_token_is_kept_where_no_script_and_no_other_site_gets_at_it(academy: Served) -> None:
    answer = Visitor(academy, None).sign_in(academy.tokens["viewer"], "/console/alerts?status=resolved")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/alerts?status=resolved")
    kept = cookie_of(answer)
    assert kept == {"httponly": True, "samesite": "strict", "path": "/console", "max-age": "43200"}


def test_over_https_the_cookie_is_only_ever_sent_over_https(academy: Served) -> None:
    visitor = Visitor(academy, None)
    visitor.client.headers["x-forwarded-proto"] = "https"
    assert cookie_of(visitor.sign_in(academy.tokens["viewer"]))["secure"] is True


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("", "Type a token"),
        ("laurels_000000000000_" + "0" * 64, "lets nobody in"),
        ("<script>alert(1)</script>", "lets nobody in"),
        ("é", "lets nobody in"),
        ("x" * 4_000, "longer than"),
    ],
)
def test_a_wrong_token_is_told_so_and_not_kept(academy: Served, token: str, said: str) -> None:
    answer = Visitor(academy, None).sign_in(token)
    assert answer.status_code == 401
    assert said in read(answer.text).one("p", role="alert").text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example/",
        "/console/\\evil",
        "/api/v1/alerts",
        "/console/\r\nx",
        "/console/é",
        "",
    ],
)
def test_after_signing_in_nobody_is_led_elsewhere(academy: Served, elsewhere: str) -> None:
    assert Visitor(academy, None).sign_in(academy.tokens["viewer"], elsewhere).headers["location"] == "/console/"


def test_who_signs_out_is_a_stranger_again(academy: Served) -> None:
    visitor = Visitor(academy, "viewer")
    answer = visitor.send(visitor.open("/"), "/logout")
    assert answer.headers["location"] == "/console/login"
    assert COOKIE not in visitor.client.cookies
    assert visitor.client.get("/console/").headers["location"] == "/console/login?next=/console/"


def test_a_revoked_token_leads_to_the_form_and_back_to_the_page(academy: Served) -> None:
    visitor = Visitor(academy, None)
    token = academy.token("viewer")
    visitor.sign_in(token)
    assert visitor.client.get("/console/alerts").status_code == 200
    academy.query("UPDATE api_tokens SET revoked_at = now() WHERE prefix = %s", token.split("_")[1])
    answer = visitor.client.get("/console/alerts?status=&kind=INV-R01")
    assert answer.headers["location"] == "/console/login?next=/console/alerts%3Fstatus%3D%26kind%3DINV-R01"
    form = read(visitor.client.get(answer.headers["location"]).text).one("form")
    assert form.fields()["next"] == "/console/alerts?status=&kind=INV-R01"


def test_the_token_of_the_api_does_not_open_the_console_nor_the_cookie_the_api(academy: Served) -> None:
    with academy.client(role="admin") as client:
        assert client.get("/console/").status_code == 303
    visitor = Visitor(academy, "admin")
    visitor.client.cookies.set(COOKIE, academy.tokens["admin"], path="/")
    assert visitor.client.get("/api/v1/alerts").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
)
def test_a_form_of_another_site_is_refused(academy: Served, headers: dict[str, str]) -> None:
    visitor = Visitor(academy, None)
    visitor.client.headers.update(headers)
    answer = visitor.sign_in(academy.tokens["admin"])
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_form_of_our_own_is_taken(academy: Served) -> None:
    for headers in ({"sec-fetch-site": "same-origin", "origin": "https://behind-a-proxy"}, {"origin": academy.url}):
        visitor = Visitor(academy, None)
        visitor.client.headers.update(headers)
        assert visitor.sign_in(academy.tokens["viewer"]).status_code == 303


@pytest.mark.parametrize("said", [{"csrf": ""}, {"csrf": "0" * 64}, {"csrf": "é"}, {"reason": "known"}])
def test_nothing_is_done_by_a_form_that_does_not_know_what_only_our_pages_know(
    academy: Served, said: dict[str, str]
) -> None:
    answer = Visitor(academy, "admin").client.post("/console/dead-letters/1/drop", data={"reason": "known", **said})
    assert answer.status_code == 403
    assert "not from a page of this console" in read(answer.text).one("main").text
    assert academy.query("SELECT status FROM dead_letters WHERE id = 1") == [("open",)]


def test_what_one_token_may_send_another_may_not(academy: Served) -> None:
    ours, theirs = Visitor(academy, "operator"), Visitor(academy, "admin")
    form = ours.open("/dead-letters/1").one("form", action="/console/dead-letters/1/retry")
    answer = theirs.client.post("/console/dead-letters/1/retry", data=form.fields())
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"token=%ff", "application/x-www-form-urlencoded", 400),
        (b"&".join([b"a=b"] * 21), "application/x-www-form-urlencoded", 400),
        (b"token=" + b"x" * 70_000, "application/x-www-form-urlencoded", 413),
        (b"{}", "application/json", 415),
    ],
)
def test_a_form_that_is_none_is_refused_on_a_page(academy: Served, content: bytes, kind: str, status: int) -> None:
    client = Visitor(academy, None).client
    answer = client.post("/console/login", content=content, headers={"content-type": kind})
    assert answer.status_code == status
    read(answer.text)


def test_who_asks_too_often_is_told_to_slow_down(database_url: str) -> None:
    with serving(database_url, http_requests_per_second=0.001, http_burst=2) as api:
        visitor = Visitor(api, "viewer")
        visitor.open("/")
        visitor.open("/alerts")
        assert "Slow down" in visitor.open("/alerts", 429).one("h1").text
