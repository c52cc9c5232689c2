"""Checks of the local networks: addresses, routes, ports, firewall, and who else is there."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from lanjami.discovery import wire
from lanjami.doctor.finding import Finding, fault, note, skipped, well
from lanjami.firewall.openings import Opening
from lanjami.lan import Interface, Ip, is_local
from lanjami.network.dhcp_wire import Offer

_MOST_TOLD = 8
_BEHIND = "clients whose machine has none, too, hear no discovery"


@dataclass(frozen=True, slots=True)
class Route:
    """A route of IPv4: where to, by which interface, and through whom; None for neighbours."""

    network: IPv4Network
    interface: str
    gateway: IPv4Address | None


@dataclass(frozen=True, slots=True)
class Held:
    """Who has a port: `owner` is "command (process N)", empty where only root could know;
    `is_ours` says that it is the box."""

    protocol: str
    port: int
    owner: str
    is_ours: bool


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back of questions on one interface, in one family.

    `group` and `broadcast` say that our own question was heard there, None that there is no such
    address; `by_group` and `by_broadcast` have who answered each, with the node they tell of.
    """

    interface: str
    version: int
    group: bool
    broadcast: bool | None
    by_group: tuple[tuple[Ip, wire.Beacon], ...] = ()
    by_broadcast: tuple[tuple[Ip, wire.Beacon], ...] = ()


def parse_routes(text: str) -> list[Route]:
    """The routes that are up in /proc/net/route (Linux net/ipv4/fib_trie.c, fib_route_seq_show);
    what is no route is passed over."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8 or not int(fields[3], 16) & _RTF_UP or int(fields[3], 16) & _RTF_REJECT:
            continue
        target, gateway, mask = (_address(fields[at]) for at in (1, 2, 7))
        network = IPv4Network((int(target), int(mask).bit_count()))
        found.append(Route(network, fields[0], gateway if int(gateway) else None))
    return found


_RTF_UP, _RTF_REJECT = 0x1, 0x200  # Linux include/uapi/linux/route.h


def _address(text: str) -> IPv4Address:
    return IPv4Address(int(text, 16).to_bytes(4, "little"))


def addresses(interfaces: Sequence[Interface]) -> Finding:
    """Whether each LAN can be served from an address that others reach."""
    if not interfaces:
        return fault(
            "addresses",
            "no interface is up with an address: nobody can reach the box",
            "plug in the cable or join the Wi-Fi; `ip address` shows what there is, and "
            "discovery.ignored_interfaces what is left alone",
        )
    homeless = [i.name for i in interfaces if not any(_is_given(a.ip) for a in i.addresses)]
    if homeless:
        return fault(
            "addresses",
            f"{_list(homeless)} has only an address that it gave itself: nobody hands out "
            "addresses there",
            "start the router of that LAN, give the interface a fixed address, or have the box "
            f"be the network: [network.{homeless[0]}] with an address",
        )
    shown = "; ".join(
        f"{i.name} {', '.join(str(a.at) for a in i.addresses if _is_given(a.ip))}"
        for i in interfaces
    )
    return well("addresses", shown)


def _is_given(ip: Ip) -> bool:
    return not ip.is_link_local


def default_route(
    interfaces: Sequence[Interface], routes: Sequence[Route] | None, *, handing_out: Collection[str]
) -> Finding:
    """Whether IPv4 multicast has a way on each LAN; `handing_out` are the interfaces whose clients
    have a route from the box itself."""
    name = "default-route"
    if routes is None:
        return skipped(name, "routes are only looked at on Linux")
    guests = [i for i in interfaces if i.name not in handing_out and _has_v4(i)]
    covered = {route.interface for route in routes if wire.GROUP_V4 in route.network}
    if guests and not covered:
        return fault(
            name,
            f"this machine has no default route, so none was handed out on {_names(guests)}: "
            f"{_BEHIND}",
            "have the router of the LAN switched on (it need not reach the Internet), or type the "
            "box's address into Jami, which needs no route",
        )
    without = [i.name for i in guests if i.name not in covered]
    told = f"by {_list(sorted(covered))}" if covered else "clients have one from the box"
    if without:
        return well(name, f"{told}; {_list(without)} has none of its own")
    return well(name, told)


def internet(routes: Sequence[Route] | None, upstream: Sequence[str], answering: str) -> Finding:
    """Whether the Internet may be reached, by what is set up here: nothing is sent there.
    `answering` is what the service says that asks the upstream servers, where there is one."""
    judged = "judged by routes and settings, as the box sends nothing out"
    if routes is None:
        return skipped("internet", "routes are only looked at on Linux")
    gateways = [r.gateway for r in routes if r.network.prefixlen == 0 and r.gateway is not None]
    way = f"a way out through {_list(map(str, gateways))}" if gateways else "no way out"
    asked = f"; upstream DNS {_list(upstream)}: {answering}" if upstream and answering else ""
    return note("internet", f"{way}{asked} ({judged})")


def http_ports(
    configured: Sequence[int], held: Collection[Held], *, served: int | None
) -> Sequence[int]:
    """Those of http.ports that the box has to have: up to the one that is `served` or, where it
    does not run, that it would serve, which is the last."""
    foreign = {h.port for h in held if h.protocol == "tcp" and not h.is_ours}
    free = (at for at, port in enumerate(configured) if port == served or port not in foreign)
    last = configured.index(served) if served in configured else next(free, 0)
    return configured[: last + 1]


def ports(held: Collection[Held], wanted: Sequence[Opening]) -> Finding:
    """Whether another program has a port of ours. Of a range, others may have some."""
    places = [o for o in wanted if o.first]
    foreign = {o: [h for h in held if not h.is_ours and _is_of(h, o)] for o in places}
    taken = [h for o, found in foreign.items() if len(found) >= _size(o) for h in found]
    if taken:
        named = dict.fromkeys(
            f"{h.protocol.upper()} {h.port} by {h.owner or 'a program that only root can see'}"
            for h in taken
        )
        return fault(
            "ports",
            f"taken by others: {'; '.join(list(named)[:_MOST_TOLD])}",
            "stop that program, or give the box another port (dht.port, http.ports, turn.port)",
        )
    own = dict.fromkeys(o.ports for o in places if any(h.is_ours and _is_of(h, o) for h in held))
    free = dict.fromkeys(o.ports for o in places if o.ports not in own)
    theirs = len({h for found in foreign.values() for h in found})
    told = [
        *([f"{_list(own)}: the box's own"] if own else []),
        *([f"{_list(free)}: free"] if free else []),
        *([f"{theirs} of the relays' are others'"] if theirs else []),
    ]
    return well("ports", "; ".join(told))


def _is_of(held: Held, opening: Opening) -> bool:
    return opening.protocol == held.protocol and opening.first <= held.port <= opening.last


def _size(opening: Opening) -> int:
    return opening.last - opening.first + 1


def multicast(heard: Sequence[Heard]) -> Finding:
    """Whether what is sent to discovery's groups comes back on each interface."""
    mute = [f"{h.interface} (IPv{h.version})" for h in heard if not h.group]
    if mute:
        return fault(
            "multicast",
            f"what this machine sends to discovery's group is not heard back on {_list(mute)}: "
            "clients are not found and do not find the box",
            "look for a firewall here that drops 239.192.0.1 or ff08::101, and for "
            "`ip link set IF multicast on`",
        )
    return _heard_on("multicast", heard)


