"""What a disk may have after a power cut, from what a program asked of it.

The model, in the order of what is certain:

- What was written to a file before an fsync or fdatasync of it began is there once that has
  returned. SQLite's and lanjami's own syncs are taken at their word: a disk that lies about its
  cache is not modelled.
- Of every later write, each sector of 512 bytes is there or not; the file is as long as what
  arrived needs, or as long as it was to become, with zeros where nothing arrived. A sector is
  never torn itself, and what is not written to stays as it is (SQLite's "powersafe overwrite").
- Names of files (creation, renaming, removal, in all folders) go through one journal, as in ext4
  or XFS: after the cut a prefix of them is there, at least up to the last one in a folder that
  was synced. Unlike ext4, which writes a new file's name with the first fsync of the file, only
  an fsync of the folder counts. A name may be there with nothing in the file.
- Shared memory (`-shm`), which SQLite makes anew, and sockets are never there.

Not modelled: file systems without an order of names (ext2, FAT), damage to what was synced
(a worn card), modes and owners, and more than one program that writes at a time.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from posixpath import dirname
from random import Random

from tests.support.strace import Call

SECTOR = 512

_WRITES = frozenset({"write", "pwrite64", "sendfile"})
_UNKNOWN_NAMINGS = frozenset(
    {"mkdirat", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "truncate"}
)
_SYNCS = frozenset({"fsync", "fdatasync"})


@dataclass(frozen=True, slots=True)
class _Write:
    offset: int
    content: bytes


@dataclass(frozen=True, slots=True)
class _Resize:
    size: int


@dataclass(slots=True)
class _File:
    """What is certainly on the disk, and what was asked for since, in order."""

    synced: bytearray
    since: list[_Write | _Resize] = field(default_factory=list)
    changes: int = 0  # so far, with those in `since`

    def now(self) -> bytearray:
        return _applied(self.synced, self.since)

    def change(self, change: _Write | _Resize) -> None:
        self.since.append(change)
        self.changes += 1

    def is_synced_until(self, changes: int) -> None:
        count = max(0, len(self.since) - (self.changes - changes))
        self.synced = _applied(self.synced, self.since[:count])
        del self.since[:count]


# A file's name, or a folder's: made (with the file's number; None for a folder), moved, removed.
@dataclass(frozen=True, slots=True)
class _Made:
    path: str
    file: int | None


@dataclass(frozen=True, slots=True)
class _Moved:
    path: str
    to: str


@dataclass(frozen=True, slots=True)
class _Removed:
    path: str


_Naming = _Made | _Moved | _Removed


@dataclass(frozen=True, slots=True)
class Cut:
    """A moment at which the power may go; good until the next one is asked for."""

    moment: int
    disk: "Disk"

    def leave(self, folder: Path, random: Random | None, *, unsynced: bool = False) -> None:
        """Write what is left to a new folder: drawn at random, or else with all that was not
        synced, or without it."""
        self.disk.leave(folder, random, unsynced=unsynced)


class Disk:
    """The part of a disk under a folder, whose files are whole when this is made."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._files: list[_File] = []
        self._first: dict[str, int | None] = {}
        for path in sorted(root.rglob("*")) if root.exists() else ():
            if path.is_dir():
                self._first[str(path)] = None
            elif path.is_file():
                self._first[str(path)] = self._new_file(path.read_bytes())
        self._names = dict(self._first)
        self._namings: list[_Naming] = []
        self._certain = 0  # of these
        self._offsets: dict[tuple[int, str], int] = {}
        self.syncs: list[Call] = []

    def cuts(self, calls: Iterable[Call], *, between: int) -> Iterator[Cut]:
        """Let the calls happen; a cut before and after the end of every sync, and after every
        `between`th other call that changes something."""
        others = 0
        begun: dict[int, Callable[[], None]] = {}
        for moment, call in _moments(calls):
            if call.name not in _SYNCS:
                if self._happens(call):
                    others += 1
                    if others % between == 0:
                        yield Cut(moment, self)
            elif self._is_here(path := call.file()[1]):
                if moment == call.begin:
                    begun[moment] = self._sync(path)
                else:
                    yield Cut(moment, self)
                    begun.pop(call.begin)()
                    self.syncs.append(call)
                    yield Cut(moment, self)

    def require_equal(self) -> None:
        """Make sure that, without a cut, what is here is what is on the real disk."""
        real = {str(path) for path in Path(self._root).rglob("*") if not path.is_socket()}
        assert self._names.keys() - {self._root} == real
        for path, file in self._names.items():
            assert (
                file is None
                or path.endswith("-shm")
                or self._files[file].now() == Path(path).read_bytes()
            ), path

    def leave(self, folder: Path, random: Random | None, *, unsynced: bool) -> None:
        certain, most = self._certain, len(self._namings)
        if random is None:
            count = most if unsynced else certain
        else:
            count = random.choice((certain, most, random.randint(certain, most)))
        folder.mkdir(parents=True)
        for path, file in sorted(_named(self._first, self._namings[:count]).items()):
            target = folder / path[len(self._root) + 1 :]
            if path == self._root:
                continue
            if file is None:
                target.mkdir()
            elif not path.endswith("-shm"):
                kept = self._files[file]
                if random is None:
                    target.write_bytes(kept.now() if unsynced else kept.synced)
                else:
                    target.write_bytes(_drawn(kept, random))

    def _happens(self, call: Call) -> bool:
        """Take note of a call that is over; False where it changes nothing here."""
        naming = _naming(call)
        if naming is not None:
            return self._is_here(naming.path) and self._name(naming)
        if call.name == "openat":
            path = call.path(1)
            return self._is_here(path) and self._open(path, call.result, call.arguments[2])
        here = [n for n in range(len(call.arguments)) if self._is_here(call.file(n)[1])]
        return bool(here) and self._change(call)

    def _change(self, call: Call) -> bool:
        fd, path = call.file()
        match call.name:
            case "mmap":
                path = call.file(4)[1]
                shared = "MAP_SHARED" in call.arguments[3] and "PROT_WRITE" in call.arguments[2]
                assert not shared or path.endswith("-shm"), f"{path} is written to in memory"
            case "lseek":
                self._offsets[fd, path] = call.result
            case "ftruncate":
                self._file(path).change(_Resize(int(call.arguments[1])))
                return True
            case name:
                assert name in _WRITES, f"{name} is not in the model"
                return not self._is_here(path) or self._write(call)
        return False

    def _open(self, path: str, fd: int, flags: str) -> bool:
        self._offsets[fd, path] = 0
        assert "O_APPEND" not in flags, f"{path}: O_APPEND is not in the model"
        if "O_CREAT" in flags and path not in self._names:
            return self._name(_Made(path, self._new_file(b"")))
        if "O_TRUNC" in flags:
            self._file(path).change(_Resize(0))
            return True
        return False

    def _write(self, call: Call) -> bool:
        fd, path = call.file()
        match call.name:
            case "pwrite64":
                offset, content = int(call.arguments[3]), call.content(1)[: call.result]
            case "sendfile":
                source = self._file(call.file(1)[1]).now()
                first = int(call.arguments[2].partition("]")[0].lstrip("["))
                offset = self._offsets[fd, path]
                content = bytes(source[first : first + call.result])
            case _:
                offset, content = self._offsets[fd, path], call.content(1)[: call.result]
        if call.name != "pwrite64":
            self._offsets[fd, path] = offset + len(content)
        assert len(content) == call.result, f"{path}: not all that was written is in the record"
        self._file(path).change(_Write(offset, content))
        return bool(content)

    def _sync(self, path: str) -> Callable[[], None]:
        """What is so when a sync that begins now has returned."""
        if path != self._root and self._names[path] is not None:
            file = self._file(path)
            return partial(file.is_synced_until, file.changes)
        inside = [n for n, naming in enumerate(self._namings, 1) if path in _folders(naming)]
        return partial(self._names_are_synced_until, max(inside, default=0))

    def _names_are_synced_until(self, count: int) -> None:
        self._certain = max(self._certain, count)

    def _name(self, naming: _Naming) -> bool:
        self._namings.append(naming)
        self._names = _named(self._names, [naming])
        return True

    def _new_file(self, content: bytes) -> int:
        self._files.append(_File(bytearray(content)))
        return len(self._files) - 1

    def _file(self, path: str) -> _File:
        number = self._names[path]
        assert number is not None, f"{path} is a folder"
        return self._files[number]

    def _is_here(self, path: str) -> bool:
        return path.startswith(f"{self._root}/") or path == self._root


