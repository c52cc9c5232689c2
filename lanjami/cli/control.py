"""Speaks to a running box over the Unix socket in its state folder."""

import http.client
import io
import shutil
import socket
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from lanjami import layout
from lanjami.cli import places
from lanjami.errors import HostError, LanjamiError, RequestError


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, within_s: float) -> None:
        super().__init__("localhost", timeout=within_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(state: Path, method: str, path: str, body: bytes = b"", *, within_s: float) -> bytes | None:
    """The answer of the box with the state folder `state`; None where none runs there.

    Raises RequestError where the box refuses, HostError where it cannot answer.
    """
    answered = io.BytesIO()
    is_there = fetch(state, method, path, body, within_s=within_s, into=answered)
    return answered.getvalue() if is_there else None


def fetch(
    state: Path, method: str, path: str, body: bytes = b"", *, within_s: float, into: BinaryIO
) -> bool:
    """As `ask`, with the answer written to a file; False where no box runs there."""
    connection = _UnixConnection(state / layout.CONTROL, within_s)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise _refusal(answer.status, answer.read())
        shutil.copyfileobj(answer, into)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    except PermissionError as error:
        raise HostError(
            f"the box at {state} belongs to another user; try: sudo {places.own_command()} …"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise HostError(f"the box at {state} does not answer: {error}") from error
    finally:
        connection.close()
    return True


def _refusal(status: int, content: bytes) -> LanjamiError:
    try:
        told: Any = msgspec.json.decode(content)["error"]
    except (msgspec.DecodeError, KeyError, TypeError):
        told = f"HTTP status {status}"
    unavailable = http.client.SERVICE_UNAVAILABLE
    return HostError(str(told)) if status >= unavailable else RequestError(status, str(told))
