"""The service that tells the time on LANs, by chrony, and keeps this machine's own from lying."""

import asyncio
import contextlib
import os
import pwd
import re
import signal
import time
from collections.abc import Callable, Collection, Sequence
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

import lanjami
from lanjami import layout
from lanjami.lan import Interface
from lanjami.network import chrony_conf, clock, probes
from lanjami.runtime import disk, log, privileges, process
from lanjami.runtime.patience import Patience
from lanjami.runtime.service import Ready, together, until

_log = log.get(__name__)

LOOK_EVERY_S = 1.0
CHECK_EVERY_S = 10.0
PATIENCE_S = 10.0  # after a start, until it is said that there is nobody to tell it to
SAVE_EVERY_S = 900.0  # seldom enough for a memory card

_SAVED = "time"
_ROUTINE = re.compile(
    "starting|Running with root|exiting|Frequency|Wrong permissions|Disabled control"
)

_At = IPv4Interface | IPv6Interface


class TimeServer:
    """Tells the time on the LANs of `interfaces`, after `servers` where there are any.

    `state` is the box's state folder, `lan` tells the interfaces that are up.
    """

    name = "time"

    def __init__(
        self,
        *,
        interfaces: Collection[str],
        servers: Sequence[str],
        state: Path,
        lan: Callable[[], tuple[Interface, ...]],
    ) -> None:
        self._interfaces = interfaces
        self._servers = servers
        self._box = state
        self._state = self._folder = state / layout.NETWORK
        self._lan = lan

    async def run(self, ready: Ready) -> None:
        program = await asyncio.to_thread(process.installed, "chronyd", package="chrony")
        what = f"telling the time on {', '.join(self._interfaces)}"
        await asyncio.to_thread(privileges.require, ["CAP_NET_BIND_SERVICE"], what=what)
        may_set = not await asyncio.to_thread(privileges.missing, ["CAP_SYS_TIME"])
        async with process.workplace(self._state) as self._folder:
            reason = await self._correct(may_set=may_set)
            serve = self._serve(program, ready, may_set=may_set, reason=reason)
            await together(serve, self._save())

    async def _correct(self, *, may_set: bool) -> str:
        """Set a clock that is behind what has surely passed; returns why it still is."""
        passed = await asyncio.to_thread(_passed, self._box, self._folder / _SAVED)
        to = clock.correction(time.time(), passed)
        if to is None:
            return ""
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(to))
        if not may_set:
            return (
                f"the clock of this machine is wrong: it is at least {when}, and lanjami was not "
                "given the right to set it (CAP_SYS_TIME)"
            )
        date = await asyncio.to_thread(process.installed, "date", package="coreutils")
        await process.output_of([date, "--utc", "--set", f"@{to:.0f}"])
        _log.warning("the clock was behind and is set", to=when)
        return ""

    async def _save(self) -> None:
        """Note the time, for a start after a power cut."""
        while True:
            noted = time.strftime("%Y-%m-%dT%H:%M:%SZ\n", time.gmtime()).encode()
            await asyncio.to_thread(disk.write_atomically, self._folder / _SAVED, noted)
            await asyncio.sleep(SAVE_EVERY_S)

    async def _serve(self, program: str, ready: Ready, *, may_set: bool, reason: str) -> None:
        user = pwd.getpwuid(os.geteuid()).pw_name
        file = self._folder / "chrony.conf"
        # in the foreground, no need to be root, only warnings
        command = [program, "-d", "-U", "-L", "1", "-u", user, "-f", str(file)]
        if not may_set:
            command.append("-x")
        patient_until = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            now = self._networks()
            if not now and asyncio.get_running_loop().time() < patient_until:
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            if not now:
                ready("waits", reason=f"{', '.join(self._interfaces)}: not there or no address")
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            text = chrony_conf.render(
                servers=self._servers,
                clients=[at.network for at in now],
                folder=str(self._folder),
            )
            await asyncio.to_thread(disk.write_atomically, file, text.encode())
            # what a killed one left would keep a new one from starting
            await asyncio.to_thread((self._folder / "chrony.pid").unlink, missing_ok=True)
            async with process.child(
                "chronyd",
                process.tethered(command, keeps_rights=True),
                environment=process.python_environment(),
                ends_by=signal.SIGTERM,
            ) as child:
                await until(self._check(now, ready, reason), child.watch(routine=_ROUTINE))
                await child.stop(within_s=process.STOP_S)

    async def _check(self, now: list[_At], ready: Ready, reason: str) -> None:
        loop = asyncio.get_running_loop()
        check_at = loop.time()
        patience = Patience("chronyd")
        while self._networks() == now:
            if loop.time() >= check_at:
                told = await probes.time(now[0].ip, tries=8)
                late = patience.checked(passed=told is not None, missed="it tells nobody the time")
                reasons = "; ".join(filter(None, (late, reason)))
                ready(f"UDP 123, tells the time to {_list(now)}", reason=reasons, proved=not late)
                check_at = loop.time() + CHECK_EVERY_S
            await asyncio.sleep(LOOK_EVERY_S)

    def _networks(self) -> list[_At]:
        found = {
            address.at.network: address.at
            for interface in self._lan()
            if interface.name in self._interfaces
            for address in interface.addresses
            if not (address.ip.version == 6 and address.ip.is_link_local)
        }
        return list(found.values())


def _passed(box: Path, saved: Path) -> float:
    """The latest time that is known to have passed, by what lies on the disk."""
    seen = []
    for file in (saved, *box.iterdir()):
        with contextlib.suppress(OSError):
            seen.append(file.stat().st_mtime)
    # an installed file has the time of its installation, that of an image the image's
    return clock.newest(made_at=Path(lanjami.__file__).stat().st_mtime, seen=seen)


def _list(networks: list[_At]) -> str:
    return ", ".join(str(at.network) for at in networks)
