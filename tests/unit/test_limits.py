"""Bounded work under a flood."""

from hypothesis import given
from hypothesis import strategies as st

from lanjami.limits import Bucket, Limits


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = Bucket(rate_per_s=10.0, burst=20.0)
    assert [bucket.take(now=100.0) for _ in range(21)] == [True] * 20 + [False]
    assert bucket.take(now=100.125)
    assert not bucket.take(now=100.15)


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    bucket = Bucket(rate_per_s=10.0, burst=3.0)
    assert sum(bucket.take(now=1e6) for _ in range(10)) == 3
    assert sum(bucket.take(now=2e6) for _ in range(10)) == 3


def test_a_clock_that_stands_still_or_jumps_back_gives_nothing() -> None:
    bucket = Bucket(rate_per_s=1.0, burst=1.0)
    assert bucket.take(now=50.0)
    assert not bucket.take(now=50.0)
    assert not bucket.take(now=10.0)
    assert bucket.take(now=11.0), "and from there it goes on"


@given(
    st.floats(0.5, 100.0),
    st.floats(1.0, 100.0),
    st.lists(st.floats(0.0, 2.0), min_size=1, max_size=200),
)
def test_a_bucket_is_never_above_its_rate(rate: float, burst: float, gaps: list[float]) -> None:
    bucket = Bucket(rate_per_s=rate, burst=burst)
    now, taken = 0.0, 0
    for gap in gaps:
        now += gap
        taken += bucket.take(now=now)
    assert taken <= burst + rate * now + 1e-6


def test_a_source_over_its_limit_is_refused_and_others_are_not() -> None:
    limits = Limits(source_per_s=10.0, source_burst=20.0)
    told = [limits.refuse("a", now=0.0) for _ in range(30)]
    assert told == [None] * 20 + ["source limit"] * 10
    assert limits.refuse("b", now=0.0) is None
    assert limits.refuse("a", now=0.11) is None


def test_all_sources_together_have_a_limit() -> None:
    limits = Limits(total_per_s=100.0, total_burst=50.0)
    told = [limits.refuse(source, now=0.0) for source in range(60)]
    assert told == [None] * 50 + ["total limit"] * 10
    assert limits.refuse("late", now=0.02) is None


def test_a_refused_source_takes_nothing_from_the_others() -> None:
    limits = Limits(source_burst=1.0, total_burst=5.0)
    for _ in range(100):
        limits.refuse("loud", now=0.0)
    assert [limits.refuse(source, now=0.0) for source in range(4)] == [None] * 4


def test_the_longest_unheard_source_is_forgotten_first() -> None:
    limits = Limits(source_burst=1.0, source_per_s=0.001, sources=3)
    for source in ("a", "b", "c", "a", "d"):  # "a" spoke again, so "b" goes
        limits.refuse(source, now=0.0)
    assert limits.refuse("a", now=0.0) == "source limit"
    assert limits.refuse("c", now=0.0) == "source limit"
    assert limits.refuse("b", now=0.0) is None


def test_memory_is_bounded_by_the_number_of_sources() -> None:
    limits = Limits(sources=100)
    for source in range(10_000):
        limits.refuse(source, now=source / 1000)
    assert len(limits._by_source) == 100  # noqa: SLF001 - what it holds is the point
