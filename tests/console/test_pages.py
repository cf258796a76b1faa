"""What each page shows, and to whom."""

from typing import get_args
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from starlette.routing import Mount

from api.app import create_app, refuse_unlisted
from api.console.rendering import POLICY
from api.roles import ACCESS, CONSOLE
from api.roles import Role as Needed
from schemas.alerts import ALERT_KINDS
from schemas.settings import Settings
from sinks.tokens import Role
from tests.api.serving import NOWHERE, Served, serving
from tests.console.conftest import FIRING, Visitor
from tests.console.page import read

APP = create_app(Settings(database="postgresql://nobody@127.0.0.1:1/none", kafka=NOWHERE))
PLACES = {"fingerprint": FIRING, "id": "1", "user_id": "2", "name": "console.css"}
SHOWN = sorted(path for method, path in ACCESS if method == "GET" and path.startswith(f"{CONSOLE}/"))
DONE = sorted(path for method, path in ACCESS if method == "POST" and path.startswith(f"{CONSOLE}/"))
WANTS = {"/console/explanation": "?entry=command_c-1_xp_2", "/console/search": "?q=2"}


def place(path: str) -> str:
    here = {**PLACES, "id": "0f3a2b1c"} if "replays" in path else PLACES
    return path.format_map(here) + WANTS.get(path, "")


@pytest.mark.parametrize("role", [None, *get_args(Role)])
@pytest.mark.parametrize("path", SHOWN)
def test_a_page_is_shown_to_whom_its_role_lets_in(academy: Served, path: str, role: Role | None) -> None:
    needed = ACCESS["GET", path]
    answer = Visitor(academy, role).client.get(place(path))
    if needed is Needed.PUBLIC:
        assert answer.status_code == 200
    elif role is None:
        assert answer.status_code == 303
        assert answer.headers["location"].startswith(f"/console/login?next={urlsplit(place(path)).path}")
    elif Needed[role.upper()] < needed:
        assert answer.status_code == 403
        assert f"this takes the role {needed.name.lower()}" in read(answer.text).one("main").text
    else:
        assert answer.status_code == (303 if path.endswith("/search") else 200)
    if answer.status_code != 303:
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
    if answer.headers.get("content-type", "").startswith("text/html"):
        read(answer.text)


@pytest.mark.parametrize("role", [None, "viewer", "instructor"])
@pytest.mark.parametrize("path", [path for path in DONE if ACCESS["POST", path] is Needed.OPERATOR])
def test_what_a_role_may_not_do_is_refused_if_it_is_tried(academy: Served, path: str, role: Role | None) -> None:
    before = academy.query("SELECT count(*) FROM audit_log")
    answer = Visitor(academy, role).client.post(place(path), data={"reason": "known", "for": "4h"})
    assert answer.status_code == (303 if role is None else 403)
    assert academy.query("SELECT count(*) FROM audit_log") == before


def test_what_a_role_may_not_do_is_not_offered(academy: Served) -> None:
    viewer, operator = Visitor(academy, "viewer"), Visitor(academy, "operator")
    path = f"/alerts/{FIRING}"
    assert [form.attributes["action"] for form in viewer.open(path).all("form", method="post")] == ["/console/logout"]
    assert len(operator.open(path).all("form", method="post")) == 3
    assert "Dead letters" not in viewer.open("/").one("nav").text
    assert "Dead letters" in operator.open("/").one("nav").text
    assert "dead letters wait" not in viewer.open("/").by_id("figures").text


@pytest.mark.parametrize("role", get_args(Role))
def test_every_link_of_every_page_leads_somewhere(academy: Served, role: Role) -> None:
    visitor = Visitor(academy, role)
    found, opened = {"/console/"}, set()
    while found - opened:
        path = (found - opened).pop()
        opened.add(path)
        answer = visitor.client.get(path, follow_redirects=True)
        assert answer.status_code == 200, path
        if answer.headers["content-type"].startswith("text/html"):
            links = [each.attributes.get("href") or "" for each in read(answer.text)]
            # Of a hundred letters of one kind three say as much as all.
            letters = sorted(link for link in links if link.startswith("/console/dead-letters/"))
            found |= {link for link in links if link.startswith("/") and link not in letters[3:]}
    assert len(opened) > 10


