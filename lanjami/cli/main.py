"""`lanjami`, the command."""

from importlib import import_module

import click

import lanjami
from lanjami.cli import colour

# What each command is in, by the order in which people are told of them.
_HOMES = {
    "up": "up",
    "status": "status",
    "doctor": "doctor",
    "report": "report",
    "quality": "quality",
    "names": "names",
    "backup": "backup",
    "restore": "backup",
    "config": "config",
    "admin-link": "admin",
    "admin-password": "admin",
    "turn": "turn",
    "firewall": "firewall",
    "update": "update",
    "completion": "completion",
}


class _Commands(click.Group):
    """Loads a command when it is asked for, so that none waits for what only others need, and
    least of all who completes its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_HOMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _HOMES:
            return None
        command = getattr(
            import_module(f"lanjami.cli.{_HOMES[cmd_name]}"), cmd_name.replace("-", "_")
        )
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands)
@click.version_option(lanjami.__version__, message="lanjami %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """Jami without the Internet, for everybody on this LAN."""
    if colour.is_unwanted():
        context.color = False
