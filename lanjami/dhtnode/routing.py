"""The routing table: buckets of nodes by id, finer around our own (OpenDHT src/routing_table.cpp).

A bucket has eight nodes. A full one takes a new node in place of one that expired; else its
dubious ones are pinged, and where all are good it is split, if it is our own or near the root
(bootstrap nodes split those too, to know more of the network). Otherwise the newcomer is kept
in mind as the one to ask when a place comes free.

One address has at most 64 places, and at most three among the closest to an id while there are
others: a thousand ids of one attacker do not crowd out the rest.
"""

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from lanjami.dhtnode.endpoint import ID_LENGTH
from lanjami.dhtnode.nodes import NEVER, Node

BUCKET = 8  # TARGET_NODES, src/routing_table.h
BOOTSTRAP_DEPTH = 6  # RoutingTable::onNewNode
PER_ADDRESS = 64
CLOSE_PER_ADDRESS = 3
_LOOKED_AT = 64  # nodes that are looked at for other addresses
_BITS = 8 * ID_LENGTH

T = TypeVar("T")


class Dice(Protocol):
    """Randomness, as `random.Random` gives it."""

    def random(self) -> float: ...

    def getrandbits(self, bits: int, /) -> int: ...


@dataclass(slots=True)
class Bucket:
    """The nodes whose ids begin with the first `depth` bits of `first`."""

    first: int
    depth: int
    nodes: list[Node] = field(default_factory=list)
    replied_at: float = NEVER  # when one of its nodes replied last
    candidate: Node | None = None


