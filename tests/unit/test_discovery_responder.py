"""What the announcer sends, when, from where and to whom, in a small world without sockets."""

import itertools
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from types import FrameType

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.discovery import wire
from lanjami.discovery.responder import (
    GREETING_GAP_S,
    MULTICAST_GAP_S,
    QUERY_INTERVAL_S,
    Datagram,
    Link,
    Responder,
    links,
)
from lanjami.discovery.wire import Beacon
from lanjami.lan import Address, Interface, Ip
from lanjami.limits import Limits

OURS = Beacon(b"a" * 20, 4222)
SECOND = Beacon(b"b" * 20, 4223)
THEIRS = wire.pack(Beacon(b"c" * 20, 4222))
ACCOUNT: bytes = msgpack.packb({"jami": [b"d" * 20, "Ann"]})

CLIENT = (ip_address("10.0.0.9"), 40001)
OTHER = (ip_address("10.0.0.10"), 8888)


def _middle() -> float:
    """The jitter that leaves every interval as it is."""
    return 0.5


def _interface(name: str, index: int, *addresses: str) -> Interface:
    return Interface(name, index, tuple(Address(ip_interface(text)) for text in addresses))


ETH = _interface("eth0", 2, "10.0.0.5/24")
WLAN = _interface("wlan0", 3, "192.168.1.5/24")
V6 = _interface("eth1", 4, "fe80::5/64", "fd00::5/64")

ETH_LINK, WLAN_LINK, V6_LINK = (links([interface])[0] for interface in (ETH, WLAN, V6))


def _responder(
    *,
    interval_s: float = 10.0,
    limits: Limits | None = None,
    jitter: Callable[[], float] = _middle,
) -> Responder:
    return Responder(interval_s=interval_s, limits=limits or Limits(), jitter=jitter)


def _up(
    on: Sequence[Link] = (ETH_LINK,), beacons: Sequence[Beacon] = (OURS,), *, now: float = 0.0
) -> Responder:
    """A responder that has just announced."""
    responder = _responder()
    responder.on_tick(on, beacons, now=now)
    return responder


def _sent(datagrams: Sequence[Datagram], payload: bytes) -> list[tuple[str, str, int]]:
    """Of what carries `payload`: from where, to where and to which port."""
    return [(str(d.source), str(d.to[0]), d.to[1]) for d in datagrams if d.payload == payload]


def _announced(datagrams: Sequence[Datagram], beacon: Beacon = OURS) -> list[tuple[str, str, int]]:
    return _sent(datagrams, wire.pack(beacon))


def _times(
    responder: Responder,
    on: Sequence[Link],
    beacons: Sequence[Beacon],
    *,
    until: float,
    link: Link = ETH_LINK,
) -> list[float]:
    """When the responder announces on a link, if it is woken when it asks to be."""
    times = []
    while responder.wake_at < until:
        now = responder.wake_at
        sent = responder.on_tick(on, beacons, now=now)
        assert responder.wake_at > now
        if any(d.payload != wire.QUERY and d.link == link for d in sent):
            times.append(now)
    return times


# --- links --------------------------------------------------------------------------------------


def test_each_family_of_each_interface_is_a_link() -> None:
    both = _interface("eth0", 2, "10.0.0.5/24", "fe80::5/64", "fd00::5/64")
    found = links([both, WLAN])
    assert [link.key for link in found] == [("eth0", 4), ("eth0", 6), ("wlan0", 4)]
    assert [link.index for link in found] == [2, 2, 3]
    assert [str(link.group) for link in found] == ["239.192.0.1", "ff08::101", "239.192.0.1"]
    assert [str(source.ip) for source in found[1].sources] == ["fd00::5", "fe80::5"]


def test_an_interface_without_addresses_is_no_link() -> None:
    assert links([_interface("eth0", 2)]) == []
    assert links([]) == []


# --- announcements ------------------------------------------------------------------------------


def test_a_node_is_announced_to_the_group_and_to_the_subnet() -> None:
    sent = _responder().on_tick([ETH_LINK], [OURS], now=0.0)
    assert _announced(sent) == [
        ("10.0.0.5", "239.192.0.1", 8888),
        ("10.0.0.5", "10.0.0.255", 8888),
    ]
    assert {d.link for d in sent} == {ETH_LINK}


