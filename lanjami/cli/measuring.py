"""Measures the line to another box, over the HTTP interface that its status page uses."""

import http.client
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from lanjami.errors import HostError, RequestError
from lanjami.status.quality import Measured

PORTS = (80, 8080)  # tried in turn where none is given, as `http.ports` has them
UPLOADS = 4  # at a time, as a browser's page has
WARM_UPS = 3  # round trips that are not counted
ANSWER_WITHIN_S = 10.0
ASK_AGAIN_S = 1.0

# Is told how far the measurement is, from 0 to 1, and how many are in front, where any are.
Progress = Callable[[float, int], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a box serves HTTP."""

    host: str
    port: int

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=ANSWER_WITHIN_S)


class _Turn(msgspec.Struct, frozen=True):
    """What a box answers to who asks to measure; see status/quality_api.py."""

    ticket: str
    ahead: int
    round_trips: int
    fewest_trips: int
    trips_s: float
    stream_s: float
    stream_bytes: int
    chunk: int
    first_chunk: int
    chunk_s: float
    stall_ms: float


def measure(host: str, progress: Progress) -> Measured:
    """Measure the line to the box at `host`, an address or a name with or without a port.

    Raises HostError where it does not answer, RequestError where it refuses.
    """
    place = find(host)
    try:
        turn = _take_turn(place, lambda ahead: progress(0.0, ahead))
        trips = _round_trips(place, turn, lambda share: progress(share / 3, 0))
        down = _down(place, turn, lambda share: progress((1 + share) / 3, 0))
        up_bytes, up_s = _up(place, turn, lambda share: progress((2 + share) / 3, 0))
        measured = Measured(
            round_trips_ms=trips,
            down_bytes=down.size,
            down_s=down.seconds,
            up_bytes=up_bytes,
            up_s=up_s,
            stalls=down.stalls,
            longest_stall_ms=down.longest_ms,
        )
        with closing(place.connect()) as connection:  # which ends our turn
            _ask(connection, "POST", _path("result", turn), msgspec.json.encode(measured))
    except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
        raise HostError(f"the measurement with {host} broke off: {error!r}") from error
    return measured


def find(host: str) -> Place:
    """The box at `host`. Raises HostError where none is."""
    try:
        parts = urlsplit(host if "//" in host else f"//{host}")
        name, port = parts.hostname, parts.port
    except ValueError:
        name = port = None
    if not name:
        raise HostError(f"{host!r} is no address; write it as 10.0.0.5 or [fd00::5]:8080")
    refused = ""
    for each in PORTS if port is None else (port,):
        place = Place(name, each)
        try:
            with closing(place.connect()) as connection:
                connection.request("GET", "/status/icon.svg")
                if connection.getresponse().status == http.client.OK:
                    return place
                refused = f"what serves HTTP on port {each} of {name} is no lanjami"
        except (OSError, http.client.HTTPException) as error:
            refused = refused or f"nobody answers on port {each} of {name}: {error}"
    raise HostError(refused)


def _take_turn(place: Place, waiting: Callable[[int], None]) -> _Turn:
    ticket = ""
    while True:
        with closing(place.connect()) as connection:
            body = json.dumps({"ticket": ticket}).encode()
            answer = _ask(connection, "POST", "/status/quality/turn", body)
        turn = msgspec.json.decode(answer, type=_Turn)
        if not turn.ahead:
            return turn
        ticket = turn.ticket
        waiting(turn.ahead)
        time.sleep(ASK_AGAIN_S)


def _round_trips(place: Place, turn: _Turn, progress: Callable[[float], None]) -> list[float]:
    trips: list[float] = []
    with closing(place.connect()) as connection:
        for _ in range(WARM_UPS):
            _ask(connection, "GET", _path("echo", turn))
        end = time.perf_counter() + turn.trips_s
        while len(trips) < turn.round_trips:
            before = time.perf_counter()
            if before > end and len(trips) >= turn.fewest_trips:
                break
            _ask(connection, "GET", _path("echo", turn))
            trips.append(1000 * (time.perf_counter() - before))
            progress(len(trips) / turn.round_trips)
    return trips


@dataclass(slots=True)
class _Stream:
    size: int = 0
    seconds: float = 0.0
    stalls: int = 0
    longest_ms: float = 0.0


def _down(place: Place, turn: _Turn, progress: Callable[[float], None]) -> _Stream:
    found = _Stream()
    with closing(place.connect()) as connection:
        connection.request("GET", _path("down", turn))
        answer = connection.getresponse()
        _require(answer.status, answer)
        began_at = last_at = time.perf_counter()
        while piece := answer.read1(turn.chunk):
            now = time.perf_counter()
            gap_ms = 1000 * (now - last_at)
            if found.size and gap_ms > turn.stall_ms:
                found.stalls += 1
                found.longest_ms = max(found.longest_ms, gap_ms)
            last_at = now
            found.size += len(piece)
            found.seconds = now - began_at
            progress(_share(found.size, found.seconds, turn))
            if found.seconds > turn.stream_s:  # of a slow line, much is still under way
                break
    return found


def _up(place: Place, turn: _Turn, progress: Callable[[float], None]) -> tuple[int, float]:
    noise = os.urandom(turn.chunk)
    began_at = time.perf_counter()
    sent: list[int] = []

    def send() -> None:
        size = turn.first_chunk
        with closing(place.connect()) as connection:
            while (before := time.perf_counter()) - began_at < turn.stream_s:
                if sum(sent) + UPLOADS * size > turn.stream_bytes:
                    return
                _ask(connection, "POST", _path("up", turn), noise[:size])
                sent.append(size)
                now = time.perf_counter()
                if now - before < turn.chunk_s:
                    size = min(turn.chunk, 2 * size)
                progress(_share(sum(sent), now - began_at, turn))

    with ThreadPoolExecutor(UPLOADS) as pool:
        for done in [pool.submit(send) for _ in range(UPLOADS)]:
            done.result()
    return sum(sent), time.perf_counter() - began_at


def _share(size: int, seconds: float, turn: _Turn) -> float:
    return min(1.0, max(size / turn.stream_bytes, seconds / turn.stream_s))


def _path(what: str, turn: _Turn) -> str:
    return f"/status/quality/{what}?ticket={turn.ticket}"


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None
) -> bytes:
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    answer = connection.getresponse()
    return _require(answer.status, answer)


def _require(status: int, answer: http.client.HTTPResponse) -> bytes:
    """The answer's body; of a stream that begins well, nothing yet."""
    if status == http.client.OK and answer.chunked:
        return b""
    body = answer.read()
    if status < http.client.BAD_REQUEST:
        return body
    told: Any = f"HTTP status {status}"
    with suppress(msgspec.DecodeError, KeyError, TypeError):
        told = msgspec.json.decode(body)["error"]
    raise RequestError(status, f"the box refuses: {told}")
