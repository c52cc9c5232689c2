"""Names, as real clients take and look them up."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.support.appliance import LANJAMI, Appliance
from tests.support.jami import FOUND, REGISTERED, TAKEN, Jami, befriend, write_both_ways
from tests.support.lab import Host, Lab, Switch

Client = Callable[..., Awaitable[Jami]]


async def test_names_with_capitals_long_ones_and_those_that_nobody_gets(
    box: Host, client: Client
) -> None:
    appliance, alice, bob = await _box_and_two_people(box, client)
    assert await alice.register_name("admin") == TAKEN
    assert await alice.register_name("Alice-In-Wonderland-Number-One-0") == REGISTERED
    name = "alice-in-wonderland-number-one-0"
    assert len(name) == 32
    assert await bob.look_up_name(name) == (FOUND, alice.id)

    appliance.kill()
    await appliance.start()
    assert await bob.look_up_id(alice.id) == (FOUND, name)
    assert await bob.register_name("bob") == REGISTERED


async def test_a_client_keeps_its_name_while_the_box_has_lost_the_names(
    box: Host, client: Client
) -> None:
    appliance = await Appliance(box).start()
    alice = await client("alice", 2)
    await alice.announced()
    assert await alice.register_name("alice") == REGISTERED
    await alice.stop()

    appliance.kill()
    shutil.rmtree(appliance.state / "backups")
    for log in appliance.state.glob("names.sqlite-*"):
        log.unlink()
    names = appliance.state / "names.sqlite"
    names.write_bytes(b"this is no database, and it is long enough to be read as one" * 100)
    appliance.launch()
    await alice.start()
    await alice.registered()
    await asyncio.sleep(3)
    status = await appliance.status()
    assert status is not None
    assert "was damaged" in status["services"]["names"]["reason"]
    assert status["names"] == 0
    assert await alice.own_name() == "alice", "a 404 would have made the client forget it"


async def test_the_names_of_a_damaged_database_come_back_from_a_backup(
    box: Host, client: Client
) -> None:
    appliance, alice, bob = await _box_and_two_people(box, client)
    assert await alice.register_name("alice") == REGISTERED
    appliance.kill()
    earlier = _backups(appliance)
    await appliance.start()
    async with asyncio.timeout(10):
        while _backups(appliance) == earlier:
            await asyncio.sleep(0.1)
    appliance.kill()
    for log in appliance.state.glob("names.sqlite-*"):
        log.unlink()
    (appliance.state / "names.sqlite").write_bytes(b"a dying card" * 2000)
    appliance.launch()
    async with asyncio.timeout(15):
        while (status := await appliance.status()) is None or status["names"] != 1:
            await asyncio.sleep(0.2)
    assert await bob.look_up_name("alice") == (FOUND, alice.id)
    assert await bob.register_name("bob") == REGISTERED


async def test_a_second_box_takes_the_place_of_one_that_died(
    lab: Lab, switch: Switch, box: Host, client: Client
) -> None:
    appliance, alice, bob = await _box_and_two_people(box, client)
    assert await alice.register_name("alice") == REGISTERED
    backup = lab.folder / "box.zip"
    box.run(*LANJAMI, "backup", str(backup), "--state", str(appliance.state))
    node_id = (await appliance.healthy())["dht"]["node_id"]
    appliance.kill()
    box.unplug()

    machine = lab.host("spare").plug(switch, "10.77.0.1/24", "fd77::1/64")
    machine.announce("10.77.0.1")
    spare = Appliance(machine)
    config = str(lab.folder / "lanjami.toml")
    told = box.run(
        *(*LANJAMI, "restore", str(backup), "--state", str(spare.state), "--config", config)
    )
    assert "is restored, with 1 names" in told
    await spare.start()
    assert (await spare.healthy())["dht"]["node_id"] == node_id
    assert await bob.look_up_name("alice") == (FOUND, alice.id)
    assert await bob.register_name("bob") == REGISTERED
    assert await alice.look_up_name("bob") == (FOUND, bob.id)
    await alice.stop()
    await alice.start()
    await alice.announced()
    assert await alice.own_name() == "alice"
    conversation = await befriend(alice, bob)
    await write_both_ways(alice, bob, conversation, "still here")


async def _box_and_two_people(box: Host, client: Client) -> tuple[Appliance, Jami, Jami]:
    """A box that runs, and Alice and Bob, who have found it and have no names yet."""
    appliance = await Appliance(box).start()
    alice, bob = await client("alice", 2), await client("bob", 3)
    for person in (alice, bob):
        await person.announced()
    return appliance, alice, bob


def _backups(appliance: Appliance) -> set[Path]:
    return set((appliance.state / "backups").glob("*.zip"))
