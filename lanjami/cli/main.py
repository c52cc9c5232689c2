"""`lanjami`, the command."""

import click

import lanjami
from lanjami.cli.admin import admin_link, admin_password
from lanjami.cli.backup import backup, restore
from lanjami.cli.doctor import doctor
from lanjami.cli.firewall import firewall
from lanjami.cli.names import names
from lanjami.cli.quality import quality
from lanjami.cli.report import report
from lanjami.cli.status import status
from lanjami.cli.turn import turn
from lanjami.cli.up import up
from lanjami.cli.update import update


@click.group()
@click.version_option(lanjami.__version__, message="lanjami %(version)s")
def main() -> None:
    """Jami without the Internet, for everybody on this LAN."""


main.add_command(up)
main.add_command(status)
main.add_command(doctor)
main.add_command(report)
main.add_command(quality)
main.add_command(names)
main.add_command(backup)
main.add_command(restore)
main.add_command(admin_link)
main.add_command(admin_password)
main.add_command(turn)
main.add_command(firewall)
main.add_command(update)
