"""A day of use, and its plots."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.status.history import COLUMNS, History, Tally
from lanjami.status.plot import HEIGHT, WIDTH, draw, nice


def _tally(clients: int = 0, *, messages: int = 0, answers: int = 0) -> Tally:
    return Tally(clients, {"node": messages}, {"discovery": answers})


def test_a_new_box_has_no_past() -> None:
    course = History().course()
    assert (course.hours, course.minutes) == (1, 0)
    assert course.clients == [None] * COLUMNS


def test_the_newest_is_last_and_counters_become_growth() -> None:
    history = History()
    for number in range(3):
        history.add(_tally(number, messages=100 * number, answers=7 * number))
    course = history.course()
    assert course.clients[-4:] == [None, 0, 1, 2]
    assert course.messages[-4:] == [None, 0, 100, 100]
    assert course.answers[-4:] == [None, 0, 7, 7]


def test_a_counter_that_began_anew_is_no_loss() -> None:
    history = History()
    history.add(Tally(0, {"a": 500, "b": 10}, {}))
    history.add(Tally(0, {"a": 20, "b": 15}, {}))
    assert history.course().messages[-1] == 25


@pytest.mark.parametrize(
    ("minutes", "hours"), [(60, 1), (61, 6), (360, 6), (361, 24), (1440, 24), (5000, 24)]
)
def test_the_window_grows_to_a_day_and_no_further(minutes: int, hours: int) -> None:
    history = History()
    for number in range(minutes):
        history.add(_tally(number))
    course = history.course()
    assert course.hours == hours
    assert course.minutes == min(minutes, 1440)
    assert len(course.clients) == len(course.messages) == len(course.answers) == COLUMNS
    assert course.clients[-1] == minutes - 1


def test_a_column_shows_the_most_clients_and_a_minutes_average() -> None:
    history = History()
    for minute in range(361):  # columns of 24 minutes
        history.add(_tally(9 if minute == 350 else 1, messages=10 * minute))
    course = history.course()
    assert course.clients[-1] == 9
    assert course.messages[-1] == 10


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (1, 1), (1.5, 2), (3, 5), (6, 10), (51, 100), (1234, 2000)]
)
def test_the_top_of_a_plot_is_a_round_number(value: float, top: int) -> None:
    assert nice(value) == top


def test_a_line_has_gaps_and_lone_values_are_seen() -> None:
    plot = draw([None, 1.0, 2.0, None, 2.0])
    assert plot.line == f"M75 30L150 1M{WIDTH} 1h1"
    assert (plot.top, plot.highest, plot.latest) == (2, 2.0, 2.0)


def test_nothing_is_drawn_of_nothing() -> None:
    plot = draw([None] * COLUMNS)
    assert (plot.line, plot.area, plot.latest) == ("", "", 0.0)


@given(st.lists(st.none() | st.floats(0, 1e9), max_size=COLUMNS))
def test_a_plot_stays_in_its_frame(values: list[float | None]) -> None:
    plot = draw(values)
    heights = [float(pair.split()[1].removesuffix("h1")) for pair in _points(plot.line)]
    assert all(0 <= height <= HEIGHT for height in heights)


def _points(path: str) -> list[str]:
    return [point for point in path.replace("M", "L").split("L") if point]
