"""The waits between attempts."""

from lanjami.backoff import Backoff


def test_the_wait_doubles_up_to_a_minute() -> None:
    backoff = Backoff()
    waits = [backoff.failed(after_s=0.0) for _ in range(9)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_five_minutes_of_success_are_forgiveness() -> None:
    backoff = Backoff()
    for _ in range(10):
        backoff.failed(after_s=0.0)
    assert backoff.failed(after_s=299.9) == 60.0
    assert backoff.failed(after_s=300.0) == 1.0
    assert backoff.failed(after_s=0.0) == 2.0


def test_years_of_failure_stay_a_minute() -> None:
    backoff = Backoff()
    assert {backoff.failed(after_s=0.0) for _ in range(5000)} == {1.0, 2.0, 4, 8, 16, 32, 60.0}


def test_the_waits_can_be_chosen() -> None:
    backoff = Backoff(first_s=0.5, longest_s=3.0, forgiven_after_s=10.0)
    assert [backoff.failed(after_s=1.0) for _ in range(4)] == [0.5, 1.0, 2.0, 3.0]
    assert backoff.failed(after_s=10.0) == 0.5
