"""The service that keeps coturn running, one for each LAN, and proves that it relays.

One for each, because coturn gives a client any of the addresses that it listens at, and a client's
peers on the same LAN may reach no other than that LAN's.
"""

import asyncio
import contextlib
import secrets
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from itertools import repeat, starmap
from pathlib import Path

from lanjami.config import Turn
from lanjami.errors import HostError, WireError
from lanjami.lan import Address, Interface, Ip, host_port
from lanjami.runtime import disk, log, net, process
from lanjami.runtime.patience import Patience
from lanjami.runtime.service import Ready, together
from lanjami.turn import conf, stun
from lanjami.turn.catch import Catch
from lanjami.turn.journal import Journal, is_complaint
from lanjami.turn.users import CHECKER, Users

_log = log.get(__name__)

PACKAGE = "coturn"
PROGRAM = "turnserver"

START_S = 10.0  # coturn prepares its ports; a Raspberry Pi Zero 2 W under load needs several
CHECK_EVERY_S = 5.0
CHECK_WITHIN_S = 3.0
RESEND_S = 0.5
LOOK_EVERY_S = 10.0  # for a package that is installed, a LAN, a rule of the firewall
GUARD_EVERY_S = 30.0

NO_CLIENT = "a service's port"

NO_GUARD = (
    "no firewall keeps relays from this machine's own services; as root: "
    "lanjami firewall show --apply"
)


@dataclass(frozen=True, slots=True)
class Counts:
    """Relays that clients have now, and counts since the start."""

    sessions: int
    allocations: int
    refused: dict[str, int]


@dataclass(frozen=True, slots=True)
class Lan:
    """Where one coturn listens, with its configuration."""

    interface: str
    addresses: tuple[Ip, ...]
    conf: str


class Relay:
    """TURN on every LAN. `lan` tells the interfaces that serve one, `everywhere` the addresses of
    all; the users and what coturn is told are in `folder`.

    Where it cannot serve for a reason that is no fault, such as coturn not being installed, it is
    up, says so, and looks again every 10 s.
    """

    name = "turn"

    def __init__(
        self,
        config: Turn,
        *,
        folder: Path,
        lan: Callable[[], Sequence[Interface]],
        everywhere: Callable[[], Sequence[Address]],
    ) -> None:
        self._config = config
        self._kept = self._folder = folder
        self._lan = lan
        self._everywhere = everywhere
        self._users = Users(folder, realm=config.realm)
        self._journal = Journal(checker=CHECKER)
        self._catch = Catch(config.catch_port, relays=config.relays)
        self._is_serving = False

    def counts(self) -> Counts | None:
        """How it goes; None while it does not relay."""
        if not self._is_serving:
            return None
        caught = Counter({NO_CLIENT: self._catch.count}) if self._catch.count else Counter[str]()
        refused = dict(self._journal.refused + caught)
        return Counts(len(self._journal.sessions), self._journal.allocations, refused)

    async def run(self, ready: Ready) -> None:
        async with process.workplace(self._kept) as self._folder:
            self._users = Users(self._folder, realm=self._config.realm)
            await self._follow(ready)

    async def _follow(self, ready: Ready) -> None:
        """Relay wherever that can be done, and look again."""
        while True:
            try:
                program = process.installed(PROGRAM, package=PACKAGE)
            except HostError as error:
                await _rest(ready, str(error))
                continue
            lans = self._lans()
            if not lans:
                await _rest(ready, "there is no LAN of private addresses")
                continue
            with self._catch.open():
                if await self._is_guarded(lans):
                    await self._serve(program, lans, ready)
                    continue
            await _rest(ready, NO_GUARD)

    def _lans(self) -> list[Lan]:
        """What is to run now."""
        interfaces = self._lan()
        found = [(each.name, conf.listening(each)) for each in interfaces]
        relays = [ip for _, addresses in found for ip in addresses]
        peers = conf.peers(interfaces, self._everywhere(), relays=relays)
        return [
            Lan(
                name,
                addresses,
                conf.render(
                    self._config,
                    listening=addresses,
                    peers=peers,
                    users=str(self._users.path),
                    pid_file=str(self._folder / f"{name}.pid"),
                ),
            )
            for name, addresses in found
            if addresses
        ]

    async def _is_guarded(self, lans: Sequence[Lan]) -> bool:
        if not self._config.guarded:
            return True
        return await self._catch.holds([ip for lan in lans for ip in lan.addresses])

    async def _serve(self, program: str, lans: Sequence[Lan], ready: Ready) -> None:
        """Relay until something changes: an address, or the firewall."""
        for file in filter(None, (self._config.certificate, self._config.key)):
            await asyncio.to_thread(_require_readable, Path(file))
        await asyncio.to_thread(net.require_udp, self._config.port)
        password = secrets.token_hex(16)
        await asyncio.to_thread(self._users.prepare, password)
        self._journal.sessions.clear()
        async with contextlib.AsyncExitStack() as running:
            children = [await running.enter_async_context(self._child(program, x)) for x in lans]
            following = [child.follow(self._hear) for child in children]
            with contextlib.suppress(_ChangedError):
                await together(*following, self._prove(lans, password, ready))

    @contextlib.asynccontextmanager
    async def _child(self, program: str, lan: Lan) -> AsyncIterator[process.Child]:
        file = self._folder / f"{lan.interface}.conf"
        await asyncio.to_thread(disk.write_atomically, file, lan.conf.encode())
        async with process.child(
            f"coturn on {lan.interface}",
            process.tethered([program, "-c", str(file)]),
            environment=process.python_environment(),
            ends_by=signal.SIGTERM,
        ) as child:
            yield child

    def _hear(self, line: str) -> None:
        refused = self._journal.hear(line)
        if refused is not None:
            _log.debug("refused", reason=refused)
        # once it serves, what it complains of are its clients, who could fill the log
        tell = _log.info if is_complaint(line) and not self._is_serving else _log.debug
        tell("coturn says", line=line)

    async def _prove(self, lans: Sequence[Lan], password: str, ready: Ready) -> None:
        loop = asyncio.get_running_loop()
        key = stun.key(CHECKER, self._config.realm, password)
        credentials = stun.Credentials(CHECKER, self._config.realm, key)
        within_s = START_S
        guard_at = loop.time() + GUARD_EVERY_S
        at = ", ".join(host_port(str(ip), self._config.port) for ip in _all(lans))
        checks = [
            _Check(lan, ip, self._config.port, credentials) for lan in lans for ip in lan.addresses
        ]
        try:
            while True:
                reasons = [await check.run(within_s) for check in checks]
                within_s = CHECK_WITHIN_S
                self._is_serving = True
                reason = "; ".join(filter(None, dict.fromkeys(reasons)))
                ready(f"{at}, a relay given and taken back", reason=reason)
                await asyncio.sleep(CHECK_EVERY_S)
                if self._lans() != list(lans):
                    raise _ChangedError
                if loop.time() >= guard_at:
                    guard_at = loop.time() + GUARD_EVERY_S
                    if not await self._is_guarded(lans):
                        raise _ChangedError
        finally:
            self._is_serving = False


