"""What the box says of itself by mDNS (RFC 6762) and DNS-SD (RFC 6763)."""

from collections.abc import Iterator
from dataclasses import dataclass

from lanjami.lan import Ip, http_url

HOSTS_TRIED = 99


@dataclass(frozen=True, slots=True)
class Facts:
    """What is to be advertised; a port is None while its service is down."""

    version: str
    dht_port: int | None
    http_port: int | None


@dataclass(frozen=True, slots=True)
class Record:
    """A service: its type such as "_http._tcp", its port and its TXT properties."""

    type: str
    port: int
    properties: tuple[tuple[str, str], ...]


def records(facts: Facts, *, at: Ip) -> tuple[Record, ...]:
    """The services to advertise now, on the LAN where the box has the address `at`."""
    about = [("version", facts.version)]
    if facts.dht_port is not None:
        about.append(("dht", str(facts.dht_port)))
    if facts.http_port is not None:
        about.append(("ns", http_url(str(at), facts.http_port)))
    found = []
    if facts.dht_port is not None:
        found.append(Record("_opendht._udp", facts.dht_port, (("network", "0"),)))
    if facts.http_port is not None:
        found.append(Record("_http._tcp", facts.http_port, (("path", "/"),)))
    if found:
        port = facts.http_port or facts.dht_port or 0
        found.append(Record("_lanjami._tcp", port, tuple(about)))
    return tuple(found)


def hosts(base: str) -> Iterator[str]:
    """The names to try, best first: lanjami, lanjami-2, lanjami-3 …"""
    yield base
    for number in range(2, HOSTS_TRIED + 1):
        yield f"{base}-{number}"


def yields(own: frozenset[Ip], here: frozenset[Ip], theirs: frozenset[Ip]) -> bool:
    """Whether we give the name up where others also answer to it.

    `own` are all our addresses, `here` those on the LAN where `theirs` were heard. Of two boxes
    that took a name at the same time the one with the higher address keeps it, in the spirit of
    RFC 6762 section 8.2, so that exactly one of them moves. It goes by IPv4 where both have it:
    IPv6 link-local addresses are made of random bits.
    """
    strangers = theirs - own
    for version in (4, 6):
        ours = [int(ip) for ip in here if ip.version == version]
        others = [int(ip) for ip in strangers if ip.version == version]
        if ours and others:
            return max(ours) < max(others)
    return False
