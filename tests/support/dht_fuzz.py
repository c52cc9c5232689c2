"""Datagrams that are wrong, many of them only just: what real peers sent, what a client of the
node could send with a token that the node gave it, and any MessagePack at all."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from lanjami.dhtnode import messages as m
from lanjami.dhtnode import packing, wire
from lanjami.dhtnode import value as values
from lanjami.dhtnode.query import Field, Filter, Query
from lanjami.dhtnode.value import Value
from lanjami.errors import WireError
from tests.support import recorded
from tests.support.dht_values import encrypted, sha1, signed

_TYPES = [0, 1, 4, 4, 9, *range(12)]  # more of those that live for a week
_KEYS = 50  # of which every other one is near the node
_EACH = 24  # datagrams that each source has in store
_LARGE = 5000  # bytes of a value that takes so many parts that there would be little else
_BUILT = 0.6  # of all, with a token; half of them changed as MessagePack, half as bytes
_RECORDED = 0.9  # up to here what peers sent; the rest is any MessagePack

_encode = msgspec.msgpack.encode


@dataclass(frozen=True, slots=True)
class Source:
    """Somebody who may put and listen: its id, and the token that it was given."""

    node_id: bytes
    token: bytes


class Fuzz:
    """Datagrams from sources, whose number comes with each."""

    def __init__(self, dice: random.Random, sources: Sequence[Source], *, own_id: bytes) -> None:
        self._dice = dice
        self._sources = sources
        keys = [sha1(f"key {number}") for number in range(_KEYS)]
        self.keys = keys[::2] + [own_id[:4] + key[4:] for key in keys[1::2]]
        self._values = _values()
        self._store: list[list[bytes]] = [[] for _ in sources]
        self.built = 0  # how many had a token in them

    def datagram(self) -> tuple[int, bytes]:
        """The number of a source, and what it sends."""
        dice = self._dice
        number = dice.randrange(len(self._sources))
        kind = dice.random()
        if kind < _BUILT:
            self.built += 1
            data = self._stored(number)
            if kind < _BUILT / 2:
                return number, self._torn(data)
            return number, mutated(dice, data, times=dice.choice([0, 0, 1, 2]))
        if kind < _RECORDED:
            return number, mutated(dice, dice.choice(recorded.DATAGRAMS), times=dice.randrange(4))
        return number, _encode(self._anything(4))

    def _stored(self, number: int) -> bytes:
        """One that a source has in store, among which half of the parts of something get lost."""
        store, dice = self._store[number], self._dice
        while len(store) < _EACH:
            store += packing.pack(dice.choice(_QUERIES)(self, dice, self._sources[number]))
        data = dice.choice(store)
        if dice.random() < 0.5:  # the others come again
            store.remove(data)
        return data

    def value(self) -> Value:
        kind = self._dice.random()
        if kind < 0.8:
            data = self._dice.randbytes(self._dice.choice([0, 10, 100, 300, 500, 1200]))
            return values.make(self.id(), data, type=self._dice.choice(_TYPES))
        return self._dice.choice(self._values)

    def id(self) -> int:
        return self._dice.choice([1, 2, *[self._dice.getrandbits(64) or 1] * 4])

    def query(self) -> Query:
        fields = tuple(self._dice.sample(list(Field), self._dice.randrange(3)))
        return Query(fields, (Filter(Field.ID, self.id()),) if self._dice.random() < 0.3 else ())

    def _torn(self, data: bytes) -> bytes:
        """Valid MessagePack still, with something else in a place or two, mostly of its kind."""
        dice = self._dice
        message: dict[str, Any] = msgspec.msgpack.decode(data, strict=False)
        for _ in range(dice.randrange(1, 3)):
            inside: Any = message
            steps: list[Any] = [step for step in ("a", "p") if step in message]
            while steps and dice.random() < 0.9 and isinstance(inside[steps[0]], dict | list):
                inside = inside[steps[0]]
                places = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
                steps = [dice.choice(places)] if places else []
            if steps and steps[0] != "token":
                inside[steps[0]] = self._instead_of(inside[steps[0]])
        return _encode(message)

    def _instead_of(self, former: Any) -> Any:
        dice = self._dice
        match former:
            case _ if dice.random() < 0.3:
                return self._anything(2)
            case int():
                return dice.choice([0, 1, 2**16, 2**32 - 1, 2**64 - 1, dice.getrandbits(32)])
            case bytes():
                return dice.choice([b"", dice.choice(self.keys), dice.randbytes(20), former + b"x"])
            case list():
                return former * dice.choice([0, 2, 9])
        return self._anything(2)

    def _anything(self, depth: int) -> Any:
        dice = self._dice
        match dice.randrange(7 if depth else 4):
            case 0 | 1:
                return dice.choice(_SCALARS)
            case 2:
                return dice.randbytes(dice.choice([0, 1, 4, 20, 26, 32, 64, 300]))
            case 3:
                return dice.getrandbits(dice.randrange(1, 65))
            case 4 | 5:
                return [self._anything(depth - 1) for _ in range(dice.randrange(6))]
        return {dice.choice(_NAMES): self._anything(depth - 1) for _ in range(dice.randrange(6))}


def mutated(dice: random.Random, datagram: bytes, *, times: int) -> bytes:
    """With so many bytes, or strings of them, changed, added or taken away."""
    data = bytearray(datagram)
    for _ in range(times):
        at_byte = dice.randrange(len(data) + 1)
        match dice.randrange(9):
            case 0:
                del data[at_byte : at_byte + dice.randrange(1, 20)]
            case 1:
                data[at_byte:at_byte] = dice.randbytes(dice.randrange(1, 20))
            case 2:
                data = data[:at_byte]
            case 3 | 4 | 5 if at_byte < len(data):
                data[at_byte] = dice.randrange(256)
            case _ if at_byte < len(data):
                data[at_byte] ^= 1 << dice.randrange(8)
    return bytes(data)


def waits_for_more(data: bytes) -> bool:
    """Whether a datagram is a part of something, which has no answer of its own."""
    try:
        message = wire.parse(data)
    except WireError:
        return False
    return isinstance(message, m.Parts) or (
        isinstance(message, m.Bearing) and bool(message.missing)
    )


def _values() -> list[Value]:
    """Genuine ones, forged ones, ones that nobody can read, and those of real peers."""
    mine = [
        signed(owner, id, seq=seq) for owner in ("alice", "bob") for id in (1, 2) for seq in (0, 1)
    ]
    forged = [values.parse(value.packed.replace(b"signed", b"forged")) for value in mine]
    real = [value for value in recorded.values() if len(value.packed) < _LARGE]
    return [*mine, *forged, encrypted(1), encrypted(2, bytes(900)), *real]


def _spoken(dice: random.Random, source: Source) -> dict[str, Any]:
    return {
        "transaction": dice.getrandbits(32),
        "node_id": source.node_id,
        "is_client": dice.random() < 0.5,
    }


def _put(fuzz: Fuzz, dice: random.Random, source: Source) -> m.Message:
    return m.Put(
        **_spoken(dice, source),
        key=dice.choice(fuzz.keys),
        token=source.token,
        values=tuple(fuzz.value() for _ in range(dice.choice([0, *[1] * 8, 2, 5]))),
        created=dice.choice([None, None, 0, 1_700_000_000, 2**40, -1]),
    )


def _refresh(fuzz: Fuzz, dice: random.Random, source: Source) -> m.Message:
    key = dice.choice(fuzz.keys)
    return m.Refresh(**_spoken(dice, source), key=key, token=source.token, value_id=fuzz.id())


def _listen(fuzz: Fuzz, dice: random.Random, source: Source) -> m.Message:
    return m.Listen(
        **_spoken(dice, source),
        key=dice.choice(fuzz.keys),
        token=source.token,
        socket=dice.getrandbits(32),
        query=fuzz.query(),
    )


def _get(fuzz: Fuzz, dice: random.Random, source: Source) -> m.Message:
    want = dice.choice([(), (4,), (6,), (4, 6)])
    return m.Get(**_spoken(dice, source), key=dice.choice(fuzz.keys), query=fuzz.query(), want=want)


def _update(fuzz: Fuzz, dice: random.Random, source: Source) -> m.Message:
    return m.Update(
        **_spoken(dice, source),
        socket=dice.getrandbits(32),
        key=dice.choice(fuzz.keys),
        values=(fuzz.value(),),
        refreshed=(fuzz.id(),),
        expired=(fuzz.id(),),
    )


def _other(fuzz: Fuzz, dice: random.Random, source: Source) -> m.Message:
    spoken = _spoken(dice, source)
    return dice.choice([m.Ping(**spoken), m.Find(**spoken, target=dice.choice(fuzz.keys))])


_QUERIES: list[Callable[[Fuzz, random.Random, Source], m.Message]] = [
    *[_put] * 4,
    *[_listen] * 2,
    _refresh,
    _get,
    _update,
    _other,
]
_SCALARS = [
    *(0, 1, -1, 2**16, 2**31, 2**32, 2**63, 2**64 - 1, -(2**63), None, True, False, 1.5),
    *(float("nan"), float("inf"), "", "q", "r", "p", "e", "id", "\x00", "é" * 40),
]
_NAMES = [
    *("y", "q", "a", "r", "t", "v", "e", "p", "n", "s", "u", "id", "h", "target", "token", "vid"),
    *("n4", "n6", "c", "sa", "values", "exp", "re", "w", "sid", "ve", "dat", "body", "sig", "seq"),
    *("owner", "to", "type", "data", "utype", "prio", "pt", "o", "d"),
]