def test_on_ipv6_the_unique_local_address_speaks_before_the_link_local_one() -> None:
    sent = _responder().on_tick([V6_LINK], [OURS], now=0.0)
    assert _announced(sent) == [("fd00::5", "ff08::101", 8888), ("fe80::5", "ff08::101", 8888)]


def test_each_address_announces_for_itself() -> None:
    (link,) = links([_interface("eth0", 2, "10.0.0.5/24", "10.0.1.5/24")])
    sent = _announced(_responder().on_tick([link], [OURS], now=0.0))
    assert sent == [
        ("10.0.0.5", "239.192.0.1", 8888),
        ("10.0.0.5", "10.0.0.255", 8888),
        ("10.0.1.5", "239.192.0.1", 8888),
        ("10.0.1.5", "10.0.1.255", 8888),
    ]


def test_several_nodes_are_announced_one_by_one() -> None:
    sent = _responder().on_tick([ETH_LINK], [OURS, SECOND], now=0.0)
    assert len(_announced(sent, OURS)) == len(_announced(sent, SECOND)) == 2


def test_after_a_start_it_is_repeated_at_1_2_4_seconds_and_then_at_the_interval() -> None:
    responder = _up(now=100.0)
    times = _times(responder, [ETH_LINK], [OURS], until=150.0)
    assert times == [101.0, 103.0, 107.0, 115.0, 125.0, 135.0, 145.0]


def test_an_interval_of_a_second_is_kept_from_the_start() -> None:
    responder = _responder(interval_s=1.0)
    responder.on_tick([ETH_LINK], [OURS], now=0.0)
    assert _times(responder, [ETH_LINK], [OURS], until=4.5) == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(("jitter", "first_s"), [(0.0, 0.9), (0.5, 1.0), (1.0, 1.1)])
def test_boxes_are_spread_by_a_tenth(jitter: float, first_s: float) -> None:
    responder = _responder(jitter=lambda: jitter)
    responder.on_tick([ETH_LINK], [OURS], now=0.0)
    assert responder.wake_at == pytest.approx(first_s)


def test_nothing_is_sent_between_the_announcements() -> None:
    responder = _up()
    for now in (0.0, 0.2, 0.5, 0.999):
        assert responder.on_tick([ETH_LINK], [OURS], now=now) == []
    assert _announced(responder.on_tick([ETH_LINK], [OURS], now=1.0))


def test_announcements_are_counted_once_a_link() -> None:
    responder = _up([ETH_LINK, V6_LINK], [OURS, SECOND])
    assert responder.announcements == 2


def test_the_group_is_asked_from_the_best_address_once_a_minute() -> None:
    responder = _responder()
    asked = []
    now = 0.0
    while now < 3 * QUERY_INTERVAL_S:
        sent = _sent(responder.on_tick([V6_LINK, ETH_LINK], [], now=now), wire.QUERY)
        asked += [(now, *datagram) for datagram in sent]
        now = responder.wake_at
    minutes = (0.0, QUERY_INTERVAL_S, 2 * QUERY_INTERVAL_S)
    assert asked == [
        (minute, source, group, 8888)
        for minute in minutes
        for source, group in (
            ("fd00::5", "ff08::101"),
            ("10.0.0.5", "239.192.0.1"),
            ("10.0.0.5", "10.0.0.255"),
        )
    ]


# --- changes ------------------------------------------------------------------------------------


def test_nothing_is_announced_or_answered_while_there_is_no_node() -> None:
    responder = _up(beacons=[])
    assert _times(responder, [ETH_LINK], [], until=50.0) == []
    for data in (wire.QUERY, THEIRS):
        assert responder.on_datagram(data, CLIENT, ETH_LINK, multicast=True, now=50.0) == []
    assert responder.on_tick([ETH_LINK], [], now=50.0) == []
    assert (responder.queries, responder.answers, responder.announcements) == (1, 0, 0)


def test_a_node_that_comes_up_is_announced_at_once_and_again_soon() -> None:
    responder = _up(beacons=[])
    _times(responder, [ETH_LINK], [], until=33.0)
    assert _announced(responder.on_tick([ETH_LINK], [OURS], now=33.3))
    times = _times(responder, [ETH_LINK], [OURS], until=42.0)
    assert times == pytest.approx([34.3, 36.3, 40.3])


def test_a_node_that_changes_is_announced_at_once_and_the_old_one_no_more() -> None:
    responder = _up()
    sent = responder.on_tick([ETH_LINK], [SECOND], now=0.3)
    assert _announced(sent, SECOND)
    assert not _announced(sent, OURS)


