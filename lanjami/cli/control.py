"""Speaks to a running box over its Unix socket."""

import contextlib
import http.client
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from lanjami.cli import places
from lanjami.errors import HostError, LanjamiError, RequestError

_CHUNK = 256 << 10  # bytes


def find(states: Sequence[Path], *, within_s: float) -> "RunningBox | None":
    """The box that runs with one of the state folders; None where none does.

    It has `within_s` to answer, and for each part of what it tells.
    """
    for state in states:
        for path in places.control_sockets(state):
            try:
                if not places.is_trusted(path.parent, state):
                    continue
                connection = _UnixConnection(path, within_s)
                connection.connect()
            except (FileNotFoundError, ConnectionRefusedError):
                continue
            except PermissionError as error:
                raise HostError(
                    f"the box at {state} belongs to another user; "
                    f"try: sudo {places.own_command()} …"
                ) from error
            except OSError as error:
                if error.errno is None and not isinstance(error, TimeoutError):
                    continue  # the path is too long for a socket
                raise HostError(f"the box at {state} does not answer: {error}") from error
            return RunningBox(state, connection)
    return None


class RunningBox:
    """A box that can be asked once. Every method raises RequestError where it refuses, HostError
    where it cannot answer."""

    def __init__(self, state: Path, connection: http.client.HTTPConnection) -> None:
        self.state = state
        self._connection = connection

    def ask(self, method: str, path: str, body: bytes | BinaryIO = b"") -> bytes:
        """The answer; a file is sent from where it is, in chunks."""
        with self._answer(method, path, body) as answer:
            return answer.read()

    def fetch(
        self, method: str, path: str, *, into: BinaryIO, progress: Callable[[int, int], None]
    ) -> None:
        """Write the answer to a file. `progress` is told how many bytes came, and of how many."""
        done = 0
        with self._answer(method, path) as answer:
            total = answer.length or 0
            while chunk := answer.read(_CHUNK):
                into.write(chunk)
                done += len(chunk)
                progress(done, total)
            if done < total:  # which the library tells only of who reads all at once
                raise http.client.IncompleteRead(b"", total - done)

    def lines(self, method: str, path: str, body: bytes | BinaryIO) -> Iterator[bytes]:
        """The answer, a line at a time; HostError also where the box gives up in the middle. A
        file is sent as `ask` does."""
        with self._answer(method, path, body) as answer:
            rest = b""
            while chunk := answer.read1(_CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.startswith(b'{"error":'):
                        raise _refusal(http.client.SERVICE_UNAVAILABLE, line)
                    yield line + b"\n"

    @contextlib.contextmanager
    def _answer(
        self, method: str, path: str, body: bytes | BinaryIO = b""
    ) -> Iterator[http.client.HTTPResponse]:
        try:
            with contextlib.suppress(BrokenPipeError):  # by a refusal, which says why
                self._connection.request(method, path, body)
            answer = self._connection.getresponse()
            if answer.status != http.client.OK:
                raise _refusal(answer.status, answer.read())
            yield answer
        except (OSError, http.client.HTTPException) as error:
            raise HostError(f"the box at {self.state} does not answer: {error}") from error
        finally:
            self._connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, within_s: float) -> None:
        super().__init__("localhost", timeout=within_s, blocksize=_CHUNK)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _refusal(status: int, content: bytes) -> LanjamiError:
    try:
        told: Any = msgspec.json.decode(content)["error"]
    except (msgspec.DecodeError, KeyError, TypeError):
        told = f"HTTP status {status}"
    unavailable = http.client.SERVICE_UNAVAILABLE
    return HostError(str(told)) if status >= unavailable else RequestError(status, str(told))
