"""The configuration of dnsmasq, of a plan. Pure."""

from collections.abc import Iterator

from lanjami.network import connectivity
from lanjami.network.plan import Plan

# Those that a client with an unchanged account asks for and that need no certificate, and two that
# do: for these the box has no server on port 443, so that the client is refused at once, where a
# name or an address that does not answer costs it minutes.
JAMI_NAMES = (
    "bootstrap.jami.net",
    "dhtproxy.jami.net",
    "turn.jami.net",
    "ns.jami.net",
    "config.jami.net",
)
BOX_NAME = "lanjami.lan"

TTL_S = 60
LEASE_S = 12 * 3600
# Until a router comes: nobody tells clients that the box has given way, and with these addresses
# they reach neither. Half of it is left at any time, for a box that starts again.
PASSING_LEASE_S = 240
RA_EVERY_S = 60
_CACHE = 1000  # names


def render(plan: Plan, *, leases: str | None, user: str, group: str) -> str:
    """The whole configuration file; `leases` is the path of the list of leases, None where the box
    is the network only until a router comes, `user` and `group` who the program is and stays."""
    return "".join(f"{line}\n" for line in _lines(plan, leases, user, group))


def _lines(plan: Plan, leases: str | None, user: str, group: str) -> Iterator[str]:
    yield from (
        "keep-in-foreground",
        "log-facility=-",
        "pid-file=",
        f"user={user}",
        f"group={group}",
    )
    # nothing of this machine's own settings
    yield from ("no-resolv", "no-poll", "no-hosts")
    # that LAN and no other, whoever else serves on this machine
    yield from ("bind-interfaces", f"interface={plan.interface}", "except-interface=lo")
    yield from _dns(plan) if "dns" in plan.serves else ["port=0"]
    lease_s = PASSING_LEASE_S if leases is None else LEASE_S
    if "dhcp" in plan.serves:
        yield from _dhcp(plan, leases, lease_s)
    if "ra" in plan.serves:
        yield from _ra(plan, lease_s)
    if plan.serves & {"dhcp", "ra"}:
        yield from ("quiet-dhcp", "quiet-dhcp6", "quiet-ra")


def _dns(plan: Plan) -> Iterator[str]:
    yield f"cache-size={_CACHE}"
    yield f"local-ttl={TTL_S}"
    yield "domain-needed"
    yield "bogus-priv"
    own = [BOX_NAME, *(JAMI_NAMES if plan.jami_is_ours else ())]
    upstream = plan.upstream
    if upstream is None and plan.connectivity_checks:
        own += connectivity.HOSTS
        name, address = connectivity.WINDOWS_DNS_NAME, connectivity.WINDOWS_DNS_ADDRESS
        yield f"host-record={name},{address}"
    addresses = ",".join(map(str, plan.addresses))
    for name in own:
        # what the box has no record for is answered with none, and never asked of others
        yield f"local=/{name}/"
        yield f"host-record={name},{addresses}"
    yield "local=/lan/"
    # what nobody knows is answered at once
    yield "address=/#/" if upstream is None else f"server={upstream}"


def _dhcp(plan: Plan, leases: str | None, lease_s: int) -> Iterator[str]:
    assert plan.pool is not None
    assert plan.v4 is not None
    own = plan.v4.ip
    yield f"dhcp-range={plan.pool.first},{plan.pool.last},{plan.v4.netmask},{lease_s}"
    # short ones would have the list written, and a memory card worn, all the time
    yield "leasefile-ro" if leases is None else f"dhcp-leasefile={leases}"
    yield "dhcp-lease-max=4096"
    # a lease that a power cut took from the list is given again to whoever asks for it
    yield "dhcp-authoritative"
    # clients look for themselves whether an address is free (RFC 5227); for us it takes 3 s
    yield "no-ping"
    # discovery in clients needs a default route, even one that leads nowhere
    yield f"dhcp-option=option:router,{own}"
    yield f"dhcp-option=option:dns-server{f',{own}' if 'dns' in plan.serves else ''}"
    if "ntp" in plan.serves:
        yield f"dhcp-option=option:ntp-server,{own}"
    yield "domain=lan"


def _ra(plan: Plan, lease_s: int) -> Iterator[str]:
    assert plan.v6 is not None
    yield "enable-ra"
    prefix = plan.v6.network
    # for as long as that, too, clients have the network and ask the box for names
    yield f"dhcp-range={prefix.network_address},ra-only,{prefix.prefixlen},{lease_s}"
    # no router for IPv6: there is nowhere to go, and no client is to think so
    yield f"ra-param={plan.interface},{RA_EVERY_S},0"
    if "dns" not in plan.serves:
        yield "dhcp-option=option6:dns-server"