def test_a_node_that_goes_is_announced_no_more_and_when_back_at_once() -> None:
    responder = _up()
    assert responder.on_tick([ETH_LINK], [], now=1.0) == []
    assert _times(responder, [ETH_LINK], [], until=20.0) == []
    assert _announced(responder.on_tick([ETH_LINK], [OURS], now=20.5))


def test_the_end_of_one_of_two_nodes_is_no_news() -> None:
    responder = _up(beacons=[OURS, SECOND])
    assert responder.on_tick([ETH_LINK], [OURS], now=0.5) == []
    assert _times(responder, [ETH_LINK], [OURS], until=8.0) == [1.0, 3.0, 7.0]


def test_a_link_that_comes_is_announced_on_at_once_and_the_others_keep_their_time() -> None:
    responder = _up()
    _times(responder, [ETH_LINK], [OURS], until=10.0)
    sent = responder.on_tick([ETH_LINK, WLAN_LINK], [OURS], now=10.0)
    assert {d.link for d in sent} == {WLAN_LINK}
    assert _announced(sent) == [
        ("192.168.1.5", "239.192.0.1", 8888),
        ("192.168.1.5", "192.168.1.255", 8888),
    ]
    both = [ETH_LINK, WLAN_LINK]
    assert _times(responder, both, [OURS], until=18.0, link=WLAN_LINK) == [11.0, 13.0, 17.0]


def test_a_link_whose_address_changes_is_announced_on_at_once() -> None:
    responder = _up()
    (moved,) = links([_interface("eth0", 2, "10.0.0.77/24")])
    sent = responder.on_tick([moved], [OURS], now=0.4)
    assert {source for source, _, _ in _announced(sent)} == {"10.0.0.77"}
    assert _sent(sent, wire.QUERY)


def test_a_link_that_comes_back_with_another_index_is_announced_on_at_once() -> None:
    responder = _up()
    (again,) = links([_interface("eth0", 9, "10.0.0.5/24")])
    assert {d.link for d in responder.on_tick([again], [OURS], now=0.4)} == {again}


def test_a_link_that_goes_is_left_alone() -> None:
    responder = _up([ETH_LINK, WLAN_LINK])
    responder.on_tick([ETH_LINK], [OURS], now=0.5)
    assert _times(responder, [ETH_LINK], [OURS], until=30.0, link=WLAN_LINK) == []
    answers = responder.on_datagram(wire.QUERY, CLIENT, WLAN_LINK, multicast=True, now=30.0)
    assert answers == []
    assert responder.dropped == {"not local": 1}


def test_without_links_there_is_nothing_to_wake_for() -> None:
    responder = _responder()
    assert responder.wake_at == float("inf")
    responder.on_tick([ETH_LINK], [OURS], now=0.0)
    assert responder.wake_at == 1.0
    assert responder.on_tick([], [OURS], now=0.5) == []
    assert responder.wake_at == float("inf")


# --- queries ------------------------------------------------------------------------------------


@pytest.mark.parametrize("multicast", [True, False])
def test_a_query_is_answered_to_its_exact_source(*, multicast: bool) -> None:
    responder = _up()
    sent = responder.on_datagram(wire.QUERY, CLIENT, ETH_LINK, multicast=multicast, now=0.5)
    assert sent == [Datagram(wire.pack(OURS), ETH_LINK, ip_address("10.0.0.5"), CLIENT)]
    assert (responder.queries, responder.answers) == (1, 1)


def test_an_answer_names_every_node() -> None:
    responder = _up(beacons=[OURS, SECOND])
    sent = responder.on_datagram(wire.QUERY, CLIENT, ETH_LINK, multicast=True, now=0.5)
    assert [d.payload for d in sent] == [wire.pack(OURS), wire.pack(SECOND)]


@pytest.mark.parametrize(
    ("client", "sources"),
    [
        ("10.0.0.9", ["10.0.0.5"]),
        ("10.0.1.9", ["10.0.1.5"]),
        ("10.0.2.9", ["10.0.0.5", "10.0.1.5"]),  # of neither subnet: either may reach it
    ],
)
def test_the_answer_comes_from_the_address_in_the_subnet_of_the_client(
    client: str, sources: list[str]
) -> None:
    (link,) = links([_interface("eth0", 2, "10.0.0.5/24", "10.0.1.5/24")])
    responder = _up([link])
    sender = (ip_address(client), 40001)
    sent = responder.on_datagram(wire.QUERY, sender, link, multicast=True, now=0.5)
    assert _announced(sent) == [(source, client, 40001) for source in sources]


