"""The service that makes the box known as lanjami.local, by mDNS and DNS-SD."""

import asyncio
import contextlib
from collections.abc import Callable, Container, Iterable, Sequence
from ipaddress import ip_address
from typing import Any, cast

from zeroconf import (
    DNSAddress,
    DNSOutgoing,
    DNSQuestion,
    IPVersion,
    NotRunningException,
    ServiceInfo,
    current_time_millis,
)
from zeroconf.asyncio import AsyncZeroconf

from lanjami.discovery.records import Facts, Record, hosts, records, yields
from lanjami.errors import HostError
from lanjami.lan import NO_NETWORK, Interface, Ip, announced
from lanjami.runtime import log, net
from lanjami.runtime.service import Ready

_log = log.get(__name__)

POLL_S = 1.0
PROBES, PROBE_EVERY_S = 3, 0.25  # RFC 6762 section 8.1

_QUERY, _ANSWER = 0, 0x8400  # flags; an answer is authoritative (RFC 6762 section 18)
_A, _AAAA = 1, 28
_IN = 1
_TTL_S = 120  # RFC 6762 section 10


class Mdns:
    """Advertises the box as `host`.local, or the next free name, with what `facts()` says.

    One responder an interface, so that each LAN hears only of the addresses that it can reach.
    """

    name = "mdns"

    def __init__(
        self,
        *,
        host: str,
        lan: Callable[[], Sequence[Interface]],
        facts: Callable[[], Facts],
    ) -> None:
        self._base = host
        self._lan = lan
        self._facts = facts
        self._host: str | None = None

    def host(self) -> str | None:
        """The name that was found free, such as "lanjami.local"; None while there is none."""
        return None if self._host is None else f"{self._host}.local"

    async def run(self, ready: Ready) -> None:
        responders: dict[int, _Responder] = {}  # by the index of the interface
        own: set[Ip] = set()  # also those we had: others may still remember them
        try:
            while True:
                lan = [interface for interface in self._lan() if _addresses(interface)]
                own |= {address.ip for interface in lan for address in interface.addresses}
                if self._gives_way(responders, frozenset(own)):
                    self._host = None
                    await _close(responders, keep=())
                await _close(responders, keep={interface.index for interface in lan})
                refused = await _follow(responders, lan)
                if self._host is None or any(
                    responder.probed != self._host for responder in responders.values()
                ):
                    self._host = await self._find_host(responders, frozenset(own))
                if self._host is not None:
                    for responder in responders.values():
                        await responder.advertise(self._host, self._facts())
                ready(self._detail(responders), reason=refused or self._reason(responders))
                await asyncio.sleep(POLL_S)
        finally:
            self._host = None
            await _close(responders, keep=())

    def _gives_way(self, responders: dict[int, "_Responder"], own: frozenset[Ip]) -> bool:
        """Whether another box answers to our name and it is us who has to move."""
        if self._host is None:
            return False
        for responder in responders.values():
            if yields(own, responder.addresses, responder.heard(self._host)):
                _log.warning("another box has our name", host=f"{self._host}.local")
                return True
        return False

    async def _find_host(
        self, responders: dict[int, "_Responder"], own: frozenset[Ip]
    ) -> str | None:
        """Our name where nobody else on any LAN has it, else the first that is free; None where
        there is no network, or others answer to every name."""
        if not responders:
            return None
        names = hosts(self._base) if self._host is None else iter([self._host, *hosts(self._base)])
        for name in names:
            async with asyncio.TaskGroup() as tasks:
                probes = [tasks.create_task(r.probe(name, own)) for r in responders.values()]
            if not any(probe.result() for probe in probes):
                if name != self._host:
                    _log.info("name taken", host=f"{name}.local")
                return name
        return None

    def _detail(self, responders: dict[int, "_Responder"]) -> str:
        if self._host is None:
            return "no name yet" if responders else "waiting for a network"
        if self._host == self._base:
            return f"{self._host}.local"
        return f"{self._host}.local, as another box here is {self._base}.local"

    def _reason(self, responders: dict[int, "_Responder"]) -> str:
        if not responders:
            return NO_NETWORK
        if self._host is None:
            return f"others answer to {self._base}.local and every name after it"
        return ""


