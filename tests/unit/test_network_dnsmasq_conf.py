"""What dnsmasq is told."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface

import pytest

from lanjami.network import dnsmasq_conf
from lanjami.network.connectivity import HOSTS
from lanjami.network.dnsmasq_conf import BOX_NAME, JAMI_NAMES
from lanjami.network.plan import Plan, Pool

PLAN = Plan(
    interface="eth0",
    serves=frozenset({"dns", "dhcp", "ra", "ntp"}),
    v4=IPv4Interface("10.77.0.1/24"),
    v6=IPv6Interface("fd77::1/64"),
    pool=Pool(IPv4Address("10.77.0.20"), IPv4Address("10.77.0.254")),
    upstream=None,
    jami_is_ours=True,
    connectivity_checks=True,
)
BOTH = "10.77.0.1,fd77::1"


def _conf(plan: Plan) -> list[str]:
    text = dnsmasq_conf.render(plan, leases="/state/eth0.leases", user="lanjami", group="lanjami")
    return text.splitlines()


def test_until_a_router_comes_nobody_has_an_address_for_long() -> None:
    text = dnsmasq_conf.render(PLAN, leases=None, user="lanjami", group="lanjami")
    ranges = [line for line in text.splitlines() if line.startswith("dhcp-range=")]
    assert [line.rpartition(",")[2] for line in ranges] == ["240", "240"]
    assert "leasefile-ro" in text


@pytest.mark.parametrize("name", [*JAMI_NAMES, BOX_NAME])
def test_jamis_names_are_the_boxs_and_asked_of_nobody(name: str) -> None:
    conf = _conf(PLAN)
    assert f"host-record={name},{BOTH}" in conf
    assert f"local=/{name}/" in conf


@pytest.mark.parametrize(
    ("plan", "addresses"),
    [(replace(PLAN, v6=None), "10.77.0.1"), (replace(PLAN, v4=None), "fd77::1")],
)
def test_only_addresses_that_there_are_are_told(plan: Plan, addresses: str) -> None:
    plan = replace(plan, serves=frozenset({"dns"}), pool=None)
    assert f"host-record=bootstrap.jami.net,{addresses}" in _conf(plan)


def test_without_an_upstream_there_are_no_other_names() -> None:
    conf = _conf(PLAN)
    assert "address=/#/" in conf
    assert not any(line.startswith("server=") for line in conf)


def test_with_an_upstream_other_names_are_asked_of_it() -> None:
    conf = _conf(replace(PLAN, upstream="10.77.0.254"))
    assert "server=10.77.0.254" in conf
    assert "address=/#/" not in conf
    assert f"host-record=bootstrap.jami.net,{BOTH}" in conf
    assert not any(host in line for host in HOSTS for line in conf)


def test_jamis_names_that_are_not_ours_are_asked_of_the_upstream() -> None:
    conf = _conf(replace(PLAN, upstream="10.77.0.254", jami_is_ours=False))
    assert not any("jami.net" in line for line in conf)
    assert f"host-record={BOX_NAME},{BOTH}" in conf


def test_connectivity_checks_come_to_the_box_where_it_answers_them() -> None:
    assert f"host-record=captive.apple.com,{BOTH}" in _conf(PLAN)
    assert "host-record=dns.msftncsi.com,131.107.255.255" in _conf(PLAN)
    off = _conf(replace(PLAN, connectivity_checks=False))
    assert not any("apple" in line or "msft" in line for line in off)


def test_a_client_is_told_of_router_names_and_time() -> None:
    conf = _conf(PLAN)
    for what in ("router", "dns-server", "ntp-server"):
        assert f"dhcp-option=option:{what},10.77.0.1" in conf
    assert "dhcp-leasefile=/state/eth0.leases" in conf


def test_a_client_is_told_of_nothing_that_is_not_served() -> None:
    conf = _conf(replace(PLAN, serves=frozenset({"dhcp", "ra"})))
    assert "port=0" in conf
    assert "dhcp-option=option:dns-server" in conf
    assert "dhcp-option=option6:dns-server" in conf
    assert not any("ntp" in line or line.startswith("host-record") for line in conf)


def test_what_is_not_served_is_not_configured() -> None:
    conf = _conf(replace(PLAN, serves=frozenset({"dns"}), pool=None))
    assert not any(line.startswith(("dhcp", "enable-ra", "ra-")) for line in conf)


def test_the_box_is_no_router_for_ipv6() -> None:
    assert "ra-param=eth0,60,0" in _conf(PLAN)
    assert "dhcp-range=fd77::,ra-only,64,43200" in _conf(PLAN)
