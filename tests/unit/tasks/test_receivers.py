"""When an origin rests, and who tries it first after that."""

import pytest

from gateway.tasks import receivers
from gateway.tasks.receivers import FAULTS, FIRST_REST, HANDS, LONGEST_REST, TRIAL_SECONDS, Receivers

A, B = "https://a.example", "https://b.example"
NOW = 1000.0


def failing(times: int = FAULTS) -> Receivers:
    known = Receivers()
    for _ in range(times):
        known.failed(A, NOW)
    return known


def test_an_origin_rests_after_so_many_failures_in_a_row() -> None:
    assert failing(FAULTS - 1).rest(A, NOW) == 0
    known = failing()
    assert known.rest(A, NOW) == FIRST_REST
    assert known.rest(A, NOW + FIRST_REST) == 0
    assert known.rest(B, NOW) == 0


def test_an_answer_between_failures_begins_the_count_anew() -> None:
    known = failing(FAULTS - 1)
    known.answered(A)
    for _ in range(FAULTS - 1):
        known.failed(A, NOW)
    assert known.rest(A, NOW) == 0


def test_failures_of_what_was_under_way_do_not_lengthen_a_rest() -> None:
    known = failing(FAULTS + HANDS)
    assert known.rest(A, NOW) == FIRST_REST


def test_one_tries_after_a_rest_and_the_others_wait_for_it() -> None:
    known = failing()
    at = NOW + FIRST_REST
    assert known.enter(A, at - 1) == 1
    assert known.enter(A, at) == 0
    assert known.enter(A, at) == TRIAL_SECONDS
    known.answered(A)
    assert known.enter(A, at) == 0
    assert known.enter(A, at) == 0


def test_each_trial_that_fails_doubles_the_rest_up_to_a_limit() -> None:
    known, at = failing(), NOW
    for _ in range(8):
        at += known.rest(A, at)
        assert known.enter(A, at) == 0
        before = at
        known.failed(A, at)
        assert known.rest(A, at) > 0
    assert known.rest(A, before) == LONGEST_REST
    known = failing()
    known.enter(A, NOW + FIRST_REST)
    known.failed(A, NOW + FIRST_REST)
    assert known.rest(A, NOW + FIRST_REST) == 2 * FIRST_REST


def test_a_trial_that_never_ends_does_not_keep_the_origin_resting() -> None:
    known = failing()
    assert known.enter(A, NOW + FIRST_REST) == 0
    assert known.enter(A, NOW + FIRST_REST + TRIAL_SECONDS) == 0


def test_an_origin_is_full_with_as_many_in_hand_as_it_has_hands() -> None:
    known = Receivers()
    for taken in range(HANDS):
        assert known.full == [], taken
        known.take(A)
    assert known.full == [A]
    known.take(A)
    assert not known.leave(A)
    assert known.full == [A]
    assert known.leave(A)
    assert known.full == []
    assert not known.idle
    assert [known.leave(A) for _ in range(HANDS - 1)] == [False] * (HANDS - 2) + [True]
    assert known.idle


def test_nothing_is_remembered_of_the_healthy_and_not_everything_of_the_sick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receivers, "MOST_KNOWN", 10)
    known = Receivers()
    known.take(A)
    known.failed(B, NOW)
    known.answered(B)
    assert list(known._known) == [A]
    for number in range(50):
        known.failed(f"https://{number}.example", NOW)
    assert len(known._known) <= 10
    assert A in known._known
    known.leave(A)
    assert A not in known._known