@pytest.mark.parametrize("client", ["fd00::9", "fe80::9", "fd99::9"])
def test_on_ipv6_the_answer_comes_from_every_address_best_first(client: str) -> None:
    responder = _up([V6_LINK])
    sender = (ip_address(client), 40001)
    sent = responder.on_datagram(wire.QUERY, sender, V6_LINK, multicast=True, now=0.5)
    assert _announced(sent) == [("fd00::5", client, 40001), ("fe80::5", client, 40001)]


def test_a_query_also_causes_a_multicast_at_once_where_the_last_is_long_ago() -> None:
    responder = _up()
    _times(responder, [ETH_LINK], [OURS], until=20.0)
    assert responder.on_tick([ETH_LINK], [OURS], now=20.0) == []
    responder.on_datagram(wire.QUERY, CLIENT, ETH_LINK, multicast=True, now=20.0)
    assert responder.wake_at == 20.0
    assert ("10.0.0.5", "239.192.0.1", 8888) in _announced(
        responder.on_tick([ETH_LINK], [OURS], now=20.0)
    )


def test_the_multicasts_that_queries_cause_are_a_second_apart() -> None:
    responder = _up()
    _times(responder, [ETH_LINK], [OURS], until=20.0)
    answers, multicasts = 0, []
    for step in range(1000):
        now = 20.0 + step / 100
        sender = (IPv4Address("10.0.0.20") + step % 100, 8888)
        answers += len(responder.on_datagram(wire.QUERY, sender, ETH_LINK, multicast=True, now=now))
        if responder.wake_at <= now and responder.on_tick([ETH_LINK], [OURS], now=now):
            multicasts.append(now)
    assert answers == 1000
    assert 9 <= len(multicasts) <= 11
    gaps = [later - earlier for earlier, later in itertools.pairwise(multicasts)]
    assert min(gaps) >= MULTICAST_GAP_S - 1e-9


def test_a_query_on_one_link_causes_no_multicast_on_another() -> None:
    responder = _up([ETH_LINK, WLAN_LINK])
    both = [ETH_LINK, WLAN_LINK]
    _times(responder, both, [OURS], until=20.0)
    responder.on_datagram(wire.QUERY, CLIENT, ETH_LINK, multicast=True, now=20.0)
    assert {d.link for d in responder.on_tick(both, [OURS], now=20.0)} == {ETH_LINK}


@pytest.mark.parametrize("now", [0.1, 0.85, 0.95, 5.0])
def test_a_query_never_delays_an_announcement(now: float) -> None:
    responder = _responder(jitter=lambda: 0.0)
    responder.on_tick([ETH_LINK], [OURS], now=0.0)
    due_at = responder.wake_at
    responder.on_datagram(wire.QUERY, CLIENT, ETH_LINK, multicast=True, now=now)
    assert responder.wake_at == due_at


# --- what is dropped ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sender",
    [
        ("8.8.8.8", 8888),
        ("100.64.0.1", 8888),
        ("0.0.0.0", 8888),
        ("239.192.0.1", 8888),
        ("10.0.0.9", 0),
    ],
)
@pytest.mark.parametrize("data", [wire.QUERY, THEIRS, b"nonsense"])
def test_who_is_not_local_is_not_answered(sender: tuple[str, int], data: bytes) -> None:
    responder = _up()
    far = (ip_address(sender[0]), sender[1])
    assert responder.on_datagram(data, far, ETH_LINK, multicast=True, now=5.0) == []
    assert responder.dropped == {"not local": 1}
    assert responder.neighbours.at(5.0) == []


def test_a_neighbour_with_a_public_address_is_answered() -> None:
    (link,) = links([_interface("eth0", 2, "203.0.113.5/24")])
    responder = _up([link])
    sender = (ip_address("203.0.113.9"), 8888)
    assert responder.on_datagram(wire.QUERY, sender, link, multicast=True, now=0.5)


@pytest.mark.parametrize("data", [b"", b"q", b"\xc1", b"\x80", THEIRS[:-1]])
def test_nonsense_is_dropped_and_counted(data: bytes) -> None:
    responder = _up()
    assert responder.on_datagram(data, CLIENT, ETH_LINK, multicast=True, now=0.5) == []
    assert responder.dropped == {"malformed": 1}


