"""Asks on the cables, by ARP, who else has the box's address there, and hears who has (Linux)."""

import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Interface

from lanjami.box import arp
from lanjami.box.arp import Heard, Rivals
from lanjami.errors import HostError, WireError
from lanjami.runtime import log, net

_log = log.get(__name__)

ASK_EVERY_S = 5.0  # where the box is the network and alone; elsewhere at every look
_MOST = 1000  # packets at a look; the rest is for the next one
_LARGEST = 128  # bytes; ARP has 28, and a frame is filled up
_EVERYBODY = b"\xff" * 6


class Ear:
    """Listens while there is an address to ask about. While the machine lets it hear no ARP, of
    which it warns once, nobody comes first."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._rivals: dict[str, Rivals] = {}
        self._ask_at: dict[str, float] = {}
        self._is_deaf = False

    def look(
        self, wanted: Mapping[str, IPv4Interface], networks: Collection[str], now: float
    ) -> set[str]:
        """The cables on which the box has to leave its address to another machine.

        `wanted` are the addresses that it has or would take, `networks` the cables on which it is
        the network; `now` is of a clock that never goes back, in seconds.
        """
        macs = _hardware_addresses() if wanted else {}
        self._follow(wanted, macs, now=now)
        for name, heard in self._heard():
            # two cables of this machine may lead to one switch
            if name in self._rivals and heard.mac not in macs.values():
                self._rivals[name].hear(heard, now=now)
        for name, rivals in self._rivals.items():
            if name not in networks or rivals.is_in_doubt(now=now) or now >= self._ask_at[name]:
                self._ask(name, rivals)
                self._ask_at[name] = now + ASK_EVERY_S
        return {
            name
            for name, rivals in self._rivals.items()
            if rivals.come_first(is_network=name in networks, now=now)
        }

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _follow(
        self, wanted: Mapping[str, IPv4Interface], macs: Mapping[str, bytes], *, now: float
    ) -> None:
        before, self._rivals = self._rivals, {}
        for name in wanted.keys() & macs.keys():  # without a hardware address there is no ARP
            address, known = wanted[name].ip, before.get(name)
            if known is None or (known.address, known.mac) != (address, macs[name]):
                known = Rivals(address, macs[name], now=now)
                self._ask_at[name] = now
            self._rivals[name] = known
        if not self._rivals:
            self.close()
        elif self._socket is None:
            try:
                self._socket = _listener()
            except OSError as error:
                if not self._is_deaf:
                    _log.warning("no other box is heard on a cable", reason=error.strerror)
            self._is_deaf = self._socket is None

    def _heard(self) -> Iterator[tuple[str, Heard]]:
        """What was said since the last look, and on which interface."""
        if self._socket is None:
            return
        for _ in range(_MOST):
            try:
                packet, (name, *_) = self._socket.recvfrom(_LARGEST)
            except OSError:  # nothing more; or an interface went down, and nothing before that
                return
            with suppress(WireError):
                yield name, arp.read(packet)

    def _ask(self, name: str, rivals: Rivals) -> None:
        if self._socket is not None:
            question = arp.probe(rivals.address, mac=rivals.mac)
            with suppress(OSError):  # the cable was just pulled
                self._socket.sendto(question, (name, arp.ETHERTYPE, 0, 0, _EVERYBODY))


def _listener() -> socket.socket:
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    return socket.socket(socket.AF_PACKET, kind, socket.htons(arp.ETHERTYPE))


def _hardware_addresses() -> dict[str, bytes]:
    """Of this machine's interfaces, those that have one."""
    found = {}
    for name in net.names():
        with suppress(HostError):
            found[name] = net.hardware_address(name)
    return found
