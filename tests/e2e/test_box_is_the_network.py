"""Zero settings: where the box is the network, nobody changes anything in Jami."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.support import dhcp_client
from tests.support.appliance import Appliance
from tests.support.jami import Jami, befriend, write_both_ways
from tests.support.lab import Host
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
    call = await alice.call(bob.id)
    await bob.accept_call()
    await alice.in_call(call)
    await appliance.healthy()