def test_one_source_over_its_limit_is_dropped_and_the_others_are_answered() -> None:
    responder = _up()
    told = [
        len(responder.on_datagram(wire.QUERY, CLIENT, ETH_LINK, multicast=True, now=0.5))
        for _ in range(30)
    ]
    assert told == [1] * 20 + [0] * 10
    assert responder.dropped == {"source limit": 10}
    assert responder.on_datagram(wire.QUERY, OTHER, ETH_LINK, multicast=True, now=0.5)


def test_nonsense_counts_against_its_source() -> None:
    responder = _up()
    for _ in range(20):
        responder.on_datagram(b"nonsense", CLIENT, ETH_LINK, multicast=True, now=0.5)
    assert responder.on_datagram(wire.QUERY, CLIENT, ETH_LINK, multicast=True, now=0.5) == []
    assert responder.dropped == {"malformed": 20, "source limit": 1}


def test_all_sources_together_have_a_limit() -> None:
    responder = _responder(limits=Limits(total_per_s=1.0, total_burst=5.0))
    responder.on_tick([ETH_LINK], [OURS], now=0.0)
    for number in range(8):
        sender = (IPv4Address("10.0.0.20") + number, 8888)
        responder.on_datagram(wire.QUERY, sender, ETH_LINK, multicast=True, now=0.5)
    assert (responder.answers, responder.dropped) == (5, {"total limit": 3})


# --- publications -------------------------------------------------------------------------------


def test_a_node_that_publishes_to_the_group_is_answered_to_its_exact_source() -> None:
    responder = _up()
    sent = responder.on_datagram(THEIRS, OTHER, ETH_LINK, multicast=True, now=0.5)
    assert sent == [Datagram(wire.pack(OURS), ETH_LINK, ip_address("10.0.0.5"), OTHER)]
    assert (responder.queries, responder.answers) == (0, 0)


def test_it_is_answered_once_in_five_seconds() -> None:
    responder = _up()
    answered = [
        now / 10
        for now in range(120)
        if responder.on_datagram(THEIRS, OTHER, ETH_LINK, multicast=True, now=now / 10)
    ]
    assert answered == [0.0, GREETING_GAP_S, 2 * GREETING_GAP_S]


def test_each_client_and_each_link_has_its_own_answer() -> None:
    responder = _up([ETH_LINK, WLAN_LINK])
    for sender, link in ((CLIENT, ETH_LINK), (OTHER, ETH_LINK), (CLIENT, WLAN_LINK)):
        assert responder.on_datagram(THEIRS, sender, link, multicast=True, now=0.5)


def test_a_publication_that_was_sent_to_us_alone_is_never_answered() -> None:
    responder = _up()
    assert responder.on_datagram(THEIRS, OTHER, ETH_LINK, multicast=False, now=0.5) == []
    assert responder.on_datagram(THEIRS, OTHER, ETH_LINK, multicast=True, now=0.5)


def test_a_publication_causes_no_multicast() -> None:
    responder = _up()
    _times(responder, [ETH_LINK], [OURS], until=20.0)
    before = responder.wake_at
    responder.on_datagram(THEIRS, OTHER, ETH_LINK, multicast=True, now=20.0)
    assert responder.wake_at == before


@pytest.mark.parametrize("data", [ACCOUNT, wire.pack(Beacon(b"c" * 20, 4222, network=7))])
def test_accounts_and_nodes_of_other_networks_are_remembered_not_answered(data: bytes) -> None:
    responder = _up()
    assert responder.on_datagram(data, OTHER, ETH_LINK, multicast=True, now=0.5) == []
    assert [neighbour.ip for neighbour in responder.neighbours.at(0.5)] == [OTHER[0]]


@pytest.mark.parametrize("multicast", [True, False])
def test_who_publishes_is_a_neighbour(*, multicast: bool) -> None:
    responder = _up()
    responder.on_datagram(THEIRS, OTHER, ETH_LINK, multicast=multicast, now=0.5)
    (neighbour,) = responder.neighbours.at(0.5)
    assert (neighbour.kind, neighbour.id, neighbour.ip) == ("dht", b"c" * 20, OTHER[0])


def test_a_client_heard_while_there_was_no_node_is_answered_when_there_is() -> None:
    responder = _up(beacons=[])
    responder.on_datagram(THEIRS, OTHER, ETH_LINK, multicast=True, now=0.5)
    responder.on_tick([ETH_LINK], [OURS], now=1.0)
    assert responder.on_datagram(THEIRS, OTHER, ETH_LINK, multicast=True, now=1.5)


