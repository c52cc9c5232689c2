"""This machine, for a program, as one that started from a card of the image: slot a of a card that
is made of files, with what the initramfs and the image leave there. Wants root on Linux."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lanjami.box import places, updating
from lanjami.box.standing import Standing
from tests.support import bundles
from tests.support.bundles import MIB

# In a mount namespace of its own; what else is in /run is nobody's there.
_ENTER = """
mount -t tmpfs -o mode=755 lanjami /run
mkdir /run/lanjami-box
mount --bind "$0/run" /run/lanjami-box
mount --bind "$0/data" /data
mount --bind "$0/key" /usr/share/lanjami
PATH="$0/bin:/usr/sbin:/usr/bin:/sbin:/bin" exec "$@"
"""
_SYSTEMCTL = """\
#!/bin/sh
echo "$@" >>"$(dirname "$0")/../asked-of-systemd"
"""


@dataclass(frozen=True, slots=True)
class Imaged:
    folder: Path

    @property
    def through(self) -> list[str]:
        """A command that starts a program there; systemctl only notes what it is asked."""
        return ["unshare", "--mount", "sh", "-euc", _ENTER, str(self.folder)]

    @property
    def asked_of_systemd(self) -> list[str]:
        file = self.folder / "asked-of-systemd"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def standing_file(self) -> Path:
        return self.folder / "run" / Path(places.UPDATE).name

    @property
    def standing(self) -> Standing:
        return updating.standing(self.standing_file)

    @property
    def kept(self) -> Path:
        return self.folder / "data/box"

    @property
    def spare_slot(self) -> Path:
        return self.folder / "card0p3"

    def update(self, *, version: str = "9.0.0", changed: str = "") -> Path:
        """A bundle that brings a small system."""
        system = self.folder / "system"
        system.mkdir(exist_ok=True)
        (system / "file").write_text(f"of {version}")
        root = self.folder / "root.img"
        _empty(root, 16 * MIB)
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", system, root], check=True)
        path = self.folder / f"lanjami-update-{version}.tar"
        return bundles.write(path, root.read_bytes(), version=version, changed=changed)


@contextmanager
def imaged(folder: Path) -> Iterator[Imaged]:
    for name in ("run", "data/box", "key", "bin"):
        (folder / name).mkdir(parents=True)
    _empty(folder / "card0", 2 * MIB)
    _empty(folder / "card0p3", 24 * MIB)
    (folder / "run" / Path(places.DISK).name).write_text(f"{folder / 'card0'}\n")
    (folder / "run" / Path(places.SLOT).name).write_text("a\n")
    pem = bundles.KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "key" / Path(places.UPDATE_KEY).name).write_bytes(pem)
    (folder / "bin/systemctl").write_text(_SYSTEMCTL)
    (folder / "bin/systemctl").chmod(0o755)
    with ExitStack() as made:
        for mount_point in (Path(places.DATA), Path(places.UPDATE_KEY).parent):
            if not mount_point.exists():
                mount_point.mkdir()
                made.callback(_remove, mount_point)
        yield Imaged(folder)


def _remove(folder: Path) -> None:
    with suppress(OSError):  # another test's, too
        folder.rmdir()


def _empty(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)
