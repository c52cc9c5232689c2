"""Phones: clients whose account has the DHT proxy on, and the box is their proxy."""

import asyncio
import base64
import json
import sys
from collections.abc import Awaitable, Callable, Sequence

import pytest

from tests.support import ntfy, push_server
from tests.support.appliance import Appliance
from tests.support.jami import FOUND, REGISTERED, Jami, befriend, speak, write_both_ways
from tests.support.lab import Host, Lab, Process, Switch
from tests.support.push_receiver import Application

Client = Callable[..., Awaitable[Jami]]

PROXY = "http://10.77.0.1:80"
WITHOUT_THE_BOX_S = 6.0
A_LOOK_S = 60.0  # a client whose proxy is not there looks for it once a minute
WRITTEN_S = 7.0  # the box notes who listens five seconds after it began
INBOX = f"{PROXY}/key/{'a' * 40}"
_ASK = """
import sys, urllib.request
method, url, content = sys.argv[1:]
urllib.request.urlopen(urllib.request.Request(url, content.encode(), method=method)).read()
"""


async def test_a_phone_meets_a_computer(box: Host, client: Client) -> None:
    phone = await client("phone", 2, proxy=PROXY)
    await asyncio.sleep(WITHOUT_THE_BOX_S)
    assert not await phone.is_registered(), "without the box there must be nothing to join"

    appliance = await Appliance(box).start()
    computer = await client("computer", 3)
    await computer.announced()
    await phone.registered(within_s=A_LOOK_S + 10)
    await phone.announced()

    assert await phone.register_name("phone") == REGISTERED
    assert await computer.look_up_name("phone") == (FOUND, phone.id)

    conversation = await befriend(phone, computer)
    await write_both_ways(phone, computer, conversation, "hello")
    await speak(computer, phone)
    await speak(phone, computer)
    await appliance.healthy()


async def test_a_phone_finds_the_proxy_on_whichever_default_port(box: Host, client: Client) -> None:
    """As it does where the LAN's DNS says that dhtproxy.jami.net is the box."""
    await Appliance(box, "proxy.default_ports=true").start()
    phone = await client("phone", 2, proxy="10.77.0.1:[80-95]")
    await phone.registered()
    await phone.announced()


@pytest.mark.parametrize("end", ["stopped", "killed"])
async def test_two_phones_meet_and_outlive_a_restart_of_the_box(
    box: Host, client: Client, end: str
) -> None:
    """Afterwards each is found, through the box alone, by somebody whom they never spoke with: what
    they say of themselves would be as before where they were deaf, and their own conversation goes
    over the connection that they have."""
    appliance = await Appliance(box).start()
    alice = await client("alice", 2, proxy=PROXY)
    bob = await client("bob", 3, proxy=PROXY)
    carol = await client("carol", 4, discovery=False, bootstrap="10.77.0.1:4222")
    for person in (alice, bob, carol):
        await person.registered()
        await person.announced()
    conversation = await befriend(alice, bob)
    await write_both_ways(alice, bob, conversation, "before")

    if end == "stopped":
        assert appliance.stop() == 0
    else:
        appliance.kill()
    await appliance.start()
    for phone in (alice, bob):
        newer = await befriend(carol, phone, within_s=A_LOOK_S + 60)
        await write_both_ways(carol, phone, newer, "after")
        await speak(carol, phone)
    await speak(alice, bob)
    await write_both_ways(alice, bob, conversation, "after")


async def test_a_phone_hears_again_after_the_box_lost_its_power(
    lab: Lab, switch: Switch, box: Host, client: Client
) -> None:
    """No end of its listens reaches it: the cable goes before the program does. One phone asks the
    DHT for somebody afterwards, the other one only looks whether its proxy is there."""
    appliance = await Appliance(box).start()
    active = await client("active", 2, proxy=PROXY)
    idle = await client("idle", 3, proxy=PROXY)
    carol = await client("carol", 4, discovery=False, bootstrap="10.77.0.1:4222")
    dave = await client("dave", 5, discovery=False, bootstrap="10.77.0.1:4222")
    for person in (active, idle, carol, dave):
        await person.announced()
    await asyncio.sleep(WRITTEN_S)

    box.unplug()
    appliance.kill()
    again = lab.host("box").plug(switch, "10.77.0.1/24", "fd77::1/64")
    again.announce("10.77.0.1")
    appliance = await Appliance(again, through=_another_start_of_the_machine(lab)).start()
    assert await active.is_registered(), "it has not noticed"
    assert await idle.is_registered(), "it has not noticed"
    await carol.announced()

    await active.invite(dave.id)
    await befriend(carol, active, within_s=A_LOOK_S / 2)
    await idle.notice_a_change_of_the_network()
    await befriend(carol, idle, within_s=A_LOOK_S + 30)
    await idle.registered()
    await appliance.healthy()


