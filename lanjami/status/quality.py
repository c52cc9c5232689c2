"""What a line bears: from what was measured between two ends to a verdict for each use.

Measured over HTTP, by a browser or by another box: a datagram that is lost is sent again by TCP
after 200 ms at the earliest (Linux, TCP_RTO_MIN), so loss shows as a stall.
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
FEWEST_TRIPS = 10  # that are made also where they take longer than
TRIPS_S = 6.0
STREAM_S = 4.0  # at most, in each direction
STREAM_BYTES = 32 << 20  # at most, in each direction
CHUNK = 64 * 1024  # bytes of an upload's request, at most
FIRST_CHUNK = 8 * 1024  # of the first; they are doubled as long as one takes less than
CHUNK_S = 0.25
STALL_MS = 180.0  # above the median: a retransmission, and no jitter

_Ms = Annotated[float, Meta(ge=0, le=60_000)]
_Count = Annotated[int, Meta(ge=0, le=1_000_000)]
_Bytes = Annotated[int, Meta(ge=0, le=1 << 40)]
_Seconds = Annotated[float, Meta(ge=0, le=600)]


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was measured at the other end. `stalls` are the gaps of more than `STALL_MS` between
    two pieces of a stream."""

    round_trips_ms: Annotated[list[_Ms], Meta(min_length=2, max_length=200)]
    down_bytes: _Bytes
    down_s: _Seconds
    up_bytes: _Bytes
    up_s: _Seconds
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
    """The median round trip, the mean difference of two after each other (stalls apart), and the
    throughput."""
    trips = measured.round_trips_ms
    middle = median(trips)
    smooth = [trip for trip in trips if trip < middle + STALL_MS]
    stalled = [trip for trip in trips if trip >= middle + STALL_MS]
    steps = [abs(later - earlier) for earlier, later in pairwise(smooth)]
    return Line(
        latency_ms=middle,
        jitter_ms=sum(steps) / len(steps) if steps else 0.0,
        stalls=len(stalled) + measured.stalls,
        longest_stall_ms=max(measured.longest_stall_ms, *stalled, 0.0),
        lost_share=len(stalled) / len(trips),
        down_mbit=_mbit(measured.down_bytes, measured.down_s),
        up_mbit=_mbit(measured.up_bytes, measured.up_s),
    )


def verdicts(line: Line) -> dict[str, Bears]:
    """What the line bears, by the names of `USES`."""
    return {use.name: _verdict(line, use) for use in USES}


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


def _mbit(size: int, seconds: float) -> float:
    return size * 8 / 1e6 / max(seconds, 1e-3)