def broadcast(heard: Sequence[Heard]) -> Finding:
    """Whether what is broadcast comes back on each interface."""
    mute = [h.interface for h in heard if h.broadcast is False]
    if mute:
        return fault(
            "broadcast",
            f"what this machine broadcasts is not heard back on {_list(mute)}: clients behind "
            "access points that drop multicast do not find the box",
            "look for a firewall here that drops broadcasts (UDP 8888)",
        )
    return _heard_on("broadcast", [h for h in heard if h.broadcast is not None])


def _heard_on(name: str, heard: Sequence[Heard]) -> Finding:
    if not heard:
        return skipped(name, "there is no LAN to try it on")
    return well(name, f"heard back on {_list(dict.fromkeys(h.interface for h in heard))}")


def discovery(heard: Sequence[Heard], nodes: Collection[bytes]) -> Finding:
    """Whether the box, whose DHT nodes have the ids `nodes`, answers questions on each LAN."""
    if not heard:
        return skipped("discovery", "there is no LAN to try it on")
    # without a question that was heard, there is nothing to answer
    silent = [
        f"{h.interface} (IPv{h.version})"
        for h in heard
        if (h.group or h.broadcast)
        and not any(beacon.node_id in nodes for _, beacon in h.by_group + h.by_broadcast)
    ]
    if silent:
        return fault(
            "discovery",
            f"the box does not answer who looks for it on {_list(silent)}",
            "see `lanjami status` for the services discovery and dhtnode",
        )
    return well("discovery", f"answers on {_list(dict.fromkeys(h.interface for h in heard))}")


