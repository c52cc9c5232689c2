"""Runs a service for the length of a test, as the supervisor would."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from lanjami.runtime.service import Service
from lanjami.runtime.supervisor import Supervisor


@dataclass(slots=True)
class Heard:
    """What a service said of itself."""

    details: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    proofs: list[bool] = field(default_factory=list)
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, detail: str, *, reason: str = "", proved: bool | None = None) -> None:
        self.details.append(detail)
        self.reasons.append(reason)
        self.proofs.append(not reason if proved is None else proved)
        self.ready.set()


@asynccontextmanager
async def running(service: Service, *, within_s: float = 10.0) -> AsyncIterator[Heard]:
    """Wait until the service is ready; raise what it raises; cancel it at the end."""
    heard = Heard()
    try:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(service.run(heard))
            async with asyncio.timeout(within_s):
                await heard.ready.wait()
            yield heard
            task.cancel()
    except BaseExceptionGroup as group:  # the group adds nothing to the one error inside
        raise group.exceptions[0] from None


@asynccontextmanager
async def supervised(*services: Service) -> AsyncIterator[Supervisor]:
    """The services under a supervisor that has settled."""
    supervisor = Supervisor(services)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(supervisor.run())
        async with asyncio.timeout(20):
            await supervisor.settled()
        yield supervisor
        task.cancel()