def test_an_address_with_too_many_neighbours_is_counted() -> None:
    responder = _up()
    for number in range(1, 12):
        data = wire.pack(Beacon(number.to_bytes(20, "big"), 4222))
        responder.on_datagram(data, OTHER, ETH_LINK, multicast=True, now=0.5)
    assert responder.dropped == {"too many neighbours at one address": 3}


# --- two boxes ----------------------------------------------------------------------------------


class _Cable:
    """Two boxes on one link, which hear of each other all that is sent to the group, to the
    subnet or to them. They send from ports of their own."""

    def __init__(self) -> None:
        self._boxes = {ip_address(text): _responder() for text in ("10.0.0.5", "10.0.0.6")}
        self._links = {ip: links([_interface("eth0", 2, f"{ip}/24")])[0] for ip in self._boxes}
        self._beacons = {ip: Beacon(ip.packed * 5, 4222) for ip in self._boxes}
        self._flying: list[Datagram] = []

    def round(self, now: float) -> int:
        """Deliver what flies, and let both boxes do what is due; how many datagrams leave."""
        arriving, self._flying = self._flying, []
        for datagram in arriving:
            for ip, box in self._boxes.items():
                link = self._links[ip]
                to_group = datagram.to[0] == link.group
                to_subnet = datagram.to[0] == link.sources[0].broadcast
                if datagram.source != ip and (to_group or to_subnet or datagram.to[0] == ip):
                    sender = (datagram.source, 40000)
                    self._flying += box.on_datagram(
                        datagram.payload, sender, link, multicast=to_group, now=now
                    )
        for ip, box in self._boxes.items():
            self._flying += box.on_tick([self._links[ip]], [self._beacons[ip]], now=now)
        return len(self._flying)


def test_two_boxes_fall_silent_in_an_instant() -> None:
    cable = _Cable()
    sent = [cable.round(0.0) for _ in range(1000)]
    assert sum(sent) <= 20
    assert not any(sent[10:])


def test_two_boxes_do_not_keep_each_other_talking() -> None:
    cable = _Cable()
    sent = [cable.round(number / 10) for number in range(1000)]
    # Each in 100 s: 15 announcements and 2 questions, each to group and subnet; for each question
    # heard twice two answers; for announcements heard at most one greeting in five seconds.
    assert 60 <= sum(sent) <= 2 * (2 * 17 + 2 * 2 + 20)


# --- floods -------------------------------------------------------------------------------------


def _flood(
    responder: Responder, senders: Callable[[int], tuple[Ip, int]], *, data: bytes = wire.QUERY
) -> tuple[int, int]:
    """10,000 datagrams in 10 s; how many were answered, and how many multicasts left."""
    answers = multicasts = 0
    for number in range(10_000):
        now = number / 1000
        sender = senders(number)
        sent = responder.on_datagram(data, sender, ETH_LINK, multicast=True, now=now)
        assert all(d.to == sender for d in sent)
        answers += len(sent)
        if responder.wake_at <= now:
            sent = responder.on_tick([ETH_LINK], [OURS], now=now)
            multicasts += sum(d.to[0] == wire.GROUP_V4 for d in sent)
    return answers, multicasts


def test_a_flood_from_five_hundred_clients_loses_nothing() -> None:
    responder = _up()
    first = IPv4Address("10.0.1.1")
    answers, multicasts = _flood(responder, lambda number: (first + number % 500, 40001))
    assert answers == responder.queries == 10_000
    assert responder.dropped == {}
    assert multicasts <= 11


def test_a_flood_from_one_client_is_bounded_and_nobody_else_is_lost() -> None:
    responder = _up()

    def mostly_one(number: int) -> tuple[Ip, int]:
        return OTHER if number % 1000 == 999 else CLIENT

    answers, multicasts = _flood(responder, mostly_one)
    limits = Limits()
    allowed = limits.source_burst + 10 * limits.source_per_s
    assert allowed <= answers <= allowed + 10 + 1
    assert responder.answers == answers
    assert responder.dropped.keys() == {"source limit"}
    assert multicasts <= 11


def test_a_client_on_many_ports_is_one_source() -> None:
    responder = _up()
    answers, _ = _flood(responder, lambda number: (CLIENT[0], 1024 + number))
    assert answers <= 121


