"""What the box is for a LAN, by its settings and by what there is."""

from ipaddress import IPv4Address, IPv4Interface, IPv6Interface, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.config import Served
from lanjami.lan import Address, Interface
from lanjami.network import plan
from lanjami.network.outlook import Outlook

ULA = IPv6Interface("fd01:203:405::1/64")
EVERYTHING: tuple[Served, ...] = ("dns", "dhcp", "ra", "ntp")


def _interface(*addresses: str, preferred: bool = True) -> Interface:
    made = [
        Address(IPv6Interface(a) if ":" in a else IPv4Interface(a), preferred) for a in addresses
    ]
    return Interface("eth0", 2, tuple(made))


def _plan(
    interface: Interface,
    *wanted: Served,
    v4: str | None = None,
    foreign: str | None = None,
) -> plan.Plan:
    return plan.make(
        interface,
        wanted,
        v4=None if v4 is None else IPv4Interface(v4),
        ula=ULA,
        foreign=None if foreign is None else IPv4Address(foreign),
        outlook=Outlook(),
        connectivity_checks=True,
    )


def test_all_is_served_where_all_is_there() -> None:
    made = _plan(_interface("10.77.0.1/24", str(ULA), "fe80::1/64"), *EVERYTHING)
    assert made.serves == set(EVERYTHING)
    assert made.addresses == [IPv4Address("10.77.0.1"), ULA.ip]
    assert made.reasons == ()


def test_another_dhcp_server_silences_ours_alone() -> None:
    made = _plan(_interface("10.77.0.1/24", str(ULA)), *EVERYTHING, foreign="10.77.0.254")
    assert made.serves == {"dns", "ra", "ntp"}
    assert made.pool is None
    assert "10.77.0.254" in made.reasons[0]


def test_where_dhcp_is_not_wanted_nobody_minds_another() -> None:
    made = _plan(_interface("10.77.0.1/24"), "dns", foreign="10.77.0.254")
    assert made.reasons == ()


@pytest.mark.parametrize("addresses", [(), ("169.254.7.7/16",), ("fd77::1/64",)])
def test_without_an_ipv4_address_there_is_none_to_hand_out(addresses: tuple[str, ...]) -> None:
    made = _plan(_interface(*addresses), "dns", "dhcp")
    assert made.serves == {"dns"}
    assert "network.eth0.address" in made.reasons[0]


def test_a_network_for_two_is_too_small() -> None:
    assert "too small" in _plan(_interface("10.77.0.1/30"), "dhcp").reasons[0]


def test_an_interface_without_ipv6_advertises_nothing() -> None:
    made = _plan(_interface("10.77.0.1/24"), "dns", "ra")
    assert made.serves == {"dns"}
    assert "IPv6" in made.reasons[0]


def test_only_the_boxs_own_ipv6_network_is_advertised() -> None:
    made = _plan(_interface("fd77::1/64"), "dns", "ra")
    assert made.serves == {"dns"}
    assert made.addresses == [IPv6Interface("fd77::1/64").ip]


def test_the_boxs_own_ipv6_network_goes_before_others() -> None:
    made = _plan(_interface("fd77::1/64", str(ULA)), "dns", "ra")
    assert made.serves == {"dns", "ra"}
    assert made.v6 == ULA


def test_the_address_that_is_set_goes_before_others() -> None:
    there = _interface("10.0.0.5/24", "10.77.0.1/24")
    assert _plan(there, "dns").v4 == IPv4Interface("10.0.0.5/24")
    assert _plan(there, "dns", v4="10.77.0.1/24").v4 == IPv4Interface("10.77.0.1/24")
    assert _plan(there, "dns", v4="10.99.0.1/24").v4 is None


def test_the_address_that_the_kernel_answers_from_goes_before_others() -> None:
    there = Interface(
        "eth0",
        2,
        (
            Address(IPv4Interface("10.0.0.5/24"), preferred=False),
            Address(IPv4Interface("10.0.0.6/24")),
        ),
    )
    assert _plan(there, "dns").v4 == IPv4Interface("10.0.0.6/24")


@pytest.mark.parametrize(
    ("at", "first", "last"),
    [
        ("10.77.0.1/24", "10.77.0.20", "10.77.0.254"),
        ("10.77.0.254/24", "10.77.0.20", "10.77.0.253"),
        ("10.77.0.100/24", "10.77.0.101", "10.77.0.254"),
        ("10.77.0.1/29", "10.77.0.2", "10.77.0.6"),
        ("10.0.0.1/8", "10.0.0.20", "10.0.16.19"),
    ],
)
def test_the_pool_leaves_room_for_addresses_set_by_hand(at: str, first: str, last: str) -> None:
    assert plan.pool_of(IPv4Interface(at)) == plan.Pool(IPv4Address(first), IPv4Address(last))


@given(st.integers(8, 30), st.integers(0, 2**32 - 1))
def test_a_pool_is_in_the_network_and_without_the_box(length: int, number: int) -> None:
    at = IPv4Interface((number, length))
    pool = plan.pool_of(at)
    if pool is None:
        assert length > 28
        return
    assert at.network.network_address < pool.first < pool.last < at.network.broadcast_address
    assert not pool.first <= at.ip <= pool.last
    assert int(pool.last) - int(pool.first) < plan.LARGEST_POOL


@given(st.binary(min_size=plan.SITE_LENGTH, max_size=plan.SITE_LENGTH))
def test_every_box_has_an_ipv6_network_of_its_own(site: bytes) -> None:
    made = plan.ula_of(site)
    assert made.network.subnet_of(IPv6Network("fd00::/8"))
    assert made.ip.packed[1:6] == site
    assert made.ip == made.network[1]
