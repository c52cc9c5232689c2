"""An HTTP server in a process of its own that has few descriptors and is told to waste them.

    python -m tests.support.limited_server PORT DESCRIPTORS

It says "ready", and answers the lines "take" (every descriptor that is left), "hog" (and every one
that becomes free) and "give" (them back).
"""

import asyncio
import contextlib
import os
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lanjami.runtime.httpd import HttpServer
from lanjami.runtime.plain import Answer, Request
from tests.support.ports import free_port
from tests.support.programs import program

HOG_EVERY_S = 0.005


class LimitedServer:
    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port

    async def does(self, verb: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{verb}\n".encode())
        await self.said(verb)

    async def said(self, word: str) -> None:
        assert self._process.stdout is not None
        async with asyncio.timeout(10):
            assert (await self._process.stdout.readline()).decode().strip() == word

    def processor_time_s(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def limited_server(*, descriptors: int) -> AsyncIterator[LimitedServer]:
    port = free_port()
    async with program(
        *(sys.executable, "-m", "tests.support.limited_server", str(port), str(descriptors)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    ) as process:
        server = LimitedServer(process, port)
        await server.said("ready")
        yield server


def _quick(request: Request, _client: str) -> Answer | None:
    return Answer(200, b"{}") if request.target == "/name/alice" else None


async def _serve(port: int) -> None:
    server = HttpServer(ports=[port], routes=list, probe="/name/alice", quick=[_quick])
    lines: asyncio.Queue[str] = asyncio.Queue()
    asyncio.get_running_loop().add_reader(0, lambda: lines.put_nowait(sys.stdin.readline()))
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.run(lambda _, reason="", proved=None: ready.set()))
        await ready.wait()
        _say("ready")
        await _obey(lines)


async def _obey(lines: "asyncio.Queue[str]") -> None:
    taken: list[int] = []
    hogs = False
    while True:
        try:
            async with asyncio.timeout(HOG_EVERY_S if hogs else None):
                verb = (await lines.get()).strip()
        except TimeoutError:
            verb = ""
        hogs = verb == "hog" or (hogs and verb == "")
        if hogs or verb == "take":
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(0))
        elif verb == "give":
            while taken:
                os.close(taken.pop())
        if verb:
            _say(verb)


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    most = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_serve(int(sys.argv[1])))