def _another_start_of_the_machine(lab: Lab) -> Sequence[str]:
    """The command through which a program takes the machine for one that was started again."""
    boot = lab.folder / "boot-id"
    boot.write_text("0b5e55ed-0000-4000-8000-000000000001\n")
    mount = f"mount --bind {boot} /proc/sys/kernel/random/boot_id"
    return "unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"


async def test_a_phone_that_sleeps_is_woken_by_a_push_server_on_the_lan(
    lab: Lab, switch: Switch, box: Host
) -> None:
    """That may run on the box, too, but what only the box reaches is not pushed to."""
    appliance = await Appliance(box).start()
    server = lab.host("server").plug(switch, "10.77.0.5/24")
    phone = lab.host("phone").plug(switch, "10.77.0.2/24")
    application = Application()
    plain = await _asleep_at_ntfy(phone, server, "10.77.0.5", topic="cx.ring")
    encrypted = await _asleep(phone, box, "10.77.0.1", topic=application.topic)
    hidden = await _asleep(box, box, "127.0.0.1", topic="")

    _ask(phone, "POST", {"id": "7", "data": "aGVsbG8="})
    (woken,) = await _printed(plain, 1)
    assert json.loads(ntfy.pushed(woken))["ids"] == "7"
    _, woken = await _printed(encrypted, 2)
    assert json.loads(application.read(base64.b64decode(woken)))["ids"] == "7"
    async with asyncio.timeout(30):  # the box says it every ten seconds
        while "2 sent, 1 dropped, 0 waiting" not in str(await appliance.status()):
            await asyncio.sleep(0.2)
    assert len(await _printed(hidden, 1)) == 1


async def _asleep(phone: Host, server: Host, address: str, *, topic: str) -> Process:
    """Start Prosody at an address, and the distributor of a phone; have Jami on that subscribe."""
    folder = server.lab.folder / f"prosody-{address}"
    server.start(*push_server.server(folder, address=address, xmpp=5222, http=5280))
    distributor = phone.start(*push_server.distributor(address, 5222), output=address)
    (endpoint,) = await _printed(distributor, 1)
    _subscribe(phone, endpoint, topic)
    return distributor


async def _asleep_at_ntfy(phone: Host, server: Host, address: str, *, topic: str) -> Process:
    """The same with ntfy."""
    server.start(*ntfy.server(server.lab.folder, address=address, port=80))
    async with asyncio.timeout(push_server.WITHIN_S):
        while not server.run("ss", "-Hltn", "sport = :80"):
            await asyncio.sleep(0.05)
    distributor = phone.start(*ntfy.distributor(address, 80), output=address)
    _subscribe(phone, ntfy.endpoint(address, 80), topic)
    return distributor


def _subscribe(phone: Host, endpoint: str, topic: str) -> None:
    subscription = {
        "key": endpoint, "client_id": endpoint, "session_id": "s1", "topic": topic,
        "platform": "unifiedpush",
    }  # fmt: skip
    _ask(phone, "SUBSCRIBE", subscription)


def _ask(phone: Host, method: str, content: object) -> None:
    phone.run(sys.executable, "-c", _ASK, method, INBOX, json.dumps(content))


async def _printed(distributor: Process, number: int) -> list[str]:
    """Its lines, once there are so many; what has spaces are slixmpp's complaints."""
    async with asyncio.timeout(push_server.WITHIN_S):
        while True:
            lines = [line for line in distributor.output().splitlines() if " " not in line]
            if len(lines) >= number:
                return lines
            await asyncio.sleep(0.05)
