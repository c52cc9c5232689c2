"""Asks on each LAN who is there, by multicast, broadcast and mDNS, and hears what comes back.

One question serves all: discovery's own "q". That it is heard back shows that multicast works,
an answer that discovery does, and others' answers who else is there.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from lanjami.discovery import wire
from lanjami.doctor.lan_checks import Heard
from lanjami.errors import HostError, WireError
from lanjami.firewall.openings import MDNS_GROUPS, MDNS_PORT
from lanjami.lan import Address, Interface, Ip, announced
from lanjami.network import dns_wire
from lanjami.runtime import net

LISTEN_S = 2.5
ASK_AGAIN_S = 0.8  # a datagram may be lost; discovery answers ten a second

_GROUPS: dict[int, Ip] = {4: wire.GROUP_V4, 6: wire.GROUP_V6}


async def hear(interface: Interface) -> list[Heard]:
    """What is heard on an interface, for each family that it has."""
    async with asyncio.TaskGroup() as tasks:
        asked = [
            tasks.create_task(_hear(interface, version, sources[0], group))
            for version, group in _GROUPS.items()
            if (sources := announced(interface, version=version))
        ]
    return [task.result() for task in asked]


async def _hear(interface: Interface, version: int, source: Address, group: Ip) -> Heard:
    targets = [group] if source.broadcast is None else [group, source.broadcast]
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(_ask(interface, source.ip, target)) for target in targets]
    by_group, *by_broadcast = [task.result() for task in asked]
    return Heard(
        interface=interface.name,
        version=version,
        group=by_group.is_back,
        broadcast=by_broadcast[0].is_back if by_broadcast else None,
        by_group=tuple(by_group.answers),
        by_broadcast=tuple(by_broadcast[0].answers) if by_broadcast else (),
    )


@dataclass(slots=True)
class _Back:
    is_back: bool
    answers: list[tuple[Ip, wire.Beacon]]


async def _ask(interface: Interface, source: Ip, target: Ip) -> _Back:
    """Ask a group, or the broadcast address, of one interface."""
    back = _Back(is_back=False, answers=[])
    own = {address.ip for address in interface.addresses}
    with contextlib.ExitStack() as opened:
        asker = opened.enter_context(net.sender(source.version))
        port = asker.getsockname()[1]

        def at_target(received: net.Received) -> None:
            ip, its_port = received.sender
            back.is_back |= ip in own and its_port == port

        def at_asker(received: net.Received) -> None:
            with contextlib.suppress(WireError):
                match wire.parse(received.data):
                    case wire.Publication(beacon=wire.Beacon() as beacon):
                        back.answers.append((received.sender[0], beacon))

        with contextlib.suppress(OSError, HostError):  # then nothing is heard back
            listener = opened.enter_context(_listener(interface, source, target))
            opened.enter_context(_reading(listener, at_target))
        opened.enter_context(_reading(asker, at_asker))
        await _repeat(asker, wire.QUERY, (target, wire.PORT), source, interface)
    return back


def _listener(interface: Interface, source: Ip, target: Ip) -> socket.socket:
    if isinstance(target, IPv4Address) and not target.is_multicast:
        return net.broadcast_receiver(target, wire.PORT)
    return net.group_receiver(target, wire.PORT, index=interface.index, source=source)


async def mdns(interface: Interface, host: str) -> list[Ip]:
    """The IPv4 addresses that `host`, such as "lanjami.local", is said to have on the LAN of an
    interface. Asked as RFC 6762, 6.7, has it: from a port of our own, with the answers sent there.
    """
    sources = announced(interface, version=4)
    if not sources:
        return []
    id, found = secrets.randbits(16), list[Ip]()

    def hear_answer(received: net.Received) -> None:
        with contextlib.suppress(WireError):
            answer = dns_wire.read(received.data, id=id)
            found.extend(() if answer is None else answer.addresses)

    with net.sender(4) as asker, _reading(asker, hear_answer):
        group = IPv4Address(MDNS_GROUPS[0])
        question = dns_wire.ask(host, id=id)
        await _repeat(asker, question, (group, MDNS_PORT), sources[0].ip, interface)
    return found


async def _repeat(
    asker: socket.socket, data: bytes, to: tuple[Ip, int], source: Ip, interface: Interface
) -> None:
    ends_at = asyncio.get_running_loop().time() + LISTEN_S
    while (left_s := ends_at - asyncio.get_running_loop().time()) > 0:
        with contextlib.suppress(OSError):  # no way there: nothing is heard back
            net.send(asker, data, to=to, source=source, index=interface.index)
        await asyncio.sleep(min(ASK_AGAIN_S, left_s))


@contextlib.contextmanager
def _reading(sock: socket.socket, hear: Callable[[net.Received], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def read() -> None:
        if (received := net.receive(sock)) is not None:
            hear(received)

    loop.add_reader(sock, read)
    try:
        yield
    finally:
        loop.remove_reader(sock)
