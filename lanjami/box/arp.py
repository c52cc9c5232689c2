"""Who else has the address of the box's network on a cable, or is about to take it.

Two boxes on a switch without a router, powered at once, wait equally long for somebody who gives
addresses, and then would give the same ones. So a box asks for its address by ARP before it takes
it, and from then on (RFC 5227). Both decide alike who leaves it to the other: by the hardware
addresses.
"""

import math
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from lanjami.errors import WireError

ETHERTYPE = 0x0806
HEARD_S = 15.0  # how long it holds that somebody was heard: three questions of a box in its role
# How long the network hears of another one before it gives way: that one may be giving way itself,
# as it does where a cable is plugged in and a lease comes at once.
SURE_S = 3.0

# RFC 826
_PACKET = struct.Struct("!HHBBH 6s4s 6s4s")
_KIND = (1, 0x0800, 6, 4)  # Ethernet and IPv4, and how long their addresses are
_REQUEST = 1
_NOBODY = IPv4Address(0)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a machine of hardware address `mac` (6 bytes) says: that `sender` is its address, or,
    where that is 0.0.0.0, that it would take `target` (or, not told apart, asks as we do)."""

    mac: bytes
    sender: IPv4Address
    target: IPv4Address


def probe(address: IPv4Address, *, mac: bytes) -> bytes:
    """The question of who has an address, by which nobody comes to believe that we have it: an
    "ARP Probe" (RFC 5227, 1.1)."""
    return _PACKET.pack(*_KIND, _REQUEST, mac, _NOBODY.packed, bytes(6), address.packed)


def read(packet: bytes) -> Heard:
    """An ARP packet, without the head of its frame; WireError where it is none of IPv4."""
    if len(packet) < _PACKET.size:
        raise WireError("an ARP packet that is too short")
    *kind, _, mac, sender, _, target = _PACKET.unpack_from(packet)
    if tuple(kind) != _KIND:
        raise WireError("ARP for another kind of network")
    return Heard(mac, IPv4Address(sender), IPv4Address(target))


class Rivals:
    """What was heard of others about `address`, on a cable where the box has the hardware address
    `mac`. Every `now` is of one clock that never goes back, in seconds."""

    def __init__(self, address: IPv4Address, mac: bytes, *, now: float) -> None:
        self.address = address
        self.mac = mac
        self._held_until = self._wanted_first_until = now
        self._held_first_since = self._held_first_at = -math.inf

    def hear(self, heard: Heard, *, now: float) -> None:
        is_first = heard.mac < self.mac
        if heard.sender == self.address:
            self._held_until = now + HEARD_S
            if is_first:
                if not self.is_in_doubt(now=now):
                    self._held_first_since = now
                self._held_first_at = now
        elif heard.sender == _NOBODY and heard.target == self.address and is_first:
            self._wanted_first_until = now + HEARD_S

    def is_in_doubt(self, *, now: float) -> bool:
        """Whether somebody who would come first was heard to have the address lately."""
        return now < self._held_first_at + HEARD_S

    def come_first(self, *, is_network: bool, now: float) -> bool:
        """Whether the address is to be left to one of them: of two that have it, or of two that
        want it, to the one with the lower hardware address; else to who has it."""
        if is_network:
            heard_for_s = self._held_first_at - self._held_first_since
            return self.is_in_doubt(now=now) and heard_for_s >= SURE_S
        return now < max(self._held_until, self._wanted_first_until)
