"""What a line bears, and whose turn it is to measure it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.errors import RequestError
from lanjami.status.quality import (
    GRACE_S,
    SLOW_STREAM_S,
    STREAM_BYTES,
    Bears,
    Line,
    Measured,
    judge,
    parse,
    verdicts,
)
from lanjami.status.turns import (
    MOST,
    MOST_OF_ONE,
    REQUESTS,
    SILENCE_S,
    TURN_S,
    Turns,
)

GOOD, TIGHT, NO = Bears.GOOD, Bears.TIGHT, Bears.NO


def _line(
    *,
    latency_ms: float = 5.0,
    jitter_ms: float = 1.0,
    lost_share: float = 0.0,
    down_mbit: float = 100.0,
    up_mbit: float = 100.0,
) -> Line:
    return Line(latency_ms, jitter_ms, 0, 0.0, lost_share, down_mbit, up_mbit)


def _measured(*trips: float, stalls: int = 0, longest: float = 0.0) -> Measured:
    return Measured(list(trips), [1.0, 1.0], 8.0, 2.0, stalls, longest)


def test_a_good_line_bears_everything() -> None:
    assert set(verdicts(_line()).values()) == {GOOD}


@pytest.mark.parametrize(
    ("mbit", "borne"),
    [
        (0.1, [NO, NO, NO, NO, NO]),
        (0.13, [TIGHT, NO, NO, NO, NO]),
        (1.0, [GOOD, NO, NO, NO, NO]),
        (2.5, [GOOD, TIGHT, NO, NO, NO]),
        (8.0, [GOOD, GOOD, GOOD, NO, NO]),
        (20.0, [GOOD, GOOD, GOOD, GOOD, TIGHT]),
        (32.0, [GOOD, GOOD, GOOD, GOOD, GOOD]),
    ],
)
def test_the_slower_direction_decides(mbit: float, borne: list[Bears]) -> None:
    assert list(verdicts(_line(up_mbit=mbit)).values()) == borne
    assert list(verdicts(_line(down_mbit=mbit)).values()) == borne


@pytest.mark.parametrize(
    ("line", "voice"),
    [
        (_line(latency_ms=151), TIGHT),
        (_line(latency_ms=401), NO),
        (_line(jitter_ms=31), TIGHT),
        (_line(jitter_ms=101), NO),
        (_line(lost_share=0.05), TIGHT),
        (_line(lost_share=0.2), NO),
    ],
)
def test_delay_jitter_and_loss_count_for_every_use(line: Line, voice: Bears) -> None:
    assert set(verdicts(line).values()) == {voice}


def test_numbers_are_the_median_and_the_steps() -> None:
    line = judge(_measured(10, 12, 10, 12, 11))
    assert (line.latency_ms, line.jitter_ms) == (11, 1.75)
    assert (line.down_mbit, line.up_mbit) == (8.0, 2.0)
    assert (line.stalls, line.lost_share) == (0, 0.0)


def test_a_retransmission_is_a_stall_and_no_jitter() -> None:
    line = judge(_measured(10, 10, 215, 10, 10, stalls=2, longest=150))
    assert line.jitter_ms == 0
    assert (line.stalls, line.longest_stall_ms, line.lost_share) == (3, 215, 1 / 7)


def test_loss_is_counted_over_all_round_trips() -> None:
    many = [20.0] * 34 + [230.0, 300.0]  # slower on a narrow line, for they share it
    line = judge(msgspec.structs.replace(_measured(10, 10, 10, 10), lane_trips_ms=many))
    assert (line.latency_ms, line.jitter_ms, line.longest_stall_ms) == (10, 0, 300)
    assert (line.stalls, line.lost_share) == (2, 0.05)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        msgspec.json.encode({**msgspec.to_builtins(_measured(1, 1)), "more": 1}),
        msgspec.json.encode({**msgspec.to_builtins(_measured(1, 1)), "round_trips_ms": [1]}),
        msgspec.json.encode({**msgspec.to_builtins(_measured(1, 1)), "round_trips_ms": [-1, 1]}),
        msgspec.json.encode({**msgspec.to_builtins(_measured(1, 1)), "round_trips_ms": [1] * 201}),
        b'{"round_trips_ms":[NaN,1],"lane_trips_ms":[1,1],"down_mbit":1,"up_mbit":1}',
    ],
)
def test_what_is_no_measurement_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError, match="no measurement"):
        parse(body)


@given(
    st.builds(
        Measured,
        round_trips_ms=st.lists(st.floats(0, 60_000), min_size=2, max_size=200),
        lane_trips_ms=st.lists(st.floats(0, 60_000), min_size=2, max_size=1000),
        down_mbit=st.floats(0, 1e9),
        up_mbit=st.floats(0, 1e9),
        stalls=st.integers(0, 1_000_000),
        longest_stall_ms=st.floats(0, 60_000),
    )
)
def test_every_measurement_is_judged(measured: Measured) -> None:
    parsed = parse(msgspec.json.encode(measured))
    assert set(verdicts(judge(parsed)).values()) <= set(Bears)


# --- turns --------------------------------------------------------------------------------------


def test_one_measures_and_others_wait_in_line() -> None:
    turns = Turns()
    assert [turns.ask(ticket, source=ticket, now=0) for ticket in "abc"] == [0, 1, 2]
    turns.spend("a", 10, now=1)
    with pytest.raises(RequestError, match="not your turn"):
        turns.spend("b", 10, now=1)
    turns.leave("a")
    assert turns.ask("b", source="b", now=1) == 0
    assert turns.ask("c", source="c", now=1) == 1
    turns.spend("b", 10, now=1)


def test_a_stream_over_a_slow_line_costs_no_turn() -> None:
    turns = Turns()
    turns.ask("a", source="a", now=0.0)
    turns.spend("a", 0, now=0.0)
    turns.spend("a", 0, now=SLOW_STREAM_S + GRACE_S + 1)


def test_who_is_silent_is_forgotten() -> None:
    turns = Turns()
    turns.ask("a", source="a", now=0)
    turns.ask("b", source="b", now=SILENCE_S)
    assert turns.ask("b", source="b", now=SILENCE_S + 1) == 0
    with pytest.raises(RequestError):
        turns.spend("a", 0, now=SILENCE_S + 1)


def test_a_turn_ends_after_its_time() -> None:
    turns = Turns()
    turns.ask("a", source="a", now=0)
    now = 0.0
    while now <= TURN_S - 1:
        turns.spend("a", 0, now=now)
        turns.ask("b", source="b", now=now)
        now += 1
    turns.spend("a", 0, now=TURN_S)
    with pytest.raises(RequestError):
        turns.spend("a", 0, now=TURN_S + 1)
    assert turns.ask("b", source="b", now=TURN_S + 1) == 0


def test_a_turn_has_its_bytes_and_requests() -> None:
    turns = Turns()
    turns.ask("a", source="a", now=0)
    turns.spend("a", STREAM_BYTES, now=0)
    turns.spend("a", STREAM_BYTES, now=0)
    with pytest.raises(RequestError, match="over"):
        turns.spend("a", 1, now=0)
    turns.ask("b", source="b", now=0)
    for _ in range(REQUESTS):
        turns.spend("b", 0, now=0)
    with pytest.raises(RequestError, match="over"):
        turns.spend("b", 0, now=0)
    assert "b" not in turns


def test_the_queue_is_bounded_in_all_and_for_each_address() -> None:
    turns = Turns()
    for number in range(MOST_OF_ONE):
        turns.ask(f"one {number}", source="one", now=0)
    with pytest.raises(RequestError) as refused:
        turns.ask("one more", source="one", now=0)
    assert refused.value.status == 503
    for number in range(MOST - MOST_OF_ONE):
        turns.ask(f"{number}", source=f"{number}", now=0)
    with pytest.raises(RequestError):
        turns.ask("last", source="last", now=0)
    turns.leave("one 0")
    assert turns.ask("last", source="last", now=0) == MOST - 1