def _moments(calls: Iterable[Call]) -> list[tuple[int, Call]]:
    """Each call at its end, and a sync also at its beginning."""
    moments = [(call.end, call) for call in calls]
    moments += [(call.begin, call) for call in calls if call.name in _SYNCS]
    return sorted(moments, key=lambda one: one[0])


def _naming(call: Call) -> _Naming | None:
    match call.name:
        case "mkdir":
            return _Made(call.path(0), None)
        case "unlink" | "rmdir":
            return _Removed(call.path(0))
        case "unlinkat":
            return _Removed(call.path(1))
        case "rename":
            return _Moved(call.path(0), call.path(1))
    assert call.name not in _UNKNOWN_NAMINGS, f"{call.name} is not in the model"
    return None


def _named(names: dict[str, int | None], namings: Iterable[_Naming]) -> dict[str, int | None]:
    names = dict(names)
    for naming in namings:
        match naming:
            case _Made(path, file):
                names[path] = file
            case _Removed(path):
                names.pop(path, None)  # a socket's, which no traced call makes
            case _Moved(path, to):
                for name in [n for n in names if n == path or n.startswith(f"{path}/")]:
                    names[to + name[len(path) :]] = names.pop(name)
    return names


def _folders(naming: _Naming) -> set[str]:
    """The folders that a naming changes."""
    return {dirname(naming.path)} | ({dirname(naming.to)} if isinstance(naming, _Moved) else set())


def _applied(content: bytearray, changes: Iterable[_Write | _Resize]) -> bytearray:
    content = bytearray(content)
    for change in changes:
        match change:
            case _Resize(size):
                del content[size:]
                content.extend(bytes(size - len(content)))
            case _Write(offset, written):
                content.extend(bytes(max(0, offset - len(content))))
                content[offset : offset + len(written)] = written
    return content


def _drawn(file: _File, random: Random) -> bytearray:
    """Any of the contents that a file may have after the cut."""
    arrives = random.choice((0.0, 0.1, 0.5, 0.9, 1.0))
    torn = random.random() < 0.5
    arrived: list[_Write | _Resize] = []
    for change in file.since:
        if isinstance(change, _Write) and torn:
            arrived += [part for part in _sectors(change) if random.random() < arrives]
        elif random.random() < arrives:
            arrived.append(change)
    content = _applied(file.synced, arrived)
    if random.random() < 0.2:
        content.extend(bytes(max(0, len(file.now()) - len(content))))
    return content


def _sectors(write: _Write) -> Iterator[_Write]:
    begin, end = write.offset, write.offset + len(write.content)
    while begin < end:
        until = min(end, (begin // SECTOR + 1) * SECTOR)
        yield _Write(begin, write.content[begin - write.offset : until - write.offset])
        begin = until
