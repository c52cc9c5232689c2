"""The box and its networks come, go and change while people use it.

Where a story has to fail without the box, its clients do not publish their own DHT nodes to each
other: they stand on different LANs, or only one of them is there.
"""

import asyncio
from collections.abc import Awaitable, Callable

from tests.support.appliance import Appliance
from tests.support.jami import FOUND, REGISTERED, Jami, befriend, write_both_ways
from tests.support.lab import Host, Lab, Switch

Client = Callable[..., Awaitable[Jami]]

WITHOUT_THE_BOX_S = 6.0
THE_BOX = "10.77.0.1:4222"


async def test_clients_that_were_there_first_join_the_box(box: Host, client: Client) -> None:
    alice = await client("alice", 2)
    await asyncio.sleep(WITHOUT_THE_BOX_S)
    assert not await alice.is_registered()
    await Appliance(box).start()
    await alice.registered(within_s=10)
    await alice.announced()


async def test_a_box_that_lost_its_power_is_joined_again(box: Host, client: Client) -> None:
    appliance = await Appliance(box).start()
    # with discovery off, the box is the only thing that they have in common
    alice = await client("alice", 2, discovery=False, bootstrap=THE_BOX)
    bob = await client("bob", 3, discovery=False, bootstrap=THE_BOX)
    for person in (alice, bob):
        await person.announced()
    assert await alice.register_name("alice") == REGISTERED
    conversation = await befriend(alice, bob)
    await write_both_ways(alice, bob, conversation, "before")

    appliance.kill()
    carol = await client("carol", 4, discovery=False, bootstrap=THE_BOX)
    await asyncio.sleep(WITHOUT_THE_BOX_S)
    assert not await carol.is_registered(), "without the box there must be nothing to join"

    await appliance.start()
    await carol.announced()
    assert await carol.look_up_name("alice") == (FOUND, alice.id)
    assert await carol.look_up_id(alice.id) == (FOUND, "alice")
    await write_both_ways(alice, bob, conversation, "after")
    # the three of them meet in the box's DHT: a newcomer reaches those who were there before
    await write_both_ways(carol, alice, await befriend(carol, alice), "welcome")


async def test_two_lans_are_served_by_one_box(
    lab: Lab, switch: Switch, box: Host, client: Client
) -> None:
    other = lab.switch("other")
    box.plug(other, "10.78.0.1/24", interface="eth1")
    alice = await client("alice", 2)
    bob = await client("bob", 2, on=other, net="10.78.0")
    await asyncio.sleep(WITHOUT_THE_BOX_S)
    assert not await alice.is_registered()
    assert not await bob.is_registered()

    appliance = await Appliance(box).start()
    for person in (alice, bob):
        await person.registered()
        await person.announced()
    assert await alice.register_name("alice") == REGISTERED
    assert await bob.look_up_name("alice") == (FOUND, alice.id)
    status = await appliance.healthy()
    assert status["discovery"]["interfaces"] == ["eth0", "eth1"]


async def test_a_cable_that_is_plugged_in_late_is_served(
    lab: Lab, switch: Switch, client: Client
) -> None:
    box = lab.host("box")
    alice = await client("alice", 2)
    appliance = Appliance(box)
    appliance.launch()
    await asyncio.sleep(10)
    status = await appliance.status()
    assert status is not None
    assert not status["healthy"]
    assert status["services"]["discovery"]["reason"] == "no network interface is up"
    assert not await alice.is_registered()

    box.plug(switch, "10.77.0.1/24")
    await alice.registered(within_s=10)
    await alice.announced()
    await appliance.healthy()
    assert await alice.register_name("alice") == REGISTERED


async def test_a_box_whose_address_changes_is_found_again(box: Host, client: Client) -> None:
    appliance = await Appliance(box).start()
    alice, bob = await client("alice", 2), await client("bob", 3)
    for person in (alice, bob):
        await person.announced()
    conversation = await befriend(alice, bob)

    box.ip("addr", "del", "10.77.0.1/24", "dev", "eth0")
    box.ip("addr", "add", "10.77.0.9/24", "dev", "eth0")
    async with asyncio.timeout(3):  # followed within two seconds
        while "10.77.0.9" not in (await appliance.healthy())["addresses"]:
            await asyncio.sleep(0.1)
    carol = await client("carol", 4, discovery=False, bootstrap="10.77.0.9:4222")
    await carol.announced()
    await write_both_ways(alice, bob, conversation, "still there")
    await write_both_ways(carol, alice, await befriend(carol, alice), "found you")


async def test_a_client_that_starts_again_comes_back(box: Host, client: Client) -> None:
    await Appliance(box).start()
    alice, bob = await client("alice", 2), await client("bob", 3)
    for person in (alice, bob):
        await person.announced()
    assert await alice.register_name("alice") == REGISTERED
    conversation = await befriend(alice, bob)

    await alice.stop()
    await alice.start()
    await alice.registered()
    await alice.announced()
    assert await alice.own_name() == "alice"
    await write_both_ways(alice, bob, conversation, "back again")
