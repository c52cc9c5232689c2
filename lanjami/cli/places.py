"""Where the configuration and the state are."""

import os
import shutil
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import click

from lanjami import config, layout
from lanjami.box import disks
from lanjami.errors import ConfigError, HostError
from lanjami.runtime import disk

SYSTEM_CONFIG = Path("/etc/lanjami/lanjami.toml")
SYSTEM_STATE = Path("/var/lib/lanjami")
SYSTEM_RUNTIME = Path("/run/lanjami")  # RuntimeDirectory= of the unit

state_option = click.option(
    "--state",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="The state folder: names and the node's identity.",
)


config_option = click.option(
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration file, in place of the system's or the user's.",
)


set_option = click.option(
    "--set", "overrides", metavar="SECTION.KEY=VALUE", multiple=True, help="As for `lanjami up`."
)


def read_config(
    file: Path | None, overrides: tuple[str, ...], states: Sequence[Path]
) -> tuple[config.Config, config.Sources]:
    """The configuration from `file`, else the system's, else the user's, else the defaults, and
    from what was set on the page of the box with the first of the `states` folders that has that;
    and what it was made of. Raises ConfigError where one of them is refused."""
    if file is None:
        file = config_file()
    text = "" if file is None else _text_of(file)
    try:
        parsed = config.parse(text, overrides=overrides)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}" if file else str(error)) from error
    kept = next((path for s in states if is_there(path := s / layout.PAGE_SETTINGS)), None)
    if kept is None:
        return parsed, config.Sources(text, "", overrides)
    try:
        sources = config.Sources(text, _text_of(kept), overrides)
        return sources.parse(), sources
    except ConfigError as error:
        refusal = f"{kept}, which was set on the page: {error}"
        if disks.running() is None:
            raise ConfigError(refusal) from error
        # A box of the image has nobody who sees to it: it serves, and says what is wrong.
        click.echo(f"lanjami: {refusal}", err=True)
        return parsed, config.Sources(text, "", overrides)


def _text_of(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration {file} cannot be read: {error}") from error


def config_file() -> Path | None:
    """The system's configuration file, else the user's, else None."""
    return next((file for file in (SYSTEM_CONFIG, _user_config()) if is_there(file)), None)


def new_config_file(state: Path) -> Path:
    """Where the box with a state folder would look for the configuration file that is not there."""
    return SYSTEM_CONFIG if state == SYSTEM_STATE else _user_config()


def config_file_of(user: int, found: Path | None) -> Path:
    """Where a user (a UID) who has `found` a configuration file, or none, may put one that is read:
    the administrator for the system. HostError where none of theirs would be."""
    if user == 0:
        return SYSTEM_CONFIG
    if found == SYSTEM_CONFIG:
        raise HostError(f"{found} is there, and is read in place of {_user_config()}")
    return _user_config()


def state_folder(folder: Path | None) -> Path:
    """`folder`, else the one that systemd gives us, else the user's."""
    if folder is not None:
        return folder.absolute()
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(given) if given else _user_state()


def state_folders_to_look_in(folder: Path | None) -> list[Path]:
    """Where a running box may have its state: as above, and where the system's box has it."""
    own = state_folder(folder)
    return [own] if folder is not None else [own, SYSTEM_STATE]


def control_sockets(state: Path) -> list[Path]:
    """Where the box with a state folder has its socket: there or, where that takes none, in the
    first of these folders that can be made and is only its user's."""
    if state == SYSTEM_STATE:
        return [state / layout.CONTROL, SYSTEM_RUNTIME / layout.CONTROL]
    user = os.getuid()
    name = f"{sha256(os.fsencode(state.resolve())).hexdigest()[:16]}.sock"  # one user, many boxes
    folders = (Path(f"/run/user/{user}/lanjami"), Path(f"/tmp/lanjami-{user}"))  # noqa: S108 - whose it is, is checked
    return [state / layout.CONTROL, *(folder / name for folder in folders)]


def is_trusted(folder: Path, state: Path) -> bool:
    """Whether nobody else can have put a socket there that passes for that of the box."""
    return folder in (state, SYSTEM_RUNTIME) or disk.is_private(folder)


def folder_with_names(folders: list[Path]) -> Path | None:
    """The first of the state folders that has names; None where none has."""
    return next((folder for folder in folders if _has_names(folder)), None)


def own_command() -> str:
    """How the person called this program, for the commands that they are told."""
    return "lanjami" if shutil.which("lanjami") else sys.argv[0]


def _user_config() -> Path:
    return _xdg("XDG_CONFIG_HOME", ".config") / "lanjami" / "lanjami.toml"


def _user_state() -> Path:
    return _xdg("XDG_STATE_HOME", ".local/state") / "lanjami"


def _has_names(folder: Path) -> bool:
    return is_there(folder / layout.NAMES) or disk.is_exchange_unfinished(folder)


def is_there(file: Path) -> bool:
    """Whether there is such a file that we may look at."""
    try:
        return file.is_file()
    except OSError:  # in a folder that only others may look into
        return False


def _xdg(variable: str, default: str) -> Path:
    """A folder of the XDG Base Directory Specification, which has relative ones ignored."""
    given = Path(os.environ.get(variable, ""))
    return given if given.is_absolute() else Path.home() / default
