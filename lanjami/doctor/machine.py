"""Looks at the machine: disk, card, power, clock, routes and ports. Linux tells; elsewhere little.

`root` stands for "/", so that it can also look at a system that lies in a folder.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import lanjami
from lanjami import layout
from lanjami.doctor.lan_checks import Held, Route, parse_routes
from lanjami.doctor.machine_checks import Disk, Past
from lanjami.errors import HostError
from lanjami.firewall.openings import Opening
from lanjami.lan import Interface
from lanjami.network import clock
from lanjami.runtime import net
from lanjami.runtime.net import Holder

_ROOT = Path("/")


def disk(folder: Path, *, root: Path = _ROOT) -> Disk:
    """The disk that `folder`, or the first of its parents that is there, lies on; HostError."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        seen = os.statvfs(folder)
        number = folder.stat().st_dev
    except OSError as error:
        raise HostError(f"the disk of {folder} cannot be looked at: {error.strerror}") from error
    device = root / f"sys/dev/block/{os.major(number)}:{os.minor(number)}"
    return Disk(
        path=str(folder),
        free=seen.f_bavail * seen.f_frsize,
        inodes=seen.f_favail if seen.f_files else -1,
        is_read_only=bool(seen.f_flag & os.ST_RDONLY),
        errors=_number(root / "sys/fs/ext4" / device.resolve().name / "errors_count"),
        worn=_worn(device),
    )


def _worn(device: Path) -> int | None:
    """The greater of a card's two estimates, of the device or, for a partition, what it is of
    (Linux Documentation/driver-api/mmc/mmc-dev-attrs.rst)."""
    for place in (device / "device/life_time", device / "../device/life_time"):
        with suppress(OSError, ValueError):
            return max(int(word, 16) for word in place.read_text("ascii").split())
    return None


def power(*, root: Path = _ROOT) -> tuple[int | None, bool | None]:
    """What a Raspberry Pi tells of its power: the firmware's bits, and the sensor's alarm (Linux
    drivers/hwmon/raspberrypi-hwmon.c); each None where it does not."""
    bits = _number(root / "sys/devices/platform/soc/soc:firmware/get_throttled", base=16)
    for sensor in (root / "sys/class/hwmon").glob("*"):
        with suppress(OSError):
            if (sensor / "name").read_text("ascii").strip() == "rpi_volt":
                alarm = _number(sensor / "in0_lcrit_alarm")
                return bits, None if alarm is None else bool(alarm)
    return bits, None


def passed(state: Path) -> Past:
    """The latest time that is known to have passed, by the program and what it saved."""
    seen: dict[float, str] = {}
    with suppress(OSError):
        for file in state.iterdir():
            with suppress(OSError):
                seen[file.stat().st_mtime] = str(file)
    newest = clock.newest(made_at=made_at(), seen=seen)
    return Past(newest, seen.get(newest, ""))


def made_at() -> float:
    """When this program was made, by the date of its files."""
    return Path(lanjami.__file__).stat().st_mtime


def now() -> float:
    return time.time()


def routes() -> list[Route] | None:
    """The routes of IPv4; None where they cannot be seen."""
    try:
        return parse_routes(Path("/proc/net/route").read_text("ascii"))
    except OSError:
        return None


def held(
    openings: Sequence[Opening], interfaces: Sequence[Interface], *, box: int | None
) -> list[Held]:
    """Who has the ports; `box` is the process of the box that runs. Others who share a port that
    programs share are none of them."""
    found = []
    for protocol in ("udp", "tcp"):
        wanted = [o for o in openings if o.protocol == protocol and o.service != "refused"]
        holders = net.holders(protocol, [range(o.first, o.last + 1) for o in wanted])
        lines = {h: box is not None and (h.pid is None or box in _line_of(h.pid)) for h in holders}
        for opening in wanted:
            there = {h: is_ours for h, is_ours in lines.items() if _clash(h, opening, interfaces)}
            is_shared = not all(there.values()) and _may_be_shared(opening)
            found += [
                Held(protocol, h.port, h.shown, is_ours)
                for h, is_ours in there.items()
                if is_ours or not is_shared
            ]
    return list(dict.fromkeys(found))


def _clash(holder: Holder, opening: Opening, interfaces: Sequence[Interface]) -> bool:
    """Whether nobody else can serve there: all but DNS is served at every address."""
    if not opening.first <= holder.port <= opening.last:
        return False
    if opening.service != "dns" or holder.address.is_unspecified:
        return True
    return any(
        holder.address == address.ip
        for interface in interfaces
        if interface.name == opening.interface
        for address in interface.addresses
    )


def _may_be_shared(opening: Opening) -> bool:
    """Whether those who have a port let others have it, too, as whoever hears a group or hands out
    addresses does."""
    try:
        if opening.service == "dhcp":
            net.broadcaster(opening.interface, opening.first).close()
        elif opening.groups:
            net.require_udp(opening.first, shared=True)
        else:
            return False
    except HostError as error:
        return isinstance(error.__cause__, PermissionError)  # then it is not known
    return True


def process_of_box(state: Path) -> int | None:
    """The process that the lock in a state folder names."""
    return _number(state / layout.LOCK)


def _line_of(pid: int) -> Iterator[int]:
    """A process, its parent, and so on."""
    while pid > 1:
        yield pid
        try:
            told = Path("/proc", str(pid), "stat").read_text("utf-8", "replace")
        except OSError:
            return
        pid = int(told.rpartition(")")[2].split()[1])


def _number(file: Path, *, base: int = 10) -> int | None:
    try:
        return int(file.read_text("ascii").strip(), base)
    except (OSError, ValueError):
        return None
