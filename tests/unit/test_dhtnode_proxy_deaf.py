"""Phones that listened when the box lost its power: who is made to notice, when, and how often."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.dhtnode import proxy_deaf
from lanjami.dhtnode.proxy_deaf import (
    AWAITED_S,
    LARGEST,
    LOOKS_S,
    MOST,
    RESTS_S,
    TOGETHER_S,
    Deaf,
)
from lanjami.errors import WireError

ALICE, BOB = b"\x0a\0\0\1", b"\x0a\0\0\2"
LOOKS_AGAIN_S = 60.0  # a client that was told of no good node
BEFORE, NOW = "3f0c", "b712"


def _deaf(**listens: int) -> Deaf:
    deaf = Deaf()
    deaf.expect({{"alice": ALICE, "bob": BOB}[who]: n for who, n in listens.items()}, now=0.0)
    return deaf


def test_who_did_not_listen_is_answered_as_ever() -> None:
    deaf = _deaf(alice=3)
    assert not deaf.hides(BOB, now=1.0)
    assert not deaf.ends(BOB, now=1.0)


def test_a_stream_is_ended_once_and_then_nothing_is_amiss() -> None:
    deaf = _deaf(alice=3, bob=3)
    assert deaf.ends(ALICE, now=1.0)
    assert not deaf.hides(ALICE, now=1.1), "it looks at once, and has to find us"
    assert not deaf.ends(ALICE, now=1.2), "and listens anew"
    assert deaf.ends(BOB, now=1.3)


def test_no_node_is_good_for_who_looks_together_and_a_minute_later_one_is() -> None:
    deaf = _deaf(alice=3)
    assert deaf.hides(ALICE, now=1.0)
    last = 1.0 + TOGETHER_S / 2
    assert deaf.hides(ALICE, now=last), "another client of the same phone"
    for later_s in (LOOKS_AGAIN_S - 1, LOOKS_AGAIN_S, 2 * LOOKS_AGAIN_S):
        assert not deaf.hides(ALICE, now=last + later_s)
        assert not deaf.ends(ALICE, now=last + later_s)


def test_who_listens_as_before_is_left_alone() -> None:
    deaf = _deaf(alice=3, bob=3)
    assert deaf.hides(ALICE, now=1.0)
    deaf.sweep({ALICE: 3, BOB: 2}, now=62.0)
    assert deaf.listens == {BOB: 3}
    deaf.sweep({}, now=63.0)
    assert not deaf.hides(ALICE, now=RESTS_S + 2.0), "it only left"


def test_while_fewer_listen_another_client_of_the_address_is_made_to_look() -> None:
    deaf = _deaf(alice=6)
    assert deaf.ends(ALICE, now=1.0)
    deaf.sweep({ALICE: 3}, now=2.0)
    assert deaf.hides(ALICE, now=1.0 + RESTS_S)


def test_an_address_is_not_bothered_for_longer_than_its_clients_take_to_look() -> None:
    deaf, now = _deaf(alice=6), 1000.0
    bothered = 0
    while now < 1000.0 + 2 * LOOKS_S:
        deaf.sweep({ALICE: 3}, now=now)
        bothered += deaf.ends(ALICE, now=now)
        now += 1.0
    assert bothered == LOOKS_S // RESTS_S
    assert not deaf.listens


def test_who_does_not_come_is_awaited_for_a_day() -> None:
    deaf = _deaf(alice=1, bob=1)
    deaf.sweep({}, now=AWAITED_S - 1)
    assert deaf.hides(ALICE, now=AWAITED_S - 1)
    deaf.sweep({}, now=AWAITED_S)
    assert not deaf.listens


# --- the file -----------------------------------------------------------------------------------


def test_after_another_start_of_the_machine_who_listened_may_be_deaf() -> None:
    file = proxy_deaf.pack({ALICE: 3}, {BOB: 2, ALICE: 1}, boot=BEFORE)
    assert proxy_deaf.unpack(file, boot=NOW) == {ALICE: 3, BOB: 2}


def test_after_the_end_of_the_program_alone_only_who_was_deaf_already_is() -> None:
    file = proxy_deaf.pack({ALICE: 3}, {BOB: 2}, boot=BEFORE)
    assert proxy_deaf.unpack(file, boot=BEFORE) == {BOB: 2}


def test_a_machine_that_does_not_tell_may_have_been_cut_off() -> None:
    file = proxy_deaf.pack({ALICE: 3}, {}, boot="")
    assert proxy_deaf.unpack(file, boot="") == {ALICE: 3}


def test_a_file_has_a_bound() -> None:
    many = {number.to_bytes(16, "big"): 4096 for number in range(MOST + 1)}
    others = {bytes([255]) + source[1:]: 4096 for source in many}
    file = proxy_deaf.pack(many, others, boot="x" * 64)
    assert len(file) < LARGEST
    assert len(proxy_deaf.unpack(file, boot=NOW)) == MOST


@pytest.mark.parametrize(
    "content",
    [
        {"version": 2, "boot": "", "listens": {}, "deaf": {}},
        {"version": 1, "boot": "x" * 65, "listens": {}, "deaf": {}},
        {"version": 1, "boot": "", "listens": {b"abc": 1}, "deaf": {}},
        {"version": 1, "boot": "", "listens": {ALICE: 0}, "deaf": {}},
        {"version": 1, "boot": "", "listens": {}},
        [],
        bytes(LARGEST),
    ],
)
def test_what_is_no_such_file_is_told_from_one(content: object) -> None:
    with pytest.raises(WireError):
        proxy_deaf.unpack(msgspec.msgpack.encode(content), boot=NOW)


@given(st.binary())
def test_any_bytes_are_a_file_or_not(data: bytes) -> None:
    with pytest.raises(WireError):
        proxy_deaf.unpack(data, boot=NOW)
