"""The serving half of a node: what it answers and keeps, and who listens.

Facts: OpenDHT src/dht.cpp, onPing … onRefresh. `updates` tells those who listen.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from lanjami.dhtnode import messages as m
from lanjami.dhtnode import policy, query
from lanjami.dhtnode.endpoint import ID_LENGTH, Endpoint, Record, may_be_told
from lanjami.dhtnode.listeners import Listener, Listeners
from lanjami.dhtnode.routing import BUCKET, RoutingTable
from lanjami.dhtnode.storage import Outcome, Place, Storage, Stored
from lanjami.dhtnode.tokens import Tokens
from lanjami.dhtnode.value import Value

KEEPERS = 14  # the nodes closest to a key keep its values: SEARCH_NODES, include/opendht/dht.h
MAINTAINED_S = 600.0  # MAX_STORAGE_MAINTENANCE_EXPIRE_TIME
LOOKED_AT = 16  # values at a time, once a second
REPLY_BYTES = 256 * 1024  # of values in one reply; OpenDHT asks for their ids first
_APART_BYTES = 128  # what a value costs beside its own bytes, as it goes in a datagram of its own
INDEX_BYTES = 60_000  # of fields, which go in one datagram with the records of nodes
MOST_SELECTED = 4096  # values that fields are told of, and as many as a listener hears
_NO_KEY = bytes(ID_LENGTH)


class Change(msgspec.Struct, frozen=True):
    """What happened at a key: values that came, ids of those refreshed, values that went."""

    key: bytes
    came: tuple[Value, ...] = ()
    refreshed: tuple[int, ...] = ()
    went: tuple[Value, ...] = ()


class Answers:
    """Answers queries from what the node knows and keeps.

    `speaks` tells whether a node was heard in a family; `unix_minus_now` is what turns our clock
    into Unix time, in which nodes tell when a value was made, and is another when that was set.
    """

    def __init__(
        self,
        own_id: bytes,
        *,
        network: int,
        tables: Mapping[int, RoutingTable],
        speaks: Callable[[bytes, int], bool],
        secret: bytes,
        unix_minus_now: float,
    ) -> None:
        self._own_id = own_id
        self._own_number = int.from_bytes(own_id)
        self._network = network
        self._tables = tables
        self._speaks = speaks
        self.unix_minus_now = unix_minus_now
        self._look_at = float("-inf")
        self._to_look_at: list[Place] = []
        self.tokens = Tokens(secret)
        self.storage = Storage()
        self.listeners = Listeners()

    def ping(self, asked: m.Ping, source: Endpoint) -> m.Reply:
        return self._reply(asked, source)

    def find(self, asked: m.Find, source: Endpoint, *, now: float) -> m.Reply:
        return self._reply(
            asked,
            source,
            nodes=tuple(self._closest(asked.target, asked, source, now)),
            token=self.tokens.make(source),
        )

    def get(self, asked: m.Get, source: Endpoint, *, now: float) -> m.Reply | m.Error:
        if asked.key == _NO_KEY:
            return self._error(asked, m.INCOMPLETE, "Get_values with no info_hash")
        found = self.storage.at(asked.key, asked.query)
        selected = asked.query.fields()
        index = None
        if selected and found:
            index = query.index(found[:MOST_SELECTED], selected, size=INDEX_BYTES)
        return self._reply(
            asked,
            source,
            nodes=tuple(self._closest(asked.key, asked, source, now)),
            token=self.tokens.make(source),
            values=() if selected else tuple(_at_most(found, REPLY_BYTES)),
            index=index,
        )

    def put(
        self, asked: m.Put, source: Endpoint, *, now: float
    ) -> tuple[list[m.Reply | m.Error], list[Change]]:
        """A reply for each value, also where it was not stored: so that whoever put it does not
        look for another node that would."""
        if asked.key == _NO_KEY:
            return [self._error(asked, m.INCOMPLETE, "Put with no info_hash")], []
        if not self.tokens.is_good(asked.token, source):
            return [self._error(asked, m.UNAUTHORIZED, "Put with incorrect token")], []
        if 0 in [value.id for value in asked.values]:
            return [self._error(asked, m.INCOMPLETE, "Put with invalid ID")], []
        changes: list[Change] = []
        if self.is_close(asked.key, source.version, now=now):
            created_at = now if asked.created is None else asked.created - self.unix_minus_now
            for value in asked.values:
                changes += self._store(asked.key, value, source, created_at, now)
        return [self._reply(asked, source, value_id=value.id) for value in asked.values], changes

    def refresh(
        self, asked: m.Refresh, source: Endpoint, *, now: float
    ) -> tuple[m.Reply | m.Error, list[Change]]:
        if not self.tokens.is_good(asked.token, source):
            return self._error(asked, m.UNAUTHORIZED, "Put with incorrect token"), []
        if not self.storage.refresh(asked.key, asked.value_id, now=now):
            text = "Access operation for unknown storage"
            return self._error(asked, m.NOT_FOUND, text), []
        change = Change(asked.key, refreshed=(asked.value_id,))
        return self._reply(asked, source, value_id=asked.value_id), [change]

    def listen(
        self, asked: m.Listen, source: Endpoint, *, now: float
    ) -> tuple[m.Reply | m.Error, Listener | None]:
        """The reply, and who listens now."""
        if asked.key == _NO_KEY:
            return self._error(asked, m.INCOMPLETE, "Listen with no info_hash"), None
        if not self.tokens.is_good(asked.token, source):
            return self._error(asked, m.UNAUTHORIZED, "Listen with incorrect token"), None
        listener = self.listeners.add(
            Listener(asked.key, asked.node_id, source, asked.socket, asked.query, now)
        )
        if listener is None:  # OpenDHT has no code for it, and only passes this one over
            return self._error(asked, m.INCOMPLETE, "Listen where too many do"), None
        return self._reply(asked, source, token=self.tokens.make(source)), listener

    def confirm(self, asked: m.Update, source: Endpoint) -> m.Reply:
        """The answer to what we are told as a listener."""
        return self._reply(asked, source)

    def leaving(self, *, now: float) -> list[tuple[bytes, Stored]]:
        """Others' values that live on for a while at keys that eight nodes are closer to than we
        are: those should have them, too (Dht::maintainStorage). Looks at a few each time, and so
        at all of them in turn, in ten minutes or more."""
        if not self._to_look_at and now >= self._look_at:
            self._look_at = now + MAINTAINED_S
            self._to_look_at = self.storage.places()
        places, self._to_look_at = self._to_look_at[-LOOKED_AT:], self._to_look_at[:-LOOKED_AT]
        found = [(key, self.storage.find(key, id)) for key, id in places]
        return [
            (key, stored)
            for key, stored in found
            if stored is not None
            and stored.source
            and not stored.is_kept
            and stored.expires_at > now + MAINTAINED_S
            and not self._is_among_the_closest(key, now)
        ]

    def _is_among_the_closest(self, key: bytes, now: float) -> bool:
        known = [version for version, table in self._tables.items() if len(table)]
        return any(self.is_close(key, version, keepers=BUCKET, now=now) for version in known)

    def keep(
        self,
        key: bytes,
        value: Value,
        *,
        source: bytes,
        created_at: float,
        is_kept: bool = False,
        now: float,
    ) -> list[Change]:
        """Store a value that may be stored, or give it another life; returns what is news."""
        match self.storage.put(
            key, value, source=source, created_at=created_at, is_kept=is_kept, now=now
        ):
            case Outcome.NEW | Outcome.CHANGED:
                return [Change(key, came=(value,))]
            case Outcome.REFRESHED:
                return [Change(key, refreshed=(value.id,))]
            case Outcome.REFUSED:
                return []

    def is_close(self, key: bytes, version: int, *, keepers: int = KEEPERS, now: float) -> bool:
        """Whether we are among the nodes that keep the values of a key (Dht::onAnnounce)."""
        table = self._tables[version]
        if len(table) < BUCKET:
            return True
        closest = table.closest(key, count=keepers, now=now)
        if len(closest) < BUCKET:
            return True
        number = int.from_bytes(key)
        return self._own_number ^ number <= closest[-1].number ^ number

    def _store(
        self, key: bytes, value: Value, source: Endpoint, created_at: float, now: float
    ) -> list[Change]:
        if created_at + policy.life_s(value.type) <= now:
            created_at = now  # nobody puts what is over: it is the clocks that differ
        known = self.storage.find(key, value.id) is not None
        admitted = value if known else policy.admit(key, value, source)
        if admitted is None:
            return []
        return self.keep(key, admitted, source=source.ip, created_at=created_at, now=now)

    def _closest(
        self, target: bytes, asked: m.Find | m.Get, source: Endpoint, now: float
    ) -> Iterator[Record]:
        """The nodes to tell an asker of. Those of another family than the one it asks in only
        where it has spoken to us in that, too: a client without IPv6 that is told of an IPv6
        node waits for 9 s with everything that it puts (OpenDHT 2.4.12)."""
        for version in asked.want or (source.version,):
            if version != source.version and not self._speaks(asked.node_id, version):
                continue
            for node in self._tables[version].closest(target, now=now):
                if may_be_told(node.endpoint, source):
                    yield node.record

    def _reply(self, asked: m.Asked, source: Endpoint, **said: object) -> m.Reply:
        return m.Reply(
            transaction=asked.transaction,
            network=self._network,
            node_id=self._own_id,
            seen_as=source.ip,
            **said,  # type: ignore[arg-type]
        )

    def _error(self, asked: m.Asked, code: int, text: str) -> m.Error:
        return m.Error(
            transaction=asked.transaction,
            network=self._network,
            code=code,
            text=text,
            node_id=self._own_id,
        )


def _at_most(values: Iterable[Value], size: int) -> Iterator[Value]:
    for value in values:
        size -= _APART_BYTES + len(value.packed)
        if size < 0:
            return
        yield value
