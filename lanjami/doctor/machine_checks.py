"""Checks of the machine itself: clock, disk, card and power."""

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime

from lanjami.doctor.finding import Finding, fault, skipped, well
from lanjami.network import clock

LEAST_FREE = 64 << 20  # bytes; the box itself stops taking names below 32 MiB
LEAST_INODES = 64
_WORN = 0x0B  # of the estimates: beyond 100 % of the life (JESD84-B51, 7.4.57)
_NEARLY_WORN = 0x0A
_WRITTEN_AT = 1767225600.0  # 2026: of a program whose files have no date of their own
_UNDER_VOLTAGE_NOW = 1 << 0  # bits of get_throttled; Raspberry Pi's documentation, vcgencmd
_UNDER_VOLTAGE_SINCE = 1 << 16


@dataclass(frozen=True, slots=True)
class Disk:
    """Where the state is: bytes and inodes that are free (-1: no such limit), `is_read_only`; of
    the device, the `errors` that its file system counted, and the greatest share of its life
    that is gone in tenths, each None where it does not tell."""

    path: str
    free: int
    inodes: int
    is_read_only: bool
    errors: int | None = None
    worn: int | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """A time that is known to have passed, and the file that tells so; "" for the program."""

    at: float
    told_by: str


def clock_is_sane(now: float, passed: Past, *, made_at: float) -> Finding:
    """Whether a clock that says `now` may be right; `made_at` is when this program was made."""
    set_it = (
        "set it: `date -s '2026-01-31 12:00'` as root; a Raspberry Pi has none that runs without "
        "power, so let the box tell the time: network.IF.serve with ntp, ntp.servers"
    )
    if now > clock.credible_until(max(made_at, _WRITTEN_AT)):
        return fault(
            "clock",
            f"the clock says {_shown(now)}, decades after this program was made: certificates "
            "count as expired, and clients refuse each other",
            set_it,
        )
    if clock.correction(now, passed.at) is None:
        return well("clock", f"{_shown(now)}; not before anything that was saved here")
    told = f", by the date of {passed.told_by}" if passed.told_by else ""
    folder = shlex.quote(passed.told_by.rpartition("/")[0])
    touch = f"find {folder} -newermt now -exec touch {{}} +"
    return fault(
        "clock",
        f"the clock says {_shown(now)}, but it is at least {_shown(passed.at)}{told}: certificates "
        "count as not yet valid, and clients refuse each other",
        set_it + (f". Where it is right, and was wrong once: `{touch}` as root" if told else ""),
    )


def disk(seen: Disk | str) -> Finding:
    """Whether names can be saved; a string says why nothing was seen."""
    if isinstance(seen, str):
        return skipped("disk", seen)
    if seen.is_read_only:
        return fault(
            "disk",
            f"the disk of {seen.path} takes nothing (read-only): names are looked up, none is "
            "taken",
            "copy the names to another disk with `lanjami backup`; a card that turned read-only "
            "is dying, else: mount -o remount,rw",
        )
    if seen.free < LEAST_FREE or 0 <= seen.inodes < LEAST_INODES:
        return fault(
            "disk",
            f"the disk of {seen.path} is full ({seen.free >> 20} MiB and "
            f"{max(seen.inodes, 0)} files are left): no more names are taken",
            "remove what is not needed: `du -xh / | sort -h | tail` finds it, or "
            "`journalctl --vacuum-size=50M`",
        )
    return well("disk", f"{seen.free >> 20} MiB free at {seen.path}")


def card(seen: Disk | str) -> Finding:
    """Whether the disk or SD card is dying, as far as the system counts that."""
    if isinstance(seen, str):
        return skipped("card", seen)
    if seen.errors:
        return fault(
            "card",
            f"the file system of {seen.path} counted {seen.errors} errors: the disk or card loses "
            "data",
            "`lanjami backup FILE` onto another disk now, then a new card, and `lanjami restore`",
        )
    if seen.worn is not None and seen.worn >= _NEARLY_WORN:
        share = "all" if seen.worn >= _WORN else "nine tenths"
        return fault(
            "card",
            f"the disk of {seen.path} says that {share} of its life is gone",
            "`lanjami backup FILE` onto another disk, then replace it",
        )
    if seen.errors is None and seen.worn is None:
        return skipped("card", "the disk does not tell of errors or age")
    return well("card", "no error was counted")


def is_power_low(throttled: int | None, *, alarm: bool | None) -> bool:
    """Whether it is too little right now; as for `power`."""
    return bool((throttled or 0) & _UNDER_VOLTAGE_NOW or alarm)


def power(throttled: int | None, *, alarm: bool | None, was_low: bool = False) -> Finding:
    """Whether a Raspberry Pi has enough power: `throttled` as its firmware tells, `alarm` of its
    sensor; None where there is no such thing. `was_low` says that it was too low a while ago."""
    if throttled is None and alarm is None:
        return skipped("power", "this machine does not tell of its power")
    now = is_power_low(throttled, alarm=alarm)
    if now or was_low or (throttled or 0) & _UNDER_VOLTAGE_SINCE:
        when = "now" if now else "a while ago" if was_low else "since the start"
        return fault(
            "power",
            f"too little power ({when}): the machine slows down, loses Wi-Fi and damages its card",
            "use the power supply that was made for it and a short, thick cable, and fewer USB "
            "devices",
        )
    return well("power", "enough")


def _shown(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
