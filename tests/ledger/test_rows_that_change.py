"""What corrections and late results leave in the rows that they change."""

from schemas.events import SESSION_ATTENDANCE, TOURNAMENT_RESULTS
from tests.oracle.academy_log import Academy, presence, result


def test_a_corrected_attendance_says_what_the_correction_says(academy: Academy) -> None:
    first = {"minutes": 60, "theory_hours": 1, "practice_hours": 2, "skills": [{"name": "passing"}]}
    second = {"minutes": 45, "theory_hours": 0, "practice_hours": 1, "skills": [{"name": "speed"}]}
    academy.tell(SESSION_ATTENDANCE, presence(1, 10, **first))
    academy.tell(SESSION_ATTENDANCE, presence(1, 10, revision=2, occurred_at="2026-02-01T10:00:00Z", **second))
    found = academy.query(
        "SELECT minutes, theory_hours, practice_hours, skills, occurred_at::date::text FROM session_attendances",
    )
    assert found == [(45, 0, 1, [{"name": "speed", "performance": None}], "2026-02-01")]
    academy.tell(SESSION_ATTENDANCE, presence(1, 10, status="withdrawn", revision=3))
    assert academy.query("SELECT status, revision FROM session_attendances") == [("withdrawn", 3)]
    assert academy.verify().differences == []


def test_a_result_that_comes_late_counts_where_it_belongs(academy: Academy) -> None:
    """Each in a batch of its own, so that what the next one goes on from is what was written."""
    for day, placement in ((1, 1), (20, 2), (10, 9)):
        skills = [{"name": "passing", "performance": 10 * placement}]
        when = f"2026-02-{day:02}T10:00:00Z"
        academy.tell(TOURNAMENT_RESULTS, result(1, day, placement, participants=10, skills=skills, occurred_at=when))
    assert academy.query("SELECT rated_tournament_id FROM user_licenses") == [(20,)]
    assert academy.verify().differences == []
