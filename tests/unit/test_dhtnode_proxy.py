"""Orders of clients that are not connected: how long, how many, and what they are told."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.dhtnode import proxy_state
from lanjami.dhtnode import value as values
from lanjami.dhtnode.proxy import (
    LIFE_S,
    MARGIN_S,
    Begin,
    Decision,
    End,
    Limits,
    Notice,
    Order,
    Orders,
    Permanent,
    Recipient,
    Subscription,
    notice,
    pong,
)
from lanjami.dhtnode.value import Body, Content, Value
from lanjami.dhtnode.value_json import PushAddress
from lanjami.dhtnode.webpush import LONGEST
from lanjami.errors import RequestError, WireError
from tests.support.dht_values import sha1, signed

KEY, OTHER_KEY = sha1("key"), sha1("other")
ALICE, BOB = b"\x0a\0\0\1", b"\x0a\0\0\2"
PHONE = PushAddress("http://ntfy/up1", "alice", "session1", "", "unifiedpush")
TO_PHONE = Recipient("http://ntfy/up1", "unifiedpush", "")
UNIX = 1_800_000_000.5


def _value(id: int, data: bytes = b"x", *, priority: int = 0, push: str = "") -> Value:
    return values.pack(id, Content(Body(0, data)), priority=priority, push_type=push)


def _put(orders: Orders, value: Value, *, source: bytes = ALICE, now: float = 0.0) -> Permanent:
    order, _ = orders.put(KEY, value, push=None, source=source, now=now)
    return order


def _subscribe(orders: Orders, push: PushAddress = PHONE, *, now: float = 0.0) -> Subscription:
    order, _ = orders.subscribe(KEY, push, source=ALICE, now=now)
    return order


def _at(orders: Orders, now: float) -> list[Decision]:
    orders.on_timer(now=now)
    return orders.take()


def test_a_value_is_kept_for_a_day() -> None:
    orders = Orders()
    order = _put(orders, _value(1))
    assert orders.take() == [Begin(order)]
    assert (orders.permanent, orders.keys) == (1, 1)
    assert orders.wake_at == LIFE_S
    assert _at(orders, LIFE_S - 1) == []
    assert _at(orders, LIFE_S) == [End(order)]
    assert (orders.permanent, orders.keys, orders.all()) == (0, 0, [])
    assert orders.wake_at == float("inf")


def test_asked_again_it_is_kept_longer_and_not_begun_again() -> None:
    orders = Orders()
    order = _put(orders, _value(1))
    orders.take()
    for hour in range(100):
        assert _put(orders, _value(1), now=hour * 3600.0) is order
    assert _at(orders, LIFE_S) == []
    assert _at(orders, 99 * 3600.0 + LIFE_S) == [End(order)]


def test_a_client_without_a_push_address_is_not_warned() -> None:
    orders = Orders()
    _put(orders, _value(1))
    orders.take()
    assert _at(orders, LIFE_S - MARGIN_S) == []


def test_a_client_is_warned_two_hours_before_the_end() -> None:
    orders = Orders()
    put, _ = orders.put(KEY, _value(2**63), push=PHONE, source=ALICE, now=0.0)
    subscription = _subscribe(orders)
    orders.take()
    assert orders.wake_at == LIFE_S - MARGIN_S
    told = {"timeout": KEY.hex(), "to": "alice", "s": "session1"}
    assert _at(orders, LIFE_S - MARGIN_S) == [
        Notice(TO_PHONE, told | {"vid": str(2**63)}, is_urgent=False),
        Notice(TO_PHONE, told, is_urgent=False),
    ]
    assert _at(orders, LIFE_S - 1) == [], "once"
    assert _at(orders, LIFE_S) == [End(put), End(subscription)]


def test_who_asks_again_after_the_warning_is_warned_again() -> None:
    orders = Orders()
    _subscribe(orders)
    changes = orders.changes
    _at(orders, LIFE_S - MARGIN_S)
    assert orders.changes > changes, "a restart must not warn again"
    _subscribe(orders, now=LIFE_S - 10)
    assert _at(orders, LIFE_S) == []
    assert len(_at(orders, 2 * LIFE_S - MARGIN_S)) == 1


def test_a_subscription_belongs_to_token_key_and_client() -> None:
    orders = Orders()
    first = _subscribe(orders)
    assert orders.subscribe(KEY, PHONE, source=BOB, now=0.0) == (first, False)
    for other in (
        PushAddress("http://ntfy/up2", "alice"),
        PushAddress(PHONE.key, "bob"),
    ):
        assert orders.subscribe(KEY, other, source=ALICE, now=0.0)[1]
    assert orders.subscribe(OTHER_KEY, PHONE, source=ALICE, now=0.0)[1]
    assert (orders.subscriptions, orders.subscribers, orders.undeliverable) == (4, 2, 2)
    orders.take()
    orders.unsubscribe(KEY, PushAddress(PHONE.key, "alice", session_id="another"))
    orders.unsubscribe(KEY, PushAddress(PHONE.key, "nobody"))
    assert orders.take() == [End(first)]
    assert orders.subscriptions == 3


def test_a_new_session_of_a_client_is_what_it_is_told() -> None:
    orders = Orders()
    order = _subscribe(orders)
    _subscribe(orders, PushAddress(PHONE.key, "alice", "session2", "", "unifiedpush"))
    assert notice(order, [_value(1)], expired=False, unix_time=UNIX).body["s"] == "session2"


def test_a_value_without_an_id_is_known_again() -> None:
    orders = Orders()
    orders.put(KEY, _value(7, b"same"), push=PHONE, source=ALICE, now=0.0)
    assert orders.permanent_id(KEY, _value(0, b"same"), PHONE) == 7
    assert orders.permanent_id(KEY, _value(0, b"other"), PHONE) == 0
    assert orders.permanent_id(KEY, _value(0, b"same"), None) == 0
    assert orders.permanent_id(OTHER_KEY, _value(0, b"same"), PHONE) == 0
    _put(orders, _value(8, b"same"))
    assert orders.permanent_id(KEY, _value(0, b"same"), None) == 8


def test_a_client_may_replace_what_it_keeps_and_nobody_else_may() -> None:
    orders = Orders()
    old = _put(orders, _value(1, b"old"))
    orders.take()
    with pytest.raises(RequestError) as caught:
        _put(orders, _value(1, b"new"), source=BOB)
    assert caught.value.status == 502
    new = _put(orders, _value(1, b"new"))
    assert orders.take() == [End(old), Begin(new)]
    phone, _ = orders.put(KEY, _value(2, b"old"), push=PHONE, source=ALICE, now=0.0)
    moved, _ = orders.put(KEY, _value(2, b"new"), push=PHONE, source=BOB, now=0.0)
    assert (phone.is_over, moved.is_over) == (True, False)


def test_an_owner_may_edit_from_anywhere() -> None:
    orders = Orders()
    _put(orders, signed("alice", seq=1, data=b"old"))
    with pytest.raises(RequestError):
        _put(orders, signed("bob", seq=2, data=b"new"), source=BOB)
    new = signed("alice", seq=2, data=b"new")
    assert _put(orders, new, source=BOB).value == new


@pytest.mark.parametrize("limits", [Limits(cost=40_000), Limits(cost_of_one=40_000)])
def test_what_is_too_much_is_refused_until_there_is_room(limits: Limits) -> None:
    orders = Orders(limits)
    for id in range(1, 4):
        _put(orders, _value(id))
    _subscribe(orders)
    with pytest.raises(RequestError) as caught:
        _put(orders, _value(9))
    assert caught.value.status == 503
    with pytest.raises(RequestError):
        orders.subscribe(OTHER_KEY, PHONE, source=ALICE, now=0.0)
    _put(orders, _value(1), now=1.0)
    orders.unsubscribe(KEY, PHONE)
    _put(orders, _value(9))


def test_the_limit_of_one_leaves_room_for_others() -> None:
    orders = Orders(Limits(cost_of_one=10_000))
    _put(orders, _value(1))
    with pytest.raises(RequestError):
        _put(orders, _value(2))
    _put(orders, _value(2), source=BOB)


def test_a_long_address_takes_the_room_of_others() -> None:
    long = PushAddress("http://ntfy/" + 2000 * "\N{LARGE RED CIRCLE}", "bob")
    orders = Orders(Limits(cost=25_000))
    _subscribe(orders, long)
    with pytest.raises(RequestError):
        _subscribe(orders)
    orders.unsubscribe(KEY, long)
    _subscribe(orders)
    _put(orders, _value(1))
    with pytest.raises(RequestError):
        orders.put(KEY, _value(1), push=long, source=ALICE, now=1.0)
    assert [order.push for order in orders.all()] == [PushAddress(), PHONE]


def test_what_an_order_took_is_given_back_also_when_its_client_said_more_of_itself() -> None:
    orders = Orders(Limits(cost_of_one=12_000))
    for session in ("s" * 60, "s", "s" * 60):
        _subscribe(orders, PushAddress(PHONE.key, "alice", session, "t" * 500))
        _subscribe(orders, PHONE)
    orders.unsubscribe(KEY, PHONE)
    with pytest.raises(RequestError):
        orders.put(KEY, _value(1, bytes(3000)), push=None, source=ALICE, now=0.0)
    orders.put(KEY, _value(1, bytes(2500)), push=None, source=ALICE, now=0.0)


def test_asking_again_and_again_costs_no_memory() -> None:
    orders = Orders()
    for turn in range(10_000):
        _subscribe(orders, now=float(turn))
        orders.unsubscribe(KEY, PHONE)
        orders.take()
    assert len(orders._timers) < 100  # noqa: SLF001 - nothing else shows it


def test_what_a_subscriber_is_told_of_values() -> None:
    order = _subscribe(Orders())
    told = notice(order, [_value(1, push="call"), _value(2, priority=1)], expired=False,
                  unix_time=UNIX)  # fmt: skip
    assert told == Notice(
        TO_PHONE,
        {
            "key": KEY.hex(),
            "to": "alice",
            "t": 1_800_000_000_500,
            "s": "session1",
            "ids": "1,2",
            "pt": "call,",
        },
        is_urgent=True,
    )
    assert not notice(order, [_value(2, priority=1)], expired=False, unix_time=UNIX).is_urgent


def test_what_a_subscriber_is_told_of_values_that_are_gone() -> None:
    order = _subscribe(Orders())
    one = notice(order, [_value(1)], expired=True, unix_time=UNIX)
    assert (one.body["exp"], one.is_urgent) == ("1", False)
    two = notice(order, [_value(1), _value(2)], expired=True, unix_time=UNIX)
    assert "exp" not in two.body, "the client is to look what is left"


@pytest.mark.parametrize("push_type", ["", "call", 200 * "\x00"])
def test_what_is_told_of_thousands_of_values_fits_a_push(push_type: str) -> None:
    found = [_value(2**64 - id, priority=int(id != 4000), push=push_type) for id in range(1, 4097)]
    told = notice(_subscribe(Orders()), found, expired=False, unix_time=UNIX)
    assert len(msgspec.json.encode(told.body)) < LONGEST
    ids, push_types = told.body["ids"].split(","), told.body["pt"].split(",")
    assert ids == [str(value.id) for value in found[: len(ids)]]
    assert push_types == [push_type] * len(ids)
    assert told.is_urgent, "though that one has no room"


def test_a_type_without_room_is_not_told() -> None:
    value = _value(1, push="x" * 5000)
    for expired in (False, True):
        told = notice(_subscribe(Orders()), [value], expired=expired, unix_time=UNIX)
        assert (told.body["ids"], told.body["pt"], "exp" in told.body) == ("", "", False)


def test_a_ping_is_answered_to_the_client() -> None:
    assert pong(PHONE) == Notice(TO_PHONE, {"to": "alice", "pong": True}, is_urgent=True)


# --- over a restart -----------------------------------------------------------------------------


def _some_orders() -> Orders:
    orders = Orders()
    orders.put(KEY, signed("alice"), push=PHONE, source=ALICE, now=0.0)
    _put(orders, _value(2), now=100.0)
    _subscribe(orders, now=200.0)
    return orders


def _told_of(order: Order) -> tuple[object, ...]:
    value = order.value.packed if isinstance(order, Permanent) else b""
    return order.key, order.source, order.push, order.ends_at, order.is_warned, value


def test_orders_survive_a_restart_with_the_life_that_is_left() -> None:
    before, after = _some_orders(), Orders()
    data = proxy_state.pack(before, now=1000.0, unix_time=UNIX)
    after.recall(proxy_state.unpack(data, now=5.0, unix_time=UNIX + 60), now=5.0)
    shifted = [(*_told_of(o)[:3], o.ends_at - 1055, *_told_of(o)[4:]) for o in before.all()]
    assert [_told_of(order) for order in after.all()] == shifted
    assert after.permanent_id(KEY, _value(0), None) == 2
    after.begin_again()
    assert after.take() == [Begin(order) for order in after.all()]


def test_orders_that_ended_meanwhile_are_forgotten() -> None:
    data = proxy_state.pack(_some_orders(), now=200.0, unix_time=UNIX)
    after = Orders()
    later = UNIX + LIFE_S - 150
    after.recall(proxy_state.unpack(data, now=0.0, unix_time=later), now=0.0)
    assert [type(order) for order in after.all()] == [Permanent, Subscription]


def test_a_clock_that_was_set_back_gives_no_longer_life() -> None:
    data = proxy_state.pack(_some_orders(), now=200.0, unix_time=UNIX)
    found = proxy_state.unpack(data, now=0.0, unix_time=0.0)
    assert {order.ends_at for order in found} == {LIFE_S}


def test_a_file_with_too_much_is_taken_as_far_as_there_is_room() -> None:
    data = proxy_state.pack(_some_orders(), now=200.0, unix_time=UNIX)
    after = Orders(Limits(cost=20_000))
    after.recall(proxy_state.unpack(data, now=0.0, unix_time=UNIX), now=0.0)
    assert len(after.all()) == 2


@given(st.binary(max_size=200), st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_file_is_refused_or_read(data: bytes, at: int, byte: int) -> None:
    whole = bytearray(proxy_state.pack(_some_orders(), now=200.0, unix_time=UNIX))
    whole[at % len(whole)] = byte
    for damaged in (data, bytes(whole), bytes(whole[:at])):
        try:
            orders = proxy_state.unpack(damaged, now=0.0, unix_time=UNIX)
        except WireError:
            continue
        assert all(order.ends_at <= LIFE_S for order in orders)


def test_a_file_of_another_version_is_refused() -> None:
    data = proxy_state.pack(Orders(), now=0.0, unix_time=UNIX)
    assert data.count(b"\1") == 1
    with pytest.raises(WireError, match="version 2"):
        proxy_state.unpack(data.replace(b"\1", b"\2"), now=0.0, unix_time=UNIX)
