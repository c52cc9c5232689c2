"""`lanjami turn`: who may use the relay."""

import sys
from pathlib import Path

import click

from lanjami import layout
from lanjami.cli import places
from lanjami.cli.failure import sentences
from lanjami.turn.users import Users


@click.group()
@places.config_option
@places.state_option
@click.pass_context
@sentences
def turn(context: click.Context, config_file: Path | None, state: Path | None) -> None:
    """Look after the users of the relay, while the box runs or is stopped.

    Unmodified clients are the user "ring" with the password "ring".
    """
    config, _ = places.read_config(config_file, (), places.state_folders_to_look_in(state))
    kept = next(
        (f for f in places.state_folders_to_look_in(state) if places.is_there(f / layout.LOCK)),
        places.state_folder(state),
    )
    context.obj = Users(kept / layout.TURN, realm=config.turn.realm)


@turn.command("add-user")
@click.argument("name")
@click.pass_obj
@sentences
def add_user(users: Users, *, name: str) -> None:
    """Let NAME use the relay; the password is asked for, or the first line of what is piped in.

    Also changes the password of one who may already.
    """
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    users.add(name, password)
    click.echo(f"{name} may use the relay")


@turn.command("remove-user")
@click.argument("name")
@click.pass_obj
@sentences
def remove_user(users: Users, *, name: str) -> None:
    """Let NAME use the relay no longer; relays that NAME has now go on."""
    users.remove(name)
    click.echo(f"{name} may use the relay no longer")


@turn.command("list")
@click.pass_obj
@sentences
def list_users(users: Users) -> None:
    """List who may use the relay."""
    for name in users.names():
        click.echo(name)
