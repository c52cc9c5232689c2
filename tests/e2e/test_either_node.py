"""The box has two DHT nodes of different makes; either carries the building when the other fails
while people write."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tests.support.appliance import Appliance
from tests.support.jami import Jami, befriend, speak, write_both_ways
from tests.support.lab import Host

Client = Callable[..., Awaitable[Jami]]

WITHOUT_THE_BOX_S = 6.0
OPENDHT_PORT, PYTHON_PORT = 4222, 4223
THE_BOX = f"10.77.0.1:{OPENDHT_PORT};10.77.0.1:{PYTHON_PORT}"
EVERY_S = 0.35
SOME = 10  # messages


@pytest.mark.parametrize("left", ["opendht", "python"])
async def test_no_message_is_lost_when_one_node_fails(box: Host, client: Client, left: str) -> None:
    # with discovery off, the box is the only thing that they have in common
    alice = await client("alice", 2, discovery=False, bootstrap=THE_BOX)
    await asyncio.sleep(WITHOUT_THE_BOX_S)
    assert not await alice.is_registered(), "without the box there must be nothing to join"
    appliance = await Appliance(box).start()
    bob = await client("bob", 3, discovery=False, bootstrap=THE_BOX)
    for person in (alice, bob):
        await person.announced()
    conversation = await befriend(alice, bob)
    await speak(alice, bob)

    async with _talking(alice, bob, conversation) as heard_some:
        await heard_some()
        async with _alone(appliance, left):
            carol = await client("carol", 4, discovery=False, bootstrap=THE_BOX)
            await carol.announced()
            await heard_some()
            await speak(bob, carol)
            newer = await befriend(carol, alice)
            await write_both_ways(carol, alice, newer, "welcome")
            await _fails(appliance, "dhtnode" if left == "python" else "dhtnode-python")
            await heard_some()
    await speak(alice, bob)


@asynccontextmanager
async def _alone(appliance: Appliance, left: str) -> AsyncIterator[None]:
    """The other node does nothing any more: OpenDHT's is killed as often as it is started, ours
    is in the process of the whole box, so that it is the network that goes for it."""
    if left == "python":
        async with appliance.without_opendht():
            yield
    else:
        appliance.cut_off(PYTHON_PORT)
        yield


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


async def _fails(appliance: Appliance, service: str) -> None:
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