class _Responder:
    """The mDNS responder of one interface."""

    def __init__(self, interface: Interface, zeroconf: AsyncZeroconf) -> None:
        self.interface = interface
        self.probed: str | None = None  # the name that was asked for last, by these sockets
        self._zeroconf = zeroconf
        self._former: AsyncZeroconf | None = None
        self._advertised: dict[tuple[str, Record], ServiceInfo] = {}

    @classmethod
    async def open(cls, interface: Interface) -> "_Responder":
        return cls(interface, await _zeroconf(interface))

    @property
    def addresses(self) -> frozenset[Ip]:
        return frozenset(_addresses(self.interface))

    async def follow(self, interface: Interface) -> None:
        """Speak from the addresses that the interface has now.

        Until the next `advertise`, the former sockets go on answering: another box that asks for
        the name meanwhile would take it.
        """
        zeroconf = await _zeroconf(interface)
        await self._leave_former()
        self._former, self._zeroconf = self._zeroconf, zeroconf
        self.interface, self.probed, self._advertised = interface, None, {}

    async def probe(self, host: str, own: frozenset[Ip]) -> frozenset[Ip]:
        """The addresses that others answer for `host`.local."""
        self.probed = host
        probe = DNSOutgoing(_QUERY)
        for kind in (_A, _AAAA):
            probe.add_question(DNSQuestion(f"{host}.local.", kind, _IN))
        # what marks a probe: who has the name answers at once, and to all
        proposed = [_address(host, ip, ttl_s=_TTL_S) for ip in self.addresses]
        probe.authorities.extend(cast(list[Any], proposed))  # declared for pointers only
        for _ in range(PROBES):
            self._zeroconf.zeroconf.async_send(probe)
            await asyncio.sleep(PROBE_EVERY_S)
            if others := self.heard(host) - own:
                return others
        return frozenset()

    def heard(self, host: str) -> frozenset[Ip]:
        """The addresses of `host`.local in what was heard lately."""
        now = current_time_millis()
        entries = self._zeroconf.zeroconf.cache.entries_with_name(f"{host}.local.")
        return frozenset(
            ip_address(entry.address)
            for entry in entries
            if isinstance(entry, DNSAddress) and not entry.is_expired(now)
        )

    async def advertise(self, host: str, facts: Facts) -> None:
        """Make what is advertised follow the facts, under the name `host`."""
        keys = {(host, record) for record in records(facts, at=_addresses(self.interface)[0])}
        for key in self._advertised.keys() - keys:
            await (await self._zeroconf.async_unregister_service(self._advertised.pop(key)))
        for key in keys - self._advertised.keys():
            info = self._info(*key)
            # the host's name was probed already, and the instances are called after it
            await self._zeroconf.async_register_service(info, cooperating_responders=True)
            self._advertised[key] = info
        await self._leave_former()

    async def close(self) -> None:
        """Say goodbye and close."""
        await self._leave_former()
        with contextlib.suppress(OSError):  # the interface may be gone
            await self._zeroconf.async_unregister_all_services()
        await self._zeroconf.async_close()

    async def _leave_former(self) -> None:
        """Close the former sockets, with a goodbye to what these do not advertise."""
        if self._former is None:
            return
        registry = self._former.zeroconf.registry
        going_on = {info.key: host for (host, _), info in self._advertised.items()}
        told: set[tuple[str, Ip]] = set()
        with contextlib.suppress(OSError):  # the interface may be gone
            for info in registry.async_get_service_infos():
                if (host := going_on.get(info.key)) is not None:
                    told |= {(host, ip_address(ip)) for ip in info.parsed_addresses()}
                else:
                    await (await self._former.async_unregister_service(info))
            self._say_goodbye({(host, ip) for host, ip in told if ip not in self.addresses})
        registry.async_remove(registry.async_get_service_infos())
        await self._former.async_close()
        self._former = None

    def _say_goodbye(self, gone: set[tuple[str, Ip]]) -> None:
        """Take addresses of hosts back (RFC 6762 section 10.1)."""
        if gone:
            goodbye = DNSOutgoing(_ANSWER)
            for host, ip in gone:
                goodbye.add_answer_at_time(_address(host, ip, ttl_s=0), 0)
            self._zeroconf.zeroconf.async_send(goodbye)

    def _info(self, host: str, record: Record) -> ServiceInfo:
        return ServiceInfo(
            f"{record.type}.local.",
            f"{host}.{record.type}.local.",
            port=record.port,
            server=f"{host}.local.",
            addresses=[ip.packed for ip in _addresses(self.interface)],
            properties=dict(record.properties),
        )


def _addresses(interface: Interface) -> list[Ip]:
    """The addresses that are told, IPv4 first."""
    return [a.ip for version in (4, 6) for a in announced(interface, version=version)]


def _address(host: str, ip: Ip, *, ttl_s: int) -> DNSAddress:
    kind = _A if ip.version == 4 else _AAAA
    return DNSAddress(f"{host}.local.", kind, _IN, ttl_s, ip.packed)


async def _zeroconf(interface: Interface) -> AsyncZeroconf:
    """Sockets that speak from the interface's addresses. Raises HostError."""
    v4 = announced(interface, version=4)
    v6 = announced(interface, version=6)
    choice: list[str | int] = [str(v4[0].ip)] if v4 else []
    choice += [interface.index] if v6 else []
    version = IPVersion.All if v4 and v6 else IPVersion.V4Only if v4 else IPVersion.V6Only
    try:
        zeroconf = AsyncZeroconf(interfaces=choice, ip_version=version)
        async with contextlib.AsyncExitStack() as unless_started:
            unless_started.push_async_callback(zeroconf.async_close)
            await zeroconf.zeroconf.async_wait_for_start()
            for reader in zeroconf.zeroconf.engine.readers:
                net.hear_own_groups_only(reader.transport.get_extra_info("socket"))
            unless_started.pop_all()
    except (OSError, RuntimeError, NotRunningException) as error:
        raise HostError(f"mDNS cannot be had on {interface.name}: {error}") from error
    return zeroconf


async def _follow(responders: dict[int, _Responder], lan: Iterable[Interface]) -> str:
    """Open what is missing and follow what changed; returns a sentence on what could not be had, to
    be tried again."""
    refused = []
    for interface in lan:
        responder = responders.get(interface.index)
        try:
            if responder is None:
                responders[interface.index] = await _Responder.open(interface)
            elif responder.interface != interface:
                await responder.follow(interface)
        except HostError as error:
            refused.append(str(error))
    return "; ".join(refused)


async def _close(responders: dict[int, _Responder], *, keep: Container[int]) -> None:
    """Say goodbye and close where nothing is to be kept."""
    gone = [responders.pop(index) for index in list(responders) if index not in keep]
    async with asyncio.TaskGroup() as tasks:
        for responder in gone:
            tasks.create_task(responder.close())