def test_the_overview_says_what_the_api_says(academy: Served) -> None:
    page = Visitor(academy, "operator").open("/")
    figures = [figure.text for figure in page.by_id("figures").all("li")]
    assert figures == ["1 alert fires", "234 events to read", "102 dead letters wait", "0 replays run, 1 interrupted"]
    assert [row[1] for row in page.by_id("alerts").rows()] == ["INV-R01"]
    assert page.by_id("letters").rows() == [["invalid_event", "102"]]
    ((_, status, read_, *_),) = page.by_id("replays").rows()
    assert (status, read_) == ("interrupted", "50 of 200")
    with academy.client(role="viewer") as client:
        told = client.get("/api/v1/positions").json()
    lags = [row[4] for row in page.by_id("positions").rows()]
    assert lags == [str(position["lag"]) for position in told["positions"]] == ["0", "234"]
    assert page.by_id("pace").one("p").text.startswith("3 events recorded in the last 15 minutes")
    assert len(page.by_id("pace").all("rect")) == 30


def test_each_invariant_is_shown_with_what_it_says_and_its_last_check(academy: Served) -> None:
    rows = {row[0].split()[0]: row for row in Visitor(academy, "viewer").open("/").by_id("invariants").rows()}
    assert set(rows) == {kind for kind in ALERT_KINDS if kind.startswith(("INV", "SYNC"))} | {"OPS-11"}
    assert rows["INV-R02"][0] == f"INV-R02 {ALERT_KINDS['INV-R02'].sentence}"
    assert rows["INV-R02"][1:] == ["holds", "2 h ago"]
    assert rows["INV-R01"][1] == "broken 1"
    assert rows["OPS-11"][1] == "unknown"
    assert rows["OPS-11"][2].startswith("failed")


def test_an_alert_is_shown_with_its_runbook(academy: Served) -> None:
    page = Visitor(academy, "viewer").open(f"/alerts/{FIRING}")
    assert page.one("h1").text == "INV-R01: user 2"
    facts = page.one("dl").facts()
    assert (facts["Expected"], facts["Found"]) == ("600", "7")
    (runbook,) = page.all("section", **{"class": "runbook"})
    assert [heading.text for heading in runbook.all("h3")] == ["Look", "Mend"]
    assert "laurels reconcile --user USER_ID" in runbook.all("pre")[0].text
    assert "laurels repair plan" in [code.text for code in runbook.all("code")]


@pytest.mark.parametrize("kind", ALERT_KINDS)
def test_every_kind_of_alert_has_its_runbook_on_its_page(academy: Served, kind: str) -> None:
    academy.query("UPDATE reward_alerts SET kind = %s WHERE status = 'resolved'", kind)
    assert Visitor(academy, "viewer").open(f"/alerts/{'b' * 32}").by_id("runbook").text == "Runbook"


def test_alerts_are_found_by_status_kind_and_subject(academy: Served) -> None:
    viewer = Visitor(academy, "viewer")
    asked = {
        "": 1,
        "?status=": 2,
        "?status=&kind=INV-R01&subject=user+2": 1,
        "?subject=user+2": 1,
        "?subject=user+3": 0,
    }
    for query, expected in asked.items():
        page = viewer.open(f"/alerts{query}").by_id("alerts")
        assert (len(page.rows()) if page.all("table") else 0) == expected, query


