"""Which interfaces and addresses are of the LAN, and how they are written."""

from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface

import pytest

from lanjami.lan import (
    Address,
    Interface,
    announced,
    host_port,
    http_url,
    is_ignored,
    is_local,
    of_socket,
    shown,
    without_link_local,
)


def _address(text: str, *, preferred: bool = True) -> Address:
    return Address(ip_interface(text), preferred=preferred)


def _interface(*addresses: Address, name: str = "eth0") -> Interface:
    return Interface(name, 2, addresses)


def _texts(addresses: tuple[Address, ...]) -> list[str]:
    return [str(address.ip) for address in addresses]


@pytest.mark.parametrize(
    ("at", "broadcast"),
    [
        ("10.0.0.5/24", "10.0.0.255"),
        ("10.0.0.5/30", "10.0.0.7"),
        ("10.0.0.5/31", None),
        ("10.0.0.5/32", None),
        ("fd00::5/64", None),
    ],
)
def test_a_subnet_of_more_than_two_has_a_broadcast_address(at: str, broadcast: str | None) -> None:
    found = _address(at).broadcast
    assert (None if found is None else str(found)) == broadcast


@pytest.mark.parametrize(
    ("name", "ignored"),
    [("docker0", True), ("br-1f2e", True), ("eth0", False), ("wlan0", False), ("Docker0", False)],
)
def test_interfaces_are_ignored_by_pattern(name: str, *, ignored: bool) -> None:
    assert is_ignored(name, ["docker*", "br-*"]) is ignored


@pytest.mark.parametrize(
    ("told", "ip"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("::ffff:10.0.0.5", "10.0.0.5"),
        ("fd00::5", "fd00::5"),
        ("fe80::5%eth0", "fe80::5"),
        ("::", "::"),
    ],
)
def test_an_end_of_a_socket_is_an_address_of_its_family(told: str, ip: str) -> None:
    assert of_socket(told) == ip_address(ip)


def test_no_pattern_ignores_nothing() -> None:
    assert not is_ignored("docker0", [])


@pytest.mark.parametrize(
    "ip",
    [
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.7.7",
        "127.0.0.1",
        "fd00::1",
        "fe80::1",
        "::1",
    ],
)
def test_private_addresses_are_local_everywhere(ip: str) -> None:
    assert is_local(ip_address(ip))


@pytest.mark.parametrize(
    "ip",
    ["8.8.8.8", "172.32.0.1", "100.64.0.1", "0.0.0.0", "239.192.0.1", "2001:db8::1", "ff02::1"],
)
def test_other_addresses_are_not(ip: str) -> None:
    assert not is_local(ip_address(ip))
    assert not is_local(ip_address(ip), [_address("10.0.0.5/8"), _address("fd00::5/64")])


@pytest.mark.parametrize(
    ("ip", "own"),
    [("203.0.113.9", "203.0.113.1/24"), ("2001:db8::9", "2001:db8::1/64")],
)
def test_a_neighbour_in_a_public_subnet_is_local(ip: str, own: str) -> None:
    assert is_local(ip_address(ip), [_address(own)])


def test_addresses_of_the_other_family_are_not_announced() -> None:
    interface = _interface(_address("10.0.0.5/24"), _address("fd00::5/64"))
    assert _texts(announced(interface, version=4)) == ["10.0.0.5"]
    assert _texts(announced(interface, version=6)) == ["fd00::5"]


def test_link_local_is_announced_last() -> None:
    interface = _interface(
        _address("fe80::1/64"),
        _address("fd00::5/64"),
        _address("169.254.1.1/16"),
        _address("10.0.0.5/24"),
    )
    assert _texts(announced(interface, version=6)) == ["fd00::5", "fe80::1"]
    assert _texts(announced(interface, version=4)) == ["10.0.0.5", "169.254.1.1"]


def test_only_preferred_addresses_are_announced() -> None:
    interface = _interface(_address("10.0.0.6/24", preferred=False), _address("10.0.0.5/24"))
    assert _texts(announced(interface, version=4)) == ["10.0.0.5"]


def test_without_a_preferred_address_the_first_speaks() -> None:
    interface = _interface(
        _address("10.0.0.6/24", preferred=False), _address("10.0.1.6/24", preferred=False)
    )
    assert _texts(announced(interface, version=4)) == ["10.0.0.6"]
    assert announced(interface, version=6) == ()


def test_at_most_four_addresses_are_announced() -> None:
    interface = _interface(*(_address(f"10.0.{n}.5/24") for n in range(9)))
    assert len(announced(interface, version=4)) == 4
    assert len(announced(interface, version=4, at_most=2)) == 2


def test_people_are_shown_what_they_can_type_best_first() -> None:
    interfaces = [
        _interface(_address("fe80::1/64"), _address("fd00::5/64"), _address("169.254.1.1/16")),
        _interface(_address("192.168.1.5/24"), name="wlan0"),
    ]
    assert shown(interfaces) == ["192.168.1.5", "169.254.1.1", "fd00::5"]
    assert shown([]) == []


def test_hosts_and_urls_are_written_as_clients_take_them() -> None:
    assert host_port("10.0.0.5", 4222) == "10.0.0.5:4222"
    assert host_port("fd00::5", 4222) == "[fd00::5]:4222"
    assert http_url("10.0.0.5", 80) == "http://10.0.0.5"
    assert http_url("10.0.0.5", 8080) == "http://10.0.0.5:8080"
    assert http_url("fd00::5", 80) == "http://[fd00::5]"
    assert http_url("fd00::5", 8080) == "http://[fd00::5]:8080"
    assert http_url("lanjami.local", 80) == "http://lanjami.local"


def test_an_address_knows_its_ip() -> None:
    assert Address(IPv4Interface("10.0.0.5/24")).ip == ip_address("10.0.0.5")
    assert Address(IPv6Interface("fd00::5/64")).ip == ip_address("fd00::5")


@pytest.mark.parametrize(
    ("there", "left"),
    [
        (["10.0.0.5/24", "fd00::5/64", "fe80::5/64"], ["10.0.0.5", "fd00::5"]),
        (["10.0.0.5/24", "fe80::5/64"], ["10.0.0.5", "fe80::5"]),
        (["169.254.7.7/16", "fd00::5/64"], ["169.254.7.7", "fd00::5"]),
        ([], []),
    ],
)
def test_an_ipv6_link_local_address_is_left_out_where_there_is_another(
    there: list[str], left: list[str]
) -> None:
    interface = _interface(*(_address(at) for at in there))
    assert _texts(without_link_local(interface).addresses) == left
