"""When a program that misses a check is given up."""

import pytest

from lanjami.errors import HostError
from lanjami.runtime import patience
from lanjami.runtime.patience import Patience

HANGS = "^the program hangs: it is silent$"


async def test_one_that_never_answered_hangs() -> None:
    with pytest.raises(HostError, match=HANGS):
        Patience("the program").missed("it is silent")


async def test_one_that_answered_is_worse_off_and_hangs_when_that_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = Patience("the program")
    program.answered()
    for _ in range(2):
        assert program.missed("it is silent") == "the program is overloaded: it is silent"
    monkeypatch.setattr(patience, "LATE_S", -1.0)
    with pytest.raises(HostError, match=HANGS):
        program.missed("it is silent")


async def test_a_check_that_is_passed_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Patience("the program")
    program.answered()
    program.missed("it is silent")
    program.answered()
    monkeypatch.setattr(patience, "LATE_S", 0.0)
    assert program.missed("it is silent")
