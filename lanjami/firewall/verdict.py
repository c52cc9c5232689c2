"""What this machine's rules do with the first datagram or segment that a neighbour sends to a
port, judged from `nft --json list ruleset` (libnftables-json(5)).

iptables' rules of today, ufw's and firewalld's stand there, too. A condition that is not
understood may hold or not; only what is dropped in every case counts as blocked. So nothing is
called blocked that is not, and a strange rule may go unseen.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from lanjami.firewall.openings import Opening
from lanjami.firewall.rules import Chain
from lanjami.firewall.ruleset import objects
from lanjami.lan import Interface, Ip

_HOOKS = frozenset({"prerouting", "input"})
_DROPS = frozenset({"drop", "reject"})
_NO_CONDITION = frozenset({"counter", "log", "mangle", "quota", "notrack", "comment"})
_XT_TARGETS = {"REJECT": ("drop", ""), "DROP": ("drop", ""), "NFQUEUE": ("accept", "")}
_DEEPEST = 32  # chains that lead to chains

_IPS = (IPv4Address, IPv6Address)
_Maybe = bool | None  # None: it cannot be known
_Verdict = tuple[str, str]  # its kind, and the chain that it leads to
_ACCEPT: _Verdict = ("accept", "")


@dataclass(frozen=True, slots=True)
class Packet:
    """The first of a conversation, from a neighbour."""

    interface: str
    source: Ip
    target: Ip
    protocol: str
    port: int


def blocked(
    listing: str, openings: Sequence[Opening], interfaces: Sequence[Interface]
) -> list[tuple[str, Opening]]:
    """The openings, each with the interface, whose packets are dropped there for certain."""
    ruleset = _Ruleset(listing)
    return [
        (interface.name, opening)
        for interface in interfaces
        for opening in openings
        if opening.interface in ("", interface.name)
        and any(ruleset.drops(packet) for packet in _packets(opening, interface))
    ]


def _packets(opening: Opening, interface: Interface) -> Iterator[Packet]:
    if opening.protocol not in ("udp", "tcp"):
        return
    for address in interface.addresses:
        network = address.at.network
        if address.ip.version == 6 and not address.ip.is_link_local:
            continue  # judged by link-local, which every interface with IPv6 has
        if network.num_addresses < 4:
            continue
        neighbour = network[1] if address.ip != network[1] else network[2]
        groups = [ip for ip in map(ip_address, opening.groups) if ip.version == address.ip.version]
        for target in groups or [address.ip]:
            yield Packet(interface.name, neighbour, target, opening.protocol, opening.first)


class _Ruleset:
    def __init__(self, listing: str) -> None:
        self._rules: dict[Chain, list[list[Any]]] = {}
        self._bases: list[tuple[Chain, bool]] = []
        for kind, each in objects(listing):
            family, table = str(each.get("family")), str(each.get("table"))
            if kind == "chain" and each.get("hook") in _HOOKS and each.get("type") == "filter":
                chain = Chain(family, table, str(each.get("name")))
                self._bases.append((chain, each.get("policy") == "drop"))
            elif kind == "rule" and isinstance(each.get("expr"), list):
                chain = Chain(family, table, str(each.get("chain")))
                self._rules.setdefault(chain, []).append(each["expr"])

    def drops(self, packet: Packet) -> bool:
        """Whether one of the base chains drops it whatever holds."""
        families = ("inet", "ip" if packet.target.version == 4 else "ip6")
        for chain, by_policy in self._bases:
            if chain.family in families:
                at_the_end = "drop" if by_policy else "accept"
                outcomes = self._outcomes(chain, packet, _DEEPEST)
                if {at_the_end if each == "on" else each for each in outcomes} == {"drop"}:
                    return True
        return False

    def _outcomes(self, chain: Chain, packet: Packet, depth: int) -> set[str]:
        """What may become of a packet: "accept", "drop", or "on" where the chain ends."""
        found: set[str] = set()
        for expressions in self._rules.get(chain, []):
            holds, verdicts = _rule(expressions, packet)
            if holds is False or not verdicts:
                continue
            here = {
                outcome
                for verdict in verdicts
                for outcome in self._of_verdict(verdict, chain, packet, depth)
            }
            found |= here - {"next"}
            if holds and "next" not in here:
                return found
        return found | {"on"}

    def _of_verdict(self, verdict: _Verdict, chain: Chain, packet: Packet, depth: int) -> set[str]:
        """As above, and "next" where the next rule is looked at."""
        kind, to = verdict
        if kind not in ("jump", "goto"):
            return {"return": {"on"}, "accept": {"accept"}}.get(kind, {"drop"})
        if not depth:
            return {"accept"}
        inner = self._outcomes(Chain(chain.family, chain.table, to), packet, depth - 1)
        return inner if kind == "goto" else {"next" if each == "on" else each for each in inner}


def _rule(expressions: Sequence[Any], packet: Packet) -> tuple[_Maybe, list[_Verdict]]:
    """Whether a rule's conditions hold, and the verdicts, one of which it has then."""
    holds: _Maybe = True
    for each in expressions:
        if not isinstance(each, dict) or not each:
            holds = None
            continue
        kind, content = next(iter(each.items()))
        verdict = _verdict(kind, content)
        if verdict is not None:
            return holds, [verdict]
        if kind == "vmap":
            is_found, found = _mapped(content, packet)
            return (holds if is_found else is_found), found
        here = _holds(kind, content, packet)
        if here is False:
            return False, []
        holds = holds if here else None
    return holds, []


