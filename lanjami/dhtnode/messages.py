"""What DHT nodes say to each other, as types that cannot be wrong.

A query asks and a reply answers, tied together by the transaction number that the asker chose.
Every message but `Parts` says who speaks. `wire` parses and packs them.
"""

import msgspec

from lanjami.dhtnode.endpoint import Record
from lanjami.dhtnode.query import EVERYTHING, Index, Query
from lanjami.dhtnode.value import Value

UNAUTHORIZED = 401  # a wrong token; DhtProtocolException, include/opendht/network_engine.h
NOT_FOUND = 404  # refresh of a value that is not stored
INCOMPLETE = 203  # NON_AUTHORITATIVE_INFORMATION: a query that lacks something


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What every message has: its transaction (32 bits) and network number."""

    transaction: int = 0  # of a query of ours: given by `requests`
    network: int = 0


class Spoken(Message, frozen=True, kw_only=True):
    """A message that names its speaker; a client is asked nothing and named to nobody."""

    node_id: bytes = b""  # of a query of ours: filled in by `requests`
    is_client: bool = False


class Asked(Spoken, frozen=True, kw_only=True):
    """A query."""


class Ping(Asked, frozen=True, kw_only=True):
    """Are you there?"""


class Find(Asked, frozen=True, kw_only=True):
    """Which nodes are closest to `target`? `want` has IP versions; empty: the query's own."""

    target: bytes
    want: tuple[int, ...] = ()


class Get(Asked, frozen=True, kw_only=True):
    """Which values are at `key`, and which nodes are closest to it?"""

    key: bytes
    query: Query = EVERYTHING
    want: tuple[int, ...] = ()


class Put(Asked, frozen=True, kw_only=True):
    """Store these values at `key`; `created` is a Unix time, None for now.

    Here and below, `missing` has the sizes of the values that come in parts, by index.
    """

    key: bytes
    token: bytes
    values: tuple[Value, ...] = ()
    missing: dict[int, int] = {}
    created: int | None = None


class Refresh(Asked, frozen=True, kw_only=True):
    """Keep the value for another life."""

    key: bytes
    token: bytes
    value_id: int


class Listen(Asked, frozen=True, kw_only=True):
    """Tell me by `Update`, with the number `socket`, what comes to and goes from `key`."""

    key: bytes
    token: bytes
    socket: int
    query: Query = EVERYTHING


class Update(Asked, frozen=True, kw_only=True):
    """To a listener: values that came, ids of those refreshed and of those that expired."""

    socket: int
    key: bytes = b""
    token: bytes = b""
    values: tuple[Value, ...] = ()
    missing: dict[int, int] = {}
    refreshed: tuple[int, ...] = ()
    expired: tuple[int, ...] = ()


class Reply(Spoken, frozen=True, kw_only=True):
    """The answer to any query; what is there depends on which.

    `nodes` has the records of both families, `seen_as` our address as the speaker sees it,
    `value_id` what a put or refresh was for; `index` is for others alone, as we select nothing.
    """

    nodes: tuple[Record, ...] = ()
    token: bytes = b""
    values: tuple[Value, ...] = ()
    missing: dict[int, int] = {}
    index: Index | None = None
    value_id: int = 0
    seen_as: bytes = b""
    refreshed: tuple[int, ...] = ()
    expired: tuple[int, ...] = ()


class Error(Message, frozen=True, kw_only=True):
    """The answer to a query that could not be served; `node_id` is empty where it is not said."""

    code: int
    text: str = ""
    node_id: bytes = b""
    is_client: bool = False


class Part(msgspec.Struct, frozen=True):
    """Some bytes of a packed value, from `offset` on."""

    offset: int
    data: bytes


class Parts(Message, frozen=True, kw_only=True):
    """Parts of the values that the message with the same transaction announced, by index."""

    parts: dict[int, Part]


Bearing = Put | Update | Reply  # the messages that bear values
