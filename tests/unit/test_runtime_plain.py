import http.server
import io
import time
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser
from hypothesis import example, given
from hypothesis import strategies as st

from lanjami.runtime.plain import LARGEST_HEAD, Answer, Request, recognise, render

JAMI = (
    b"GET /name/alice HTTP/1.1\r\nHost: 10.77.0.1:8080\r\nUser-Agent: JamiDHT\r\nAccept: */*\r\n"
    b"Content-Type: application/json\r\nConnection: close\r\n\r\n"
)
CURL = b"GET /addr/00ff HTTP/1.1\r\nHost: [fe80::1]:80\r\nUser-Agent: curl/8.5.0\r\n\r\n"


def _plain(*fields: bytes, line: bytes = b"GET /name/alice HTTP/1.1") -> bytes:
    return b"\r\n".join([line, *fields, b"", b""])


@pytest.mark.parametrize(
    ("received", "request_"),
    [
        (JAMI, Request("/name/alice", is_last=True)),
        (CURL, Request("/addr/00ff", is_last=False)),
        (_plain(b"host:a"), Request("/name/alice", is_last=False)),
        (_plain(b"HOST: a", b"CONNECTION: Keep-Alive"), Request("/name/alice", is_last=False)),
        (_plain(b"X: y", b"connection:CLOSE", b"Host: a"), Request("/name/alice", is_last=True)),
        (_plain(b"Host: a", b"X:"), Request("/name/alice", is_last=False)),
        (_plain(b"Host: a", line=b"GET / HTTP/1.1"), Request("/", is_last=False)),
        (
            _plain(b"Host: a", b"ACCEPT: Text/HTML,*/*;q=0.8"),
            Request("/name/alice", is_last=False, may_want_html=True),
        ),
    ],
)
def test_what_clients_ask_every_day_is_recognised(received: bytes, request_: Request) -> None:
    assert recognise(received) == request_


@pytest.mark.parametrize(
    "line",
    [
        b"HEAD /name/alice HTTP/1.1",
        b"POST /name/alice HTTP/1.1",
        b"get /name/alice HTTP/1.1",
        b"GET /name/alice HTTP/1.0",
        b"GET /name/alice HTTP/2.0",
        b"GET  /name/alice HTTP/1.1",
        b"GET /name/alice  HTTP/1.1",
        b"GET\t/name/alice HTTP/1.1",
        b" GET /name/alice HTTP/1.1",
        b"\r\nGET /name/alice HTTP/1.1",
        b"GET /name/al%69ce HTTP/1.1",
        b"GET /name/alice? HTTP/1.1",
        b"GET /name/alice#x HTTP/1.1",
        b"GET /name/../alice HTTP/1.1",
        b"GET //name/alice HTTP/1.1",
        b"GET name/alice HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET http://box/name/alice HTTP/1.1",
        b"GET /name/al\0ice HTTP/1.1",
        b"GET /name/\xc3\xa4 HTTP/1.1",
        b"GET /name/" + b"a" * 300 + b" HTTP/1.1",
    ],
)
def test_an_unusual_request_line_is_for_the_parser(line: bytes) -> None:
    assert recognise(_plain(b"Host: a", line=line)) is None


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [b"Host: a", b"Host: a"],
        [b"Host: a", b"hOST: b"],
        [b"Host:"],
        [b"Host: a b"],
        [b"Host : a"],
        [b"Host: a", b"Content-Length: 0"],
        [b"Content-Length: 5", b"Host: a"],
        [b"Host: a", b"content-encoding: gzip"],
        [b"Host: a", b"Transfer-Encoding: chunked"],
        [b"Host: a", b"Expect: 100-continue"],
        [b"Host: a", b"Upgrade: websocket"],
        [b"Host: a", b"Upgrade-Insecure-Requests: 1"],
        [b"Host: a", b"Trailer: X"],
        [b"Host: a", b"TE: trailers"],
        [b"Host: a", b"Proxy-Connection: close"],
        [b"Host: a", b"HTTP2-Settings: AAM"],
        [b"Host: a", b"Sec-WebSocket-Key: AAM"],
        [b"Host: a", b"Connection: Upgrade"],
        [b"Host: a", b"Connection: close, keep-alive"],
        [b"Host: a", b"Connection:"],
        [b"Host: a", b"Connection: close", b"Connection: close"],
        [b"Connection: close", b"Host: a", b"Connection: keep-alive"],
        [b"Connection: close", b"Connection: close", b"Host: a"],
        [b"Host: a", b"X: \xff"],
        [b"Host: a", b"X: \0"],
        [b"Host: a", b"X: a\tb"],
        [b"Host: a", b"X: a\rb"],
        [b"Host: a", b"X: a\nb"],
        [b"Host: a", b" folded: a"],
        [b"Host: a", b"X"],
        [b"Host: a", b": x"],
        [b"Host: a", b"X_Y: x"],
        [b"Host: a", b"X" * 65 + b": x"],
        [b"Host: a", b"X: " + b"x" * 1025],
        [b"Host: a", *[b"X: x"] * 100],
    ],
)
def test_an_unusual_field_is_for_the_parser(fields: list[bytes]) -> None:
    assert recognise(_plain(*fields)) is None