def _calls(work: Callable[[], object]) -> int:
    """How many calls of Python functions some work takes: its cost, without a clock."""
    calls = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


def test_the_thousandth_publishing_client_costs_no_more_than_the_first() -> None:
    responder = _up()
    clients = iter(range(2000))

    def greet(number: int) -> None:
        for _ in range(number):
            sender = (IPv4Address("10.0.1.1") + next(clients), 8888)
            responder.on_datagram(THEIRS, sender, ETH_LINK, multicast=True, now=0.5)

    first = _calls(lambda: greet(10))
    greet(1000)
    assert _calls(lambda: greet(10)) <= 2 * first


def _size(responder: Responder) -> int:
    return len(pickle.dumps(responder))


def test_a_flood_of_publications_from_everywhere_takes_bounded_memory() -> None:
    responder = _up()
    for number in range(6000):
        sender = (IPv4Address("10.0.0.0") + number * 7, 8888)
        data = wire.pack(Beacon(number.to_bytes(20, "big"), 4222)) if number else THEIRS
        responder.on_datagram(data, sender, ETH_LINK, multicast=number % 9 == 0, now=number / 500)
    assert _size(responder) < 1_000_000


def test_hours_of_passing_clients_take_bounded_memory() -> None:
    responder = _responder(limits=Limits(sources=100))
    responder.on_tick([ETH_LINK], [OURS], now=0.0)
    sizes = []
    for number in range(9000):
        sender = (IPv4Address("10.0.0.0") + number * 7, 8888)
        responder.on_datagram(THEIRS, sender, ETH_LINK, multicast=True, now=float(number))
        sizes.append(_size(responder) if number in {3000, 8999} else 0)
    assert sizes[8999] < 1.5 * sizes[3000]


# --- whatever comes -----------------------------------------------------------------------------

_links_up = st.lists(st.sampled_from([ETH_LINK, WLAN_LINK, V6_LINK]), unique=True)
_beacons_up = st.lists(st.sampled_from([OURS, SECOND]), unique=True)
_datas = st.sampled_from([wire.QUERY, THEIRS, ACCOUNT, wire.pack(OURS), b"x"]) | st.binary(
    max_size=40
)
_ips = (
    st.sampled_from(
        [
            *(IPv4Address("10.0.0.9") + number for number in range(6)),
            IPv4Address("192.168.1.9"),
            IPv4Address("8.8.8.8"),
            IPv6Address("fd00::9"),
            IPv6Address("fe80::9"),
            IPv6Address("2001:db8::9"),
        ]
    )
    | st.ip_addresses()
)
_senders = st.tuples(_ips, st.integers(0, 65535))
_gaps = st.sampled_from([0.0, 0.01, 0.4, 1.0, 7.0, 200.0])
_ticks = st.tuples(_gaps, _links_up, _beacons_up)
_arrivals = st.tuples(
    _gaps, _datas, _senders, st.sampled_from([ETH_LINK, WLAN_LINK, V6_LINK]), st.booleans()
)


def _come_from_their_link(datagrams: Sequence[Datagram]) -> Iterator[bool]:
    for d in datagrams:
        yield d.source in [source.ip for source in d.link.sources]
        yield d.source.version == d.link.version


@given(st.lists(_ticks | _arrivals, max_size=80))
def test_whatever_comes_it_keeps_its_word(
    happenings: list[
        tuple[float, list[Link], list[Beacon]] | tuple[float, bytes, tuple[Ip, int], Link, bool]
    ],
) -> None:
    responder = _responder()
    up: list[Beacon] = []
    on: list[Link] = []
    now = 1000.0
    for happening in happenings:
        now += happening[0]
        match happening:
            case (_, list(on), list(up)):
                sent = responder.on_tick(on, up, now=now)
                assert responder.wake_at > now
                assert {d.to[1] for d in sent} <= {8888}
                assert {d.link.key for d in sent} <= {link.key for link in on}
            case (_, bytes(data), sender, Link() as link, multicast):
                sent = responder.on_datagram(data, sender, link, multicast=bool(multicast), now=now)
                assert {d.to for d in sent} <= {sender}
                assert len(sent) <= 2 * len(up)
                assert not sent or link in on
        assert all(_come_from_their_link(sent))
        published = {d.payload for d in sent} - {wire.QUERY}
        assert published <= {wire.pack(beacon) for beacon in up}
    assert _size(responder) < 60_000