def test_dead_letters_come_page_by_page_and_none_twice(academy: Served) -> None:
    operator = Visitor(academy, "operator")
    first = operator.open("/dead-letters?user_id=1&topic=credit-transfers&reason=&status=")
    onward = first.one("a", rel="next").attributes["href"] or ""
    second = operator.open(onward.removeprefix("/console"))
    ids = [row[0] for page in (first, second) for row in page.by_id("letters").rows()]
    assert ids == [str(number) for number in range(1, 103)]
    assert not second.all("a", rel="next")


def test_a_dead_letter_is_shown_with_payload_and_headers(academy: Served) -> None:
    page = Visitor(academy, "operator").open("/dead-letters/1")
    assert [pre.text for pre in page.all("pre")] == ["{}", "1"]
    assert page.rows() == [["ce-id", "x"]]
    assert page.one("dl").facts()["From"] == "credit-transfers[0]@1 of log l"


def test_a_replay_is_shown_with_how_far_each_partition_is(academy: Served) -> None:
    page = Visitor(academy, "viewer").open("/replays/0f3a2b1c")
    progress = page.one("progress")
    assert (progress.attributes["max"], progress.attributes["value"]) == ("200", "50")
    assert page.rows() == [["tournament-results", "0", "100", "300", "150"]]
    assert "laurels replay resume 0f3a2b1c" in page.one("main").text


def test_a_user_is_shown_whole_and_each_entry_is_explained(academy: Served) -> None:
    viewer = Visitor(academy, "viewer")
    page = viewer.open("/users/2/entries")
    assert [figure.text for figure in page.all("ul", **{"class": "figures"})[0].all("li")] == ["650 XP", "110 credits"]
    assert [legend.text for chart in page.all("ul", **{"class": "legend"}) for legend in chart.all("li")] == [
        *("XP: 650", "PLAYER: 2"),
    ]
    assert "Alerts about this user" in page.one("main").text
    keys = [link.text for link in page.all("a") if "explanation" in (link.attributes["href"] or "")]
    assert keys == ["command_c-1_xp_2", "command_c-2_xp_2", "transfer_1-k-2_credit_2"]
    told = viewer.open("/explanation?entry=command_c-1_xp_2")
    entry, receipt = told.all("dl")[:2]
    assert (entry.facts()["amount"], receipt.facts()["event_key"]) == ("600", "command_c-1_level_2")


def test_entries_are_shown_by_kind_and_page_by_page(academy: Served) -> None:
    academy.query("INSERT INTO users (id) VALUES (3)")
    academy.query(
        "INSERT INTO xp_transactions (user_id, transaction_type, amount, idempotency_key)"
        " SELECT 3, 'ADJUSTMENT', n, 'adopted_' || n FROM generate_series(1, 101) AS n"
    )
    viewer = Visitor(academy, "viewer")
    first = viewer.open("/users/3/entries?kind=xp")
    second = viewer.open((first.one("a", rel="next").attributes["href"] or "").removeprefix("/console"))
    amounts = [row[3] for page in (first, second) for row in page.all("section")[-1].rows()]
    assert amounts == [f"+{number}" for number in range(1, 102)]
    assert "There are none." in viewer.open("/users/3/entries?kind=skill").one("main").text


def test_what_a_users_entries_do_not_sum_to_is_said(academy: Served) -> None:
    academy.query("INSERT INTO users (id, xp_balance) VALUES (4, 5)")
    viewer = Visitor(academy, "viewer")
    assert "sum to 0 XP, and the balance says 5" in viewer.open("/users/4/entries").one("main").text
    assert "sum to" not in viewer.open("/users/2/entries").one("main").text


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/users/404/entries", 404, "there is no user 404"),
        ("/users/abc/entries", 422, "path.user_id: Input should be a valid integer"),
        ("/users/0/entries", 422, "path.user_id: Input should be greater than or equal to 1"),
        ("/alerts/" + "c" * 32, 404, "there is no such alert"),
        ("/alerts/x", 422, "path.fingerprint"),
        ("/alerts?status=burning", 422, "query.status"),
        ("/dead-letters/404", 404, "there is no dead letter 404"),
        ("/dead-letters?user_id=x", 422, "query.user_id"),
        ("/replays/404", 404, "there is no such replay"),
        ("/explanation?entry=nothing", 404, "there is no such entry or event"),
        ("/users/2/entries?cursor=x", 422, "cursor: not one of ours"),
        ("/nowhere", 404, "Not Found"),
        ("/static/secret", 404, "there is no such file"),
        ("/search?q=%20", 422, "type a user's number"),
    ],
)
def test_what_is_not_there_or_makes_no_sense_is_said_on_a_page(
    academy: Served, path: str, status: int, says: str
) -> None:
    assert says in Visitor(academy, "operator").open(path, status).one("main").text


