"""To whom relays may speak, and what coturn is told."""

from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.config import Turn
from lanjami.lan import Address, Interface
from lanjami.turn import conf


def address(text: str, *, preferred: bool = True) -> Address:
    at = IPv6Interface(text) if ":" in text else IPv4Interface(text)
    return Address(at, preferred=preferred)


def lan(*texts: str, name: str = "eth0") -> Interface:
    return Interface(name, 2, tuple(map(address, texts)))


LOOPBACK = (address("127.0.0.1/8"), address("::1/128"))
HOME = lan("10.77.0.1/24", "fd77::1/64", "fe80::1/64")


def allowed(
    text: str, *, lans: tuple[Interface, ...] = (HOME,), others: tuple[Address, ...] = LOOPBACK
) -> bool:
    everywhere = [*others, *(a for interface in lans for a in interface.addresses)]
    relays = [ip for interface in lans for ip in conf.listening(interface)]
    return any(
        ip_address(text) in network for network in conf.peers(lans, everywhere, relays=relays)
    )


@pytest.mark.parametrize(
    "peer",
    ["10.77.0.9", "10.1.2.3", "172.20.0.1", "192.168.1.1", "10.77.0.1", "fd77::9", "fc00::1"],
)
def test_the_building_is_spoken_to(peer: str) -> None:
    assert allowed(peer)


@pytest.mark.parametrize(
    "peer",
    [
        *("127.0.0.1", "127.1.2.3", "0.0.0.0", "8.8.8.8", "100.64.0.1", "224.0.0.1"),
        *("255.255.255.255", "10.77.0.255", "169.254.169.254", "172.32.0.1", "11.0.0.1"),
        *("::1", "::", "fe80::1", "fe80::9", "ff02::1", "2001:db8::1", "::ffff:10.77.0.9"),
    ],
)
def test_nobody_else_is(peer: str) -> None:
    assert not allowed(peer)


def test_what_is_inside_of_this_machine_is_not() -> None:
    inside = (*LOOPBACK, address("172.17.0.1/16"), address("10.8.0.1/24"), address("fd01::1/64"))
    for peer in ("172.17.0.1", "172.17.3.3", "10.8.0.1", "10.8.0.2", "fd01::2"):
        assert allowed(peer)
        assert not allowed(peer, others=inside)
    assert allowed("10.77.0.9", others=inside)


def test_a_tunnel_as_wide_as_the_building_does_not_hide_the_lan() -> None:
    inside = (*LOOPBACK, address("10.99.0.1/8"))
    assert allowed("10.77.0.9", others=inside)
    assert not allowed("10.78.0.9", others=inside)


def test_neighbours_with_public_addresses_are_spoken_to() -> None:
    public = lan("203.0.113.1/24", "2001:db8:5::1/64")
    for peer in ("203.0.113.9", "2001:db8:5::9"):
        assert not allowed(peer)
        assert allowed(peer, lans=(public,))
    assert not allowed("203.0.114.1", lans=(public,))


def test_the_internet_is_not_listened_to() -> None:
    assert conf.listening(lan("203.0.113.1/24", "2001:db8:5::1/64")) == ()
    both = lan("203.0.113.1/24", "10.0.0.5/24", "2001:db8:5::1/64", "fd00::5/64")
    assert conf.listening(both) == (ip_address("10.0.0.5"), ip_address("fd00::5"))


def test_a_lan_without_a_router_is_served_too() -> None:
    assert allowed("169.254.7.7", lans=(lan("169.254.1.1/16"),))


def test_an_address_of_the_box_without_a_relay_is_not_spoken_to() -> None:
    second = lan("10.77.0.1/24", "10.77.0.2/24")
    assert conf.listening(second) == (ip_address("10.77.0.1"),)
    assert not allowed("10.77.0.2", lans=(second,))


def test_the_preferred_address_is_listened_at() -> None:
    interface = Interface(
        "eth0",
        2,
        (
            address("10.0.0.1/24", preferred=False),
            address("10.0.0.2/24"),
            address("fe80::1/64"),
            address("fd00::1/64"),
        ),
    )
    assert conf.listening(interface) == (ip_address("10.0.0.2"), ip_address("fd00::1"))


interfaces = st.builds(
    lambda ip, length: IPv4Interface(f"{ip}/{length}"),
    st.ip_addresses(v=4, network="10.0.0.0/8"),
    st.integers(8, 30),
)


@given(st.lists(interfaces, max_size=3), st.lists(interfaces, max_size=3))
def test_own_addresses_without_a_relay_are_never_allowed(
    served: list[IPv4Interface], others: list[IPv4Interface]
) -> None:
    lans = [Interface(f"eth{n}", n, (Address(at),)) for n, at in enumerate(served)]
    everywhere = [Address(at) for at in (*served, *others)]
    networks = conf.peers(lans, everywhere, relays=[])
    for at in (*served, *others):
        assert not any(at.ip in network for network in networks)


@given(
    st.ip_addresses(v=6),
    st.sets(st.integers(0, 2**64 - 1).map(lambda n: ip_address((0xFD77 << 112) + n)), max_size=4),
)
def test_a_range_means_to_coturn_what_it_means_to_us(peer: object, own: set[object]) -> None:
    """coturn 4.6 compares IPv6 addresses byte by byte (addr_less_eq in ns_turn_ioaddr.c)."""
    lans = [lan("fd77::1/64")]
    everywhere = [Address(IPv6Interface(f"{ip}/64")) for ip in own]
    networks = conf.peers(lans, everywhere, relays=[])
    for ip in (ip_address(str(peer)), *map(ip_address, map(str, own)), ip_address("fd77::1:9")):
        if ip.version == 6:
            ours = any(ip in network for network in networks)
            theirs = any(
                all(
                    a <= b <= c
                    for a, b, c in zip(n[0].packed, ip.packed, n[-1].packed, strict=True)
                )
                for n in networks
                if n.version == 6
            )
            assert ours == theirs


def rendered(turn: Turn = Turn()) -> list[str]:  # noqa: B008 - frozen
    return conf.render(
        turn,
        listening=[ip_address("10.77.0.1")],
        peers=[ip_network("10.0.0.0/8")],
        users="/state/users.sqlite",
        pid_file="/state/eth0.pid",
    ).splitlines()


def test_all_is_denied_but_what_is_listed() -> None:
    lines = rendered()
    assert [line for line in lines if line.startswith("allowed-peer-ip=")] == [
        "allowed-peer-ip=10.0.0.0-10.255.255.255"
    ]
    assert "denied-peer-ip=0.0.0.0-255.255.255.255" in lines
    assert "denied-peer-ip=::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" in lines


def test_nothing_but_the_relay_is_served() -> None:
    for line in ("no-cli", "no-rfc5780", "no-tls", "no-dtls", "lt-cred-mech"):
        assert line in rendered()
    assert not [line for line in rendered() if "admin" in line or "loopback" in line]


def test_settings_are_told() -> None:
    turn = Turn(port=3479, realm="lan", relay_ports=(50000, 50100), sessions=7)
    for line in (
        "listening-port=3479",
        "realm=lan",
        "min-port=50001",
        "max-port=50100",
        "total-quota=7",
        "userdb=/state/users.sqlite",
        "listening-ip=10.77.0.1",
    ):
        assert line in rendered(turn)


def test_with_a_certificate_it_speaks_tls() -> None:
    lines = rendered(Turn(certificate="/c.pem", key="/k.pem", tls_port=5350))
    assert "tls-listening-port=5350" in lines
    assert "cert=/c.pem" in lines
    assert "pkey=/k.pem" in lines
    assert "no-tls" not in lines
