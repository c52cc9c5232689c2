"""Takes connections, answers plain requests at once, and hands every other one over untouched.

Most requests are one small GET, each on a connection of its own, and opening and closing an
asyncio transport takes longer than answering it. So a connection begins here, on the bare socket:
we look at what has come without taking it (MSG_PEEK), and answer what is recognised beyond doubt.
Where it is not, the socket goes to the full HTTP server, which finds it as the client left it, and
never comes back.
"""

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import Callable, Sequence

from lanjami.runtime import log
from lanjami.runtime.connections import Connections
from lanjami.runtime.plain import LARGEST_HEAD, Quick, Request, recognise, render

_log = log.get(__name__)

ACCEPTED_AT_ONCE = 64  # 3 ms of answers, before anybody else's turn
SWEEP_EVERY_S = 0.25  # how late who is late may be cut
CUT_AT_ONCE = 500  # 30 ms where aiohttp has them all
REST_S = 0.1  # how long nobody is accepted when the machine has run out of descriptors
_AT_ONCE = struct.pack("ii", 1, 0)
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

# Makes what serves a connection that is handed over; its `connection_made` calls `Guest.arrived`,
# its `connection_lost` takes the guest out of the connections.
Protocols = Callable[["Guest"], asyncio.Protocol]


class FastLane:
    """Accepts on `listeners`, which stay the caller's, while `run` runs.

    At its end who waits is closed, here or handed over; who is being answered is the caller's.
    """

    def __init__(
        self,
        *,
        listeners: Sequence[socket.socket],
        quick: Sequence[Quick],
        protocols: Protocols,
        connections: Connections,
    ) -> None:
        self._listeners = listeners
        self._quick = quick
        self._protocols = protocols
        self.connections = connections
        self.loop = asyncio.get_running_loop()
        self._moving: set[asyncio.Task[None]] = set()
        self._is_open = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._begin = tasks.create_task
            self._is_open = True
            try:
                for listener in self._listeners:
                    listener.setblocking(False)
                    # inherited by what is accepted
                    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._listen(listener)
                while True:
                    await asyncio.sleep(SWEEP_EVERY_S)
                    self.connections.cut_late(CUT_AT_ONCE, now=self.loop.time())
            finally:
                self._is_open = False
                for listener in self._listeners:
                    self.loop.remove_reader(listener)
                self.connections.cut_waiting()
                if self._moving:  # a task that is cancelled before it begins closes nothing
                    await asyncio.wait(self._moving)

    def answer(self, request: Request, client: str) -> bytes | None:
        """The whole answer, if there is a quick one."""
        try:
            for quick in self._quick:
                if (answer := quick(request, client)) is not None:
                    return render(answer, is_last=request.is_last)
        except Exception:  # noqa: BLE001 - a bug of one answer, which the full server may tell
            _log.exception("no quick answer", target=request.target)
        return None

    def hand_over(self, guest: "Guest", sock: socket.socket) -> None:
        """Give the connection away, as it is."""
        task = self._begin(self._move(guest, sock))
        self._moving.add(task)
        task.add_done_callback(self._moving.discard)

    async def _move(self, guest: "Guest", sock: socket.socket) -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: self._protocols(guest), sock)
        except OSError as error:  # the client is gone already
            _log.debug("connection not handed over", reason=error)
            self.connections.leave(guest)
            sock.close()

    def _listen(self, listener: socket.socket) -> None:
        if self._is_open:
            self.loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                sock, (client, *_) = listener.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:  # by a client that did not wait
                continue
            except OSError as error:
                # The listener stays readable, and would be asked again and again for nothing.
                self.loop.remove_reader(listener)
                self._begin(self._rest(listener, error))
                return
            sock.setblocking(False)
            if self.connections.has_room():
                Guest(sock, client, self).read()
            else:
                sock.close()

    async def _rest(self, listener: socket.socket, error: OSError) -> None:
        _log.debug("no connection accepted", reason=error)
        if error.errno in _OUT_OF_RESOURCES:
            self.connections.cut_longest_waiting(ACCEPTED_AT_ONCE)
        await asyncio.sleep(REST_S)
        self._listen(listener)


class Guest:
    """A connection: on its bare socket here, then perhaps on its way, then a transport's."""

    __slots__ = ("_client", "_is_cut", "_is_here", "_is_watched", "_lane", "_sock", "_transport")

    def __init__(self, sock: socket.socket, client: str, lane: FastLane) -> None:
        self._sock = sock
        self._client = client
        self._lane = lane
        self._is_here = True
        self._is_watched = False
        self._is_cut = False
        self._transport: asyncio.Transport | None = None

    def read(self) -> None:
        """Look at what has come, if something has, and answer it or hand over."""
        try:
            received = self._sock.recv(LARGEST_HEAD + 1, socket.MSG_PEEK)
        except BlockingIOError:
            self._watch()
            return
        except OSError:
            received = b""
        if not received:
            self.leave()
            return
        # of a longer one, more may be there than we see
        request = recognise(received) if len(received) <= LARGEST_HEAD else None
        answer = None if request is None else self._lane.answer(request, self._client)
        if request is None or answer is None:
            # A part of a request too: left unread it would wake us again and again.
            self._hand_over()
        elif self._send(answer, taking=len(received)) and not request.is_last:
            self._watch()
        else:
            self.leave()

    def leave(self) -> None:
        """Close the connection, which is still here."""
        self._unwatch()
        self._is_here = False
        self._lane.connections.leave(self)
        self._sock.close()

    def arrived(self, transport: asyncio.Transport) -> None:
        """It is this transport's from now on."""
        self._transport = transport
        if self._is_cut:
            transport.abort()

    def cut(self) -> None:
        if self._is_here:
            self.leave()
        elif self._transport is not None:
            self._transport.abort()
        else:
            self._is_cut = True

    def _watch(self) -> None:
        lane = self._lane
        now = lane.loop.time()
        if self._is_watched:
            lane.connections.waits(self, now=now)
            return
        self._is_watched = True
        lane.connections.enter(self, now=now)
        lane.loop.add_reader(self._sock, self.read)

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._lane.loop.remove_reader(self._sock)

    def _hand_over(self) -> None:
        if not self._is_watched:
            self._lane.connections.enter(self, now=self._lane.loop.time())
        self._unwatch()
        self._is_here = False
        self._lane.hand_over(self, self._sock)

    def _send(self, answer: bytes, *, taking: int) -> bool:
        """Take the bytes of the request and answer it; whether that was done."""
        with contextlib.suppress(OSError):
            # a connection that is closed with something unread destroys the answer (RST)
            self._sock.recv(taking)
            if self._sock.send(answer) == len(answer):
                return True
            # The client has left many answers unread: the kernel is to forget them too.
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        return False
