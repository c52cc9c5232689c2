"""Zero settings: where the box is the network, nobody changes anything in Jami."""

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.support import dhcp_client
from tests.support.appliance import Appliance
from tests.support.jami import Jami, befriend, speak, write_both_ways
from tests.support.lab import Host, Lab, Switch
from tests.support.network import ALL, WITHOUT_THE_CLOCK, hands_out_addresses, network

NOTHING_CHANGED: dict[str, str] = {}
PHONE = {"Account.proxyEnabled": "true"}  # as the apps on phones make every account
SOON_S = 5.0
WITHOUT_S = 8.0

Person = Callable[..., Awaitable[Jami]]


@pytest.fixture
async def person(newcomer: Callable[[str], Host]) -> AsyncIterator[Person]:
    """Somebody who plugs in a machine that gets its address by DHCP, and makes an account."""
    made: list[Jami] = []

    async def make(name: str, changed: dict[str, str] = NOTHING_CHANGED) -> Jami:
        host = newcomer(name)
        assert await asyncio.to_thread(dhcp_client.lease, host) is not None
        jami = Jami(host, changed=changed)
        made.append(jami)
        await jami.start()
        return await jami.add_account()

    yield make
    for jami in made:
        await jami.stop()


async def test_without_its_names_nobody_who_changed_nothing_is_served(
    bare_box: Host, person: Person
) -> None:
    appliance = await Appliance(bare_box, *network("dhcp")).start()
    await hands_out_addresses(appliance)
    alice = await person("alice")
    await asyncio.sleep(WITHOUT_S)
    assert not await alice.is_registered()


@pytest.mark.parametrize("changed", [NOTHING_CHANGED, PHONE], ids=["computers", "phones"])
async def test_two_who_changed_nothing_meet_write_and_call(
    bare_box: Host, person: Person, changed: dict[str, str]
) -> None:
    appliance = await Appliance(bare_box, *ALL, through=WITHOUT_THE_CLOCK).start()
    await hands_out_addresses(appliance)
    people = []
    for name in ("alice", "bob"):
        one = await person(name, changed)
        started_at = time.monotonic()
        await one.registered(within_s=SOON_S)
        await one.announced(within_s=SOON_S)
        assert time.monotonic() - started_at < SOON_S
        people.append(one)
    alice, bob = people
    conversation = await befriend(alice, bob)
    await write_both_ways(alice, bob, conversation, "hello")
    await speak(alice, bob)
    await appliance.healthy()


def _old_client(host: Host, *, patience_s: float) -> bool:
    """Whether Debian's OpenDHT 2.4.12 with discovery is connected over IPv6 in time."""
    process = host.start("dhtnode", "-v", "-s", "-D")
    ends_at = time.monotonic() + patience_s
    try:
        while time.monotonic() < ends_at:
            if re.search("IPv6: connected", process.output()):
                return True
            time.sleep(0.1)
        return False
    finally:
        process.end()


def _new_client(host: Host, *, patience_s: float) -> bool:
    told = host.run(sys.executable, "-m", "tests.support.dht_client", str(patience_s))
    return told.strip() != "never"


def _ipv6_addresses(host: Host) -> set[str]:
    """Those of a network of somebody's own that were found to be nobody else's."""
    shown = host.ip("addr", "show", "dev", "eth0", "-tentative")
    return set(re.findall(r"inet6 (fd\S+)/64", shown))


async def test_on_a_lan_without_any_router_clients_join_over_ipv6(
    lab: Lab, switch: Switch, bare_box: Host
) -> None:
    client = lab.host("client").plug(switch)
    dns_only = await Appliance(bare_box, *network("dns")).start()
    assert not await asyncio.to_thread(_old_client, client, patience_s=6.0)
    assert dns_only.stop() == 0
    await Appliance(bare_box, *network("dns", "ra")).start()
    async with asyncio.timeout(15):
        while not _ipv6_addresses(client):
            await asyncio.sleep(0.2)
    assert len(_ipv6_addresses(bare_box)) == 1, "it takes none by its own advertisements"
    assert not client.ip("-6", "route", "show", "default"), "the box leads nowhere"
    for joins in (_old_client, _new_client):
        assert await asyncio.to_thread(joins, client, patience_s=6.0)