def test_less_or_more_than_one_request_is_for_the_parser() -> None:
    for received in (
        CURL + CURL,
        CURL + b"x",
        CURL + b"\r\n",
        *(CURL[:n] for n in range(len(CURL))),
    ):
        assert recognise(received) is None
    assert recognise(CURL.replace(b"\r\n", b"\n")) is None


def test_an_answer_is_whole() -> None:
    assert render(Answer(404, b"{}"), is_last=False) == (
        b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert b"\r\nConnection: close\r\n" in render(Answer(200, b"{}"), is_last=True)
    assert render(Answer(200, b"{}", is_public=True), is_last=True).endswith(
        b"\r\nContent-Length: 2\r\nAccess-Control-Allow-Origin: *\r\n\r\n{}"
    )


# --- nobody reads another request from what is recognised ----------------------------------------

_LINES = st.sampled_from(
    [
        *(b"Host: a", b"host: b:1", b"Connection: close", b"Connection: keep-alive", b"X-Y: z"),
        *(b"Content-Length: 0", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"X: :\t"),
        *(b"Connection: upgrade", b"Upgrade: h2c", b"Expect: 100-continue", b" X: y", b"X : y"),
        *(b"Content-Type: a/b", b"Cookie: a=b; c", b"Keep-Alive: 5", b"", b"\0", b"Accept: */*"),
    ]
)
_TARGETS = st.text("/az09AZ_-~.%?#:;@ \t", max_size=12).map(str.encode)
_HEADS = st.builds(
    lambda target, lines: _plain(*lines, line=b"GET /" + target + b" HTTP/1.1"),
    _TARGETS,
    st.lists(_LINES, max_size=6),
)


@st.composite
def _mutations(draw: st.DrawFn) -> bytes:
    """A request in which a few bytes are taken out, changed or put in."""
    received = bytearray(draw(st.sampled_from([JAMI, CURL]) | _HEADS))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(received)))
        piece = draw(st.binary(max_size=3) | st.sampled_from([b"\r\n", b"\n", b" ", b":", b"\t"]))
        received[at : at + draw(st.integers(0, 3))] = piece
    return bytes(received)


@given(st.binary(max_size=200) | _HEADS | _mutations())
@example(JAMI)
@example(CURL)
def test_what_is_recognised_is_read_by_others_in_the_same_way(received: bytes) -> None:
    request = recognise(received)
    if request is not None:
        assert _read_by_aiohttp(received) == request
        assert _read_by_the_standard_library(received) == request


@given(
    st.text("abcXYZ019_~-/", max_size=40).filter(lambda text: not text.startswith("/")),
    st.lists(st.sampled_from([b"Accept: */*", b"User-Agent: x", b"Cookie: a=b"]), max_size=5),
    st.sampled_from([None, b"close", b"keep-alive"]),
    st.randoms(use_true_random=False),
)
def test_a_plain_request_is_recognised_in_any_order(
    path: str, fields: list[bytes], connection: bytes | None, random: Any
) -> None:
    lines = [b"Host: box", *fields, *([] if connection is None else [b"Connection: " + connection])]
    random.shuffle(lines)
    received = _plain(*lines, line=b"GET /" + path.encode() + b" HTTP/1.1")
    assert recognise(received) == Request("/" + path, is_last=connection == b"close")


def _read_by_aiohttp(received: bytes) -> Request | None:
    protocol: Any = SimpleNamespace(_reading_paused=False)
    loop: Any = None
    parser = HttpRequestParser(protocol, loop, 2**16)
    try:
        messages, upgraded, rest = parser.feed_data(received)
    except HttpProcessingError:
        return None
    if len(messages) != 1 or upgraded or rest:
        return None
    message, body = messages[0]
    return Request(message.path, message.should_close) if body.is_eof() else None


def _read_by_the_standard_library(received: bytes) -> Request | None:
    class Reader(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self) -> None:  # the inherited one serves a socket
            self.rfile = io.BufferedReader(io.BytesIO(received))
            self.wfile = io.BytesIO()
            self.raw_requestline = self.rfile.readline()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    reader = Reader()
    if not reader.parse_request() or reader.rfile.read():
        return None
    return Request(reader.path, reader.close_connection)


# --- hostile heads -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "unit",
    [
        *(
            b"a",
            b"/",
            b"/a",
            b" ",
            b"X: y\r\n",
            b"X:\r\n",
            b"Host: a\r\n",
            b"connection: ",
            b"\r\n",
        ),
        *(b"Host: a\r\nX: y\r\n", b"X" * 64 + b":" + b" " * 1024 + b"\r\n", b":"),
        b"Connection: close\r\n",
    ],
)
@pytest.mark.parametrize(
    "start", [b"", b"GET /", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: "]
)
def test_a_hostile_head_is_judged_in_linear_time(start: bytes, unit: bytes) -> None:
    received = (start + unit * 20_000)[: 16 * 1024]
    began = time.thread_time()
    for _ in range(10):
        assert recognise(received) is None
    assert time.thread_time() - began < 0.02, "2 ms each; it takes 0.1"
    assert len(received) > LARGEST_HEAD
