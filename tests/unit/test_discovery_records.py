"""What the box says of itself by mDNS."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.discovery.records import HOSTS_TRIED, Facts, Record, hosts, records, yields
from lanjami.lan import Ip

HERE = IPv4Address("10.0.0.5")


def _ips(*texts: str) -> frozenset[Ip]:
    return frozenset(map(ip_address, texts))


def test_all_that_is_up_is_told() -> None:
    assert records(Facts("1.0", 4222, 80), at=HERE) == (
        Record("_opendht._udp", 4222, (("network", "0"),)),
        Record("_http._tcp", 80, (("path", "/"),)),
        Record(
            "_lanjami._tcp", 80, (("version", "1.0"), ("dht", "4222"), ("ns", "http://10.0.0.5"))
        ),
    )


def test_a_node_without_names_is_told() -> None:
    assert records(Facts("1.0", 4222, None), at=HERE) == (
        Record("_opendht._udp", 4222, (("network", "0"),)),
        Record("_lanjami._tcp", 4222, (("version", "1.0"), ("dht", "4222"))),
    )


def test_names_without_a_node_are_told_with_their_port() -> None:
    assert records(Facts("1.0", None, 8080), at=IPv6Address("fd00::5")) == (
        Record("_http._tcp", 8080, (("path", "/"),)),
        Record("_lanjami._tcp", 8080, (("version", "1.0"), ("ns", "http://[fd00::5]:8080"))),
    )


def test_a_box_that_serves_nothing_says_nothing() -> None:
    assert records(Facts("1.0", None, None), at=HERE) == ()


def test_the_names_to_try_are_numbered_from_two() -> None:
    tried = list(hosts("lanjami"))
    assert tried[:3] == ["lanjami", "lanjami-2", "lanjami-3"]
    assert tried[-1] == f"lanjami-{HOSTS_TRIED}"
    assert len(tried) == len(set(tried)) == HOSTS_TRIED


@pytest.mark.parametrize(
    ("own", "theirs", "moves"),
    [
        (_ips("10.0.0.5"), _ips(), False),
        (_ips("10.0.0.5"), _ips("10.0.0.5"), False),
        (_ips("10.0.0.5"), _ips("10.0.0.5", "10.0.0.6"), True),
        (_ips("10.0.0.6"), _ips("10.0.0.5", "10.0.0.6"), False),
        (_ips("10.0.0.5"), _ips("10.0.0.6"), True),
        (_ips("10.0.0.6"), _ips("10.0.0.5"), False),
        (_ips("10.0.0.9"), _ips("10.0.0.10"), True),  # numbers, not texts
        (_ips("10.0.0.5"), _ips("fd00::1"), False),  # nothing to compare
        # by IPv4 where both have it
        (_ips("10.0.0.5", "fd00::2"), _ips("10.0.0.6", "fd00::1"), True),
        (_ips("10.0.0.6", "fd00::1"), _ips("10.0.0.5", "fd00::2"), False),
        (_ips("10.0.0.5", "fd00::2"), _ips("10.0.0.5", "fd00::2", "fd00::1"), False),
    ],
)
def test_the_higher_address_keeps_the_name(
    own: frozenset[Ip], theirs: frozenset[Ip], *, moves: bool
) -> None:
    assert yields(own, own, theirs) is moves


def test_an_address_on_another_lan_counts_for_nothing() -> None:
    here, elsewhere = _ips("10.0.0.5"), _ips("192.168.0.5")
    assert yields(here | elsewhere, here, _ips("10.0.0.5", "10.0.0.6"))
    assert not yields(here | elsewhere, here, elsewhere), "we are heard across"


_v4 = st.frozensets(st.ip_addresses(v=4), min_size=1, max_size=3)
_v6 = st.frozensets(st.ip_addresses(v=6), max_size=3)


@given(_v4, _v6, _v4, _v6)
def test_of_two_boxes_that_hear_the_same_exactly_one_moves(
    ours4: frozenset[Ip], ours6: frozenset[Ip], theirs4: frozenset[Ip], theirs6: frozenset[Ip]
) -> None:
    ours = ours4 | ours6
    theirs = (theirs4 | theirs6) - ours
    if any(ip.version == 4 for ip in theirs):
        heard = ours | theirs
        assert yields(ours, ours, heard) is not yields(theirs, theirs, heard)