def other_dhcp(
    offers: Mapping[str, Sequence[Offer] | str],
    *,
    own: Collection[Ip],
    handing_out: Collection[str],
    is_root: bool,
) -> Finding:
    """Whether two servers hand out addresses on a LAN; in `offers` by interface those of all
    servers, or why nobody could be asked."""
    name = "other-dhcp"
    unasked = [f"{at} ({why})" for at, why in offers.items() if isinstance(why, str)]
    quiet = []
    for interface, found in offers.items():
        others = sorted({offer.server for offer in found if isinstance(offer, Offer)} - set(own))
        hands_out = interface in handing_out
        if others and (hands_out or len(others) > 1):
            whose = "and the box is to, too" if hands_out else "each for itself"
            return fault(
                name,
                f"{_list(map(str, others))} hand{'s' * (len(others) == 1)} out addresses on "
                f"{interface}, {whose}: clients have addresses, name servers and routes by chance",
                "switch DHCP off in all but one of them, or take dhcp out of "
                f"network.{interface}.serve",
            )
        if others:
            quiet.append(f"{others[0]} on {interface}")
    told = f"addresses are handed out by {_list(quiet)}" if quiet else "no other server"
    if unasked:
        elsewhere = f"; elsewhere, {told}" if len(unasked) < len(offers) else ""
        return skipped(
            name,
            f"nobody could be asked for an address on {_list(unasked)}{elsewhere}",
            "stop what has UDP port 68 for a moment" if is_root else "run it as root",
        )
    return well(name, told)


def others(
    heard: Sequence[Heard], *, nodes: Collection[bytes], own: Collection[Ip]
) -> dict[Ip, set[int]]:
    """The other machines that have DHT nodes, by address, and the ports of those."""
    found: dict[Ip, set[int]] = {}
    for each in heard:
        for ip, beacon in each.by_group + each.by_broadcast:
            if ip not in own and beacon.node_id not in nodes and beacon.network == 0:
                found.setdefault(ip, set()).add(beacon.port)
    return found


def other_boxes(
    others: Mapping[Ip, Collection[int]], name_servers: Collection[Ip], *, usual_port: int
) -> list[Finding]:
    """Who else is a bootstrap or a name server here. Jami itself publishes its node as a
    bootstrap does; only who has the bootstrap's usual port is taken for one."""
    found = []
    bootstraps = [str(ip) for ip, ports in others.items() if usual_port in ports]
    if bootstraps:
        found.append(
            note(
                "other-bootstrap",
                f"{_list(bootstraps)} is a bootstrap, too: clients of both meet, as they join",
            )
        )
    else:
        found.append(well("other-bootstrap", "none was heard"))
    if name_servers:
        found.append(
            fault(
                "other-names",
                f"{_list(map(str, name_servers))} is a name server, too: a name that is taken "
                "there is unknown here, and may be somebody else's",
                "let one box of the LAN have the names: set it in all clients, and copy the names "
                "of the other by `lanjami names export` and `import`",
            )
        )
    else:
        found.append(well("other-names", "none was heard"))
    return found


def public_dht(
    told: Mapping[str, Collection[Ip]] | None, interfaces: Sequence[Interface]
) -> Finding:
    """Whether the DHT nodes tell of nodes in the Internet; by engine, whom each told of."""
    if told is None:
        return skipped("public-dht", "no DHT node could be asked")
    own = [address for interface in interfaces for address in interface.addresses]
    foreign = sorted({str(ip) for every in told.values() for ip in every if not is_local(ip, own)})
    if foreign:
        return fault(
            "public-dht",
            f"the DHT has nodes that are not of the local networks, such as {foreign[0]}: what "
            "people here store may be kept there",
            "set dht.routed = false, or have a firewall keep UDP 4222 and 4223 from leaving; a "
            "client with a way to the Internet brings such nodes",
        )
    return well("public-dht", "no node outside of the local networks is told of")


def firewall(blocked: Sequence[tuple[str, Opening]] | str) -> Finding:
    """Whether rules here drop what comes to a port of ours; `blocked` by interface, or why the
    rules could not be read."""
    if isinstance(blocked, str):
        return skipped("firewall", f"the rules could not be read: {blocked}", "run it as root")
    if blocked:
        told = _list(
            dict.fromkeys(
                f"{o.protocol.upper()} {o.ports} on {interface} ({o.service})"
                for interface, o in blocked
            )
        )
        return fault(
            "firewall",
            f"this machine's firewall drops {told}",
            "let it in: `lanjami firewall show --format ufw` (or firewalld, iptables, nftables) "
            "prints the rules",
        )
    return well("firewall", "no rule was found that drops what comes to the box's ports")


def _has_v4(interface: Interface) -> bool:
    return any(address.ip.version == 4 for address in interface.addresses)


def _names(interfaces: Iterable[Interface]) -> str:
    return _list(interface.name for interface in interfaces)


def _list(words: Iterable[str]) -> str:
    return ", ".join(words)