class RoutingTable:
    """The nodes of one family that we may name to others."""

    def __init__(self, own_id: bytes) -> None:
        self._own = int.from_bytes(own_id)
        self._buckets = [Bucket(0, 0)]
        self._firsts = [0]
        self._numbers: list[int] = []  # of all nodes, in order
        self._by_number: dict[int, Node] = {}
        self._by_address: Counter[bytes] = Counter()
        self.grown_at = NEVER  # when our own bucket last had a newcomer

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, node: Node) -> bool:
        return self._by_number.get(node.number) is node

    @property
    def buckets(self) -> list[Bucket]:
        return self._buckets

    def nodes(self) -> list[Node]:
        return [node for bucket in self._buckets for node in bucket.nodes]

    def insert(self, node: Node, *, replied: bool, heard: bool, now: float) -> Node | None:
        """Take in a node that we heard of; returns one that should be pinged, to see whether
        it is still there. `heard`: it spoke to us itself; `replied`: to a query of ours."""
        bucket = self._bucket(node.number)
        if replied:
            bucket.replied_at = now
        if not self._is_wanted(node):
            return None
        if self._is_own(bucket):
            self.grown_at = now
        while True:
            ping = self._make_room(bucket, now)
            if len(bucket.nodes) < BUCKET:
                self._add(bucket, node)
                return ping
            if not self._may_split(bucket, now):
                if heard or bucket.candidate is None:
                    bucket.candidate = node
                return ping
            self._split(bucket)
            bucket = self._bucket(node.number)

    def closest(self, target: bytes, *, count: int = BUCKET, now: float) -> list[Node]:
        """The good nodes closest to `target`, closest first."""
        number = int.from_bytes(target)
        shared = self._shared_bits(number, count)
        while True:
            start, end = self._range(number, shared)
            in_range = [self._by_number[other] for other in self._numbers[start:end]]
            found = [node for node in in_range if node.is_good(now)]
            if shared == 0 or len(found) >= count:
                found.sort(key=lambda node: node.number ^ number)
                first = found[:count]
                if len({node.endpoint.ip for node in first}) == count:  # nearly always
                    return first
                if shared == 0 or len(found) >= _LOOKED_AT or _are_enough(found, count):
                    return spread(found, count, _address)
            shared -= 1

    def expire(self) -> list[Node]:
        """Drop the nodes that do not answer; returns those to ping for their places."""
        to_ping = []
        for bucket in self._buckets:
            gone = [node for node in bucket.nodes if node.is_expired]
            for node in gone:
                self._remove(node)
            if gone and bucket.candidate is not None:
                to_ping.append(bucket.candidate)
                bucket.candidate = None
        return to_ping

    def random_id(self, bucket: Bucket, dice: Dice) -> bytes:
        """An id in the range of a bucket."""
        return (bucket.first | dice.getrandbits(_BITS - bucket.depth)).to_bytes(ID_LENGTH)

    def neighbour(self, bucket: Bucket, dice: Dice) -> Node | None:
        """Somebody to ask for nodes of a bucket: one of its own, sometimes of a bucket beside it
        (Dht::bucketMaintenance); where it is empty, of any other. OpenDHT asks beside it then,
        too, but those learned from the same nodes as we and may be blind there themselves: of
        2,000 nodes that start at once, fifteen around one id knew nobody of half of the network.
        """
        if bucket.nodes:
            at = self._buckets.index(bucket)
            asked = bucket
            for beside in self._buckets[at + 1 : at + 2] + self._buckets[max(0, at - 1) : at]:
                if beside.nodes and dice.random() < 1 / 8:
                    asked = beside
        else:
            others = [other for other in self._buckets if other.nodes]
            if not others:
                return None
            asked = others[int(dice.random() * len(others))]
        alive = [node for node in asked.nodes if not node.is_expired] or asked.nodes
        return alive[int(dice.random() * len(alive))]

    def own_bucket(self) -> Bucket:
        return self._bucket(self._own)

    def _bucket(self, number: int) -> Bucket:
        return self._buckets[bisect_right(self._firsts, number) - 1]

    def _is_own(self, bucket: Bucket) -> bool:
        return self._bucket(self._own) is bucket

    def _is_wanted(self, node: Node) -> bool:
        known = self._by_number.get(node.number)
        if node.number == self._own or known is node:
            return False
        if known is not None:  # at another address now
            self._remove(known)
        return self._by_address[node.endpoint.ip] < PER_ADDRESS

    def _make_room(self, bucket: Bucket, now: float) -> Node | None:
        """Drop a node that expired from a full bucket; else find one to ping."""
        if len(bucket.nodes) < BUCKET:
            return None
        for node in bucket.nodes:
            if node.is_expired:
                self._remove(node)
                return None
        dubious = (node for node in bucket.nodes if not node.is_good(now) and not node.pending)
        return next(dubious, None)

    def _may_split(self, bucket: Bucket, now: float) -> bool:
        if bucket.depth >= _BITS or not all(node.is_good(now) for node in bucket.nodes):
            return len(self._buckets) == 1
        return self._is_own(bucket) or bucket.depth < BOOTSTRAP_DEPTH

    def _add(self, bucket: Bucket, node: Node) -> None:
        bucket.nodes.insert(0, node)
        self._by_number[node.number] = node
        self._by_address[node.endpoint.ip] += 1
        insort(self._numbers, node.number)

    def _split(self, bucket: Bucket) -> None:
        at = self._buckets.index(bucket)
        bucket.depth += 1
        middle = bucket.first | 1 << (_BITS - bucket.depth)
        upper = Bucket(middle, bucket.depth, replied_at=bucket.replied_at)
        upper.nodes = [node for node in bucket.nodes if node.number >= middle]
        bucket.nodes = [node for node in bucket.nodes if node.number < middle]
        self._buckets.insert(at + 1, upper)
        self._firsts.insert(at + 1, middle)

    def _remove(self, node: Node) -> None:
        self._bucket(node.number).nodes.remove(node)
        del self._by_number[node.number]
        del self._numbers[bisect_left(self._numbers, node.number)]
        self._by_address[node.endpoint.ip] -= 1
        if not self._by_address[node.endpoint.ip]:
            del self._by_address[node.endpoint.ip]

    def _shared_bits(self, number: int, count: int) -> int:
        """The longest prefix of `number` that `count` nodes share: all that share it are closer
        than all that do not. They are beside each other, around the place of `number`."""
        numbers = self._numbers
        if len(numbers) < count:
            return 0
        at = bisect_left(numbers, number)
        first, last = max(0, at - count), min(at, len(numbers) - count)
        differing = min(
            max(
                (numbers[one] ^ number).bit_length(),
                (numbers[one + count - 1] ^ number).bit_length(),
            )
            for one in range(first, last + 1)
        )
        return _BITS - differing

    def _range(self, number: int, shared: int) -> tuple[int, int]:
        free = _BITS - shared
        first = number >> free << free
        return (
            bisect_left(self._numbers, first),
            bisect_left(self._numbers, first + (1 << free)),
        )


def _are_enough(closest: Sequence[Node], count: int) -> bool:
    """Whether `count` of them are there without many of one address."""
    by_address = Counter(node.endpoint.ip for node in closest)
    return sum(min(n, CLOSE_PER_ADDRESS) for n in by_address.values()) >= count


def _address(node: Node) -> bytes:
    return node.endpoint.ip


def spread(closest: Sequence[T], count: int, address: Callable[[T], bytes]) -> list[T]:
    """The first `count` of them, few of one address while there are others."""
    first = closest[:count]
    if len({address(one) for one in first}) == len(first):
        return list(first)
    by_address: Counter[bytes] = Counter()
    chosen: list[int] = []
    crowded: list[int] = []
    for at, one in enumerate(closest):
        ip = address(one)
        by_address[ip] += 1
        (chosen if by_address[ip] <= CLOSE_PER_ADDRESS else crowded).append(at)
        if len(chosen) == count:
            break
    return [closest[at] for at in sorted(chosen + crowded[: count - len(chosen)])]
