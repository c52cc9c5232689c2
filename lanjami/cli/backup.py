"""`lanjami backup` and `lanjami restore`: everything that makes a box this box, in one file."""

import time
from contextlib import closing
from functools import partial
from pathlib import Path

import click

from lanjami import config, layout
from lanjami.backup import archive
from lanjami.backup.keeper import timestamp
from lanjami.backup.manifest import Manifest
from lanjami.box import disks
from lanjami.box import places as box_places
from lanjami.cli import control, places, progress
from lanjami.cli.failure import sentences
from lanjami.errors import ConfigError, HostError, RequestError
from lanjami.nameserver.database import Database, Reader, check, copy
from lanjami.nameserver.names import parse_id, parse_name
from lanjami.nameserver.record import Record
from lanjami.runtime import disk

ANSWER_WITHIN_S = 300.0  # of a small box with 100,000 names

_file = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@click.command()
@_file
@places.state_option
@places.config_option
@sentences
def backup(file: Path, *, state: Path | None, config_file: Path | None) -> None:
    """Write names, identity and configuration to FILE, also while the box runs.

    Whoever has that file can pass for this box: keep it private.
    """
    folders = places.state_folders_to_look_in(state)
    box = control.find(folders, within_s=ANSWER_WITHIN_S)
    with progress.shown("Collecting") as bar:
        if box is not None:
            with disk.made_whole(file.absolute()) as made:
                box.fetch("GET", "/backup", into=made, progress=_of(bar, "Writing"))
        else:
            _back_up_stopped(file, folders, config_file, bar)
        manifest = archive.unpack(file, [], Path(), progress=_of(bar, "Checking"))
    click.echo(f"{_told(manifest)}, is in {file}")


@click.command()
@_file
@places.state_option
@places.config_option
@sentences
def restore(file: Path, *, state: Path | None, config_file: Path | None) -> None:
    """Make this box the one that FILE is a backup of; it has to be stopped.

    The file is checked before anything is changed, and what is replaced is kept.
    """
    folders = places.state_folders_to_look_in(state)
    there = next((one for one in folders if one.is_dir()), folders[0])
    folder = places.folder_with_names(folders) or there
    disk.make_private_folder(folder)
    with progress.shown("Checking") as bar, disk.locked(folder / layout.LOCK):
        disk.finish_exchange(folder)
        aside = disk.unused(folder, "before-restore")
        with disk.exchanging(folder, aside=aside.name) as incoming:
            wanted = (layout.NAMES, *layout.NODE_IDS, layout.PAGE_SETTINGS, layout.CONFIG)
            manifest = archive.unpack(file, wanted, incoming, progress=_of(bar, "Unpacking"))
            known = _count_names(file, incoming / layout.NAMES, bar)
            if layout.PAGE_SETTINGS not in manifest.files:
                (incoming / layout.PAGE_SETTINGS).touch(mode=0o600)  # nothing, instead of ours
            content, left_out = _checked_config(incoming, file)
        told = [*left_out, *_restore_config(content, folder, config_file)]
    click.echo(f"{_told(manifest)}, is restored, with {known} names")
    for sentence in (*told, f"what was in {folder} before is in {aside}"):
        click.echo(sentence)


def _of(bar: progress.Bar, label: str) -> archive.Progress:
    """Shows a part of the work that is counted in bytes."""

    def show(done: int, total: int) -> None:
        bar.begin(label, total)
        bar.reach(done)

    return show


def _back_up_stopped(
    file: Path, folders: list[Path], config_file: Path | None, bar: progress.Bar
) -> None:
    folder = places.folder_with_names(folders)
    if folder is None:
        raise HostError(f"there is nothing to back up in {' or '.join(map(str, folders))}")
    _, sources = places.read_config(config_file, (), [folder])
    with disk.locked(folder / layout.LOCK):
        disk.finish_exchange(folder)
        disk.remove_scratch(folder)
        with disk.scratch(folder) as collected:
            archive.collect(
                collected,
                copy_names=partial(copy, folder / layout.NAMES),
                state=folder,
                config=sources.file,
            )
            archive.write(
                file.absolute(),
                collected,
                created=timestamp(time.time()),
                progress=_of(bar, "Writing"),
            )


def _count_names(file: Path, names: Path, bar: progress.Bar) -> int:
    """How many names were unpacked; HostError where they are not whole or not for us."""
    if not names.exists():
        raise HostError(f"{file} has no names in it")
    check(names)
    with closing(Database(names)) as database, closing(Reader(names)) as reader:
        rows = reader.rows("name", chosen=lambda _: True)
        bar.begin("Checking the names", len(rows))
        for row in bar.over(rows):
            _require_shape(reader.record(row), file)
        return len(database.index)


def _require_shape(kept: Record | None, file: Path) -> None:
    assert kept is not None  # of a database that is ours alone
    try:
        parsed = parse_name(kept.name), parse_id(kept.id), parse_name(kept.signed)
    except RequestError as error:
        raise HostError(f"the names in {file} cannot be used: {kept.name!r}: {error}") from error
    if parsed != (kept.name, kept.id, kept.signed):
        raise HostError(f"the names in {file} cannot be used: {kept.name!r} has capitals")


def _checked_config(incoming: Path, file: Path) -> tuple[bytes, list[str]]:
    """The configuration that was unpacked, which is taken away; b"" where there is none. What was
    set on the page is left out where it does not go with that, as at a start of the image: names
    are not lost for it. Returns a sentence of that, too."""
    unpacked, page = incoming / layout.CONFIG, incoming / layout.PAGE_SETTINGS
    content = unpacked.read_bytes() if unpacked.exists() else b""
    unpacked.unlink(missing_ok=True)
    try:
        config.parse(content.decode())
    except (ConfigError, UnicodeDecodeError) as error:
        raise HostError(f"the configuration in {file} cannot be used: {error}") from error
    try:
        config.parse(content.decode(), page=page.read_text("utf-8"))
    except (ConfigError, UnicodeDecodeError) as error:
        page.write_bytes(b"")
        return content, [f"what was set on its page is left out: {error}"]
    return content, []


def _restore_config(content: bytes, state: Path, chosen: Path | None) -> list[str]:
    """Bring a configuration to its place, keep the one that is there, and say so.

    A box of the image makes its own from the card at every start: there it is only kept.
    """
    if not content:
        return []
    place = chosen or places.config_file() or places.new_config_file(state)
    before = place.read_bytes() if place.exists() else None
    if before == content:
        return []
    if chosen is None and disks.running() is not None:
        kept = state / layout.RESTORED_CONFIG
        disk.write_atomically(kept, content)
        card = box_places.SETTINGS
        return [f"its settings are in {kept}; this box keeps those of its card, {card} there"]
    place.parent.mkdir(parents=True, exist_ok=True)
    kept = disk.unused(place.parent, f"{place.name}.before-restore")
    if before is not None:
        disk.write_atomically(kept, before, mode=0o644)
    disk.write_atomically(place, content, mode=0o644)
    if before is None:
        return [f"its configuration is in {place}"]
    return [f"its configuration is in {place}, and what was there in {kept}"]


def _told(manifest: Manifest) -> str:
    return f"a backup of {manifest.created}, made by lanjami {manifest.version}"
