"""Services fail, and the others do not notice."""

import asyncio

import pytest

from lanjami.errors import HostError
from lanjami.runtime.service import Ready, together
from tests.support.running import supervised


class Steady:
    name = "steady"

    async def run(self, ready: Ready) -> None:
        ready("steady as a rock")
        await asyncio.Event().wait()


class Shaky:
    """Fails as often as it is told, then serves."""

    name = "shaky"

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)

    async def run(self, ready: Ready) -> None:
        if self._errors:
            raise self._errors.pop(0)
        ready("better now")
        await asyncio.Event().wait()


class SelfCancelling:
    """Awaits something that somebody else cancelled."""

    name = "self-cancelling"

    async def run(self, ready: Ready) -> None:
        ready("here")
        await asyncio.sleep(0.01)
        raise asyncio.CancelledError


class Short:
    name = "short"

    async def run(self, ready: Ready) -> None:
        ready("here")


class Degraded:
    name = "degraded"

    async def run(self, ready: Ready) -> None:
        ready("serving", reason="half of it is gone")
        await asyncio.Event().wait()


async def test_a_failing_service_stops_no_other_and_is_restarted() -> None:
    async with supervised(Steady(), Shaky(HostError("the disk is full"))) as supervisor:
        assert supervisor.health["steady"].is_well
        shaky = supervisor.health["shaky"]
        assert (shaky.state, shaky.reason, shaky.failures) == ("down", "the disk is full", 1)
        async with asyncio.timeout(2):
            while not supervisor.health["shaky"].is_well:
                await asyncio.sleep(0.01)
        assert supervisor.health["shaky"].failures == 1
        assert supervisor.health["shaky"].reason == ""


async def test_a_fault_of_our_own_is_told_and_restarted() -> None:
    async with supervised(Shaky(KeyError("oops"))) as supervisor:
        assert "a fault of lanjami itself: KeyError('oops')" in supervisor.health["shaky"].reason


async def test_a_service_that_returns_has_failed() -> None:
    async with supervised(Short()) as supervisor:
        async with asyncio.timeout(1):
            while not supervisor.health["short"].failures:
                await asyncio.sleep(0.01)
        assert supervisor.health["short"].reason == "ended by itself"


async def test_a_service_that_is_cancelled_from_within_is_restarted() -> None:
    async with supervised(SelfCancelling(), Steady()) as supervisor:
        async with asyncio.timeout(1):
            while not supervisor.health["self-cancelling"].failures:
                await asyncio.sleep(0.01)
        assert supervisor.health["self-cancelling"].reason == "was cancelled"
        async with asyncio.timeout(3):
            while supervisor.health["self-cancelling"].failures < 2:
                await asyncio.sleep(0.01)
        assert supervisor.health["steady"].is_well


async def test_a_degraded_service_is_up_but_not_well() -> None:
    async with supervised(Degraded()) as supervisor:
        assert supervisor.health["degraded"].state == "up"
        assert not supervisor.health["degraded"].is_well


class Said:
    """Says what the test has it say."""

    name = "said"

    def __init__(self) -> None:
        self.ready: Ready

    async def run(self, ready: Ready) -> None:
        self.ready = ready
        ready("works")
        await asyncio.Event().wait()


async def test_when_it_last_worked_is_moved_by_nothing_but_proof() -> None:
    said = Said()
    async with supervised(said) as supervisor:

        def proved_at() -> float:
            at = supervisor.health["said"].proved_at
            assert at is not None
            return at

        first = proved_at()
        await asyncio.sleep(0.02)
        said.ready("works", reason="it missed a check")
        assert proved_at() == first
        assert supervisor.health["said"].state == "up"
        said.ready("works", reason="a second port is taken", proved=True)
        second = proved_at()
        assert second > first
        await asyncio.sleep(0.02)
        said.ready("not tried yet", proved=False)
        assert proved_at() == second
        assert supervisor.health["said"].is_well
        said.ready("works")
        assert proved_at() > second


async def test_what_never_worked_was_never_proved() -> None:
    async with supervised(Degraded()) as supervisor:
        assert supervisor.health["degraded"].proved_at is None


async def test_parts_of_a_service_fail_with_the_first_error_itself() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    async def fail() -> None:
        raise HostError("no more")

    try:
        await together(wait(), fail())
    except HostError as error:
        assert str(error) == "no more"  # noqa: PT017 - it must not be a group of errors
    else:
        raise AssertionError


class Counted:
    """Counts how often it was begun, and ended in order."""

    name = "counted"

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0

    async def run(self, ready: Ready) -> None:
        self.begun += 1
        try:
            ready(f"for the {self.begun}. time")
            await asyncio.Event().wait()
        finally:
            self.ended += 1


async def test_a_service_is_started_again_where_somebody_wants_it() -> None:
    counted = Counted()
    async with supervised(counted, Steady()) as supervisor:
        for time in (2, 3):
            supervisor.restart("counted")
            async with asyncio.timeout(1):  # a failure would wait for longer before it is back
                while counted.begun < time or not supervisor.health["counted"].is_well:
                    await asyncio.sleep(0.01)
            assert counted.ended == time - 1
        assert supervisor.health["counted"].failures == 0
        assert supervisor.health["steady"].detail == "steady as a rock"
        with pytest.raises(KeyError):
            supervisor.restart("no such service")


async def test_a_service_that_waits_to_be_tried_again_is_tried_at_once() -> None:
    errors = [HostError("no"), HostError("no"), HostError("no")]  # 1 + 2 + 4 s by itself
    async with supervised(Shaky(*errors)) as supervisor:
        async with asyncio.timeout(1):
            while not supervisor.health["shaky"].is_well:
                supervisor.restart("shaky")
                await asyncio.sleep(0.01)
