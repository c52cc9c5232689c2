"""The rules that let the box serve, and what is read of others'."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.config import Config, Dht, Http, Proxy, Turn, parse
from lanjami.discovery import wire
from lanjami.errors import HostError
from lanjami.firewall import rules, ruleset
from lanjami.firewall.openings import Opening, openings

CHAIN = rules.Chain("inet", "filter", "input")


def ports(config: Config, service: str) -> list[tuple[str, str]]:
    return [(o.protocol, o.ports) for o in openings(config) if o.service == service]


def test_the_ports_are_those_that_are_configured() -> None:
    assert ports(Config(), "dht") == [("udp", "4222"), ("udp", "4223")]
    assert ports(Config(dht=Dht(port=5000, engines=("python",))), "dht") == [("udp", "5000")]
    assert ports(Config(http=Http(ports=(8080,))), "http") == [("tcp", "8080")]
    met = openings(Config(), http=(8080,))
    assert [o.ports for o in met if o.service == "http"] == ["8080"]
    assert len(ports(Config(proxy=Proxy(default_ports=True)), "http")) == 17
    assert ports(Config(), "discovery") == [("udp", str(wire.PORT))]


def test_the_relay_has_its_ports_and_those_of_tls_only_with_a_certificate() -> None:
    assert ports(Config(), "turn") == [("udp", "3478"), ("tcp", "3478")]
    assert ports(Config(), "relays") == [("udp", "61001-61499"), ("tcp", "61001-61499")]
    secure = Config(turn=Turn(certificate="c", key="k"))
    assert ("tcp", "5349") in ports(secure, "turn")
    assert ports(Config(turn=Turn(serve=False)), "turn") == []


def test_the_port_that_catches_is_open_to_nobody() -> None:
    turn = Turn()
    assert all(not o.first <= turn.catch_port <= o.last for o in openings(Config(turn=turn)))


def test_where_the_box_is_the_network_it_is_reached_at_more_ports_there() -> None:
    config = parse('[network.lan7]\nserve = ["dns", "dhcp", "ntp"]')
    there = {(o.service, o.protocol, o.ports) for o in openings(config) if o.interface == "lan7"}
    assert there == {
        ("dns", "udp", "53"),
        ("dns", "tcp", "53"),
        ("refused", "tcp", "443"),
        ("dhcp", "udp", "67"),
        ("ntp", "udp", "123"),
    }
    assert {str(port) for port in range(80, 96)} <= {o.ports for o in openings(config)}


def test_a_service_of_one_interface_is_let_in_there_only() -> None:
    opened = [Opening("dns", "udp", 53, 53, interface="wlan0"), Opening("dht", "udp", 1, 1)]
    dht, dns = rules.nft_rules(opened, ["eth0", "wlan0"], CHAIN)
    assert 'iifname { "eth0", "wlan0" } udp dport { 1 } accept comment "lanjami dht"' in dht
    assert 'iifname { "wlan0" } udp dport { 53 } accept comment "lanjami dns"' in dns
    for form in ("iptables", "ip6tables", "ufw"):
        lines = rules.FORMATS[form](opened, ["eth0", "wlan0"], Turn()).splitlines()
        assert sum("wlan0" in line and "dns" in line for line in lines) == 1
        assert sum("dht" in line for line in lines) == 2
        assert not [line for line in lines if "eth0" in line and "dns" in line]


@pytest.mark.parametrize("form", rules.FORMATS)
def test_each_format_has_each_port(form: str) -> None:
    for names in ([], ["eth0"], ["eth0", "wlan0"]):
        text = rules.FORMATS[form](openings(Config()), names, Turn())
        for port in ("4222", "4223", "80", "8080", "8888", "5353", "3478"):
            assert port in text
        assert "61001-61499" in text or "61001:61499" in text


def test_chains_of_one_version_get_no_rules_of_the_other() -> None:
    v4 = rules.nft_rules(openings(Config()), [], rules.Chain("ip", "filter", "INPUT"))
    v6 = rules.nft_rules(openings(Config()), [], rules.Chain("ip6", "filter", "INPUT"))
    assert not [rule for rule in v4 if "icmpv6" in rule]
    assert not [rule for rule in v6 if "igmp" in rule]


def test_without_a_relay_there_is_no_guard() -> None:
    assert "redirect to :61000" in rules.replacement(Turn())
    assert "redirect" not in rules.replacement(Turn(serve=False))


def test_a_router_is_asked_for_what_works_through_it() -> None:
    assert rules.mappings(openings(Config()), "10.0.0.5") == [
        "UDP 4222 to 10.0.0.5:4222  (dht)",
        "UDP 4223 to 10.0.0.5:4223  (dht)",
        "TCP 80 to 10.0.0.5:80  (http)",
        "TCP 8080 to 10.0.0.5:8080  (http)",
    ]


# --- what others have ---------------------------------------------------------------------------


def listing(*objects: dict[str, Any]) -> str:
    return json.dumps({"nftables": [{"metainfo": {"json_schema_version": 1}}, *objects]})


def chain(policy: str = "accept", **more: object) -> dict[str, Any]:
    told = {"family": "inet", "table": "filter", "name": "input", "type": "filter"}
    return {"chain": {**told, "hook": "input", "policy": policy, **more}}


def rule(*expressions: object, **more: object) -> dict[str, Any]:
    told = {"family": "inet", "table": "filter", "chain": "input", "handle": 7}
    return {"rule": {**told, "expr": list(expressions), **more}}


MATCH = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}


@pytest.mark.parametrize(
    ("objects", "is_dropping"),
    [
        ([chain()], False),
        ([chain("drop")], True),
        ([chain("drop"), rule(MATCH, {"accept": None})], True),
        ([chain(), rule({"drop": None})], True),
        ([chain(), rule({"counter": {}}, {"log": None}, {"reject": None})], True),
        ([chain(), rule(MATCH, {"drop": None})], False),
        ([chain(), rule({"drop": None}), rule({"accept": None})], False),
        ([chain("drop", hook="forward")], False),
        ([chain("drop", type="nat")], False),
        ([chain("drop", family="bridge")], False),
    ],
)
def test_chains_that_refuse_the_rest_are_found(
    objects: list[dict[str, Any]], *, is_dropping: bool
) -> None:
    assert ruleset.dropping(listing(*objects)) == ([CHAIN] if is_dropping else [])


def test_our_rules_are_known_by_their_comment() -> None:
    found = ruleset.ours(
        listing(
            rule({"accept": None}, comment="lanjami dht"),
            rule({"accept": None}, comment="lanjamix"),
            rule({"accept": None}, comment="ssh"),
            rule({"accept": None}),
            rule({"accept": None}, comment="lanjami dht", handle=None),
        )
    )
    assert found == [ruleset.Rule(CHAIN, 7)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["chain", "rule", "expr", "handle", "hook", "type", "family", "policy"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(json_values | st.builds(lambda inner: {"nftables": inner}, json_values))
def test_any_listing_is_read_or_refused(listed: object) -> None:
    for read in (ruleset.dropping, ruleset.ours):
        try:
            read(json.dumps(listed))
        except HostError as error:
            assert "JSON" in str(error)  # noqa: PT017 - only its words are of interest


@given(st.text())
def test_so_is_any_text(text: str) -> None:
    for read in (ruleset.dropping, ruleset.ours):
        try:
            read(text)
        except HostError as error:
            assert "JSON" in str(error)  # noqa: PT017 - only its words are of interest
