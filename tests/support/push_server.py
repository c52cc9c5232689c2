"""A UnifiedPush server that is not ours: Debian's Prosody with mod_unified_push, and the phone
that it reaches by XMPP (`tests.support.distributor`)."""

import asyncio
import base64
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.ports import free_port
from tests.support.programs import program

NEEDED = (
    Path("/usr/lib/prosody/modules/mod_unified_push/mod_unified_push.lua"),
    Path("/usr/lib/python3/dist-packages/slixmpp"),
)
WITHIN_S = 20.0

# A domain is the address itself, so that endpoints have it and nothing has to be looked up.
_CONFIGURATION = """\
run_as_root = true
data_path = "{folder}"
interfaces = {{ "{address}" }}
c2s_ports = {{ {xmpp} }}
c2s_direct_tls_ports = {{}}
http_interfaces = {{ "{address}" }}
http_ports = {{ {http} }}
https_ports = {{}}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "insecure"
insecure_open_authentication = "Yes please, I know what I'm doing!"
modules_enabled = {{ "saslauth", "unified_push" }}
modules_disabled = {{ "s2s" }}
log = {{ debug = "*console" }}
VirtualHost "{address}"
"""


def server(folder: Path, *, address: str, xmpp: int, http: int) -> tuple[str, ...]:
    """The command of a server that keeps what it knows in a folder."""
    folder.mkdir()
    file = folder / "prosody.cfg.lua"
    file.write_text(
        _CONFIGURATION.format(folder=folder, address=address, xmpp=xmpp, http=http), "utf-8"
    )
    return ("prosody", "--config", str(file), "-F")


def distributor(address: str, xmpp: int, *, busy: int = 0) -> tuple[str, ...]:
    """The command of a phone of that server, which waits for it. It does not take the first pushes
    while it is `busy`."""
    program = ("/usr/bin/python3", "-m", "tests.support.distributor")
    return (*program, address, str(xmpp), str(busy))


class Phone:
    """A distributor with one application; `endpoint` is where that has its pushes sent."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.endpoint = ""

    async def line(self) -> str:
        assert self._process.stdout is not None
        async with asyncio.timeout(WITHIN_S):
            return (await self._process.stdout.readline()).decode().rstrip()

    async def pushed(self) -> bytes:
        """What was pushed next."""
        return base64.b64decode(await self.line())


@asynccontextmanager
async def prosody(folder: Path) -> AsyncIterator[int]:
    """A server on loopback; its port for phones."""
    xmpp = free_port()
    command = server(folder / "prosody", address="127.0.0.1", xmpp=xmpp, http=free_port())
    async with program(*command, stdout=DEVNULL):
        yield xmpp


@asynccontextmanager
async def woken(folder: Path) -> AsyncIterator[Phone]:
    """A phone with its server."""
    async with prosody(folder) as xmpp, phone(xmpp) as made:
        yield made


@asynccontextmanager
async def phone(xmpp: int, *, busy: int = 0) -> AsyncIterator[Phone]:
    """A phone of a server on loopback."""
    command = distributor("127.0.0.1", xmpp, busy=busy)
    async with program(*command, stdout=PIPE, stderr=DEVNULL) as process:
        made = Phone(process)
        made.endpoint = await made.line()
        yield made
