"""Which ports the box is reached at: one table, made of what the services are configured with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from lanjami.config import Config
from lanjami.discovery import wire
from lanjami.network import dhcp_wire, dns_wire, ntp_wire

HTTPS_PORT = 443
MDNS_PORT = 5353  # RFC 6762
MDNS_GROUPS = ("224.0.0.251", "ff02::fb")

Protocol = Literal["udp", "tcp", "igmp", "mld"]


@dataclass(frozen=True, slots=True)
class Opening:
    """What a service has to be sent: UDP or TCP ports, `first` to `last`, or, with no port, the
    questions of switches who is in which multicast group.

    `groups` are those that it hears and speaks to; `is_mapped` says that it also serves through
    a router that maps ports, and needs one to. A relay does not: it tells clients the address that
    the box has. `interface` is where it serves, empty for everywhere.
    """

    service: str
    protocol: Protocol
    first: int = 0
    last: int = 0
    groups: tuple[str, ...] = ()
    is_mapped: bool = False
    interface: str = ""

    @property
    def ports(self) -> str:
        """`4222` or `61001-61499`."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def openings(config: Config, *, http: Sequence[int] | None = None) -> list[Opening]:
    """All of them, whether the service runs now or not; `http` are those of http.ports that are
    meant, where not all are: the server has the first of them that is free."""
    return [*_dht(config), *_http(config, http), *_discovery(), *_turn(config), *_network(config)]


def _dht(config: Config) -> Iterator[Opening]:
    for port in config.dht.ports(config.dht.engines).values():
        yield Opening("dht", "udp", port, port, is_mapped=True)


def _http(config: Config, meant: Sequence[int] | None) -> Iterator[Opening]:
    ports = config.http.ports if meant is None else meant
    for port in dict.fromkeys((*ports, *config.proxy_ports)):
        yield Opening("http", "tcp", port, port, is_mapped=True)


def _discovery() -> Iterator[Opening]:
    groups = (str(wire.GROUP_V4), str(wire.GROUP_V6))
    for service, port, heard in (
        ("discovery", wire.PORT, groups),
        ("mdns", MDNS_PORT, MDNS_GROUPS),
    ):
        yield Opening(service, "udp", port, port, groups=heard)
    yield Opening("groups", "igmp")
    yield Opening("groups", "mld")


def _turn(config: Config) -> Iterator[Opening]:
    turn = config.turn
    if not turn.serve:
        return
    for protocol in _BOTH:
        yield Opening("turn", protocol, turn.port, turn.port)
        if turn.certificate:
            yield Opening("turn", protocol, turn.tls_port, turn.tls_port)
        yield Opening("relays", protocol, *turn.relays)


def _network(config: Config) -> Iterator[Opening]:
    for interface in config.serving("dns"):
        for protocol in _BOTH:
            yield Opening("dns", protocol, dns_wire.PORT, dns_wire.PORT, interface=interface)
        # where the box refuses at once, if nobody keeps it from that
        yield Opening("refused", "tcp", HTTPS_PORT, HTTPS_PORT, interface=interface)
    for interface in config.serving("dhcp"):
        port = dhcp_wire.SERVER_PORT
        yield Opening("dhcp", "udp", port, port, interface=interface)
    for interface in config.serving("ntp"):
        yield Opening("ntp", "udp", ntp_wire.PORT, ntp_wire.PORT, interface=interface)


_BOTH: Sequence[Literal["udp", "tcp"]] = ("udp", "tcp")
