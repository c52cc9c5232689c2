"""The openings as each firewall's own rules, and the guard that keeps relays in."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from lanjami.config import Turn
from lanjami.firewall.openings import Opening
from lanjami.lan import host_port

TABLE = "inet lanjami"
MARK = "lanjami"  # at the start of the comment of each rule that is in somebody else's chain


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of nftables, by family, table and name."""

    family: str
    table: str
    name: str

    def __str__(self) -> str:
        return f"{self.family} {self.table} {self.name}"


def guard(turn: Turn) -> str:
    """nftables' table of our own: what a relay's port sends to another port of this machine, or to
    a port of a system's service (RFC 6335, 6) anywhere, goes to where it is counted, and nowhere
    else.

    What stays in this machine leaves by loopback. It works beside any other firewall: what one
    table has led elsewhere, another does not lead back.
    """
    first, last = turn.relays
    relay = f"meta l4proto {{ tcp, udp }} th sport {first}-{last}"
    caught = f"counter redirect to :{turn.catch_port}"
    return "\n".join(
        [
            f"table {TABLE} {{",
            "    chain relays {",
            "        type nat hook output priority -100; policy accept;",
            f'        oifname "lo" {relay} th dport != {turn.catch_port}-{last} {caught}',
            f"        {relay} th dport 0-1023 {caught}",
            "    }",
            "}",
            "",
        ]
    )


def replacement(turn: Turn) -> str:
    """The commands that put the guard in the place of an earlier one, in one step."""
    return f"table {TABLE}\ndelete table {TABLE}\n{guard(turn) if turn.serve else ''}"


def nft_rules(openings: Iterable[Opening], interfaces: Sequence[str], chain: Chain) -> list[str]:
    """Commands that put the openings at the head of an input chain of nftables."""
    return [
        f"insert rule {chain} {rule}" for rule in reversed([*_nft(openings, interfaces, chain)])
    ]


def _nft(openings: Iterable[Opening], interfaces: Sequence[str], chain: Chain) -> Iterator[str]:
    for (service, protocol, interface), found in groupby(openings, key=_place):
        match protocol:
            case "igmp" if chain.family != "ip6":
                what = "ip protocol igmp" if chain.family == "inet" else "meta l4proto igmp"
            case "mld" if chain.family != "ip":
                what = "icmpv6 type mld-listener-query"
            case "udp" | "tcp":
                what = f"{protocol} dport {{ {', '.join(o.ports for o in found)} }}"
            case _:
                continue
        yield f'{_nft_interfaces(interface, interfaces)}{what} accept comment "{MARK} {service}"'


def _nft_interfaces(own: str, interfaces: Sequence[str]) -> str:
    names = ", ".join(f'"{name}"' for name in ([own] if own else interfaces))
    return f"iifname {{ {names} }} " if names else ""


def nftables(openings: Sequence[Opening], interfaces: Sequence[str], turn: Turn) -> str:
    chain = Chain("inet", "filter", "input")
    return _text(
        [
            f"# For your own input chain, which is called {chain} here.",
            *nft_rules(openings, interfaces, chain),
            "",
            "# A table of its own, as `--apply` makes it.",
            replacement(turn),
        ]
    )


def iptables(openings: Sequence[Opening], interfaces: Sequence[str], turn: Turn) -> str:
    return _iptables(openings, interfaces, skipped="mld")


def ip6tables(openings: Sequence[Opening], interfaces: Sequence[str], turn: Turn) -> str:
    return _iptables(openings, interfaces, skipped="igmp")


def _iptables(openings: Iterable[Opening], interfaces: Sequence[str], *, skipped: str) -> str:
    rules = [
        "-I INPUT "
        + (f"-i {name} " if name else "")
        + _match(opening)
        + f' -m comment --comment "{MARK} {opening.service}" -j ACCEPT'
        for opening in openings
        if opening.protocol != skipped
        for name in ([opening.interface] if opening.interface else interfaces or [""])
    ]
    return _text(
        [
            f"# {'ip' if skipped == 'mld' else 'ip6'}tables-restore --noflush",
            "*filter",
            *reversed(rules),
            "COMMIT",
        ]
    )


def _match(opening: Opening) -> str:
    match opening.protocol:
        case "igmp":
            return "-p igmp"
        case "mld":
            return "-p icmpv6 --icmpv6-type 130"  # a query, RFC 3810
        case protocol:
            return f"-p {protocol} --dport {opening.ports.replace('-', ':')}"


def ufw(openings: Sequence[Opening], interfaces: Sequence[str], turn: Turn) -> str:
    """Its rules cannot say MLD, and need not: it lets ICMPv6 of the link in by itself."""
    return _text(
        " ".join(
            [
                "ufw allow in",
                *([f"on {name}"] if name else []),
                *_ufw_match(opening),
                f"comment '{MARK} {opening.service}'",
            ]
        )
        for opening in openings
        if opening.protocol != "mld"
        for name in ([opening.interface] if opening.interface else interfaces or [""])
    )


def _ufw_match(opening: Opening) -> list[str]:
    if opening.protocol == "igmp":
        return ["proto igmp from any to any"]
    return [f"proto {opening.protocol} from any to any port {opening.ports.replace('-', ':')}"]


def firewalld(openings: Sequence[Opening], interfaces: Sequence[str], turn: Turn) -> str:
    """A service of the name `lanjami` in the zone of each interface; MLD it lets in by itself."""
    command = "firewall-cmd --permanent"
    return _text(
        [
            f"{command} --new-service={MARK}",
            *(
                f"{command} --service={MARK} "
                + (
                    "--add-protocol=igmp"
                    if opening.protocol == "igmp"
                    else f"--add-port={opening.ports}/{opening.protocol}"
                )
                for opening in openings
                if opening.protocol != "mld"
            ),
            *(
                f'{command} --zone="$(firewall-cmd --get-zone-of-interface={shlex.quote(name)} '
                f'|| firewall-cmd --get-default-zone)" --add-service={MARK}'
                for name in interfaces
            ),
            *([] if interfaces else [f"{command} --add-service={MARK}"]),
            "firewall-cmd --reload",
        ]
    )


FORMATS: Mapping[str, Callable[[Sequence[Opening], Sequence[str], Turn], str]] = {
    "nftables": nftables,
    "iptables": iptables,
    "ip6tables": ip6tables,
    "ufw": ufw,
    "firewalld": firewalld,
}


def mappings(openings: Iterable[Opening], address: str) -> list[str]:
    """What a router in front of the box has to pass to it, for clients on the router's other
    side; a line for each port."""
    return [
        f"{opening.protocol.upper()} {opening.ports} to {host_port(address, opening.first)}"
        f"  ({opening.service})"
        for opening in openings
        if opening.is_mapped
    ]


def _place(opening: Opening) -> tuple[str, str, str]:
    return opening.service, opening.protocol, opening.interface


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"
