"""The box has two DHT nodes of different makes: either is enough for all that people do, and
carries the building when the other fails while they write."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from lanjami import layout
from tests.support.appliance import Appliance, opendht_child
from tests.support.jami import FOUND, REGISTERED, Jami, befriend, speak, write_both_ways
from tests.support.lab import Host

Client = Callable[..., Awaitable[Jami]]

WITHOUT_THE_BOX_S = 6.0
OPENDHT_PORT, PYTHON_PORT = 4222, 4223
THE_BOX = f"10.77.0.1:{OPENDHT_PORT};10.77.0.1:{PYTHON_PORT}"
AWAY_S = 5.0  # systemd starts lanjami again after two seconds, and it takes one or two to be up
EVERY_S = 0.35
SOME = 10  # messages


@pytest.mark.parametrize("engines", [["python"], ["opendht"], ["opendht", "python"]], ids="+".join)
async def test_people_find_each_other_write_and_speak(
    box: Host, client: Client, engines: list[str]
) -> None:
    """Alice finds the box by discovery, Bob by its address: with his discovery off, the box is the
    only thing that they have in common."""
    alice = await client("alice", 2)
    await asyncio.sleep(WITHOUT_THE_BOX_S)
    assert not await alice.is_registered(), "without the box there must be nothing to join"

    appliance = await Appliance(box, f"dht.engines={engines}".replace("'", '"')).start()
    bob = await client("bob", 3, discovery=False, bootstrap="10.77.0.1:4222")
    for person in (alice, bob):
        await person.registered()
        await person.announced()
    assert await alice.register_name("alice") == REGISTERED
    assert await bob.look_up_name("alice") == (FOUND, alice.id)
    assert await bob.look_up_id(alice.id) == (FOUND, "alice")

    conversation = await befriend(bob, alice)
    await write_both_ways(alice, bob, conversation, "hello")
    await speak(alice, bob)
    await speak(bob, alice)

    status = await appliance.healthy()
    assert [node["engine"] for node in status["dht"]["nodes"]] == engines
    assert all(node["values"] for node in status["dht"]["nodes"]), "clients keep their values here"


@pytest.mark.parametrize("left", ["opendht", "python"])
async def test_no_message_is_lost_when_a_node_fails(box: Host, client: Client, left: str) -> None:
    """While Alice and Bob write, a node fails. Carol joins then, takes a name, and is found by Bob,
    who never spoke with her. Dave, whose machine was off, comes back to what Alice wrote to him
    meanwhile."""
    # with discovery off, the box is the only thing that they have in common
    alice = await client("alice", 2, discovery=False, bootstrap=THE_BOX)
    await asyncio.sleep(WITHOUT_THE_BOX_S)
    assert not await alice.is_registered(), "without the box there must be nothing to join"
    appliance = await Appliance(box).start()
    bob = await client("bob", 3, discovery=False, bootstrap=THE_BOX)
    dave = await client("dave", 5, discovery=False, bootstrap=THE_BOX)
    for person in (alice, bob, dave):
        await person.announced()
    conversation = await befriend(alice, bob)
    to_dave = await befriend(alice, dave)
    await dave.stop()

    async with _talking(alice, bob, conversation) as heard_some:
        await heard_some()
        async with _fails(appliance, left):
            await alice.send(to_dave, "while you were away")
            carol = await client("carol", 4, discovery=False, bootstrap=THE_BOX)
            await carol.announced()
            assert await carol.register_name("carol") == REGISTERED
            assert await bob.look_up_name("carol") == (FOUND, carol.id)
            newer = await befriend(carol, bob)
            await write_both_ways(carol, bob, newer, "welcome")
            await speak(alice, carol)
            await dave.start()
            await dave.announced()
            await _has(dave, to_dave, "while you were away")
            await heard_some()
    await speak(alice, bob)


async def test_no_message_is_lost_when_the_box_dies_and_is_started_again(
    box: Host, client: Client
) -> None:
    """Its process is killed, which is the end of both nodes, and started again as systemd does.
    Carol, who comes then, finds Bob by what the node in Python has kept of him."""
    appliance = await Appliance(box).start()
    alice = await client("alice", 2, discovery=False, bootstrap=THE_BOX)
    bob = await client("bob", 3, discovery=False, bootstrap=THE_BOX)
    for person in (alice, bob):
        await person.announced()
    conversation = await befriend(alice, bob)
    async with _talking(alice, bob, conversation) as heard_some:
        await _is_kept(appliance, bob)
        appliance.kill()
        await asyncio.sleep(AWAY_S)
        await appliance.start()
        carol = await client("carol", 4, discovery=False, bootstrap=THE_BOX)
        await carol.announced()
        newer = await befriend(carol, bob)
        await write_both_ways(carol, bob, newer, "welcome")
        await heard_some()
    await speak(alice, bob)


async def test_they_write_on_when_opendhts_node_hangs(box: Host, client: Client) -> None:
    appliance = await Appliance(box).start()
    alice, bob = await client("alice", 2), await client("bob", 3)
    for person in (alice, bob):
        await person.registered()
        await person.announced()
    conversation = await befriend(alice, bob)
    os.kill(opendht_child(appliance.process.pid), signal.SIGSTOP)
    await write_both_ways(alice, bob, conversation, "still here")
    carol = await client("carol", 4)
    await carol.registered()
    await carol.announced()
    conversation = await befriend(alice, carol)
    await write_both_ways(alice, carol, conversation, "welcome")


@asynccontextmanager
async def _fails(appliance: Appliance, left: str) -> AsyncIterator[None]:
    """One node is gone until the end, and the box says so: OpenDHT's is killed as often as it is
    started. Ours is in the process of the whole box, so that it is the network that goes for it;
    for what ends that process see the next story."""
    if left == "python":
        async with appliance.without_opendht():
            yield
            await _worse_off(appliance, "dhtnode")
    else:
        appliance.cut_off(PYTHON_PORT)
        yield
        await _worse_off(appliance, "dhtnode-python")


@asynccontextmanager
async def _talking(
    alice: Jami, bob: Jami, conversation: str
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Both write numbered messages without waiting for answers; at the end each has arrived, once.
    What is yielded waits until each has heard some more."""
    sent: dict[Jami, list[str]] = {alice: [], bob: []}
    receivers = {alice: bob, bob: alice}

    async def write(sender: Jami) -> None:
        while True:
            sent[sender].append(f"{sender.id[:8]} writes {len(sent[sender])}")
            await sender.send(conversation, sent[sender][-1])
            await asyncio.sleep(EVERY_S)

    async def heard(sender: Jami) -> list[str]:
        written = set(sent[sender])
        texts = await receivers[sender].texts(conversation)
        return [text for text in texts if text in written]

    async def hears(sender: Jami, number: int) -> None:
        async with asyncio.timeout(30):
            while len(await heard(sender)) < number:
                await asyncio.sleep(0.5)

    async def heard_some() -> None:
        for sender in sent:
            await hears(sender, len(await heard(sender)) + SOME)

    async with asyncio.TaskGroup() as tasks:
        writing = [tasks.create_task(write(sender)) for sender in sent]
        yield heard_some
        for task in writing:
            task.cancel()
    await write_both_ways(alice, bob, conversation, "that was all")
    for sender, written in sent.items():
        await hears(sender, len(written))
        assert sorted(await heard(sender)) == sorted(written)


async def _is_kept(appliance: Appliance, person: Jami) -> None:
    """Wait until what the person's devices say of themselves is on the box's disk, half a minute
    after they said it (`python_node.SAVE_AFTER_S`)."""
    kept = appliance.state / layout.PYTHON_NODE_STATE
    async with asyncio.timeout(90):
        while not kept.exists() or bytes.fromhex(person.id) not in kept.read_bytes():
            await asyncio.sleep(0.5)


async def _has(reader: Jami, conversation: str, text: str) -> None:
    """Wait until a message is in somebody's copy of a conversation."""
    async with asyncio.timeout(60):
        while text not in await reader.texts(conversation):
            await asyncio.sleep(0.5)


async def _worse_off(appliance: Appliance, service: str) -> None:
    """Wait until the box says that one of its services is worse off, and no other is."""
    async with asyncio.timeout(30):
        while True:
            status = await appliance.status()
            assert status is not None
            worse = {n for n, s in status["services"].items() if s["state"] != "up" or s["reason"]}
            assert worse <= {service}
            if worse:
                return
            await asyncio.sleep(0.1)
