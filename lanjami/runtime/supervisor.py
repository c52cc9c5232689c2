"""Keeps services running, and knows how each of them is."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType

from lanjami.backoff import Backoff
from lanjami.errors import LanjamiError
from lanjami.runtime import log
from lanjami.runtime.service import Service

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """How a service is.

    `state` is "starting", "up" or "down"; `detail` its own words; `reason` why it is worse off,
    empty when all is well; `failures` how often it had to be restarted; `proved_at` when it was
    last seen to work, in seconds of the event loop's clock, None for never.
    """

    state: str = "starting"
    detail: str = ""
    reason: str = ""
    failures: int = 0
    proved_at: float | None = None

    @property
    def is_well(self) -> bool:
        return self.state == "up" and not self.reason


class Supervisor:
    """Runs each service in a task of its own and restarts it when it fails.

    One service failing never stops another. The waits are those of `Backoff`.
    """

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services
        self._health = {service.name: Health() for service in services}
        self._settled = asyncio.Event()
        self._running: dict[str, asyncio.Task[str]] = {}
        self._wanted = {service.name: asyncio.Event() for service in services}

    @property
    def health(self) -> Mapping[str, Health]:
        return MappingProxyType(self._health)

    async def run(self) -> None:
        """Run all services until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for service in self._services:
                tasks.create_task(self._keep(service, tasks))

    async def settled(self) -> None:
        """Wait until every service either serves or has failed once."""
        await self._settled.wait()

    def restart(self, name: str) -> None:
        """Stop a service, where it runs, and start it at once. KeyError where there is none."""
        self._wanted[name].set()
        if name in self._running:
            self._running[name].cancel()

    async def _keep(self, service: Service, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff()
        wanted = self._wanted[service.name]
        while True:
            started_at = loop.time()
            # In a task of its own, a service that cancels itself is told from one that is stopped.
            running = tasks.create_task(self._once(service), name=service.name)
            self._running[service.name] = running
            await asyncio.wait([running])
            del self._running[service.name]
            if not wanted.is_set():
                cancelled = running.cancelled()
                self._failed(service.name, "was cancelled" if cancelled else running.result())
                with suppress(TimeoutError):
                    async with asyncio.timeout(backoff.failed(after_s=loop.time() - started_at)):
                        await wanted.wait()
            if wanted.is_set():
                wanted.clear()
                backoff = Backoff()
                _log.info("starting again, as was asked", service=service.name)
            self._set(service.name, replace(self._health[service.name], state="starting"))

    async def _once(self, service: Service) -> str:
        """Run a service until it fails; returns why it did."""
        try:
            await service.run(_Report(self, service.name))
        except LanjamiError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - our own bug: told, and tried again
            _log.exception("service broke", service=service.name)
            return f"a fault of lanjami itself: {error!r}"
        return "ended by itself"

    def _failed(self, name: str, reason: str) -> None:
        before = self._health[name]
        if before.reason != reason:  # a repeated condition is news once
            _log.warning("service down, trying again", service=name, reason=reason)
        self._set(name, replace(before, state="down", reason=reason, failures=before.failures + 1))

    def _set(self, name: str, health: Health) -> None:
        self._health[name] = health
        if all(h.state == "up" or h.failures for h in self._health.values()):
            self._settled.set()

    def report(self, name: str, detail: str, *, reason: str, proved: bool) -> None:
        """Take a service's word that it serves, and that this was `proved` just now."""
        before = self._health[name]
        at = asyncio.get_running_loop().time() if proved else before.proved_at
        self._set(name, Health("up", detail, reason, before.failures, proved_at=at))
        if reason and reason != before.reason:
            _log.warning("service worse off", service=name, reason=reason)
        elif before.state != "up" or (before.reason and not reason):
            _log.info("service up", service=name, detail=detail)


@dataclass(frozen=True, slots=True)
class _Report:
    supervisor: Supervisor
    name: str

    def __call__(self, detail: str, *, reason: str = "", proved: bool | None = None) -> None:
        is_proved = not reason if proved is None else proved
        self.supervisor.report(self.name, detail, reason=reason, proved=is_proved)
