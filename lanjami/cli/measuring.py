"""Measures the line to another box, over the HTTP interface that its status page uses."""

import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from lanjami.errors import HostError, RequestError
from lanjami.status.quality import Measured

PORTS = (80, 8080)  # tried in turn where none is given, as `http.ports` has them
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
    lanes: int
    lane_trips: int
    fewest_trips: int
    trips_s: float
    stream_s: float
    enough_bytes: int
    slow_stream_s: float
    ramp_s: float
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
        one = _trips(place, turn, 1, turn.round_trips, lambda share: progress(share / 4, 0))
        many = _trips(
            *(place, turn, turn.lanes, turn.lane_trips),
            lambda share: progress((1 + share) / 4, 0),
        )
        stalls = _Stalls(turn.stall_ms)
        down = _down(place, turn, stalls, lambda share: progress((2 + share) / 4, 0))
        up = _up(place, turn, min(one) / 1000, lambda share: progress((3 + share) / 4, 0))
        measured = Measured(
            round_trips_ms=one,
            lane_trips_ms=many,
            down_mbit=down,
            up_mbit=up,
            stalls=stalls.number,
            longest_stall_ms=stalls.longest_ms,
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
        time.sleep(ASK_AGAIN_S)  # the box keeps a ticket of who asks again, and calls nobody


def _trips(
    place: Place, turn: _Turn, lanes: int, most: int, progress: Callable[[float], None]
) -> list[float]:
    trips: list[float] = []

    def ask(connection: http.client.HTTPConnection) -> None:
        for _ in range(WARM_UPS):
            _ask(connection, "GET", _path("echo", turn))
        end = time.perf_counter() + turn.trips_s
        while len(trips) < most:
            before = time.perf_counter()
            if before > end and len(trips) >= turn.fewest_trips:
                break
            _ask(connection, "GET", _path("echo", turn))
            trips.append(1000 * (time.perf_counter() - before))
            progress(len(trips) / most)

    _on_lanes(place, lanes, ask)
    return trips


class _Flow:
    """What all lanes move together from now on, for as long as a stream may take."""

    def __init__(self, turn: _Turn, progress: Callable[[float], None]) -> None:
        self._turn = turn
        self._progress = progress
        self._lock = threading.Lock()
        self._began_at = time.perf_counter()
        self._size = self._ramp_size = 0
        self._seconds = self._ramp_s = 0.0

    def moved(self, size: int) -> None:
        with self._lock:
            self._size += size
            self._seconds = time.perf_counter() - self._began_at
            if self._seconds < self._turn.ramp_s:
                self._ramp_size, self._ramp_s = self._size, self._seconds
            done = max(self._size / self._turn.stream_bytes, self._seconds / self._ends_s())
        self._progress(min(1.0, done))

    def hurry(self, connection: http.client.HTTPConnection) -> None:
        """Let it wait for no longer than there is time; raises TimeoutError where there is none."""
        left_s = self._began_at + self._ends_s() - time.perf_counter()
        if left_s <= 0.0:
            raise TimeoutError
        connection.timeout = left_s
        if connection.sock is not None:
            connection.sock.settimeout(left_s)

    @contextmanager
    def lane(self) -> Iterator[None]:
        """What one lane does until it has moved its share, or the time is over: a slow line
        starves some lanes, and their last pieces are still under way."""
        with suppress(TimeoutError):
            yield

    def _ends_s(self) -> float:
        is_enough = self._size >= self._turn.enough_bytes
        return self._turn.stream_s if is_enough else self._turn.slow_stream_s

    def mbit(self) -> float:
        """Until the last piece came; without the ramp, where there is more and that is faster."""
        rate = _mbit(self._size, self._seconds)
        if self._seconds > 2 * self._turn.ramp_s:
            rate = max(rate, _mbit(self._size - self._ramp_size, self._seconds - self._ramp_s))
        return rate


def _mbit(size: int, seconds: float) -> float:
    return size * 8e-6 / max(seconds, 1e-3)


class _Stalls:
    """The times in which nothing came on any lane."""

    def __init__(self, stall_ms: float) -> None:
        self._stall_ms = stall_ms
        self._lock = threading.Lock()
        self._last_at: float | None = None
        self.number = 0
        self.longest_ms = 0.0

    def heard(self) -> None:
        with self._lock:
            now = time.perf_counter()
            gap_ms = 0.0 if self._last_at is None else 1000 * (now - self._last_at)
            self._last_at = now
            if gap_ms > self._stall_ms:
                self.number += 1
                self.longest_ms = max(self.longest_ms, gap_ms)


def _down(place: Place, turn: _Turn, stalls: _Stalls, progress: Callable[[float], None]) -> float:
    flow = _Flow(turn, progress)

    def receive(connection: http.client.HTTPConnection) -> None:
        with flow.lane():
            flow.hurry(connection)
            connection.request("GET", _path("down", turn))
            answer = connection.getresponse()
            _require(answer.status, answer)
            while piece := answer.read1(turn.chunk):
                stalls.heard()
                flow.moved(len(piece))
                flow.hurry(connection)

    _on_lanes(place, turn.lanes, receive)
    return flow.mbit()


def _up(place: Place, turn: _Turn, round_trip_s: float, progress: Callable[[float], None]) -> float:
    noise = os.urandom(turn.chunk)
    # it waits for what of the streams from the box is still under way
    _on_lanes(place, 1, lambda connection: _ask(connection, "GET", _path("echo", turn)))
    flow = _Flow(turn, progress)

    def send(connection: http.client.HTTPConnection) -> None:
        size, left = turn.first_chunk, turn.stream_bytes // turn.lanes
        with flow.lane():
            while size <= left:
                flow.hurry(connection)
                before = time.perf_counter()
                _ask(connection, "POST", _path("up", turn), noise[:size])
                left -= size
                flow.moved(size)
                if time.perf_counter() - before < round_trip_s + turn.chunk_s:
                    size = min(turn.chunk, 2 * size)

    _on_lanes(place, turn.lanes, send)
    return flow.mbit()


def _on_lanes(
    place: Place, lanes: int, work: Callable[[http.client.HTTPConnection], object]
) -> None:
    """Have each lane work on a connection of its own."""

    def lane() -> None:
        with closing(place.connect()) as connection:
            work(connection)

    with ThreadPoolExecutor(lanes) as pool:
        for done in [pool.submit(lane) for _ in range(lanes)]:
            done.result()


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
