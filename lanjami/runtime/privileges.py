"""What the programs that we start may do beyond what any user may (capabilities(7), Linux).

systemd grants such rights to us as "ambient" ones, which pass to every program that we start. We
ourselves lay them down at once: they are handed on, and not used.
"""

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from lanjami.errors import HostError

_NUMBERS = {  # Linux include/uapi/linux/capability.h
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_SYS_TIME": 25,
}
_VERSION_3 = 0x20080522
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4  # Linux include/uapi/linux/prctl.h


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def missing(wanted: Iterable[str]) -> list[str]:
    """Those of the capabilities that a program which we start would not have."""
    if sys.platform != "linux":
        return list(wanted)
    # who is root has on every start what the bounding set leaves
    kind = "CapBnd" if os.geteuid() == 0 else "CapAmb"
    have = _set_of(kind)
    return [name for name in wanted if not have >> _NUMBERS[name] & 1]


def require(wanted: Iterable[str], *, what: str) -> None:
    """Raise HostError where programs that we start lack a capability for `what`."""
    if lacking := missing(wanted):
        raise HostError(
            f"{what} needs rights that lanjami was not given ({', '.join(lacking)}): see "
            "docs/network.md"
        )


def lay_down(*, keep: str) -> None:
    """Use none of our capabilities ourselves but one; programs that we start have them all.

    Called before there is any other thread. Does nothing for root, which has them by its name.
    """
    if sys.platform != "linux" or os.geteuid() == 0:
        return
    _change(effective=1 << _NUMBERS[keep], everything=False)


def give_up() -> None:
    """Called by a child that needs none: neither it nor what it starts has any. Not for root."""
    if sys.platform != "linux" or os.geteuid() == 0:
        return
    ctypes.CDLL(None).prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _change(effective=0, everything=True)


def _change(*, effective: int, everything: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_VERSION_3, 0), (_Sets * 2)()
    if libc.capget(ctypes.byref(header), sets) != 0:
        return
    for part in range(2):
        mask = effective >> 32 * part & 0xFFFFFFFF
        sets[part].effective &= mask
        if everything:
            sets[part].permitted &= mask
            sets[part].inheritable &= mask
    libc.capset(ctypes.byref(header), sets)


def _set_of(kind: str) -> int:
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.partition(":")[2], 16)
    return 0
