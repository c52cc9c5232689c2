"""lanjami as it is in the image, run by its own Python and libraries through qemu-user."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from image import payload
from tests.support.lab import Host, Lab

START_S = 60.0
CPU = {"QEMU_CPU": "cortex-a53"}  # of the oldest boards
LANJAMI = f"/{payload.VENV}/bin/lanjami"
# chroot(1) of a tree that has the kernel's folders and a place for state.
ENTER = """
set -e
for folder in proc dev sys; do mount --rbind /$folder "$0/$folder"; done
mount -t tmpfs none "$0/run"
mount -t tmpfs none "$0/var/lib"
exec chroot "$0" "$@"
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with contextlib.closing(Lab(tmp_path)) as lab:
        yield lab.host("box")


def _inside(tree: Path, *command: str) -> list[str]:
    return ["unshare", "--mount", "sh", "-c", ENTER, str(tree), "/usr/bin/env", "-i", *command]


def _wrong(host: Host) -> str:
    """What of the box is not answered as it should be; empty where all is."""
    asked = subprocess.run(
        [
            *("ip", "netns", "exec", host.namespace, sys.executable, "-m", "tests.image.asking"),
            *("127.0.0.1", "80", "4222"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stderr.strip()


def _status(pid: int) -> dict[str, Any]:
    """What the box says of itself, asked in its own tree. Raises AssertionError if nothing."""
    into = ["nsenter", "--mount", "--net", "--root", "--wd=/", "--target", str(pid)]
    done = subprocess.run(
        [*into, LANJAMI, "status", "--json", "--state", "/var/lib/lanjami"],
        env={**os.environ, **CPU},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    status: dict[str, Any] = json.loads(done.stdout)
    return status


def test_the_tree_is_of_the_boards_make(tree: Path) -> None:
    printed = subprocess.check_output(
        _inside(tree, "/usr/bin/python3", "-c", "import platform; print(platform.machine())"),
        env={**os.environ, **CPU},
        text=True,
    )
    assert printed == "aarch64\n"


def test_it_starts_and_answers_every_question(host: Host, tree: Path) -> None:
    running = host.start(
        *_inside(tree, LANJAMI, "up", "--state", "/var/lib/lanjami"),
        environment=CPU,
        output="lanjami",
    )
    began = time.monotonic()
    while (wrong := _wrong(host)) and time.monotonic() - began < START_S:
        time.sleep(0.5)  # nobody tells when a program behind qemu has started
    assert not wrong, f"{wrong}\n{running.output()}"
    services = _status(running.pid)["services"]
    for name in ("dhtnode", "dhtnode-python", "proxy", "names", "http", "page"):
        assert services[name]["state"] == "up", services


def test_nothing_answers_where_it_does_not_run(host: Host) -> None:
    assert _wrong(host) == "page, names, proxy, dht"
