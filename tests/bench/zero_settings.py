"""How long a real Jami daemon needs where the box is the network, and where it is not."""

import time
from collections import defaultdict
from collections.abc import Mapping

from tests.bench import scene
from tests.bench.table import Aim, Row, Samples
from tests.support import dhcp_client
from tests.support.appliance import Appliance
from tests.support.jami import Jami
from tests.support.network import WITHOUT_THE_CLOCK, network

HOW = """\
A new account of a real Jami daemon (Debian's), all of whose settings but the named ones are as its
template has them. From the moment that its keys are made, which takes the client itself some
seconds, until it is announced, so that others can reach it; each is the first on a new network.
"DNS" is the box's own; "discovery" is switched on in the client, and where there is no DNS its
bootstrap list is empty. The last row is an outage as people know it: the box's address is typed
into the client, whose DNS server is not there."""

_ABSENT = "10.77.0.253"
_WITHIN_S = 90.0

_WAYS: Mapping[str, tuple[str, Mapping[str, str], Aim | None]] = {
    "DNS": (scene.BOX, {}, Aim(1.5, of="worst")),
    "DNS and discovery": (
        scene.BOX,
        {"Account.peerDiscovery": "true"},
        Aim(1.5, of="worst"),
    ),
    "discovery": (_ABSENT, {"Account.peerDiscovery": "true", "Account.hostname": ""}, None),
    "address typed by hand, DNS server not there": (
        _ABSENT,
        {"Account.hostname": scene.BOX},
        None,
    ),
}


async def measure() -> list[Row]:
    """Each way, in turns; every client is the first that its box knows."""
    took = defaultdict[str, list[float]](list)
    for _ in range(scene.ROUNDS):
        for way, (resolver, changed, _) in _WAYS.items():
            took[way].append(await _round(resolver, changed))
    return [Row(way, Samples(took[way], "s", 2), aim=aim) for way, (_, _, aim) in _WAYS.items()]


async def _round(resolver: str, changed: Mapping[str, str]) -> float:
    """Seconds until a new client with that DNS server and those settings is announced."""
    with scene.lab() as lab:
        box, host = scene.lan(lab, "lanjami")
        await Appliance(box, *network("dns"), through=WITHOUT_THE_CLOCK).start()
        dhcp_client.resolver_of(host).write_text(f"nameserver {resolver}\n")
        jami = Jami(host, changed=changed)
        try:
            await jami.start()
            await jami.add_account()
            made_at = time.monotonic()
            await jami.announced(within_s=_WITHIN_S)
            return time.monotonic() - made_at
        finally:
            await jami.stop()
            dhcp_client.forget(host)
