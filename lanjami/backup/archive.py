"""The file of a backup: a ZIP archive with a manifest that has the checksums of all the rest."""

import hashlib
import shutil
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

import lanjami
from lanjami import layout
from lanjami.backup.manifest import FORMAT, File, Manifest, parse
from lanjami.errors import HostError
from lanjami.runtime import disk

LARGEST_MEMBER = 2 << 30  # bytes; a file of nothing but zeros packs well
_MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 64 << 10  # bytes
_CHUNK = 1 << 20  # bytes

# Is told how many bytes are done, and of how many.
Progress = Callable[[int, int], None]


class TargetError(HostError):
    """Where a backup is to be unpacked takes no more, which says nothing about the backup."""


def _silent(done: int, total: int) -> None:
    """Tell nobody."""


def collect(folder: Path, *, copy_names: Callable[[Path], None], state: Path, config: str) -> None:
    """Put what belongs into a backup into `folder`: the names, the ids and the page's settings in
    the `state` folder, and the configuration; raises HostError."""
    copy_names(folder / layout.NAMES)
    try:
        if config:
            (folder / layout.CONFIG).write_text(config, "utf-8")
        for name in (*layout.NODE_IDS, layout.PAGE_SETTINGS):
            if (state / name).exists():  # a new box may have none yet
                shutil.copyfile(state / name, folder / name)
    except OSError as error:
        raise HostError(f"{folder} takes nothing: {error.strerror}") from error


def write(path: Path, folder: Path, *, created: str, progress: Progress = _silent) -> Manifest:
    """Write a backup of the files in `folder` to `path` (mode 0600), whole or not at all."""
    files, done = dict[str, File](), 0
    total = sum(source.stat().st_size for source in folder.iterdir())
    with (
        disk.made_whole(path) as made,
        zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        for source in sorted(folder.iterdir()):
            digest, size = hashlib.sha256(), 0
            with source.open("rb") as content, archive.open(_member(source.name), "w") as member:
                while chunk := content.read(_CHUNK):
                    member.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
                    progress(done + size, total)
            done += size
            files[source.name] = File(size, digest.hexdigest())
        manifest = Manifest(FORMAT, lanjami.__version__, created, files)
        archive.writestr(
            _member(_MANIFEST), msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        )
    return manifest


def read(path: Path) -> Manifest:
    """The manifest of the backup at `path`, which is not checked any further; raises HostError."""
    with _opened(path) as archive:
        return _manifest(archive)


def unpack(
    path: Path, names: Iterable[str], folder: Path, *, progress: Progress = _silent
) -> Manifest:
    """Check the whole backup at `path`, then write those of `names` that are in it to `folder`.

    Raises HostError, which is TargetError where `folder` refuses; then it may have files that are
    not to be used.
    """
    wanted, done = set(names), 0
    with _opened(path) as archive:
        manifest = _manifest(archive)
        total = sum(told.size for told in manifest.files.values())
        for name, told in manifest.files.items():
            target = folder / name if name in wanted else Path("/dev/null")
            with closing(_content(archive, path, name, told)) as content:
                for written in _written(target, content):
                    progress(done + written, total)
            done += told.size
    return manifest


def _content(
    archive: zipfile.ZipFile, path: Path, name: str, told: File
) -> Generator[bytes, None, None]:
    """A file of the backup at `path`, in pieces; HostError where it is not what was put in."""
    digest, size = hashlib.sha256(), 0
    with _translated(path), archive.open(name) as member:
        while chunk := member.read(_CHUNK):
            size += len(chunk)
            if size > min(told.size, LARGEST_MEMBER):
                break
            digest.update(chunk)
            yield chunk
    if (size, digest.hexdigest()) != (told.size, told.sha256):
        raise HostError(f"{path} is damaged: {name} is not what was put into it")


def _written(target: Path, content: Iterable[bytes]) -> Iterator[int]:
    """Write what comes to a file, and say after each piece how many bytes that are."""
    size = 0
    try:
        with target.open("wb") as file:
            for chunk in content:
                file.write(chunk)
                size += len(chunk)
                yield size
    except OSError as error:  # of the target: what is read comes with its own errors translated
        raise TargetError(f"{target} cannot be written: {error.strerror}") from error


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    with _translated(path), zipfile.ZipFile(path) as archive:
        yield archive


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, LookupError, RuntimeError) as error:
        raise HostError(f"{path} is no whole backup: {error}") from error
    except OSError as error:
        raise HostError(f"{path} cannot be used: {error.strerror or error}") from error


def _manifest(archive: zipfile.ZipFile) -> Manifest:
    with archive.open(_MANIFEST) as member:
        try:
            return parse(member.read(_LARGEST_MANIFEST))
        except HostError as error:
            raise HostError(f"{archive.filename} cannot be used: {error}") from error


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # with the same time in all, so that equal contents are equal
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o600 << 16  # for who unpacks it with another program
    return info
