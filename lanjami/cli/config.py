"""`lanjami config`: see to the configuration."""

import os
from importlib.resources import files
from pathlib import Path

import click
import msgspec

from lanjami import layout
from lanjami.cli import places
from lanjami.cli.failure import sentences
from lanjami.config import Config
from lanjami.dhtnode.node import is_installed
from lanjami.doctor import config_checks
from lanjami.errors import HostError
from lanjami.runtime import disk, net, process
from lanjami.settings import as_toml, settings

_file = click.argument(
    "file", required=False, type=click.Path(dir_okay=False, path_type=Path), default=None
)


@click.group()
def config() -> None:
    """See to the configuration."""


@config.command()
@_file
@places.set_option
@sentences
def check(*, file: Path | None, overrides: tuple[str, ...]) -> None:
    """Say whether FILE, else the configuration that is found, is right, and what of it cannot work
    on this machine.

    Ends with 78 where it is wrong and `lanjami up` would refuse it.
    """
    states = [] if file else places.state_folders_to_look_in(None)
    file = file or places.config_file()
    found, _ = places.read_config(file, overrides, states)
    for doubt in config_checks.doubts(found, _look_around(found)):
        click.echo(f"lanjami: {doubt}", err=True)
    click.echo(f"{file} is right" if file else "there is no file; the settings are right")


@config.command()
@places.config_option
@places.state_option
@places.set_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@sentences
def show(
    *, config_file: Path | None, state: Path | None, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Print every setting that is in force, secrets too, and where it comes from: the file, the
    page for the operator, --set or the defaults.

    What is printed is a configuration that means the same.
    """
    file = config_file or places.config_file()
    _, sources = places.read_config(file, overrides, places.state_folders_to_look_in(state))
    found = settings(sources)
    if as_json:
        body = {"file": None if file is None else str(file), "settings": found}
        click.echo(msgspec.json.format(msgspec.json.encode(body), indent=2).decode())
    else:
        click.echo(as_toml(found, file=str(file)))


@config.command()
@_file
@click.option("--force", is_flag=True, help="Replace a file that is there; it is kept beside.")
@sentences
def init(*, file: Path | None, force: bool) -> None:
    """Write a file with every setting at its default, explained, to where it will be found, or to
    FILE."""
    user, found = os.geteuid(), places.config_file()
    place = (file or places.config_file_of(user, found)).absolute()
    is_there = os.path.lexists(place)
    if is_there and not force:
        raise HostError(f"{place} is there already; --force replaces it, and keeps it beside")
    mode = 0o644 if user == 0 else 0o600  # the system's box runs as another user
    place.parent.mkdir(parents=True, exist_ok=True)
    if user == 0 and place == places.SYSTEM_CONFIG:
        place.parent.chmod(0o755)  # whatever the umask is
    if is_there:
        kept = disk.unused(place.parent, f"{place.name}.before-init")
        disk.write_atomically(kept, place.read_bytes(), mode=place.stat().st_mode & 0o777)
        click.echo(f"what was there is in {kept}")
    shipped = files("lanjami") / layout.CONFIG
    disk.write_atomically(place, shipped.read_bytes(), mode=mode)
    click.echo(f"{place} has every setting at its default")
    if file is None and found not in (place, None):
        click.echo(f"lanjami: {found} is not read any longer", err=True)


def _look_around(found: Config) -> config_checks.Machine:
    paths = filter(None, (found.turn.certificate, found.turn.key))
    return config_checks.Machine(
        interfaces=frozenset(net.names()),
        programs=frozenset(filter(_is_installed, config_checks.PROGRAMS)),
        unreadable={path: why for path in paths if (why := _why_unreadable(path))},
        addresses=frozenset(str(address.ip) for address in net.addresses()),
        has_opendht=is_installed(),
    )


def _is_installed(program: str) -> bool:
    try:
        process.installed(program, package=program)
    except HostError:
        return False
    return True


def _why_unreadable(path: str) -> str:
    try:
        Path(path).open("rb").close()
    except OSError as error:
        return error.strerror or str(error)
    return ""
