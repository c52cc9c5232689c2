"""The nodes we know of, and how well."""

from weakref import WeakValueDictionary

from lanjami.dhtnode.endpoint import Endpoint, Record

GOOD_S = 120 * 60.0  # a node that replied is good for so long: Node::NODE_GOOD_TIME
SILENT_S = 10 * 60.0  # ... while it is heard as often: Node::NODE_EXPIRE_TIME
MOST_REFUSALS = 3  # wrong tokens in a row: Node::MAX_AUTH_ERRORS
NEVER = float("-inf")


class Node:
    """A node at an address. Good, dubious (not heard of lately) or expired (does not answer)."""

    __slots__ = (
        "__weakref__",
        "endpoint",
        "heard_at",
        "is_expired",
        "node_id",
        "number",
        "pending",
        "pinged_at",
        "refusals",
        "replied_at",
    )

    def __init__(self, node_id: bytes, endpoint: Endpoint) -> None:
        self.node_id = node_id
        self.number = int.from_bytes(node_id)
        self.endpoint = endpoint
        self.heard_at = NEVER
        self.replied_at = NEVER
        self.is_expired = False
        self.pending = 0  # queries of ours that it has not answered yet
        self.pinged_at = NEVER  # to see whether it is there
        self.refusals = 0

    def is_good(self, now: float) -> bool:
        return (
            not self.is_expired
            and self.replied_at >= now - GOOD_S
            and self.heard_at >= now - SILENT_S
        )

    @property
    def record(self) -> Record:
        return Record(self.node_id, self.endpoint)

    def heard(self, now: float) -> None:
        self.heard_at = now
        self.is_expired = False

    def replied(self, now: float) -> None:
        self.heard(now)
        self.replied_at = now

    def refused(self) -> None:
        """It did not take a token that it had given out."""
        self.refusals += 1
        if self.refusals > MOST_REFUSALS:
            self.is_expired = True

    def __repr__(self) -> str:
        return f"<Node {self.node_id.hex()[:8]} {self.endpoint.address}:{self.endpoint.port}>"


class Nodes:
    """One object a node and family, for as long as something holds it."""

    def __init__(self) -> None:
        self._by_id: dict[int, WeakValueDictionary[bytes, Node]] = {
            4: WeakValueDictionary(),
            6: WeakValueDictionary(),
        }

    def __len__(self) -> int:
        return sum(map(len, self._by_id.values()))

    def find(self, node_id: bytes, *, version: int) -> Node | None:
        return self._by_id[version].get(node_id)

    def told_of(self, record: Record) -> Node:
        """A node that somebody named. Where we know its id at another address, that counts
        until the node has expired."""
        known = self._by_id[record.endpoint.version]
        node = known.get(record.node_id)
        if node is None or (node.is_expired and node.endpoint != record.endpoint):
            node = known[record.node_id] = Node(*record)
        return node

    def speaking(self, node_id: bytes, endpoint: Endpoint, *, now: float) -> Node:
        """The node that speaks to us. One that takes the id of a good node at another address
        is served but not known by it: else anybody could take a node's place. A node that did
        move is known again once its old address has not answered."""
        known = self._by_id[endpoint.version]
        node = known.get(node_id)
        if node is None or (node.endpoint != endpoint and not node.is_good(now)):
            node = known[node_id] = Node(node_id, endpoint)
        elif node.endpoint != endpoint:
            return Node(node_id, endpoint)
        return node
