"""The academy's four administrative paths, on its own database as it was adopted."""

from sinks.migration import migrate_to_head
from tests.api.serving import Served, serving

SYNC = "/api/v1/licenses/admin/sync"


def test_the_adopted_academy_has_its_desyncs_found_planned_mended_and_gone(legacy_url: str) -> None:
    migrate_to_head(legacy_url)
    with serving(legacy_url) as api, api.client(role="admin") as client:
        found = client.get(f"{SYNC}/desync-issues").json()
        assert sum(found["counts"].values()) >= len(found["issues"]) > 2
        first, second = (issue["user_id"] for issue in found["issues"][:2])
        one = client.post(f"{SYNC}/user/{first}", json={"specialization": found["issues"][0]["specialization"]}).json()
        assert [item["outcome"] for item in one["items"]] == ["synced"]
        assert [pair["consistent"] for pair in one["after"]] == [True]
        every = client.post(f"{SYNC}/user/{second}/all")
        assert all(pair["consistent"] for pair in every.json()["after"])
        planned = client.post(f"{SYNC}/all").json()
        assert (planned["dry_run"], planned["counts"]["synced"]) == (True, 0)
        left = planned["counts"]["pending"]
        assert left == len(client.get(f"{SYNC}/desync-issues").json()["issues"]) > 0
        applied = client.post(f"{SYNC}/all", json={"dry_run": False, "plan_id": planned["plan_id"]}).json()
        assert applied["counts"] == {"pending": 0, "synced": left, "changed": 0, "refused": 0}
        gone = client.get(f"{SYNC}/desync-issues").json()
    assert (gone["issues"], gone["next"], set(gone["counts"].values())) == ([], None, {0})


def test_pages_follow_each_other_also_within_a_user(api: Served) -> None:
    apart(api)
    with api.client(role="instructor") as client:
        seen, after = [], None
        for _ in range(4):
            page = client.get(f"{SYNC}/desync-issues", params={"limit": 1} | ({"after": after} if after else {})).json()
            seen += [(issue["user_id"], issue["specialization"]) for issue in page["issues"]]
            after = page["next"]
            if after is None:
                break
    assert seen == [(5, "COACH"), (5, "PLAYER"), (6, "PLAYER")]


def test_the_license_wins_where_it_is_said_to_and_a_slip_of_the_pen_is_refused(api: Served) -> None:
    apart(api)
    with api.client(role="admin") as client:
        wrong = [
            client.post(f"{SYNC}/all", json={"dryrun": False}),
            client.post(f"{SYNC}/all", json={"dry_run": "false"}),
            client.post(f"{SYNC}/user/5", json={"specialization": "GOALKEEPER"}),
            client.post(f"{SYNC}/all", json={"dry_run": False, "plan_id": "0" * 16}),
            client.post(f"{SYNC}/user/404"),
        ]
        mended = client.post(f"{SYNC}/user/6", json={"source": "license", "reason": "examined"}).json()
    assert [answer.status_code for answer in wrong] == [422, 422, 422, 404, 404]
    assert [(pair["progress_level"], pair["license_level"]) for pair in mended["after"]] == [(3, 3)]
    audited = api.query("SELECT actor, action FROM audit_log WHERE action LIKE 'sync.%%' ORDER BY id")
    assert [action for _, action in audited] == ["sync.planned", "sync.applied"]
    assert all(actor.startswith("a admin (") for actor, _ in audited)


def test_a_plan_larger_than_one_call_is_gone_on_with_until_it_is_complete(database_url: str) -> None:
    with serving(database_url, http_sync_repairs=2) as api, api.client(role="admin") as client:
        apart(api)
        planned = client.post(f"{SYNC}/all", json={"reason": "examined"}).json()
        order = {"dry_run": False, "plan_id": planned["plan_id"]}
        answers = [client.post(f"{SYNC}/all", json=order).json() for _ in range(3)]
        made = client.post(f"{SYNC}/all", json={"dry_run": False}).json()
    assert (planned["complete"], planned["counts"]["pending"]) == (False, 3)
    assert [(answer["complete"], answer["counts"]["pending"]) for answer in answers] == [
        (False, 1),
        (True, 0),
        (True, 0),
    ]
    assert [answer["counts"]["synced"] for answer in answers] == [2, 3, 3]
    assert [item["outcome"] for item in answers[0]["items"]] == ["synced", "synced", "pending"]
    assert (made["complete"], made["items"]) == (True, []), "nothing was left to plan"
    assert api.query("SELECT count(*) FROM reward_receipts WHERE event_key LIKE 'command_sync-%%'") == [(3,)]


def apart(api: Served) -> None:
    """Licenses at level 3 whose progress is missing: two of user 5, one of user 6 whose progress is at 1."""
    api.rich(5, 6)
    api.query(
        "INSERT INTO user_licenses (user_id, specialization_type, current_level, max_achieved_level)"
        " VALUES (5, 'PLAYER', 3, 3), (5, 'COACH', 3, 3), (6, 'PLAYER', 3, 3)"
    )
    api.query("INSERT INTO specialization_progress (student_id, specialization_id) VALUES (6, 'PLAYER')")
