"""What a node of ours gets from the DHT."""

import asyncio

from lanjami.dhtnode import value as values
from lanjami.dhtnode.events import Done
from lanjami.dhtnode.python_node import PythonNode

WITHIN_S = 10.0


async def got(node: PythonNode, key: bytes) -> list[values.Value]:
    found: list[values.Value] = []
    with node.getting(key) as events:
        async with asyncio.timeout(WITHIN_S):
            while not isinstance(event := await events.get(), Done):
                found += event.values
    return found


def data_of(value: values.Value) -> bytes:
    """What is in a value, signed or not."""
    inside = values.content(value)
    return inside if isinstance(inside, bytes) else inside.body.data


async def contents(node: PythonNode, key: bytes) -> dict[int, bytes]:
    """By id, what is in the values that it gets."""
    return {value.id: data_of(value) for value in await got(node, key)}
