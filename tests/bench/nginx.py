"""nginx as the measure of what this machine can serve: the same answers, as files."""

import contextlib
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_port

_CONFIGURATION = """\
user root;  # who may read the folder
worker_processes 1;
daemon off;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    default_type application/json;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_body_temp_path temporary/body;
    proxy_temp_path temporary/proxy;
    fastcgi_temp_path temporary/fastcgi;
    uwsgi_temp_path temporary/uwsgi;
    scgi_temp_path temporary/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        root answers;
    }}
}}
"""
_STARTED_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Nginx:
    pid: int
    port: int


@contextlib.contextmanager
def answering_as(other: int, paths: Iterable[str], folder: Path) -> Iterator[Nginx]:
    """An nginx of our own that answers the paths as the server on port `other` does."""
    for path in paths:
        file = folder / "answers" / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_get(other, path))
    (folder / "temporary").mkdir()
    port = free_port()
    (folder / "nginx.conf").write_text(_CONFIGURATION.format(port=port))
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert program is not None, "nginx is not installed"
    process = subprocess.Popen([program, "-p", folder, "-c", "nginx.conf", "-e", "error.log"])
    try:
        _await(port)
        yield Nginx(process.pid, port)
    finally:
        process.terminate()
        process.wait()


def _await(port: int) -> None:
    deadline = time.monotonic() + _STARTED_WITHIN_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        assert time.monotonic() < deadline, "nginx does not start"
        time.sleep(0.01)  # it says nothing when it listens


def _get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
        content: bytes = answer.read()
    return content
