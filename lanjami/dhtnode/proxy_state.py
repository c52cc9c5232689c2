"""The orders of the proxy's clients as a file, for the next start of the box.

A client that sleeps does not see that the box was away: it relies on its orders for a day.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from lanjami.dhtnode import value as values
from lanjami.dhtnode.endpoint import ID_LENGTH
from lanjami.dhtnode.proxy import LIFE_S, Order, Orders, Permanent, Subscription
from lanjami.dhtnode.value_json import PushAddress
from lanjami.errors import WireError

VERSION = 1


class _Saved(msgspec.Struct, frozen=True):
    """`ends` is in Unix time; `value` is empty for a subscription."""

    key: Annotated[bytes, Meta(min_length=ID_LENGTH, max_length=ID_LENGTH)]
    source: Annotated[bytes, Meta(max_length=16)]
    push: PushAddress
    ends: Annotated[float, Meta(ge=0.0)]
    is_warned: bool
    value: bytes = b""


class _File(msgspec.Struct, frozen=True):
    version: int
    orders: list[_Saved]


_decoder = msgspec.msgpack.Decoder(_File)


def pack(orders: Orders, *, now: float, unix_time: float) -> bytes:
    """All orders, as they are at `now`."""
    saved = [
        _Saved(
            order.key,
            order.source,
            order.push,
            order.ends_at - now + unix_time,
            order.is_warned,
            order.value.packed if isinstance(order, Permanent) else b"",
        )
        for order in orders.all()
    ]
    return msgspec.msgpack.encode(_File(VERSION, saved))


def unpack(data: bytes, *, now: float, unix_time: float) -> list[Order]:
    """The orders in a file; raises WireError where it is none of ours."""
    try:
        file = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not the orders of a proxy: {error}") from error
    if file.version != VERSION:
        raise WireError(f"orders of version {file.version}, not {VERSION}")
    return [_order(saved, now, unix_time) for saved in file.orders]


def _order(saved: _Saved, now: float, unix_time: float) -> Order:
    # a clock that was set back must not make an order last longer
    ends_at = now + min(saved.ends - unix_time, LIFE_S)
    if saved.value:
        value = values.parse(saved.value)
        return Permanent(saved.key, saved.source, saved.push, ends_at, saved.is_warned, value=value)
    return Subscription(saved.key, saved.source, saved.push, ends_at, saved.is_warned)
