"""Reads the numbers out of the logs that OpenDHT's Python binding gives instead of numbers."""

import re

_TOTAL = re.compile(r"^Total \d+ storages, (\d+) values", re.MULTILINE)


def count_nodes(routing_table: str) -> tuple[int, int]:
    """Good and dubious nodes in the text of `getRoutingTablesLog` (OpenDHT Dht::dumpBucket).

    A node's line ends in "[good]", in "[expired]", or, where it is dubious, in neither.
    """
    nodes = [line for line in routing_table.splitlines() if line.startswith("    Node ")]
    good = sum(line.endswith("[good]") for line in nodes)
    expired = sum(line.endswith("[expired]") for line in nodes)
    return good, len(nodes) - good - expired


def count_values(storage: str) -> int:
    """Stored values in the text of `getStorageLog`; 0 where the text is another."""
    match = _TOTAL.search(storage)
    return int(match[1]) if match else 0