@pytest.mark.parametrize(
    ("sought", "found"),
    [
        ("2", "/console/users/2/entries"),
        (" User 2", "/console/users/2/entries"),
        (FIRING, f"/console/alerts/{FIRING}"),
        ("xp_transactions:1", "/console/explanation?entry=xp_transactions%3A1"),
        ("a&b=c", "/console/explanation?entry=a%26b%3Dc"),
    ],
)
def test_the_search_box_leads_to_what_is_meant(academy: Served, sought: str, found: str) -> None:
    answer = Visitor(academy, "viewer").client.get("/console/search", params={"q": sought})
    assert answer.headers["location"] == found


def test_whoever_comes_to_the_server_is_led_to_the_console(academy: Served) -> None:
    for path in ("/", "/console"):
        answer = Visitor(academy, None).client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/")


def test_without_a_database_a_page_says_so(database_url: str) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    with serving(database_url, served_by=nowhere) as api:
        visitor = Visitor(api, None)
        visitor.client.cookies.set("laurels_console", api.tokens["viewer"], path="/console")
        page = visitor.open("/", 503)
    assert "Cannot serve just now" in page.one("h1").text


def test_on_a_database_that_is_not_migrated_a_page_says_what_mends_it(database_url: str, legacy_url: str) -> None:
    with serving(database_url, served_by=legacy_url) as api:
        visitor = Visitor(api, None)
        signing_in = visitor.sign_in(api.tokens["viewer"])
        visitor.client.cookies.set("laurels_console", api.tokens["viewer"], path="/console")
        pages = [visitor.open("/", 503), read(signing_in.text)]
    assert signing_in.status_code == 503
    for page in pages:
        assert "Cannot serve just now" in page.one("h1").text
        assert "the database is not migrated: run `laurels migrate`" in page.text


def test_pages_are_measured_by_their_routes(academy: Served) -> None:
    viewer = Visitor(academy, "viewer")
    viewer.open(f"/alerts/{'c' * 32}", 404)
    viewer.open("/nowhere", 404)
    told = viewer.client.get("/metrics").text
    named = 'laurels_http_requests_total{method="GET",route="/console/alerts/{fingerprint}",status="404"}'
    assert named in told
    assert "nowhere" not in told


def test_the_console_is_no_part_of_the_apis_document(academy: Served) -> None:
    with academy.client() as client:
        paths = client.get("/openapi.json").json()["paths"]
    assert "/api/v1/alerts" in paths
    assert not [path for path in paths if path == "/" or path.startswith(CONSOLE)]


def test_the_table_lists_no_page_that_is_not_served() -> None:
    console = next(route.app for route in APP.routes if isinstance(route, Mount))
    assert isinstance(console, FastAPI)
    served = {(method, CONSOLE + each.path) for each in console.routes for method in getattr(each, "methods", ())}
    assert {place for place in ACCESS if place[1].startswith(f"{CONSOLE}/")} == served - {("HEAD", CONSOLE)}


def forgotten() -> str:
    return "nobody has said who may"


def test_a_page_without_a_role_cannot_be_served() -> None:
    console = FastAPI()
    console.get("/forgotten")(forgotten)
    with pytest.raises(LookupError, match="GET /console/forgotten"):
        refuse_unlisted(console, CONSOLE)
