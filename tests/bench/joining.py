"""How long a client that starts needs until it is connected to the DHT."""

from collections import defaultdict

from tests.bench import clients, scene
from tests.bench.table import Aim, Reference, Row, Samples
from tests.support.appliance import Appliance

HOW = """\
From the call that starts the client's DHT node to its first good node. Three ways, taken in
turns: found through lanjami's discovery; found through the discovery that OpenDHT itself has
(Debian's `dhtnode -D`), which is the least a client needs when it is told nothing; and given the
address of Debian's `dhtnode` by hand. An idle client that discovers a node waits for a second
before it speaks to it (OpenDHT's confirmation delay), whoever answered, so "by hand" is out of
its reach. A client that listens from its start, as Jami does, asks the new node at once where
its listening came before the answer to its query, and waits for the second where it came after:
which of the two it is, is a race inside the client, as likely with either discovery. So a
listening client's ratios have no aim: the median of a few rounds is a toss of a coin."""

_LANJAMI, _BUILTIN, _BY_HAND = "lanjami", "OpenDHT's own discovery", "address typed by hand"


async def measure() -> list[Row]:
    """Each kind of client, idle and listening, by each of the three ways."""
    rows: list[Row] = []
    with scene.lab() as lab:
        box, beside_box = scene.lan(lab, "lanjami")
        reference, beside_reference = scene.lan(lab, "reference")
        clients.debian_node(reference)
        await Appliance(box).start()
        for listens in (False, True):
            for client in (clients.wheel(), clients.debian()):
                took = defaultdict[str, list[float]](list)
                for _ in range(scene.ROUNDS):
                    for way, host, bootstrap in (
                        (_LANJAMI, beside_box, None),
                        (_BUILTIN, beside_reference, None),
                        (_BY_HAND, beside_reference, scene.BOX),
                    ):
                        took[way].append(
                            await clients.timed(client, host, bootstrap=bootstrap, listens=listens)
                        )
                what = f"{client.name}{', listening' if listens else ''}, found by lanjami"
                shown = {way: Samples(values, "s", 4) for way, values in took.items()}
                rows += _rows(what, shown, None if listens else Aim(1.5, of="ratio"))
    return rows


def _rows(what: str, took: dict[str, Samples], ratio: Aim | None) -> list[Row]:
    measured = took[_LANJAMI]
    return [
        Row(what, measured, aim=Aim(1.2)),
        *(Row(what, measured, Reference(way, took[way]), ratio) for way in (_BUILTIN, _BY_HAND)),
    ]
