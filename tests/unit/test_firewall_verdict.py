"""What rules do with the first packet of a neighbour, judged as the kernel would."""

import json
from ipaddress import ip_interface
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.firewall.openings import Opening
from lanjami.firewall.verdict import blocked
from lanjami.lan import Address, Interface

LAN = Interface(
    "eth0", 2, (Address(ip_interface("10.0.0.5/24")), Address(ip_interface("fe80::5/64")))
)
DHT = Opening("dht", "udp", 4222, 4222)
HTTP = Opening("http", "tcp", 80, 80)
DISCOVERY = Opening("discovery", "udp", 8888, 8888, groups=("239.192.0.1", "ff08::101"))

_PORT = {"payload": {"protocol": "udp", "field": "dport"}}


def _match(left: Any, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def _meta(key: str, right: Any, op: str = "==") -> dict[str, Any]:
    return _match({"meta": {"key": key}}, right, op)


def _vmap(key: Any, *pairs: Any) -> dict[str, Any]:
    """A map that stands in the rule, or elsewhere under a name."""
    named = len(pairs) == 1 and isinstance(pairs[0], str)
    return {"vmap": {"key": key, "data": pairs[0] if named else {"set": list(pairs)}}}


# As nftables' own examples have it: meta l4proto . th dport vmap { udp . 53 : accept, … }
_SERVICE = {
    "concat": [
        {"meta": {"key": "l4proto"}},
        {"payload": {"protocol": "th", "field": "dport"}},
    ]
}


def _both(protocol: str, port: Any) -> dict[str, Any]:
    return {"concat": [protocol, port]}


def _to(chain: str, how: str = "jump") -> dict[str, Any]:
    return {how: {"target": chain}}


ACCEPT: dict[str, Any] = {"accept": None}
DROP: dict[str, Any] = {"drop": None}
RETURN: dict[str, Any] = {"return": None}
REJECT = {"reject": {"type": "icmpx", "expr": "admin-prohibited"}}
XT_REJECT = {"xt": {"type": "target", "name": "REJECT"}}
XT_LOG = {"xt": {"type": "target", "name": "LOG"}}
XT_COMMENT = {"xt": {"type": "match", "name": "comment"}}
XT_CONNTRACK = {"xt": {"type": "match", "name": "conntrack"}}
XT_LIMIT = {"xt": {"type": "match", "name": "limit"}}
IS_DHT = _match(_PORT, 4222)


def _listing(
    *rules: list[dict[str, Any]],
    policy: str = "accept",
    hook: str = "input",
    family: str = "inet",
    **chains: list[list[dict[str, Any]]],
) -> str:
    def rule(chain: str, expressions: list[dict[str, Any]]) -> dict[str, Any]:
        place = {"family": family, "table": "filter", "chain": chain, "expr": expressions}
        return {"rule": place}

    base = {"family": family, "table": "filter", "name": "input", "type": "filter"}
    objects = [
        {"chain": {**base, "hook": hook, "policy": policy}},
        *(rule("input", expressions) for expressions in rules),
        *(rule(name, each) for name, every in chains.items() for each in every),
    ]
    return json.dumps({"nftables": [{"metainfo": {}}, *objects]})


def _is_blocked(listing: str, opening: Opening = DHT) -> bool:
    return blocked(listing, [opening], [LAN]) != []


@pytest.mark.parametrize(
    "rules",
    [
        [[IS_DHT, DROP]],
        [[IS_DHT, {"counter": {}}, REJECT]],
        [[IS_DHT, XT_COMMENT, XT_REJECT]],
        [[_match(_PORT, {"set": [80, {"range": [4000, 5000]}]}), DROP]],
        [[_match(_PORT, [80, 4222]), DROP]],
        [[_match(_PORT, 80, "!="), DROP]],
        [[_meta("iifname", "eth*"), DROP]],
        [[_meta("iifname", "lo"), ACCEPT], [DROP]],
        [[_match({"ct": {"key": "state"}}, ["established", "related"], "in"), ACCEPT], [DROP]],
        [[_match({"ct": {"key": "status"}}, "dnat", "in"), ACCEPT], [DROP]],
        [[XT_CONNTRACK, ACCEPT], [DROP]],
        [[_meta("l4proto", {"set": ["icmp", "icmpv6"]}), ACCEPT], [DROP]],
        [[XT_LIMIT, XT_LOG], [DROP]],
        [[_match({"payload": {"protocol": "th", "field": "dport"}}, 4222), DROP]],
        [
            [
                _match(
                    {"payload": {"protocol": "ip", "field": "saddr"}},
                    {"prefix": {"addr": "10.0.0.0", "len": 8}},
                ),
                DROP,
            ]
        ],
        [[{"vmap": {"key": _PORT, "data": {"set": [[4222, DROP]]}}}]],
        [[_vmap(_PORT, [80, ACCEPT], [4223, ACCEPT])], [DROP]],
        [[_vmap(_SERVICE, [_both("tcp", 4222), ACCEPT], [_both("udp", 80), ACCEPT])], [DROP]],
        [[_vmap(_SERVICE, [_both("udp", 4222), DROP])]],
        [[_match(_SERVICE, {"set": [_both("udp", 4222), _both("tcp", 80)]}), DROP]],
        [[_meta("iifname", "lo"), _vmap(_PORT, "@ports")], [DROP]],
    ],
)
def test_what_drops_the_port_blocks_it(rules: list[list[dict[str, Any]]]) -> None:
    assert _is_blocked(_listing(*rules))


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [[_match(_PORT, 4223), DROP]],
        [[IS_DHT, ACCEPT], [DROP]],
        [[IS_DHT, XT_COMMENT, ACCEPT], [DROP]],
        [[XT_LIMIT, ACCEPT], [DROP]],  # it may be let in
        [[_meta("iifname", "lo"), DROP]],
        [[_meta("iifname", "eth0", "!="), DROP]],
        [[_match({"payload": {"protocol": "tcp", "field": "dport"}}, 4222), DROP]],
        [[_match({"ct": {"key": "state"}}, "invalid", "in"), DROP]],
        [[_match(_PORT, "@allowed"), ACCEPT], [DROP]],
        [[{"unheard of": {}}, DROP]],
        [[XT_LIMIT, XT_LOG]],
        [[_vmap(_PORT, "@ports")], [DROP]],
        [[_vmap(_PORT, [80, DROP], [{"elem": {"val": 4222, "counter": {}}}, ACCEPT])], [DROP]],
        [[_vmap({"unheard of": {}}, [4222, ACCEPT])], [DROP]],
        [[_vmap(_SERVICE, [_both("udp", 4222), ACCEPT])], [DROP]],
        [[_vmap(_SERVICE, [_both("udp", "@ports"), ACCEPT])], [DROP]],
        [[XT_LIMIT, _vmap(_PORT, [4222, ACCEPT])], [DROP]],
        [["unheard of", ACCEPT], [DROP]],
        [[IS_DHT, {"queue": {"num": 0}}], [DROP]],
        [[IS_DHT, {"xt": {"type": "target", "name": "NFQUEUE"}}], [DROP]],
    ],
)
def test_what_may_pass_is_not_blocked(rules: list[list[dict[str, Any]]]) -> None:
    assert not _is_blocked(_listing(*rules))


