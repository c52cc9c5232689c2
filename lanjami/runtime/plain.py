"""Plain requests, recognised beyond doubt, and their answers as bytes. Pure.

This is no HTTP parser, and must not become one: `recognise` either knows that every reader of
HTTP/1.1 (RFC 9112) reads the same request from these bytes, or it says nothing, and a real parser
judges them. So there is nobody to disagree with.
"""

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

LARGEST_HEAD = 4096  # bytes; a browser's are about 600, a longer one is judged by the parser


class Request(NamedTuple):
    """A GET without a body. `target` is a path of A-Z a-z 0-9 _ ~ - and /, `is_last` whether the
    connection ends with its answer; `may_want_html` is never wrong where it is False."""

    target: str
    is_last: bool
    may_want_html: bool = False


class Answer(NamedTuple):
    """A status and a JSON document, which scripts of every site may read where it is public."""

    status: int
    body: bytes
    is_public: bool = False


# Answers a request of a client, given by its IP address, at once, without blocking; None for what
# is not its own. Raises nothing.
Quick = Callable[[Request, str], Answer | None]


def recognise(received: bytes) -> Request | None:
    """The request, where `received` is exactly one plain request and nothing more."""
    found = _REQUEST.fullmatch(received)
    if found is None:
        return None
    target, first, last = found.groups()
    may_want_html = b"text/html" in received.lower()
    return Request(target.decode("ascii"), (first or last) is not None, may_want_html)


def render(answer: Answer, *, is_last: bool) -> bytes:
    """The whole answer. Without a Date: a box without Internet may have no clock that is right,
    and who has none must not send one (RFC 9110, 6.6.1)."""
    head = (_LAST_HEADS if is_last else _HEADS)[answer.status]
    public = _PUBLIC if answer.is_public else b""
    return b"%b%d\r\n%b\r\n%b" % (head, len(answer.body), public, answer.body)


# Everything is bounded and possessive (++, }+): what was matched is never given back, so that any
# bytes are judged in linear time.
#
# What frames, ends or turns a message around is none of the other fields; of those that begin
# with Content- only the type, which name lookups carry without a body. The rest cannot matter to
# an answer that depends on nothing but what a `Request` says.
_FIELDS = (
    rb"(?:(?!(?i:host:|connection:|content-(?!type:)|transfer-|expect:|upgrade|trailer:|te:|proxy-"
    rb"|http2-|sec-websocket-))[A-Za-z0-9-]{1,64}+:[\x20-\x7e]{0,1024}+\r\n){0,32}+"
)
_HOST = rb"(?i:host):\x20?[A-Za-z0-9.:\[\]_-]{1,255}+\r\n"
_CONNECTION = rb"(?i:connection):\x20?(?i:keep-alive|(close))\r\n"
_REQUEST = re.compile(
    # two slashes in front are the beginning of a host's name to some
    rb"GET\x20(/(?!/)[A-Za-z0-9_~/-]{0,255}+)\x20HTTP/1\.1\r\n"
    + _FIELDS
    + rb"(?:"
    + (_HOST + _FIELDS + rb"(?:" + _CONNECTION + _FIELDS + rb")?")
    + rb"|"
    + (_CONNECTION + _FIELDS + _HOST + _FIELDS)
    + rb")\r\n"
)

_HEADS = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n"
    "Content-Type: application/json\r\nContent-Length: ".encode()
    for status in HTTPStatus
    if status >= HTTPStatus.OK
}
_PUBLIC = b"Access-Control-Allow-Origin: *\r\n"
_LAST_HEADS = {
    status: head.replace(b"Content-Length: ", b"Connection: close\r\nContent-Length: ")
    for status, head in _HEADS.items()
}
