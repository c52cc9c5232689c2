"""Boxes that know names, and registrations for them to take."""

import contextlib
import itertools
import json
import multiprocessing
import random
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lanjami.nameserver.database import Database
from tests.support.box import Box
from tests.support.registrations import ClientKeys

_ANSWERS_WITHIN_S = 60.0
_POLL_S = 0.002


@dataclass(frozen=True, slots=True)
class Directory:
    """The state of a box in `folder`; `paths` are lookups of all that it knows, or of nobody, and
    `file` has them one a line."""

    folder: Path
    paths: Sequence[str]
    file: Path
    status: int  # of the answer to each


@dataclass(frozen=True, slots=True)
class Server:
    """A box that runs, and how long after its start it first answered."""

    pid: int
    port: int
    first_answer_s: float


@contextlib.contextmanager
def knowing(count: int) -> Iterator[Directory]:
    """The state of a box that knows so many names, in a folder that is gone afterwards.

    The names are as large as those of clients, and no proof of them holds. They are looked up in
    any order, every second one by its ID.
    """
    keys = ClientKeys()
    exponents = itertools.islice(keys.exponents(), count)
    known = [keys.record(f"name-{number}", e) for number, e in enumerate(exponents)]
    paths = [f"/addr/{r.id}" if n % 2 else f"/name/{r.name}" for n, r in enumerate(known)]
    random.Random(1).shuffle(paths)
    with tempfile.TemporaryDirectory(prefix="lanjami-bench-") as folder:
        box, file = Box(Path(folder)), Path(folder, "paths")
        box.state.mkdir(mode=0o700)
        with closing(Database(box.state / "names.sqlite")) as database:
            database.add(known)
        paths = paths or ["/name/nobody"]
        file.write_text("\n".join(paths))
        yield Directory(box.folder, paths, file, status=200 if known else 404)


@contextlib.contextmanager
def serving(directory: Directory) -> Iterator[Server]:
    """A box with this state, all its services up and the backup of its start made."""
    box = Box(directory.folder)
    backups = box.state / "backups"
    kept = set(backups.glob("*.zip"))
    started_at = time.perf_counter()
    process = box.up()
    try:
        while _status(box.http, directory.paths[0]) != directory.status:
            assert time.perf_counter() < started_at + _ANSWERS_WITHIN_S, "the box does not answer"
            time.sleep(_POLL_S)  # a box that starts can only be asked
        first_answer_s = time.perf_counter() - started_at
        assert process.stdout is not None
        process.stdout.readline()  # what it says when all its services are up
        while kept.issuperset(backups.glob("*.zip")):
            assert time.perf_counter() < started_at + _ANSWERS_WITHIN_S, "no backup is made"
            time.sleep(_POLL_S)  # the work of a start, which is not that of an answer
        yield Server(process.pid, box.http, first_answer_s)
    finally:
        box.end()


@cache
def registrations(count: int) -> list[tuple[str, str]]:
    """So many names, each with the body that registers it, signed by a client's key of its own."""
    keys = ClientKeys()
    exponents = list(itertools.islice(keys.exponents(), count))
    names = [f"new-{number}" for number in range(count)]
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as processes:
        bodies = processes.map(keys.body, names, exponents, chunksize=100)
        return [(name, json.dumps(body)) for name, body in zip(names, bodies, strict=True)]


def _status(port: int, path: str) -> int | None:
    """The status that a request is answered with; None where nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None
