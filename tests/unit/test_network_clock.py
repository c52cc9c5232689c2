"""What time it may be."""

from lanjami.network import clock

MADE_AT = 1_700_000_000.0
DAY_S = 86400.0


def test_the_newest_of_what_was_seen_has_passed() -> None:
    assert clock.newest(made_at=MADE_AT, seen=[]) == MADE_AT
    assert clock.newest(made_at=MADE_AT, seen=[1.0, MADE_AT + DAY_S, MADE_AT]) == MADE_AT + DAY_S


def test_a_time_that_was_a_mistake_is_not_believed() -> None:
    assert clock.newest(made_at=MADE_AT, seen=[4e9, MADE_AT + DAY_S]) == MADE_AT + DAY_S


def test_only_a_clock_that_is_behind_is_corrected() -> None:
    assert clock.correction(0.0, MADE_AT) == MADE_AT
    assert clock.correction(MADE_AT, MADE_AT) is None
    assert clock.correction(MADE_AT + 1, MADE_AT) is None
