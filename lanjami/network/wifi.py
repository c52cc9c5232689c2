"""What `iw` says of a radio, read. Pure."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

_APART = {1: 2412, 6: 2437, 11: 2462}  # channels that do not overlap, and their frequencies in MHz
_OVERLAP_MHZ = 20


@dataclass(frozen=True, slots=True)
class Radio:
    """What a radio can; `most_clients` is None where its driver does not say."""

    can_be_access_point: bool
    most_clients: int | None


def read_radio(info: str) -> Radio:
    """The radio that `iw phy NAME info` describes."""
    modes = re.search(r"Supported interface modes:((?:\n\s+\* .*)*)", info)
    most = re.search(r"[Mm]aximum associated stations in AP mode: (\d+)", info)
    return Radio(
        can_be_access_point=modes is not None and "* AP" in re.split(r"\n\s+", modes[1]),
        most_clients=None if most is None else int(most[1]),
    )


def quietest_channel(scan: str) -> int:
    """The channel with the fewest others on it, of those that `iw dev NAME scan` heard; of equals
    the first."""
    heard = [int(mhz) for mhz in re.findall(r"^\s*freq: (\d{4})", scan, re.MULTILINE)]
    others = Counter(
        channel for mhz in heard for channel, own in _APART.items() if abs(mhz - own) < _OVERLAP_MHZ
    )
    return min(_APART, key=lambda channel: (others[channel], channel))


def blocked(states: Mapping[str, str]) -> str:
    """Why a radio is silent, a sentence's end; empty where it is not. `states` are the contents of
    `soft` and `hard` of its rfkill switch."""
    if states.get("hard", "").strip() == "1":
        return "is switched off by its hardware switch"
    if states.get("soft", "").strip() == "1":
        return "is blocked: rfkill unblock wlan"
    return ""