def test_the_policy_decides_what_no_rule_does() -> None:
    assert _is_blocked(_listing(policy="drop"))
    assert not _is_blocked(_listing([IS_DHT, ACCEPT], policy="drop"))
    assert _is_blocked(_listing([_to("mine")], policy="drop", mine=[[IS_DHT, RETURN], [ACCEPT]]))


def test_chains_are_followed_and_come_back() -> None:
    assert _is_blocked(_listing([_to("mine")], mine=[[IS_DHT, DROP]]))
    assert _is_blocked(_listing([_to("mine")], [DROP], mine=[[_match(_PORT, 1), ACCEPT]]))
    assert not _is_blocked(_listing([_to("mine")], [DROP], mine=[[IS_DHT, ACCEPT]]))
    assert not _is_blocked(_listing([_to("mine", "goto")], [DROP], mine=[[RETURN]]))
    assert _is_blocked(_listing([XT_LIMIT, _to("mine")], [DROP], mine=[[_match(_PORT, 1), ACCEPT]]))
    assert not _is_blocked(_listing([_to("loop")], loop=[[_to("loop")]]))
    mapped = [_vmap(_PORT, [80, DROP], [4222, _to("mine")])]
    assert _is_blocked(_listing(mapped, mine=[[DROP]]))
    assert not _is_blocked(_listing(mapped, mine=[[RETURN]]))
    assert not _is_blocked(
        _listing([_vmap(_PORT, ["@some", _to("mine")])], [DROP], mine=[[ACCEPT]])
    )


def test_families_hooks_and_groups_are_told_apart() -> None:
    assert _is_blocked(_listing([DROP], family="ip6"))
    assert not _is_blocked(_listing([DROP], family="arp"))
    assert _is_blocked(_listing([DROP], hook="prerouting"))
    assert not _is_blocked(_listing([DROP], hook="output"))
    to_group = _match({"payload": {"protocol": "ip", "field": "daddr"}}, "239.192.0.1")
    assert _is_blocked(_listing([to_group, DROP]), DISCOVERY)
    assert not _is_blocked(_listing([to_group, DROP]), DHT)
    assert _is_blocked(_listing([IS_DHT, ACCEPT], [DROP]), HTTP)


def test_an_opening_of_another_interface_is_not_looked_at_here() -> None:
    elsewhere = Opening("dns", "udp", 53, 53, interface="eth1")
    assert not _is_blocked(_listing([DROP]), elsewhere)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["eth0", "@x", "tcp", "drop", "*"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "match",
                        "left",
                        "right",
                        "op",
                        "meta",
                        "key",
                        "payload",
                        "protocol",
                        "field",
                    ),
                    *(
                        "set",
                        "range",
                        "prefix",
                        "addr",
                        "len",
                        "vmap",
                        "data",
                        "jump",
                        "xt",
                        "accept",
                    ),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(_JSON, max_size=4))
def test_strange_rules_are_survived(expressions: list[Any]) -> None:
    blocked(_listing(expressions), [DHT, HTTP, DISCOVERY], [LAN])
