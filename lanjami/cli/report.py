"""`lanjami report`: what somebody who helps needs to know, without what is nobody's business."""

import asyncio
import io
import platform
import socket
import subprocess
import tarfile
import time
from importlib import metadata
from pathlib import Path

import click
import msgspec

import lanjami
from lanjami.cli import places
from lanjami.cli.doctor import as_text, find_patient
from lanjami.cli.examining import examine
from lanjami.cli.failure import sentences
from lanjami.doctor import redaction
from lanjami.errors import HostError
from lanjami.runtime import disk, process

LOG_LINES = 2000
LOG_WITHIN_S = 20.0

_PACKAGES = ("aiohttp", "click", "cryptography", "msgpack", "msgspec", "opendht", "zeroconf")
_README = """\
What `lanjami report` packs, for who helps: doctor.json (what is wrong), status.json, settings.json
(without names, passphrases and keys), versions.txt, and log.txt where the journal could be read.
Names, IDs, keys and hardware addresses are taken out; addresses of the local networks are not.
Look through it before you hand it on.
"""


@click.command()
@places.state_option
@places.config_option
@places.set_option
@click.option(
    "--log",
    "log_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The log of a box that does not write to the journal.",
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@sentences
def report(
    *,
    state: Path | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    log_file: Path | None,
    file: Path,
) -> None:
    """Pack what somebody who helps needs to know into FILE (.tar.gz).

    Names, IDs, passphrases, keys and passwords are left out or hidden.
    """
    config, _ = places.read_config(config_file, overrides, places.state_folders_to_look_in(state))
    patient = find_patient(config, state)
    found = asyncio.run(examine(patient))
    host = "" if patient.snapshot is None else patient.snapshot.host
    secrets = [*redaction.secrets_of(config, host=host), socket.gethostname()]
    parts = {
        "README.txt": _README,
        "doctor.json": as_text(redaction.findings(found, secrets=secrets)),
        "settings.json": _json(redaction.settings(config)),
        "versions.txt": _versions(),
        "log.txt": "\n".join(
            redaction.log_line(line, secrets=secrets) for line in _log(log_file).splitlines()
        ),
    }
    if patient.snapshot is not None:
        parts["status.json"] = _json(redaction.status(patient.snapshot, secrets=secrets))
    with disk.made_whole(file) as stream:
        stream.write(_packed(parts))
    click.echo(f"{file}: look through it before you hand it on")


def _packed(parts: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in sorted(parts.items()):
            content = text.encode()
            member = tarfile.TarInfo(f"lanjami-report/{name}")
            member.size, member.mtime = len(content), int(time.time())
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _versions() -> str:
    found = [
        f"lanjami {lanjami.__version__}",
        f"python {platform.python_version()}",
        f"system {platform.system()} {platform.release()} {platform.machine()}",
    ]
    for name in _PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} is not installed")
    return "\n".join(found) + "\n"


def _log(file: Path | None) -> str:
    """The last lines of the log; a sentence where it cannot be had."""
    if file is not None:
        lines = file.read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-LOG_LINES:])
    words = (
        "--unit=lanjami",
        f"--lines={LOG_LINES}",
        "--no-pager",
        "--quiet",
        "--output=short-iso",
    )
    try:
        done = subprocess.run(  # noqa: S603 - its path was looked up
            [process.installed("journalctl", package="systemd"), "--no-hostname", *words],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LOG_WITHIN_S,
            check=False,
        )
    except (HostError, OSError, subprocess.TimeoutExpired) as error:
        return f"the log could not be had: {error}"
    return done.stdout or "the journal has nothing of lanjami"


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
