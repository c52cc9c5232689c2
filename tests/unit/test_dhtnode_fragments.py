"""Values in parts: in any order, twice, never whole, and too many."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.dhtnode import fragments as f
from lanjami.dhtnode import messages as m
from lanjami.dhtnode import value as values
from lanjami.dhtnode import wire
from lanjami.dhtnode.fragments import Fragments
from lanjami.dhtnode.packing import PART_BYTES, pack
from tests.support.dht_values import at, sha1

FROM = at(1)


def _put(*sizes: int, transaction: int = 1) -> m.Put:
    made = tuple(values.make(id, bytes([id]) * size) for id, size in enumerate(sizes, start=1))
    return m.Put(transaction=transaction, node_id=sha1("x"), key=sha1("k"), token=b"t", values=made)


def _split(put: m.Put) -> tuple[m.Put, list[m.Parts]]:
    header, *parts = map(wire.parse, pack(put))
    assert isinstance(header, m.Put)
    return header, [part for part in parts if isinstance(part, m.Parts)]


@given(
    st.lists(st.integers(600, 9000), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_the_order_does_not_matter(sizes: list[int], dice: random.Random, twice: bool) -> None:  # noqa: FBT001
    put = _put(*sizes)
    header, parts = _split(put)
    arriving: list[m.Put | m.Parts] = [header, *parts] * (2 if twice else 1)
    dice.shuffle(arriving)
    fragments = Fragments()
    whole = []
    for message in arriving:
        if isinstance(message, m.Put):
            whole.append(fragments.on_message(FROM, message, asked=False, now=0.0))
        else:
            whole.append(fragments.on_parts(FROM, message, now=0.0))
    found = [message for message in whole if message is not None]
    assert found
    assert found[0] == put
    fragments.expire(now=f.WHOLE_S + 1)
    assert len(fragments) == fragments.cost == 0


def test_sources_and_transactions_are_told_apart() -> None:
    fragments = Fragments()
    header, parts = _split(_put(2000))
    assert fragments.on_message(FROM, header, asked=False, now=0.0) is None
    for part in parts:
        assert fragments.on_parts(at(2), part, now=0.0) is None
    assert fragments.on_parts(FROM, parts[0], now=0.0) is None
    assert fragments.on_parts(FROM, parts[1], now=0.0) is not None


@pytest.mark.parametrize(("parts_at", "left"), [([0, 2.9, 5.8, 8.7], 1), ([0, 3.1], 0), ([0], 0)])
def test_what_does_not_go_on_is_forgotten(parts_at: list[float], left: int) -> None:
    fragments = Fragments()
    header, parts = _split(_put(9000))
    fragments.on_message(FROM, header, asked=False, now=0.0)
    for when, part in zip(parts_at, parts, strict=False):
        fragments.expire(now=when)
        fragments.on_parts(FROM, part, now=when)
    fragments.expire(now=9.5 if left else 6.2)
    assert len(fragments) == left
    fragments.expire(now=10.1)
    assert len(fragments) == fragments.cost == 0
    assert fragments.dropped["never whole"] >= 1 + len(parts_at), "the message, and its parts"


def test_more_than_a_message_may_hold_is_refused() -> None:
    fragments = Fragments()
    header, _ = _split(_put(60_000, 60_000, 60_000))
    assert fragments.on_message(FROM, header, asked=False, now=0.0) is None
    assert len(fragments) == 0
    assert fragments.dropped == {"too much in parts": 1}
    assert fragments.on_message(FROM, header, asked=True, now=0.0) is None
    assert len(fragments) == 1, "but as an answer"


def test_parts_without_a_message_are_kept_up_to_a_limit() -> None:
    fragments = Fragments()
    for number in range(1000):
        part = m.Parts(transaction=1, parts={0: m.Part(number * PART_BYTES, bytes(PART_BYTES))})
        fragments.on_parts(FROM, part, now=0.0)
        assert fragments.cost <= 3 * f.UNASKED_BYTES
    assert fragments.dropped["too much in parts"] + fragments.datagrams == 1000


def test_tiny_parts_do_not_take_all_memory() -> None:
    fragments = Fragments()
    header, _ = _split(_put(60_000))
    fragments.on_message(FROM, header, asked=False, now=0.0)
    for offset in range(60_000):
        part = m.Parts(transaction=1, parts={0: m.Part(offset, b"x")})
        fragments.on_parts(FROM, part, now=0.0)
        assert fragments.cost <= 3 * f.UNASKED_BYTES


def test_one_source_and_all_together_have_their_limits() -> None:
    fragments = Fragments()
    for host in range(1, 9):
        for transaction in range(20_000):
            part = m.Parts(transaction=transaction, parts={0: m.Part(0, bytes(1000))})
            fragments.on_parts(at(host), part, now=0.0)
            if fragments.dropped["too much in parts"] > 100 * host:
                break
        assert fragments.cost <= min(host * f.SOURCE_BYTES, f.TOTAL_BYTES)
    assert fragments.cost > f.TOTAL_BYTES * 0.99
    fragments.expire(now=3.1)
    assert fragments.cost == 0


def test_many_sources_that_begin_and_never_end_keep_nobody_out() -> None:
    """One machine has as many addresses as it wants."""
    fragments = Fragments()
    for host in range(2, 3000):
        for transaction in range(10):
            part = m.Parts(transaction=transaction, parts={0: m.Part(0, bytes(1200))})
            fragments.on_parts(at(host), part, now=0.0)
    assert fragments.cost > f.TOTAL_BYTES * 0.99
    put = _put(60_000)
    header, parts = _split(put)
    assert fragments.on_message(FROM, header, asked=False, now=0.0) is None
    for number, part in enumerate(parts):
        noise = m.Parts(transaction=number, parts={0: m.Part(0, bytes(1200))})
        fragments.on_parts(at(9000), noise, now=0.0)
        whole = fragments.on_parts(FROM, part, now=0.0)
    assert whole == put
    assert fragments.cost <= f.TOTAL_BYTES


@pytest.mark.parametrize(
    "part",
    [
        m.Part(0, b"x" * 3000),  # longer than the value
        m.Part(2100, b"x"),
        m.Part(1279, b"xx"),  # over the first part
        m.Part(0, b"x"),
        m.Part(5, b"x"),
    ],
)
def test_parts_that_do_not_fit_are_passed_over(part: m.Part) -> None:
    fragments = Fragments()
    put = _put(2000)
    header, (first, second) = _split(put)
    fragments.on_message(FROM, header, asked=False, now=0.0)
    fragments.on_parts(FROM, first, now=0.0)
    assert (
        fragments.on_parts(FROM, m.Parts(transaction=1, parts={0: part, 7: part}), now=0.0) is None
    )
    assert fragments.on_parts(FROM, second, now=0.0) == put


def test_what_becomes_no_value_is_left_out() -> None:
    fragments = Fragments()
    header = m.Put(
        transaction=1, node_id=sha1("x"), key=sha1("k"), token=b"t", missing={0: 4, 1: 3}
    )
    fragments.on_message(FROM, header, asked=False, now=0.0)
    parts = {0: m.Part(0, b"\xc1\xc1\xc1\xc1"), 1: m.Part(0, b"\x90\x90\x90")}
    whole = fragments.on_parts(FROM, m.Parts(transaction=1, parts=parts), now=0.0)
    assert whole is not None
    assert whole.values == ()
    assert fragments.dropped == {"a value that is none": 2}
