"""When a program that misses a check is given up."""

import pytest

from lanjami.errors import HostError
from lanjami.runtime import patience
from lanjami.runtime.patience import Patience

HANGS = "^the program hangs: it is silent$"


async def test_one_that_never_answered_hangs() -> None:
    with pytest.raises(HostError, match=HANGS):
        Patience("the program").checked(passed=False, missed="it is silent")


async def test_one_that_answered_is_worse_off_and_hangs_when_that_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = Patience("the program")
    program.checked(passed=True)
    for _ in range(2):
        late = program.checked(passed=False, missed="it is silent")
        assert late == "the program is overloaded: it is silent"
    monkeypatch.setattr(patience, "LATE_S", -1.0)
    with pytest.raises(HostError, match=HANGS):
        program.checked(passed=False, missed="it is silent")


async def test_a_check_that_is_passed_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Patience("the program")
    assert program.checked(passed=True) == ""
    program.checked(passed=False, missed="it is silent")
    assert program.checked(passed=True) == ""
    monkeypatch.setattr(patience, "LATE_S", 0.0)
    assert program.checked(passed=False, missed="it is silent")
