"""`lanjami names`: look after the names, of a running box or of one that is stopped."""

import os
import shutil
import stat
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click
import msgspec

from lanjami import layout
from lanjami.cli import control, places, progress
from lanjami.cli.failure import sentences
from lanjami.errors import HostError
from lanjami.nameserver import admin
from lanjami.nameserver.database import Database, Order, Reader
from lanjami.nameserver.record import Record
from lanjami.runtime import disk

_T = TypeVar("_T")

FAULTY = 1  # exit status of an audit that found something
ANSWER_WITHIN_S = 300.0  # checking the proofs of 100,000 names takes a while on a small box


class _Known(msgspec.Struct, frozen=True):
    """What of a status is needed here, whichever version tells it."""

    names: int


def _of_a_box(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb that is given the state folder, whether it was named before the verb or after it."""

    @places.state_option
    @click.pass_context
    @wraps(verb)
    def run(context: click.Context, /, *, state: Path | None, **given: Any) -> None:
        sentences(verb)(state or context.obj, **given)

    return run


@click.group()
@places.state_option
@click.pass_context
def names(context: click.Context, state: Path | None) -> None:
    """Look after the names that people took."""
    context.obj = state


@names.command("list")
@click.argument("pattern", default="*")
@click.option(
    "--sort", type=click.Choice(["name", "id", "date"]), default="name", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@_of_a_box
def list_names(state: Path | None, *, pattern: str, sort: Order, as_json: bool) -> None:
    """List the names, or those that match PATTERN, such as "al*"."""
    lines = _survey(state, admin.List(pattern, sort))
    if as_json:
        _echo_json(lines)
        return
    count = 0
    for line in lines:
        count += 1
        record = msgspec.json.decode(line, type=Record)
        click.echo(f"{record.name:32}  {record.id}  {_date(record)}")
    click.echo(f"{count} names", err=True)


@names.command()
@click.argument("name_or_id")
@_of_a_box
def show(state: Path | None, *, name_or_id: str) -> None:
    """Show who has a name, or which name an ID has, and check its proof."""
    shown = _perform(state, admin.Show(name_or_id), admin.Shown)
    record = shown.record
    click.echo(f"Name        {record.name}")
    click.echo(f"Jami ID     {record.id}")
    click.echo(f"Registered  {_date(record)}")
    if record.is_renamed:
        click.echo(f"Renamed     its owner signed {record.signed}; clients get no proof")
    click.echo(f"Proof       {shown.fault or 'holds: signed by the key of this ID'}")
    sys.exit(FAULTY if shown.fault else 0)


@names.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_of_a_box
def remove(state: Path | None, *, name: str, yes: bool) -> None:
    """Take a name from its ID."""
    _confirm(f"Remove {name}?", yes=yes)
    _perform(state, admin.Remove(name), None)
    click.echo(f"{name} is free")


@names.command()
@click.argument("name")
@click.argument("new")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_of_a_box
def rename(state: Path | None, *, name: str, new: str, yes: bool) -> None:
    """Give the ID that has NAME the name NEW."""
    _confirm(f"Rename {name} to {new}?", yes=yes)
    _perform(state, admin.Rename(name, new), None)
    click.echo(f"{name} is now {new}")


@names.command()
@click.argument("name")
@_of_a_box
def reserve(state: Path | None, *, name: str) -> None:
    """Keep a name from being given; who has it keeps it."""
    _perform(state, admin.Reserve(name), None)
    click.echo(f"{name} is reserved")


@names.command()
@click.argument("name")
@_of_a_box
def unreserve(state: Path | None, *, name: str) -> None:
    """Let a reserved name be given again."""
    _perform(state, admin.Unreserve(name), None)
    click.echo(f"{name} may be given")


@names.command()
@_of_a_box
def reserved(state: Path | None) -> None:
    """List the names that were reserved with `reserve`."""
    for name in _perform(state, admin.Reserved(), list[str]):
        click.echo(name)


@names.command()
@click.argument("file", type=click.File("wb"), default="-")
@_of_a_box
def export(state: Path | None, *, file: Any) -> None:
    """Write all names with their proofs to FILE, as JSON Lines."""
    is_seen = file.name == "<stdout>" and sys.stdout.isatty()
    with progress.shown("Exporting", is_wanted=not is_seen) as bar:
        for line in _survey(state, admin.List(), bar):
            file.write(line)


@names.command("import")
@click.argument("file", type=click.File("rb"), default="-")
@_of_a_box
def import_names(state: Path | None, *, file: Any) -> None:
    """Take the names in FILE: all of them or, where something is in the way, none."""
    with progress.shown("Reading", _size(file)) as bar:
        new = _take(state, file, bar)
    click.echo(f"{new} names were new")


@names.command()
@_of_a_box
def audit(state: Path | None) -> None:
    """Check the proof of every name; ends with 1 where one does not hold."""
    faulty = 0
    with progress.shown("Checking") as bar:
        for line in _survey(state, admin.Audit(), bar):
            faulty += 1
            shown = msgspec.json.decode(line, type=admin.Shown)
            bar.clear()
            click.echo(f"{shown.record.name}: {shown.fault}")
    click.echo(f"{faulty} names have no valid proof" if faulty else "every proof holds")
    sys.exit(FAULTY if faulty else 0)


def _perform(state: Path | None, request: admin.Request, answer: type[_T] | None) -> _T:
    """Have the running box do it, or do it on the database of one that is stopped."""
    folders = places.state_folders_to_look_in(state)
    box = control.find(folders, within_s=ANSWER_WITHIN_S)
    if box is not None:
        told = box.ask("POST", "/names", msgspec.json.encode(request))
        return msgspec.json.decode(told, type=answer)
    with _stopped(folders) as kept:
        return admin.perform(  # type: ignore[no-any-return]
            request, lambda question: question(kept), when=int(time.time())
        )


def _survey(
    state: Path | None, request: admin.Survey, bar: progress.Bar | None = None
) -> Iterator[bytes]:
    """The lines of the answer that say something, from either."""
    folders = places.state_folders_to_look_in(state)
    if bar is not None and bar.is_shown:
        bar.begin(bar.label, _known(folders))
    for line in _lines(folders, request):
        if bar is not None:
            bar.advance(1 if line.strip() else admin.PAGE)
        if line.strip():
            yield line


def _lines(folders: list[Path], request: admin.Survey) -> Iterator[bytes]:
    box = control.find(folders, within_s=ANSWER_WITHIN_S)
    if box is not None:
        yield from box.lines("POST", "/names", msgspec.json.encode(request))
        return
    with _stopped(folders) as kept, closing(Reader(kept.path)) as reader:
        for page in admin.survey(request, reader):
            yield from page.splitlines(keepends=True)


def _known(folders: list[Path]) -> int:
    """How many names there are."""
    box = control.find(folders, within_s=ANSWER_WITHIN_S)
    if box is not None:
        return msgspec.json.decode(box.ask("GET", "/status"), type=_Known).names
    with _stopped(folders) as kept:
        return len(kept.index)


def _take(state: Path | None, file: BinaryIO, bar: progress.Bar) -> int:
    folders = places.state_folders_to_look_in(state)
    box = control.find(folders, within_s=ANSWER_WITHIN_S)
    if box is not None:
        return _taken(box.lines("POST", "/names/import", bar.reading(file)), bar)
    with _stopped(folders) as kept, disk.spool(kept.path.parent) as spool:
        shutil.copyfileobj(file, spool)
        bar.begin("Checking", 2 * spool.tell())  # who takes them reads them twice
        return admin.take(bar.reading(spool), lambda question: question(kept))


def _taken(lines: Iterable[bytes], bar: progress.Bar) -> int:
    """How many names were new, which a box says after how far it is."""
    label, read = "Checking", 0
    for line in lines:
        match msgspec.json.decode(line, type=int | admin.Reading):
            case admin.Reading() as reading:
                label = "Writing" if reading.read < read else label
                read = reading.read
                bar.begin(label, reading.size)
                bar.reach(read)
            case new:
                return new
    raise HostError("the box did not say how many names were new")


def _size(file: BinaryIO) -> int:
    """Its bytes; 0 for what is no file on a disk."""
    found = os.fstat(file.fileno())
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


@contextmanager
def _stopped(folders: list[Path]) -> Iterator[Database]:
    """The database of the box that is stopped, in the first of the state folders that has one."""
    kept = places.folder_with_names(folders)
    if kept is None:
        raise HostError(f"there are no names in {' or '.join(map(str, folders))}")
    with disk.locked(kept / layout.LOCK):
        disk.finish_exchange(kept)
        with closing(Database(kept / layout.NAMES)) as database:
            yield database


def _echo_json(lines: Iterable[bytes]) -> None:
    """One list, as it comes."""
    separator = "["
    for line in lines:
        pretty = msgspec.json.format(line, indent=2).decode()
        click.echo(separator + textwrap.indent(f"\n{pretty}", "  "), nl=False)
        separator = ","
    click.echo("[]" if separator == "[" else "\n]")


def _confirm(question: str, *, yes: bool) -> None:
    if not yes:
        click.echo("Clients remember names for ever: some may go on showing the old one.", err=True)
        click.confirm(question, abort=True, err=True)


def _date(record: Record) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(record.registered))
