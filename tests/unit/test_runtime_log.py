"""What is remembered of the log."""

import logging

from lanjami.runtime import log
from lanjami.runtime.log import LONGEST_REMEMBERED, MOST_REMEMBERED, REMEMBERED_S, Memory

OWN = logging.getLogger("test of the log")
OWN.setLevel(logging.DEBUG)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_happened_is_remembered_the_newest_first() -> None:
    memory = Memory()
    with memory.listening():
        log.get(OWN.name).info("service up", service="names")
        log.get(OWN.name).warning("disk full", path="/x")
    log.get(OWN.name).warning("not heard")
    assert [(line.level, line.text) for line in memory.lines()] == [
        ("WARNING", "disk full path=/x"),
        ("INFO", "service up service=names"),
    ]


def test_single_packets_are_not_remembered() -> None:
    memory = Memory()
    with memory.listening():
        log.get(OWN.name).debug("a packet")
    assert memory.lines() == []


def test_what_is_remembered_is_bounded() -> None:
    memory = Memory()
    with memory.listening():
        for number in range(MOST_REMEMBERED + 10):
            log.get(OWN.name).info("x" * 5000, number=number)
    lines = memory.lines()
    assert len(lines) == MOST_REMEMBERED
    assert all(len(line.text) == LONGEST_REMEMBERED for line in lines)


def test_an_hour_is_remembered() -> None:
    clock = Clock()
    memory = Memory(clock=clock)
    with memory.listening():
        log.get(OWN.name).info("early")
        clock.now = REMEMBERED_S / 2
        log.get(OWN.name).info("late")
    clock.now = REMEMBERED_S + 1
    assert [line.text for line in memory.lines()] == ["late"]


def test_a_fault_is_remembered_with_its_trace() -> None:
    memory = Memory()
    with memory.listening():
        try:
            raise ValueError("oops")
        except ValueError:
            log.get(OWN.name).exception("broke")
    assert "ValueError: oops" in memory.lines()[0].text
