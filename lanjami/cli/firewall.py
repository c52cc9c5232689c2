"""`lanjami firewall`: what a firewall must let in, and what it must keep from the relay."""

import sys
from pathlib import Path

import click

from lanjami import lan
from lanjami.cli import places
from lanjami.cli.failure import sentences
from lanjami.errors import ConfigError
from lanjami.firewall import nftables, rules
from lanjami.firewall.openings import openings
from lanjami.runtime import net

STILL_DROPPED = 1


@click.group()
def firewall() -> None:
    """See to the firewall of this machine."""


@firewall.command()
@places.config_option
@places.set_option
@click.option(
    "--format",
    "form",
    type=click.Choice([*rules.FORMATS]),
    default="nftables",
    show_default=True,
    help="Whose rules to print.",
)
@click.option(
    "--interface",
    "named",
    metavar="NAME",
    multiple=True,
    help="An interface to serve; may be repeated. Else those that have a LAN now.",
)
@click.option("--apply", "is_applied", is_flag=True, help="Put the rules into nftables.")
@click.option(
    "--into",
    metavar="'FAMILY TABLE CHAIN'",
    help="With --apply: the input chain that is to let the services in, such as 'inet filter "
    "input'; without it, only our own table is made.",
)
@click.option("--remove", "is_removed", is_flag=True, help="Take out what --apply put in.")
@sentences
def show(
    *,
    config_file: Path | None,
    overrides: tuple[str, ...],
    form: str,
    named: tuple[str, ...],
    is_applied: bool,
    into: str | None,
    is_removed: bool,
) -> None:
    """Print the rules that let the box serve, and what a router in front of it has to pass on.

    --apply ends with 1 where a firewall still refuses what comes in and says which.
    """
    config, _ = places.read_config(config_file, overrides, places.state_folders_to_look_in(None))
    interfaces = net.interfaces(ignored=config.discovery.ignored_interfaces)
    names = named or tuple(interface.name for interface in interfaces)
    opened = openings(config)
    if is_removed:
        nftables.remove()
        click.echo("all that lanjami had put into nftables is taken out")
    elif is_applied:
        chain = None if into is None else _chain(into)
        commands = rules.replacement(config.turn).splitlines()
        if chain is not None:
            commands += rules.nft_rules(opened, names, chain)
        left = [c for c in nftables.replace(commands) if c != chain]
        click.echo("in nftables; --remove takes it out, and a restart of the machine does, too")
        _warn(left)
    else:
        click.echo(rules.FORMATS[form](opened, names, config.turn), nl=False)
        addresses = lan.shown(interfaces)
        if addresses:
            click.echo("\n# A router in front of the box, for clients on its other side, passes")
            for mapping in rules.mappings(opened, addresses[0]):
                click.echo(f"#   {mapping}")


def _chain(text: str) -> rules.Chain:
    match text.split():
        case [family, table, name] if all(map(_is_word, (family, table, name))):
            return rules.Chain(family, table, name)
    raise ConfigError(f"--into takes a chain such as 'inet filter input', not {text!r}")


def _is_word(text: str) -> bool:
    return text.replace("_", "a").replace("-", "a").replace(".", "a").isalnum()


def _warn(left: list[rules.Chain]) -> None:
    """Say which chains still refuse, and end the program where there are some."""
    for chain in left:
        how = (
            "lanjami firewall show --format firewalld"
            if chain.table == "firewalld"
            else f"lanjami firewall show --apply --into '{chain}'"
        )
        click.echo(
            f"lanjami: the chain {chain} refuses what it does not accept itself, and no other "
            f"table can change that; see: {how}",
            err=True,
        )
    if left:
        sys.exit(STILL_DROPPED)
