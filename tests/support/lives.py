"""A name server that lives many short lives: `python -m tests.support.lives NAMES PORT`.

Each line on the standard input begins a life, which is a fork of this process: what takes long,
importing, is done once. The line says when it is killed, at a moment that nothing else here has a
part in: "beginning SECONDS" after it begins or "serving SECONDS" after it serves; with "inf"
seconds, at the next line. Printed are "up" when it serves, and "gone" when it was killed.
"""

import asyncio
import math
import os
import signal
import sys
import time
from pathlib import Path

from lanjami.nameserver import api
from lanjami.nameserver.names import RESERVED
from lanjami.nameserver.registry import Registry
from lanjami.runtime.httpd import HttpServer
from tests.support.running import supervised


def main(names: Path, port: int) -> None:
    for line in iter(sys.stdin.readline, ""):
        since, seconds = line.split()
        is_up, up = os.pipe()
        pid = os.fork()
        if pid == 0:
            asyncio.run(_live(names, port, up))
        os.close(up)
        if since == "serving":
            os.read(is_up, 1)
            _say("up")
        if float(seconds) < math.inf:
            time.sleep(float(seconds))
        else:
            sys.stdin.readline()
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, "it ended by itself"
        os.close(is_up)
        _say("gone")


async def _live(names: Path, port: int, up: int) -> None:
    registry = Registry(path=names, reserved=RESERVED)
    names_api = api.Api(registry)
    http = HttpServer(
        ports=[port], routes=names_api.routes, quick=[names_api.quick], probe="/name/-"
    )
    async with supervised(registry, http):
        os.write(up, b"!")
        await asyncio.Event().wait()


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
