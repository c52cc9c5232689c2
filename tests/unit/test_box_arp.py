"""Who of several boxes on a cable is the network there."""

from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.box import arp
from lanjami.box.arp import HEARD_S, SURE_S, Heard, Rivals
from lanjami.box.rivals import ASK_EVERY_S
from lanjami.box.roles import PATIENCE_S, Line, Seen, step
from lanjami.errors import WireError

OURS, NOBODY = IPv4Address("10.77.0.1"), IPv4Address(0)
LOWER, MAC, HIGHER = (bytes.fromhex(f"0200000000{end}") for end in ("01", "02", "03"))
ANOTHER = IPv4Address("10.77.0.20")


def test_a_question_is_what_the_kernel_takes_for_one() -> None:
    # as arping -D of iputils sends it
    packet = bytes.fromhex("0001080006040001 020000000002 00000000 000000000000 0a4d0001")
    assert arp.probe(OURS, mac=MAC) == packet
    assert arp.read(packet + bytes(18)) == Heard(MAC, NOBODY, OURS)


def test_an_answer_is_read() -> None:
    packet = bytes.fromhex("0001080006040002 020000000001 0a4d0001 020000000002 00000000")
    assert arp.read(packet) == Heard(LOWER, OURS, NOBODY)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        arp.probe(OURS, mac=MAC)[:-1],
        b"\0\6" + arp.probe(OURS, mac=MAC)[2:],  # IEEE 802
        arp.probe(OURS, mac=MAC)[:4] + b"\x08" + arp.probe(OURS, mac=MAC)[5:],
    ],
)
def test_what_is_no_arp_of_ipv4_is_refused(packet: bytes) -> None:
    with pytest.raises(WireError):
        arp.read(packet)


@given(st.binary(max_size=64) | st.binary(max_size=32).map(lambda end: b"\0\1\x08\0\6\4" + end))
def test_any_bytes_are_read_or_refused(packet: bytes) -> None:
    with suppress(WireError):
        Rivals(OURS, MAC, now=0).hear(arp.read(packet), now=0)


@pytest.mark.parametrize(
    ("heard", "before_a_guest", "before_the_network"),
    [
        (Heard(LOWER, OURS, ANOTHER), True, True),
        (Heard(HIGHER, OURS, ANOTHER), True, False),
        (Heard(LOWER, NOBODY, OURS), True, False),
        (Heard(HIGHER, NOBODY, OURS), False, False),
        (Heard(LOWER, ANOTHER, OURS), False, False),  # a client, which looks for us
        (Heard(LOWER, NOBODY, ANOTHER), False, False),
    ],
)
def test_who_comes_first(heard: Heard, *, before_a_guest: bool, before_the_network: bool) -> None:
    rivals = Rivals(OURS, MAC, now=0)
    for now in (0, SURE_S):
        rivals.hear(heard, now=now)
    for now, holds in ((SURE_S + HEARD_S - 1, True), (SURE_S + HEARD_S, False)):
        assert rivals.come_first(is_network=False, now=now) == (before_a_guest and holds)
        assert rivals.come_first(is_network=True, now=now) == (before_the_network and holds)


def test_the_network_gives_way_to_nobody_who_gives_way_itself() -> None:
    rivals = Rivals(OURS, MAC, now=0)
    for now in (100, 101, 102, 102 + HEARD_S, 104 + HEARD_S):
        rivals.hear(Heard(LOWER, OURS, ANOTHER), now=now)
        assert not rivals.come_first(is_network=True, now=now)
    rivals.hear(Heard(LOWER, OURS, ANOTHER), now=105 + HEARD_S)
    assert rivals.come_first(is_network=True, now=105 + HEARD_S)


@dataclass
class _Box:
    """One on a cable with others; `restart_s` is how long its address takes to be there, and to
    be gone."""

    mac: bytes
    starts_at: float
    restart_s: float
    line: Line = field(default_factory=Line)
    changes_at: float | None = None
    has_address: bool = False
    ask_at: float = 0.0
    rivals: Rivals = field(init=False)

    def __post_init__(self) -> None:
        self.rivals = Rivals(OURS, self.mac, now=0)

    def look(self, others: "list[_Box]", *, now: float) -> None:
        if now < self.starts_at:
            return
        if self.changes_at is not None and now >= self.changes_at:
            self.has_address, self.changes_at = self.line.is_network, None
        has_rival = self.rivals.come_first(is_network=self.line.is_network, now=now)
        before = self.line.is_network
        self.line = step(self.line, Seen(True, False), has_rival=has_rival, now=now)
        if self.line.is_network != before:
            self.changes_at = now + self.restart_s
        in_doubt = self.rivals.is_in_doubt(now=now)
        if self.line.is_network and not in_doubt and now < self.ask_at:
            return
        self.ask_at = now + ASK_EVERY_S
        for other in others:
            other.rivals.hear(Heard(self.mac, NOBODY, OURS), now=now)
            if other.has_address:
                self.rivals.hear(Heard(other.mac, OURS, NOBODY), now=now)


_BOXES = st.lists(st.tuples(st.floats(0, 40), st.floats(0, 12)), min_size=2, max_size=4)


@given(_BOXES, st.permutations([LOWER, MAC, HIGHER, b"\x04" * 6]))
def test_of_several_boxes_one_is_the_network(
    starts: list[tuple[float, float]], macs: list[bytes]
) -> None:
    boxes = [_Box(mac, *start) for mac, start in zip(macs, starts, strict=False)]
    ends_at = max(box.starts_at for box in boxes) + PATIENCE_S + 2 * 12 + HEARD_S
    for now in range(int(ends_at) + 20):
        for box in boxes:
            box.look([other for other in boxes if other is not box], now=now)
        if now >= ends_at:
            assert [box.has_address for box in boxes].count(True) == 1


@given(st.floats(0, 3))
def test_two_that_are_switched_on_together_never_both_have_the_address(later_s: float) -> None:
    boxes = [_Box(HIGHER, 0, 3), _Box(LOWER, later_s, 3)]
    for now in range(80):
        for box in boxes:
            box.look([other for other in boxes if other is not box], now=now)
        assert [box.has_address for box in boxes].count(True) < 2
    assert [box.has_address for box in boxes].count(True) == 1