def _verdict(kind: str, content: Any) -> _Verdict | None:
    if kind in ("accept", "return", *_DROPS):
        return kind, ""
    if kind == "queue":  # to a program, which may accept
        return _ACCEPT
    if kind in ("jump", "goto") and isinstance(content, dict):
        return kind, str(content.get("target"))
    if kind == "xt" and isinstance(content, dict) and content.get("type") == "target":
        return _XT_TARGETS.get(str(content.get("name")))
    return None


def _mapped(content: Any, packet: Packet) -> tuple[_Maybe, list[_Verdict]]:
    """Whether a verdict map has a verdict for a packet, and those that it may have; one that is
    not understood may accept."""
    match content:
        case {"key": left, "data": {"set": list(pairs)}}:
            possible = []
            for pair in pairs:
                match pair:
                    case [right, dict(verdict)] if verdict:
                        is_it = _compare(left, right, packet)
                        told = _verdict(*next(iter(verdict.items()))) or _ACCEPT
                    case _:
                        is_it, told = None, _ACCEPT
                if is_it:
                    return True, [told]
                possible += [told] if is_it is None else []
            return (None if possible else False), possible
    return None, [_ACCEPT]


def _holds(kind: str, content: Any, packet: Packet) -> _Maybe:
    if kind in _NO_CONDITION:
        return True
    if kind == "xt" and isinstance(content, dict):
        if content.get("type") != "match":  # a target that only marks or logs
            return True
        # states that are not new, as everybody writes them; nft does not tell which
        return {"comment": True, "conntrack": False, "state": False}.get(str(content.get("name")))
    if kind == "match" and isinstance(content, dict):
        same = _compare(content.get("left"), content.get("right"), packet)
        if same is None or content.get("op") in ("==", "in"):
            return same
        return not same if content.get("op") == "!=" else None
    return None


def _compare(left: Any, right: Any, packet: Packet) -> _Maybe:
    """Whether what `left` names has the value `right`."""
    match left:
        case {"ct": {"key": "state"}}:
            return _is_among("new", right)
        case {"ct": {"key": "status"}}:
            return False  # of what was seen before
        case {"concat": list(parts)}:
            return _is_any(parts, right, packet)
    is_known, value = _value(left, packet)
    return _is_among(value, right) if is_known else None


def _is_any(parts: Sequence[Any], right: Any, packet: Packet) -> _Maybe:
    """Whether the values of several fields are one of the rows that a rule names."""
    match right:
        case {"set": list(rows)}:
            found = [_is_any(parts, row, packet) for row in rows]
            return True if True in found else None if None in found else False
        case {"concat": list(values)} if len(values) == len(parts):
            same = [_compare(*each, packet) for each in zip(parts, values, strict=True)]
            return False if False in same else None if None in same else True
    return None


def _value(left: Any, packet: Packet) -> tuple[bool, Any]:
    """Whether it is understood what `left` names, and what a packet has there; None where it has no
    such field."""
    match left:
        case {"meta": {"key": str(key)}}:
            fields = {
                "iifname": packet.interface,
                "iif": packet.interface,
                "l4proto": packet.protocol,
                "nfproto": f"ipv{packet.target.version}",
            }
            return key in fields, fields.get(key)
        case {"payload": {"protocol": "ip" | "ip6" as family, "field": str(field)}}:
            return _of_ip(family, field, packet)
        case {"payload": {"protocol": str(protocol), "field": str(field)}}:
            if protocol not in ("th", packet.protocol):
                return protocol in ("udp", "tcp", "icmp", "icmpv6", "igmp"), None
            return field == "dport", packet.port
    return False, None


def _of_ip(family: str, field: str, packet: Packet) -> tuple[bool, Any]:
    if family != ("ip" if packet.target.version == 4 else "ip6"):
        return True, None
    fields = {
        "saddr": packet.source,
        "daddr": packet.target,
        "protocol": packet.protocol,
        "nexthdr": packet.protocol,
    }
    return field in fields, fields.get(field)


def _is_among(value: Any, right: Any) -> _Maybe:
    """Whether a value is one of those that a rule names."""
    match right:
        case {"set": list(members)} | list(members):
            found = [_is_among(value, member) for member in members]
            return True if True in found else None if None in found else False
        case str(text) if text.startswith("@"):
            return None  # a set that stands elsewhere
        case _:
            return False if value is None else _is_one(value, right)


def _is_one(value: Any, right: Any) -> _Maybe:
    match right:
        case {"range": [first, last]}:
            return _is_between(value, first, last)
        case {"prefix": {"addr": str(addr), "len": int(length)}} if isinstance(value, _IPS):
            with suppress(ValueError):
                return value in ip_network(f"{addr}/{length}", strict=False)
        case str(text):
            return str(value).startswith(text[:-1]) if text.endswith("*") else str(value) == text
        case int(number):
            return bool(value == number)
    return None


def _is_between(value: Any, first: Any, last: Any) -> _Maybe:
    if isinstance(value, int) and isinstance(first, int) and isinstance(last, int):
        return first <= value <= last
    if isinstance(first, str) and isinstance(last, str) and isinstance(value, _IPS):
        with suppress(ValueError):
            low, high = ip_address(first), ip_address(last)
            return low.version == value.version and int(low) <= int(value) <= int(high)
    return None
