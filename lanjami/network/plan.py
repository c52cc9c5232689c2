"""What the box is for the LAN on one interface: from settings and circumstances to a plan."""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from lanjami.config import Served
from lanjami.lan import Interface
from lanjami.network.outlook import Outlook

LARGEST_POOL = 4096  # addresses; beyond that the list of leases is slow to write
_KEPT_FREE = 20  # addresses at the start of a network, for what is set by hand
_ULA = 0xFD << 120  # RFC 4193, 3.1
SITE_LENGTH = 5  # bytes of a "global ID" there


@dataclass(frozen=True, slots=True)
class Pool:
    """Addresses to hand out, both ends included."""

    first: IPv4Address
    last: IPv4Address


@dataclass(frozen=True, slots=True)
class Plan:
    """What is served on an interface now: with equal plans, nothing has to be changed.

    `upstream` is the DNS server that knows other names, `jami_is_ours` whether clients find the box
    under Jami's own; `reasons` are sentences on what should be served, and is not.
    """

    interface: str
    serves: frozenset[Served]
    v4: IPv4Interface | None
    v6: IPv6Interface | None
    pool: Pool | None
    upstream: str | None
    jami_is_ours: bool
    connectivity_checks: bool
    reasons: tuple[str, ...] = ()

    @property
    def addresses(self) -> list[IPv4Address | IPv6Address]:
        """Those under which clients on that LAN find the box."""
        return [at.ip for at in (self.v4, self.v6) if at is not None]


def make(
    interface: Interface,
    wanted: Collection[Served],
    *,
    v4: IPv4Interface | None,
    ula: IPv6Interface,
    foreign: IPv4Address | None,
    outlook: Outlook,
    connectivity_checks: bool,
) -> Plan:
    """The plan for an interface that has addresses.

    `v4` is the address that it is to have, None for any; `foreign` a DHCP server that was heard
    there.
    """
    reasons = []
    has_v4 = _v4(interface, v4)
    has_v6 = _v6(interface, ula)
    serves = set(wanted)
    pool = None
    if "dhcp" in serves:
        pool = None if has_v4 is None else pool_of(has_v4)
        if foreign is not None:
            reasons.append(
                f"another DHCP server, {foreign}, answers on {interface.name}: this one is silent "
                "until that is gone"
            )
        elif has_v4 is None:
            reasons.append(
                f"{interface.name} has no IPv4 address of its own to hand out others from: set "
                f"network.{interface.name}.address"
            )
        elif pool is None:
            reasons.append(f"the network {has_v4.network} is too small to hand out addresses")
        if reasons:
            serves.discard("dhcp")
            pool = None
    if "ra" in serves and has_v6 != ula:
        serves.discard("ra")
        reasons.append(f"{interface.name} does not speak IPv6")
    return Plan(
        interface=interface.name,
        serves=frozenset(serves),
        v4=has_v4,
        v6=has_v6,
        pool=pool,
        upstream=outlook.upstream,
        jami_is_ours=outlook.jami_is_ours,
        connectivity_checks=connectivity_checks,
        reasons=tuple(reasons),
    )


def pool_of(at: IPv4Interface) -> Pool | None:
    """The addresses to hand out beside the box's own; None where there are too few.

    They are the longer part of the network before or behind the box's address, without the
    first twenty where there are many.
    """
    network = at.network
    start, end = int(network.network_address) + 1, int(network.broadcast_address) - 1
    if end - start >= 4 * _KEPT_FREE:
        start += _KEPT_FREE - 1
    own = int(at.ip)
    parts = [(start, end)] if not start <= own <= end else [(start, own - 1), (own + 1, end)]
    first, last = max(parts, key=lambda part: part[1] - part[0])
    if last <= first:
        return None
    return Pool(IPv4Address(first), IPv4Address(min(last, first + LARGEST_POOL - 1)))


def ula_of(site: bytes) -> IPv6Interface:
    """The box's address in an IPv6 network of its own, which `site`, random bytes that are chosen
    once, makes different from everybody else's (RFC 4193)."""
    prefix = _ULA | int.from_bytes(site) << 80
    return IPv6Interface((prefix | 1, 64))


def _v4(interface: Interface, wanted: IPv4Interface | None) -> IPv4Interface | None:
    found = [
        address.at
        for address in sorted(interface.addresses, key=lambda address: not address.preferred)
        if isinstance(address.at, IPv4Interface) and not address.ip.is_link_local
    ]
    if wanted is not None:
        return wanted if wanted in found else None
    return next(iter(found), None)


def _v6(interface: Interface, ula: IPv6Interface) -> IPv6Interface | None:
    found = [
        address.at
        for address in interface.addresses
        if isinstance(address.at, IPv6Interface) and not address.ip.is_link_local
    ]
    return ula if ula in found else next(iter(found), None)
