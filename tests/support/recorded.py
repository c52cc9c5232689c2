"""What real peers said to each other; see `tests/data/README.md`."""

import json
from pathlib import Path

from lanjami.dhtnode import messages as m
from lanjami.dhtnode import wire
from lanjami.dhtnode.fragments import Fragments
from lanjami.dhtnode.value import Value
from tests.support.dht_values import at

_FILE = Path(__file__).parent.parent / "data" / "dht-datagrams.json"
ROWS: list[dict[str, str]] = json.loads(_FILE.read_text("utf-8"))
DATAGRAMS = [bytes.fromhex(row["datagram"]) for row in ROWS]


def values() -> list[Value]:
    """The values in them, inline and in parts."""
    fragments = Fragments()
    found: list[Value] = []
    for message in map(wire.parse, DATAGRAMS):
        whole: m.Message | None = message
        if isinstance(message, m.Parts):
            whole = fragments.on_parts(at(1), message, now=0.0)
        elif isinstance(message, m.Bearing) and message.missing:
            whole = fragments.on_message(at(1), message, asked=False, now=0.0)
        if isinstance(whole, m.Bearing):
            found += whole.values
    assert len(fragments) == 0, "every part of every value was recorded"
    return found
