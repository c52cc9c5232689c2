"""The one question of DHCP that the box asks: who hands out addresses here? (RFC 2131, RFC 2132)"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from lanjami.errors import WireError

SERVER_PORT, CLIENT_PORT = 67, 68

_HEAD = struct.Struct("!4B I HH 4s4s4s4s 16s 64s 128s 4s")
_REQUEST, _REPLY, _ETHERNET = 1, 2, 1
_COOKIE = b"\x63\x82\x53\x63"
_BROADCAST = 0x8000  # the answer is to come by broadcast: we do not have the address it offers
_PAD, _MESSAGE_TYPE, _SERVER, _END = 0, 53, 54, 255
_DISCOVER, _OFFER = 1, 2
_SHORTEST = 300  # bytes; some servers drop a shorter one, as BOOTP's always had so many


@dataclass(frozen=True, slots=True)
class Offer:
    """An address that a server would give."""

    server: IPv4Address
    address: IPv4Address


def discover(*, mac: bytes, transaction: int) -> bytes:
    """A DHCPDISCOVER of the station `mac` (6 bytes)."""
    head = _HEAD.pack(
        *(_REQUEST, _ETHERNET, len(mac), 0, transaction, 0, _BROADCAST),
        *(b"", b"", b"", b"", mac, b"", b"", _COOKIE),
    )
    return (head + bytes((_MESSAGE_TYPE, 1, _DISCOVER, _END))).ljust(_SHORTEST, b"\0")


def read_offer(datagram: bytes, *, mac: bytes, transaction: int) -> Offer | None:
    """The offer in a datagram; None for what is no offer to us. Raises WireError for nonsense."""
    if len(datagram) < _HEAD.size:
        raise WireError("a DHCP message that is too short")
    kind, _, _, _, its_transaction, _, _, _, given, _, _, its_mac, _, _, cookie = _HEAD.unpack_from(
        datagram
    )
    if cookie != _COOKIE:
        raise WireError("BOOTP, not DHCP")
    if kind != _REPLY or its_transaction != transaction or its_mac[: len(mac)] != mac:
        return None
    options = _options(datagram[_HEAD.size :])
    if options.get(_MESSAGE_TYPE) != bytes((_OFFER,)):
        return None
    server = options.get(_SERVER, b"")
    if len(server) != 4:
        raise WireError("a DHCP offer that does not say whose it is")
    return Offer(IPv4Address(server), IPv4Address(given))


def _options(field: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(field) and field[at] != _END:
        if field[at] == _PAD:
            at += 1
            continue
        if at + 2 > len(field) or at + 2 + field[at + 1] > len(field):
            raise WireError("a DHCP option that is cut off")
        content = field[at + 2 : at + 2 + field[at + 1]]
        found.setdefault(field[at], content)
        at += 2 + len(content)
    return found
