"""`lanjami status`: how the running box is."""

import http.client
import socket
import sys
from pathlib import Path

import click
import msgspec

from lanjami.cli import places
from lanjami.cli.failure import sentences
from lanjami.errors import HostError
from lanjami.status.snapshot import Snapshot, table

NOT_RUNNING = 3  # as `systemctl status` has it
WORSE_OFF = 1
ANSWER_WITHIN_S = 5.0


@click.command()
@click.option(
    "--state",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="The state folder that `lanjami up` was given.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@sentences
def status(*, state: Path | None, as_json: bool) -> None:
    """Show how the box is doing.

    Ends with 0 when all is well, 1 when something is worse off, 3 when it does not run.
    """
    for folder in places.state_folders_to_look_in(state):
        answer = _ask(folder / "control.sock")
        if answer is not None:
            break
    else:
        command = places.own_command()
        click.echo(
            f"lanjami is not running as this user or as the system service; "
            f"start it with: {command} up",
            err=True,
        )
        sys.exit(NOT_RUNNING)
    snapshot = msgspec.json.decode(answer, type=Snapshot)
    click.echo(msgspec.json.format(answer, indent=2).decode() if as_json else table(snapshot))
    sys.exit(0 if snapshot.healthy else WORSE_OFF)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_WITHIN_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _ask(path: Path) -> bytes | None:
    """The status that the box at the socket `path` tells; None where none runs there."""
    connection = _UnixConnection(path)
    try:
        connection.request("GET", "/status")
        return connection.getresponse().read()
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except PermissionError as error:
        command = places.own_command()
        raise HostError(
            f"the box at {path.parent} belongs to another user; try: sudo {command} status"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise HostError(f"the box at {path.parent} does not answer: {error}") from error
    finally:
        connection.close()
