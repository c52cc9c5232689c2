"""What a node tells of itself to the clients of the DHT proxy (OpenDHT include/opendht/callbacks.h,
NodeInfo and NodeStats; src/callbacks.cpp, toJson)."""

from dataclasses import dataclass
from typing import Any

from lanjami.dhtnode.core import DhtCore
from lanjami.dhtnode.routing import BUCKET, RoutingTable


@dataclass(frozen=True, slots=True)
class Family:
    """The nodes of a family that are known; `depth` is that of the bucket with our own id."""

    good: int = 0
    dubious: int = 0
    incoming: int = 0
    depth: int = 0

    @property
    def network_size(self) -> int:
        """How many nodes there probably are (NodeStats::getNetworkSizeEstimation)."""
        return int(BUCKET * 2**self.depth)


@dataclass(frozen=True, slots=True)
class Info:
    """A node that is up. `size` counts the bytes of packed values, `own` what is of us and what
    we keep up for clients."""

    node_id: bytes
    port: int
    v4: Family
    v6: Family
    values: int
    size: int
    own_values: int
    own_size: int
    operations: int


def describe(core: DhtCore, *, port: int, operations: int, now: float) -> Info:
    """How a node is; looks at every value it keeps."""
    size = own_values = own_size = 0
    storage = core.answers.storage
    for _, stored in storage:
        length = len(stored.value.packed)
        size += length
        if stored.is_kept or not stored.source:
            own_values += 1
            own_size += length
    return Info(
        node_id=core.own_id,
        port=port,
        v4=family(core.tables.get(4), now=now),
        v6=family(core.tables.get(6), now=now),
        values=len(storage),
        size=size,
        own_values=own_values,
        own_size=own_size,
        operations=operations,
    )


def family(table: RoutingTable | None, *, now: float) -> Family:
    """The nodes in a table, where there is one."""
    if table is None:
        return Family()
    nodes = table.nodes()
    good = [node for node in nodes if node.is_good(now)]
    return Family(
        good=len(good),
        dubious=sum(not node.is_expired for node in nodes) - len(good),
        incoming=sum(node.heard_at > node.replied_at for node in good),
        depth=table.own_bucket().depth,
    )


def as_json(info: Info, *, public_ip: str, hides: bool = False) -> dict[str, Any]:
    """The answer to a client at `public_ip`.

    A client counts itself as connected where some node is good (DhtProxyClient::onProxyInfos).
    This box serves by itself, so it counts as one where no other is there. An answer that `hides`
    the nodes has a client ask again in a minute, and listen anew (a dubious one, and it would not).
    """
    v4, v6 = _stats(info.v4), _stats(info.v6)
    if not (v4["good"] or v6["good"]):
        v4["good"] = 1
    if hides:
        v4 |= {"good": 0, "dubious": 0}
        v6 |= {"good": 0, "dubious": 0}
    return {
        "node_id": info.node_id.hex(),
        "ipv4": v4,
        "ipv6": v6,
        "ops": info.operations,
        "storage_values": info.values,
        "storage_size": info.size,
        "local_storage_values": info.own_values,
        "local_storage_size": info.own_size,
        "port_ipv4": info.port,
        "port_ipv6": info.port,
        "public_ip": public_ip,
    }


def _stats(family: Family) -> dict[str, int]:
    stats = {"good": family.good, "dubious": family.dubious, "incoming": family.incoming}
    if family.depth > 1:
        stats |= {"table_depth": family.depth, "network_size_estimation": family.network_size}
    return stats
