"""The networks that the measurements are made on."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.lab import Host, Lab, Switch

ROUNDS = 5

BOX = "10.77.0.1"
CLIENT = "10.77.0.2"
_GATEWAY = "10.77.0.254"  # discovery in clients needs a default route; nobody has to be there


@contextlib.contextmanager
def lab() -> Iterator[Lab]:
    """A lab in a folder of its own, both gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="lanjami-bench-") as folder:
        made = Lab(Path(folder))
        try:
            yield made
        finally:
            made.close()


def lan(made: Lab, name: str) -> tuple[Host, Host]:
    """A server at BOX and a client at CLIENT, both on a switch of their own."""
    switch: Switch = made.switch(f"{name}-switch")
    server = made.host(f"{name}-server").plug(switch, f"{BOX}/24", gateway=_GATEWAY)
    client = made.host(f"{name}-client").without_ipv6()
    return server, client.plug(switch, f"{CLIENT}/24", gateway=_GATEWAY)


def cable(made: Lab, name: str, *, sources: int) -> tuple[Host, Host, list[str]]:
    """A server at BOX and a client with so many addresses, on the two ends of one veth pair."""
    box, client = made.host(f"{name}-server"), made.host(f"{name}-client").without_ipv6()
    box.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", client.namespace)
    box.ip("addr", "add", f"{BOX}/16", "dev", "eth0")
    addresses = [f"10.77.{1 + number // 250}.{1 + number % 250}" for number in range(sources)]
    batch = made.folder / f"{name}-addresses"
    batch.write_text("".join(f"addr add {address}/16 dev eth0\n" for address in addresses))
    client.ip("-batch", str(batch))
    for host in (box, client):
        host.ip("link", "set", "eth0", "up")
    return box, client, addresses
