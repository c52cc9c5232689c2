"""What a service is."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Protocol


class Ready(Protocol):
    """How a service tells its supervisor that it serves."""

    def __call__(self, detail: str, *, reason: str = "", proved: bool | None = None) -> None:
        """Say that the service works, with a line for the status page.

        Call it first when the service serves, and again when what it says of itself changes.
        A `reason` means that it serves but something is worse off: the sentence says what.
        `proved` is whether it has just been seen to work, None for "where there is no reason".
        """


class Service(Protocol):
    """A part of the appliance.

    The constructor remembers its arguments and does nothing else. `run` acquires, says ready,
    works, releases; running it again is always legal. It is stopped by cancellation, and it
    fails by raising or by returning.
    """

    @property
    def name(self) -> str: ...

    async def run(self, ready: Ready) -> None: ...


async def together(*parts: Coroutine[Any, Any, None]) -> None:
    """Run the parts of a service until one of them fails; raises what it raised."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for part in parts:
                tasks.create_task(part)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


async def until(end: Coroutine[Any, Any, None], *parts: Coroutine[Any, Any, None]) -> None:
    """Run the parts of a service until `end` returns, or one of them fails: raises what it did."""

    async def ended() -> None:
        await end
        raise _EndedError

    with contextlib.suppress(_EndedError):
        await together(ended(), *parts)


class _EndedError(Exception):
    """What the rest was run until is over."""
