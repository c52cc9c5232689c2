"""What whoever builds the image sees while it is built."""

import io

from image.screen import WIDTH, Course, Screen

USUAL_S = {"first": 30, "second": 60, "third": 10}


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_as_long_as_the_usual_time_that_is_over() -> None:
    course = Course(USUAL_S)
    course.begin("first", now=100)
    assert course.share(now=115) == 0.15
    course.end("first", was_kept=False)  # sooner than usual
    course.begin("second", now=115)
    assert course.share(now=145) == 0.6
    assert course.line(now=145) == f"[{'#' * 14}{'-' * (WIDTH - 14)}] 2/3 second 0:30"


def test_a_step_that_is_late_stands_still() -> None:
    course = Course(USUAL_S)
    course.begin("first", now=0)
    assert course.share(now=30) == course.share(now=3000) == 0.3
    assert "1/3 first 50:00" in course.line(now=3000)


def test_what_was_kept_counts_for_nothing() -> None:
    course = Course(USUAL_S)
    course.begin("second", now=0)
    course.end("second", was_kept=True)
    course.begin("first", now=0)
    assert course.share(now=20) == 0.5


def test_steps_side_by_side_are_both_there() -> None:
    course = Course(USUAL_S)
    course.begin("first", now=0)
    course.begin("second", now=5)
    assert course.line(now=10).endswith("] 1/3 first 0:10, 2/3 second 0:05")
    assert course.share(now=10) == 0.15


def test_a_bar_is_for_terminals_only() -> None:
    file = io.StringIO()
    screen = Screen(file)
    screen.draw("[##--] 1/2 first 0:01")
    screen.say("done")
    assert file.getvalue() == "done\n"


def test_lines_stay_and_the_bar_makes_room_for_them() -> None:
    terminal = _Terminal()
    screen = Screen(terminal)
    screen.draw("[##--]")
    screen.say("done")
    screen.draw("")
    assert terminal.getvalue() == "[##--]\r      \rdone\n"