class _ChangedError(Exception):
    """What was started is no longer what is to run."""


async def _rest(ready: Ready, why: str) -> None:
    ready(f"not served: {why}", proved=False)
    await asyncio.sleep(LOOK_EVERY_S)


def _require_readable(file: Path) -> None:
    """HostError where a file cannot be read: coturn would go on without TLS."""
    try:
        file.read_bytes()
    except OSError as error:
        raise HostError(f"{file} of `turn` cannot be read: {error.strerror}") from error


def _all(lans: Sequence[Lan]) -> list[Ip]:
    return [ip for lan in lans for ip in lan.addresses]


class _Check:
    """Has a relay given and taken back at one address."""

    def __init__(self, lan: Lan, ip: Ip, port: int, credentials: stun.Credentials) -> None:
        self._name = f"coturn on {lan.interface}"
        self._full = f"no relay is left on {lan.interface}"
        self._at = (str(ip), port)
        self._family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
        self._credentials = credentials
        self._patience = Patience(self._name)

    async def run(self, within_s: float) -> str:
        """What is worse off, if anything; HostError where it does not work."""
        try:
            async with asyncio.timeout(within_s):
                is_given = await self._ask()
        except TimeoutError:
            return self._patience.checked(passed=False, missed=f"no answer within {within_s:g} s")
        except WireError as error:
            raise HostError(f"{self._name} does not relay: {error}") from error
        except OSError as error:
            what = f"{self._name} cannot be asked at {self._at[0]}"
            raise HostError(f"{what}: {error.strerror}") from error
        return self._patience.checked(passed=True) or ("" if is_given else self._full)

    async def _ask(self) -> bool:
        """False where all relays are given."""
        transactions = starmap(secrets.token_bytes, repeat((12,)))
        with socket.socket(self._family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, self._at)
            steps = stun.proof(self._credentials, transactions)
            request = next(steps)
            while True:
                answer = await _exchange(sock, request)
                try:
                    request = steps.send(answer)
                except StopIteration as done:
                    return done.value is not None


async def _exchange(sock: socket.socket, request: bytes) -> bytes:
    """The answer to a request, which is sent again as datagrams may be lost."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            async with asyncio.timeout(RESEND_S):
                await loop.sock_sendall(sock, request)
                while True:
                    answer = await loop.sock_recv(sock, net.LARGEST_DATAGRAM)
                    if stun.answers(request, answer):
                        return answer
        except TimeoutError:
            continue
        except ConnectionRefusedError:  # it still starts; `follow` may know that it does not
            await asyncio.sleep(RESEND_S)
