"""The service that makes a Wi-Fi interface an access point, by hostapd."""

import asyncio
import contextlib
import re
import signal
import socket
from pathlib import Path

from lanjami.config import Wifi
from lanjami.errors import HostError
from lanjami.network import hostapd_conf, wifi
from lanjami.runtime import disk, privileges, process
from lanjami.runtime.patience import Patience
from lanjami.runtime.service import Ready, together

CHECK_EVERY_S = 5.0
STARTS_WITHIN_S = 30.0  # a small board is slow, and a radio may look whether a channel is free
ANSWERS_WITHIN_S = 5.0

RIGHTS = ["CAP_NET_ADMIN", "CAP_NET_RAW"]
_ROUTINE = re.compile("interface state|AP-ENABLED|AP-DISABLED|AP-STA-|STA [0-9a-f:]+ |CTRL-EVENT-")
_SYSTEM = Path("/sys/class")


class AccessPoint:
    """Runs the access point of the settings; `state` is a folder."""

    name = "wifi"

    def __init__(self, settings: Wifi, *, state: Path, system: Path = _SYSTEM) -> None:
        self._settings = settings
        self._state = state
        self._system = system

    async def run(self, ready: Ready) -> None:
        program = await asyncio.to_thread(process.installed, "hostapd", package="hostapd")
        iw = await asyncio.to_thread(process.installed, "iw", package="iw")
        phy = await asyncio.to_thread(self._phy)
        radio = wifi.read_radio(await process.output_of([iw, "phy", phy, "info"]))
        if not radio.can_be_access_point:
            raise HostError(
                f"the driver of {self._settings.interface} cannot make it an access point"
            )
        what = f"an access point on {self._settings.interface}"
        await asyncio.to_thread(privileges.require, RIGHTS, what=what)
        channel = await self._channel(iw)
        told = f"{self._settings.ssid} on channel {channel}" + (
            "" if radio.most_clients is None else f", for at most {radio.most_clients} clients"
        )
        async with process.workplace(self._state) as folder:
            control = folder / "hostapd"
            file = folder / "hostapd.conf"
            text = hostapd_conf.render(self._settings, channel=channel, control=str(control))
            await asyncio.to_thread(disk.write_atomically, file, text.encode())
            async with process.child(
                "hostapd",
                process.tethered([program, str(file)], keeps_rights=True),
                environment=process.python_environment(),
                ends_by=signal.SIGTERM,
            ) as child:
                await together(
                    child.watch(routine=_ROUTINE),
                    self._check(control / self._settings.interface, told, ready),
                )

    def _phy(self) -> str:
        """The radio of the interface; HostError where it has none, or that is blocked."""
        name = self._settings.interface
        folder = self._system / "net" / name
        if not folder.exists():
            raise HostError(f"there is no Wi-Fi interface {name}: is its hardware there?")
        try:
            phy = (folder / "phy80211" / "name").read_text("ascii").strip()
        except OSError:
            raise HostError(f"{name} is no Wi-Fi interface") from None
        for switch in (folder / "phy80211").glob("rfkill*"):
            states = {}
            for kind in ("soft", "hard"):
                with contextlib.suppress(OSError):
                    states[kind] = (switch / kind).read_text("ascii")
            if why := wifi.blocked(states):
                raise HostError(f"the radio of {name} {why}")
        return phy

    async def _channel(self, iw: str) -> int:
        if self._settings.channel != "auto":
            return self._settings.channel
        ip = await asyncio.to_thread(process.installed, "ip", package="iproute2")
        name = self._settings.interface
        try:
            await process.output_of([ip, "link", "set", "dev", name, "up"])
            scan = await process.output_of([iw, "dev", name, "scan"])
        except HostError:  # some drivers cannot look around; any channel is better than none
            scan = ""
        return wifi.quietest_channel(scan)

    async def _check(self, control: Path, told: str, ready: Ready) -> None:
        patience = Patience("hostapd")
        within_s = STARTS_WITHIN_S
        while True:
            answers = await _answers(control, within_s=within_s)
            ready(told, reason=patience.checked(passed=answers, missed="it does not answer"))
            await asyncio.sleep(CHECK_EVERY_S)
            within_s = ANSWERS_WITHIN_S


async def _answers(control: Path, *, within_s: float) -> bool:
    """Whether hostapd does on its control socket (wpa_ctrl.c); HostError where it says no PONG."""
    loop = asyncio.get_running_loop()
    own = control.with_name("lanjami")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            async with asyncio.timeout(within_s):
                while not await asyncio.to_thread(control.exists):  # noqa: ASYNC110 - it is another's
                    await asyncio.sleep(0.1)
                await asyncio.to_thread(own.unlink, missing_ok=True)
                sock.bind(str(own))
                await loop.sock_connect(sock, str(control))
                await loop.sock_sendall(sock, b"PING")
                answer = await loop.sock_recv(sock, 64)
        except (OSError, TimeoutError):
            return False
        finally:
            await asyncio.to_thread(own.unlink, missing_ok=True)
    if not answer.startswith(b"PONG"):
        raise HostError("hostapd does not work: it answers with no PONG")
    return True
