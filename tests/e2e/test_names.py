"""Names, as real clients take and look them up."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.support.appliance import Appliance
from tests.support.jami import FOUND, REGISTERED, TAKEN, Jami
from tests.support.lab import Host

Client = Callable[..., Awaitable[Jami]]


async def test_names_with_capitals_long_ones_and_those_that_nobody_gets(
    box: Host, client: Client
) -> None:
    appliance = await Appliance(box).start()
    alice, bob = await client("alice", 2), await client("bob", 3)
    for person in (alice, bob):
        await person.announced()
    assert await alice.register_name("admin") == TAKEN
    assert await alice.register_name("Alice-In-Wonderland-Number-One-0") == REGISTERED
    name = "alice-in-wonderland-number-one-0"
    assert len(name) == 32
    assert await bob.look_up_name(name) == (FOUND, alice.id)

    appliance.kill()
    await appliance.start()
    assert await bob.look_up_id(alice.id) == (FOUND, name)
    assert await bob.register_name("bob") == REGISTERED


async def test_a_client_keeps_its_name_while_the_box_has_trouble_with_the_names(
    box: Host, client: Client
) -> None:
    appliance = await Appliance(box).start()
    alice = await client("alice", 2)
    await alice.announced()
    assert await alice.register_name("alice") == REGISTERED
    await alice.stop()

    appliance.kill()
    names, kept = appliance.state / "names.sqlite", appliance.state / "kept"
    kept.mkdir()
    for file in appliance.state.glob("names.sqlite*"):
        file.rename(kept / file.name)
    names.write_bytes(b"this is no database, and it is long enough to be read as one" * 100)
    appliance.launch()
    await alice.start()
    await alice.registered()
    await asyncio.sleep(3)
    status = await appliance.status()
    assert status is not None
    assert status["services"]["names"]["state"] == "down"
    assert await alice.own_name() == "alice", "a 404 would have made the client forget it"

    appliance.kill()
    for file in kept.iterdir():
        file.rename(appliance.state / file.name)
    await appliance.start()
    bob = await client("bob", 3)
    await bob.announced()
    assert await bob.look_up_name("alice") == (FOUND, alice.id)
