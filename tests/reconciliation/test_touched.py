"""Who is checked when: what others change at once, what workers record gathered, and nothing acknowledged before it is."""

from faust.types import TP

from streams.touched import GATHER_SECONDS, LULL_SECONDS, MANY, RECORDED_AT_ONCE, SHARE, Next, Touch, Touched

FIRST = TP("reward-entries", 0)
SECOND = TP("reward-entries", 1)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def recorded(*users: int) -> Touch:
    return Touch(recorded=users, changed=(), everybody=False)


def changed(*users: int, everybody: bool = False) -> Touch:
    return Touch(recorded=(), changed=users, everybody=everybody)


def taken(touched: Touched) -> Next:
    todo = touched.take()
    assert isinstance(todo, Next), todo
    return todo


def test_where_nothing_waits_there_is_nothing_to_do() -> None:
    assert Touched().take() is None


def test_whom_workers_record_for_gathers_and_is_checked_once() -> None:
    clock = Clock()
    touched = Touched(clock)
    touched.add(recorded(1, 2), {FIRST: 5})
    clock.now += GATHER_SECONDS / 2
    touched.add(recorded(2, 3), {FIRST: 9, SECOND: 4})
    early = touched.take()
    assert isinstance(early, float)
    assert 0 < early < GATHER_SECONDS
    clock.now += early
    todo = taken(touched)
    assert (todo.users, todo.ends) == ([1, 2, 3], {FIRST: 9, SECOND: 4})
    assert touched.take() is None


def test_whom_others_touch_is_checked_at_once_even_amid_a_round() -> None:
    clock = Clock()
    touched = Touched(clock)
    touched.add(recorded(*range(RECORDED_AT_ONCE + 1)), {FIRST: 1})
    clock.now += GATHER_SECONDS
    assert len(taken(touched).users) == RECORDED_AT_ONCE
    touched.add(changed(7), {FIRST: 2})
    urgent = taken(touched)
    assert (urgent.users, urgent.ends) == ([7], {})
    rest = taken(touched)
    assert (rest.users, rest.ends) == ([RECORDED_AT_ONCE], {FIRST: 1})


def test_what_was_read_is_acknowledged_only_once_all_of_its_users_are_checked() -> None:
    clock = Clock()
    touched = Touched(clock)
    touched.add(recorded(*range(2 * RECORDED_AT_ONCE)), {FIRST: 8})
    touched.add(changed(7), {FIRST: 9})
    assert taken(touched).ends == {}
    clock.now += GATHER_SECONDS
    assert taken(touched).ends == {}
    touched.add(recorded(1), {FIRST: 10})
    assert taken(touched).ends == {FIRST: 9}
    clock.now += GATHER_SECONDS
    assert taken(touched).ends == {FIRST: 10}


def test_where_only_others_changed_something_it_is_acknowledged_too() -> None:
    clock = Clock()
    touched = Touched(clock)
    touched.add(changed(everybody=True), {FIRST: 3})
    urgent = taken(touched)
    assert (urgent.users, urgent.everybody) == ([], True)
    clock.now += GATHER_SECONDS
    todo = taken(touched)
    assert (todo.users, todo.everybody, todo.ends) == ([], False, {FIRST: 3})


def test_under_load_checking_rests_for_most_of_the_time_and_stops_resting_in_a_lull() -> None:
    clock = Clock()
    touched = Touched(clock)
    touched.add(recorded(*range(MANY + 4 * RECORDED_AT_ONCE)), {FIRST: 3})
    clock.now += GATHER_SECONDS
    touched.took(taken(touched), 0.1)
    early = touched.take()
    assert isinstance(early, float)
    assert abs(0.1 / (0.1 + early) - SHARE) < 1e-9
    touched.add(changed(7), {FIRST: 4})
    touched.took(taken(touched), 0.1)
    assert touched.take() == early
    clock.now += max(early, LULL_SECONDS)
    touched.took(taken(touched), 0.1)
    assert isinstance(touched.take(), Next)


def test_whoever_can_be_checked_within_a_second_is_checked_without_a_rest() -> None:
    clock = Clock()
    touched = Touched(clock)
    touched.add(recorded(*range(MANY)), {FIRST: 3})
    clock.now += GATHER_SECONDS
    touched.took(taken(touched), 0.1)
    assert isinstance(touched.take(), Next)
