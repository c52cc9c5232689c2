"""A real, unmodified Jami daemon on a host of the lab, driven over D-Bus as its apps do."""

import asyncio
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from tests.support.lab import Host, Process

SERVICE = "cx.ring.Ring"
CONFIGURATION = "ConfigurationManager"
CALLS = "CallManager"

FOUND, INVALID, NOT_FOUND, ERROR = 0, 1, 2, 3  # registeredNameFound
REGISTERED, TAKEN = 0, 3  # nameRegistrationEnded
JOINED = 1  # conversationMemberEvent
THINKS_S = 2.0


@dataclass(frozen=True, slots=True)
class Signal:
    name: str
    body: list[Any]


class Jami:
    """A client with one account. `discovery`, `bootstrap`, `proxy` and `turn` are its settings;
    with a proxy, the first two are not used. What is known to a relay stays as it is unchanged.
    With `changed`, its account is as a person makes it who changes nothing but that."""

    def __init__(
        self,
        host: Host,
        *,
        name_server: str = "",
        discovery: bool = True,
        bootstrap: str = "",
        proxy: str = "",
        turn: str = "",
        changed: Mapping[str, str] | None = None,
    ) -> None:
        self._host = host
        self._settings = (
            changed
            if changed is not None
            else {
                "Account.alias": host.name,
                "Account.displayName": host.name,
                "Account.peerDiscovery": str(discovery).lower(),
                "Account.accountDiscovery": "true",
                "Account.accountPublish": "true",
                "Account.hostname": bootstrap,
                "Account.proxyEnabled": str(bool(proxy)).lower(),
                "Account.proxyServer": proxy,
                "Account.proxyListEnabled": "false",  # since 2024; before, an empty URL says it
                "Account.dhtProxyListUrl": "",
                "Account.upnpEnabled": "false",
                "Account.archivePassword": "",
                "RingNS.uri": name_server,
                "TURN.enable": str(bool(turn)).lower(),
                **({"TURN.server": turn} if turn else {}),
            }
        )
        self._name_server = self._settings.get("RingNS.uri", "")
        self._home = host.lab.folder / f"{host.name}-home"
        self._processes: list[Process] = []
        self._bus: MessageBus | None = None
        self._signals: list[Signal] = []
        self._heard = asyncio.Event()
        self.account = ""
        self.id = ""

    async def start(self) -> Self:
        """Start the daemon; where it has an account already, that registers by itself."""
        self._home.mkdir(exist_ok=True)
        bus = self._home / "bus"
        bus.unlink(missing_ok=True)
        address = f"unix:path={bus}"
        environment = {
            "HOME": str(self._home),
            "DBUS_SESSION_BUS_ADDRESS": address,
            **{
                f"XDG_{kind}": str(self._home / kind.lower())
                for kind in ("RUNTIME_DIR", "CONFIG_HOME", "CACHE_HOME", "DATA_HOME")
            },
        }
        (self._home / "runtime_dir").mkdir(mode=0o700, exist_ok=True)
        self._signals.clear()
        self._processes = [
            self._host.start(
                "dbus-daemon",
                *("--session", "--nofork", "--nopidfile", f"--address={address}"),
                environment=environment,
            )
        ]
        await _until(lambda: _accepts(bus), within_s=10)
        self._bus = await MessageBus(bus_address=address).connect()
        self._bus.add_message_handler(self._on_message)
        await self._bus.call(
            Message(
                destination="org.freedesktop.DBus",
                path="/org/freedesktop/DBus",
                interface="org.freedesktop.DBus",
                member="AddMatch",
                signature="s",
                body=["type='signal'"],
            )
        )
        self._processes.append(
            self._host.start("/usr/libexec/jamid", "-p", "-d", "-c", environment=environment)
        )
        async with asyncio.timeout(20):
            while not await self._has_owner():
                await asyncio.sleep(0.05)
        return self

    async def add_account(self) -> Self:
        """Make the account; it begins to register at once."""
        template = await self._call("getAccountTemplate", "s", "RING")
        self.account = await self._call("addAccount", "a{ss}", {**template, **self._settings})
        # making the keys takes seconds; until then the account has no ID
        async with asyncio.timeout(60):
            while not self.id:
                details = await self._call("getAccountDetails", "s", self.account)
                self.id = details.get("Account.username", "")
                await asyncio.sleep(0.05)
        return self

    async def registered(self, *, within_s: float = 20.0) -> None:
        """Wait until the account is connected to the DHT."""
        await self._until_detail("Account.registrationStatus", "REGISTERED", within_s)

    async def announced(self, *, within_s: float = 30.0) -> None:
        """Wait until others can reach the account."""
        await self._until_detail("Account.deviceAnnounced", "true", within_s)

    async def is_registered(self) -> bool:
        details = await self._call("getVolatileAccountDetails", "s", self.account)
        return bool(details.get("Account.registrationStatus") == "REGISTERED")

    async def own_name(self) -> str:
        """The username that the client believes its account has."""
        details = await self._call("getVolatileAccountDetails", "s", self.account)
        return str(details.get("Account.registeredName", ""))

    async def register_name(self, name: str) -> int:
        """Ask for a username; REGISTERED or TAKEN, or another of the client's numbers."""
        since = len(self._signals)
        await self._call("registerName", "sss", self.account, "", name)
        body = await self.signal("nameRegistrationEnded", since=since)
        return int(body[1])

    async def look_up_name(self, name: str) -> tuple[int, str]:
        """FOUND … and the ID."""
        since = len(self._signals)
        await self._call("lookupName", "sss", "", self._name_server, name)
        body = await self.signal("registeredNameFound", lambda b: b[3] == name, since=since)
        return int(body[1]), str(body[2])

    async def look_up_id(self, id: str) -> tuple[int, str]:
        """FOUND … and the name."""
        since = len(self._signals)
        await self._call("lookupAddress", "sss", "", self._name_server, id)
        body = await self.signal("registeredNameFound", lambda b: b[2] == id, since=since)
        return int(body[1]), str(body[3])

    async def invite(self, peer: str) -> None:
        await self._call("addContact", "ss", self.account, peer)
        await self._call("sendTrustRequest", "ssay", self.account, peer, b"")

    async def accept_invitation(self, peer: str, *, within_s: float = 60.0) -> None:
        # incomingTrustRequest comes before the daemon has noted which conversation it is about
        # (ConversationModule::onTrustRequest): who answers that at once waits for it in vain
        await self.signal(
            "conversationRequestReceived", lambda b: b[2]["from"] == peer, within_s=within_s
        )
        await self._call("acceptTrustRequest", "ss", self.account, peer)

    async def conversation(self, *, since: int = 0, within_s: float = 60.0) -> str:
        """The conversation that an invitation led to."""
        body = await self.signal("conversationReady", since=since, within_s=within_s)
        return str(body[1])

    async def send(self, conversation: str, text: str) -> None:
        await self._call("sendMessage", "ssssi", self.account, conversation, text, "", 0)

    @property
    def signals_heard(self) -> int:
        return len(self._signals)

    async def message(self, text: str, *, since: int = 0, within_s: float = 30.0) -> None:
        """Wait for a message with this text."""
        await self.signal(
            "messageReceived",
            lambda b: b[2].get("body") == text,
            since=since,
            within_s=within_s,
        )

    async def texts(self, conversation: str) -> list[str]:
        """All that was written in a conversation, as its window shows it when it is opened. Of
        messages that come while others are sent, the 2023 daemon signals some twice, some not."""
        since = self.signals_heard
        await self._call("loadConversationMessages", "sssu", self.account, conversation, "", 0)
        body = await self.signal("conversationLoaded", lambda b: b[2] == conversation, since=since)
        return [message["body"] for message in body[3] if "body" in message]

    async def notice_a_change_of_the_network(self) -> None:
        """As the system tells an app when its Wi-Fi comes back."""
        await self._call("connectivityChanged", "")

    async def call(self, peer: str) -> str:
        return str(await self._call("placeCall", "ss", self.account, peer, interface=CALLS))

    async def accept_call(self, *, since: int = 0, within_s: float = 30.0) -> str:
        body = await self.signal("incomingCallWithMedia", since=since, within_s=within_s)
        await self._call("accept", "ss", self.account, body[1], interface=CALLS)
        return str(body[1])

    async def hang_up(self, call: str) -> None:
        await self._call("hangUp", "ss", self.account, call, interface=CALLS)

    async def call_is(self, call: str, state: str, *, within_s: float = 30.0) -> None:
        """Wait until a call is "CURRENT", where both sides speak, or "OVER"."""
        await self.signal(
            "callStateChanged", lambda b: b[1] == call and b[2] == state, within_s=within_s
        )

    async def nearby(self) -> dict[str, str]:
        """Who the client heard by discovery: display names by ID."""
        return dict(await self._call("getNearbyPeers", "s", self.account))

    async def signal(
        self,
        name: str,
        matches: Callable[[list[Any]], bool] = lambda _: True,
        *,
        since: int = 0,
        within_s: float = 30.0,
    ) -> list[Any]:
        """The body of the first such signal, waiting for it."""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    for heard in self._signals[since:]:
                        if heard.name == name and matches(heard.body):
                            return heard.body
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            heard_names = [signal.name for signal in self._signals[-30:]]
            raise AssertionError(
                f"{self._host.name} heard no {name} within {within_s} s, only {heard_names}"
            ) from None

    async def stop(self) -> None:
        """End the daemon; its account stays on the disk."""
        if self._bus is not None:
            self._bus.disconnect()
            await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
            self._bus = None
        for process in reversed(self._processes):
            process.signal(15)
            try:
                process.wait(within_s=8)
            except subprocess.TimeoutExpired:  # not the subject of any story here
                process.end()
        self._processes = []

    async def _until_detail(self, key: str, value: str, within_s: float) -> None:
        details: dict[str, str] = {}
        try:
            async with asyncio.timeout(within_s):
                while details.get(key) != value:
                    details = await self._call("getVolatileAccountDetails", "s", self.account)
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(
                f"{self._host.name}: {key} is {details.get(key)!r}, not {value!r}, "
                f"after {within_s} s"
            ) from None

    async def _has_owner(self) -> bool:
        assert self._bus is not None
        answer = await self._bus.call(
            Message(
                destination="org.freedesktop.DBus",
                path="/org/freedesktop/DBus",
                interface="org.freedesktop.DBus",
                member="NameHasOwner",
                signature="s",
                body=[SERVICE],
            )
        )
        return bool(answer and answer.body[0])

    async def _call(
        self, member: str, signature: str, *body: Any, interface: str = CONFIGURATION
    ) -> Any:
        assert self._bus is not None, "the client was not started"
        answer = await self._bus.call(
            Message(
                destination=SERVICE,
                path=f"/cx/ring/Ring/{interface}",
                interface=f"{SERVICE}.{interface}",
                member=member,
                signature=signature,
                body=list(body),
            )
        )
        assert answer is not None
        assert answer.message_type is not MessageType.ERROR, f"{member}: {answer.body}"
        return answer.body[0] if answer.body else None

    def _on_message(self, message: Message) -> None:
        if message.message_type is MessageType.SIGNAL:
            self._signals.append(Signal(message.member or "", message.body))
            self._heard.set()


