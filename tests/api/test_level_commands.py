"""Level commands over HTTP: progress and license together, once per command."""

from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.api.serving import Served


def command(client: httpx.Client, **said: object) -> httpx.Response:
    return client.post("/api/v1/level-commands", json={"command_id": "c", "user_id": 5, **said})


def levels(api: Served) -> list[tuple[int, int]]:
    return api.query(
        "SELECT p.current_level, l.current_level FROM specialization_progress p JOIN user_licenses l ON user_id = student_id"
    )


def test_a_command_moves_both_sides_once(api: Served) -> None:
    with api.client(role="operator") as client:
        first = command(client, new_level=3, reason="examined")
        again = command(client, new_level=3, reason="examined")
        other = command(client, new_level=4, reason="examined")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json()["grant"] == {"levels": [["PLAYER", 1, 3]]}
    assert (other.status_code, other.json()["code"]) == (409, "CONFLICT")
    assert levels(api) == [(3, 3)]


def test_what_is_refused_is_refused_for_good_and_changes_nothing(api: Served) -> None:
    with api.client(role="operator") as client:
        for said, code in (
            ({"new_level": 999}, "INVALID_LEVEL"),
            ({"xp_change": -1}, "NEGATIVE_TOTAL"),
            ({}, "EMPTY_COMMAND"),
        ):
            for _ in range(2):
                answer = command(client, command_id=code, **said)
                assert (answer.status_code, answer.json()["code"]) == (422, code)
        unknown = command(client, specialization="GOALKEEPER", new_level=2)
        later = command(client, new_level=2, occurred_at="2999-01-01T00:00:00Z")
    assert (unknown.json()["code"], later.json()["code"]) == ("INVALID_EVENT", "FUTURE_EVENT")
    assert levels(api) == []


def test_eight_commands_at_once_leave_progress_and_license_together(api: Served) -> None:
    with api.client(role="operator") as client, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: command(client, command_id=f"c{n}", xp_change=500), range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert api.query("SELECT total_xp FROM specialization_progress") == [(4_000,)]
    assert levels(api) == [(4, 4)]
