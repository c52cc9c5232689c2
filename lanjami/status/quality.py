"""What a line bears: from what was measured between two ends to a verdict for each use.

Measured over HTTP, by a browser or by another box: a datagram that is lost is sent again by TCP
after 200 ms at the earliest (Linux, TCP_RTO_MIN), so loss shows as a stall. Round trips after each
other tell latency and jitter; how many are lost takes more, and so several are made at a time.
"""

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from statistics import median
from typing import Annotated

import msgspec
from msgspec import Meta

from lanjami.errors import RequestError

ROUND_TRIPS = 60  # asked for, one after the other
LANES = 4  # at a time, of round trips and of streams; a browser has six, and follows the page
LANE_TRIPS = 600  # on all lanes: with 2 % lost each way 24 stall, and hardly ever as few as 12
FEWEST_TRIPS = 10  # that are made also where they take longer than
TRIPS_S = 4.0
STREAM_S = 4.0  # in each direction, and longer until
ENOUGH_BYTES = 512 * 1024  # have moved: a slow line sends what it lost again for a second, so four
SLOW_STREAM_S = 8.0  # say little of it; at most
GRACE_S = 2.0  # after that, for a stream that is not taken
RAMP_S = 1.0  # of a stream that takes more than twice that: not counted, for TCP seeks the rate
STREAM_BYTES = 32 << 20  # at most, of all lanes, in each direction
CHUNK = 256 * 1024  # bytes of an upload's request, at most; each costs a far line a round trip
FIRST_CHUNK = 8 * 1024  # of the first; they are doubled as long as one takes less than
CHUNK_S = 0.25  # and a round trip
STALL_MS = 180.0  # above the median: a retransmission, and no jitter

_Ms = Annotated[float, Meta(ge=0, le=60_000)]
_Count = Annotated[int, Meta(ge=0, le=1_000_000)]
_Mbit = Annotated[float, Meta(ge=0, le=1e9)]


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was measured at the other end: round trips one after the other and, on all lanes, at a
    time; what all lanes together moved in each direction; `stalls` are times of more than
    `STALL_MS` in which nothing came of the streams from the box."""

    round_trips_ms: Annotated[list[_Ms], Meta(min_length=2, max_length=200)]
    lane_trips_ms: Annotated[list[_Ms], Meta(min_length=2, max_length=1000)]
    down_mbit: _Mbit
    up_mbit: _Mbit
    stalls: _Count = 0
    longest_stall_ms: _Ms = 0.0


class Line(msgspec.Struct, frozen=True):
    """The line in numbers that people compare. `stalls` counts those of round trips and of
    streams, `lost_share` is the share of round trips that stalled."""

    latency_ms: float
    jitter_ms: float
    stalls: int
    longest_stall_ms: float
    lost_share: float
    down_mbit: float
    up_mbit: float


class Bears(StrEnum):
    """Whether a line bears a use: without a thought, just about, or not."""

    GOOD = "good"
    TIGHT = "tight"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Use:
    """A use and the bitrate that is assumed for it, in each direction."""

    name: str
    mbit: float


# Assumed, and said on the page: Opus with its headers; H.264 as video calls and screen
# sharing at that size are commonly sent.
USES = (
    Use("voice", 0.1),
    Use("video720", 2.0),
    Use("video1080", 4.0),
    Use("screen60", 8.0),
    Use("screen120", 16.0),
)

# A bitrate needs room above it. Round trips: half of what ITU-T G.114 finds good (150 ms one way)
# and bearable (400 ms), for the devices of both people add theirs.
_ROOM = {Bears.GOOD: 2.0, Bears.TIGHT: 1.2}
_LATENCY_MS = {Bears.GOOD: 150.0, Bears.TIGHT: 400.0}
_JITTER_MS = {Bears.GOOD: 30.0, Bears.TIGHT: 100.0}
_LOST_SHARE = {Bears.GOOD: 0.02, Bears.TIGHT: 0.10}


def parse(body: bytes) -> Measured:
    """Raises RequestError."""
    try:
        return msgspec.json.decode(body, type=Measured)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RequestError(400, f"this is no measurement: {error}") from error


def judge(measured: Measured) -> Line:
    """The median round trip, and the mean difference of two after each other, stalls apart."""
    smooth, stalled = _parted(measured.round_trips_ms)
    stalled += _parted(measured.lane_trips_ms)[1]
    trips = len(measured.round_trips_ms) + len(measured.lane_trips_ms)
    steps = [abs(later - earlier) for earlier, later in pairwise(smooth)]
    return Line(
        latency_ms=median(measured.round_trips_ms),
        jitter_ms=sum(steps) / len(steps) if steps else 0.0,
        stalls=len(stalled) + measured.stalls,
        longest_stall_ms=max(measured.longest_stall_ms, *stalled, 0.0),
        lost_share=len(stalled) / trips,
        down_mbit=measured.down_mbit,
        up_mbit=measured.up_mbit,
    )


def verdicts(line: Line) -> dict[str, Bears]:
    """What the line bears, by the names of `USES`."""
    return {use.name: _verdict(line, use) for use in USES}


def _parted(trips: list[float]) -> tuple[list[float], list[float]]:
    """Those that went through, and those that stalled."""
    limit = median(trips) + STALL_MS
    return [trip for trip in trips if trip < limit], [trip for trip in trips if trip >= limit]


def _verdict(line: Line, use: Use) -> Bears:
    slower = min(line.down_mbit, line.up_mbit)
    for bears in (Bears.GOOD, Bears.TIGHT):
        if (
            slower >= use.mbit * _ROOM[bears]
            and line.latency_ms <= _LATENCY_MS[bears]
            and line.jitter_ms <= _JITTER_MS[bears]
            and line.lost_share <= _LOST_SHARE[bears]
        ):
            return bears
    return Bears.NO