async def befriend(alice: Jami, bob: Jami, *, within_s: float = 60.0) -> str:
    """Make the two contacts of each other; returns their conversation. Bob hears of it within
    some time.

    Ends when alice's copy of it has bob's joining: what the 2023 client writes while the two
    copies differ may wait for the next message to be shown.
    """
    since = alice.signals_heard, bob.signals_heard
    await alice.invite(bob.id)
    await bob.accept_invitation(alice.id, within_s=within_s)
    await bob.conversation(since=since[1])
    await alice.signal(
        "conversationMemberEvent",
        lambda b: b[2] == bob.id and b[3] == JOINED,
        since=since[0],
        within_s=60,
    )
    return await alice.conversation(since=since[0])


async def write_both_ways(alice: Jami, bob: Jami, conversation: str, text: str) -> None:
    """Write `text` from one to the other and back; each has to arrive.

    Each takes a moment to think, as people do: the 2023 client forgets the notice of a message
    that comes while it still fetches another ("Already fetching"), until the next one.
    """
    for sender, receiver in ((alice, bob), (bob, alice)):
        await asyncio.sleep(THINKS_S)
        since = receiver.signals_heard
        await sender.send(conversation, text)
        await receiver.message(text, since=since, within_s=60)


async def speak(caller: Jami, called: Jami) -> None:
    """One calls, the other answers; when both can speak, the caller hangs up.

    A client that connects to its first peer may still be making its Diffie-Hellman parameters,
    which takes from half a second to half a minute.
    """
    since = called.signals_heard
    call = await caller.call(called.id)
    answered = await called.accept_call(since=since, within_s=60)
    await caller.call_is(call, "CURRENT")
    await called.call_is(answered, "CURRENT")
    await caller.hang_up(call)
    await called.call_is(answered, "OVER")


def _accepts(path: Path) -> bool:
    """Whether somebody listens there already: the file comes a moment before."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        return sock.connect_ex(str(path)) == 0


async def _until(condition: Callable[[], bool], *, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)
