"""`lanjami admin-link` and `lanjami admin-password`: who may look after the box in a browser."""

import sys
from pathlib import Path

import click
import msgspec
import segno

from lanjami import layout
from lanjami.cli import control, places
from lanjami.cli.failure import sentences
from lanjami.errors import HostError, RequestError
from lanjami.runtime import disk
from lanjami.status.operator import passwords, rules

ANSWER_WITHIN_S = 30.0


@click.command("admin-link")
@places.state_option
@sentences
def admin_link(*, state: Path | None) -> None:
    """Print a link that lets whoever opens it look after the box, once, within 15 minutes.

    For the first password, and where it is forgotten.
    """
    box = control.find(places.state_folders_to_look_in(state), within_s=ANSWER_WITHIN_S)
    if box is None:
        raise HostError("lanjami does not run; start it first")
    links = msgspec.json.decode(box.ask("POST", "/operator/link"), type=list[str])
    click.echo("Open one of these in a browser; it works once, within 15 minutes:")
    for link in links:
        click.echo(f"  {link}")
    click.echo("The last is for a browser on this computer, and goes over no network.")
    if sys.stdout.isatty():
        segno.make(links[0], error="l").terminal(compact=True)


@click.command("admin-password")
@places.state_option
@click.option("--reset", "is_reset", is_flag=True, help="Let there be no password.")
@sentences
def admin_password(*, state: Path | None, is_reset: bool) -> None:
    """Set the password for looking after the box in a browser, while it runs or is stopped.

    It is asked for, or the first line of what is piped in. Whoever is signed in no longer is.
    """
    if is_reset:
        _change(state, None)
        click.echo("there is no password any more; `lanjami admin-link` lets somebody in")
        return
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    if fault := rules.fault_of(password, password):
        raise RequestError(400, rules.REFUSALS[fault])
    _change(state, password)
    click.echo("the password is set")


def _change(state: Path | None, password: str | None) -> None:
    """Have the running box set or forget the password, or do it for one that is stopped."""
    folders = places.state_folders_to_look_in(state)
    box = control.find(folders, within_s=ANSWER_WITHIN_S)
    if box is not None and password is None:
        box.ask("DELETE", "/operator/password")
    elif box is not None:
        box.ask("PUT", "/operator/password", (password or "").encode())
    else:
        folder = places.folder_with_names(folders) or folders[0]
        disk.make_private_folder(folder)
        with disk.locked(folder / layout.LOCK):
            if password is None:
                passwords.forget(folder / layout.OPERATOR)
            else:
                passwords.keep(folder / layout.OPERATOR, password)
