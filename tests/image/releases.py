"""Later versions of an image, as updates: made of its root with another number in it."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from image import layout
from lanjami.box import places
from tests.image import emulator
from tests.image.built import Built

BUNDLE = Path(__file__).resolve().parents[2] / "image/bundle"
PACKAGE = "/opt/lanjami/lib/python3.13/site-packages/lanjami"
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True)
class Release:
    """A `version` whose module `broken`, if any, fails where it is loaded."""

    version: str
    broken: str = ""

    def root(self, built: Built, folder: Path) -> Path:
        """Its root's image, as small as it can be."""
        root = folder / f"root-{self.version}.img"
        subprocess.run(["cp", "--sparse=always", built.folder / "root.img", root], check=True)
        files = {
            f"{PACKAGE}/__init__.py": f'__version__ = "{self.version}"\n'.encode(),
            places.UPDATE_KEY: PUBLIC,
        }
        if self.broken:
            files[f"{PACKAGE}/{self.broken}.py"] = b'raise RuntimeError("a bad version")\n'
        replace(root, files)
        for command in (["e2fsck", "-f", "-y"], ["resize2fs", "-M"]):
            done = subprocess.run([*command, root], capture_output=True, check=False)
            assert done.returncode < 2, done.stderr.decode()
        return root

    def bundle(self, built: Built, folder: Path) -> Path:
        """What `lanjami update` takes."""
        key, made = folder / "key.pem", folder / f"lanjami-update-{self.version}.tar"
        key.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        subprocess.run([BUNDLE, self.root(built, folder), self.version, key, made, "0"], check=True)
        return made

    def stick(self, built: Built, folder: Path) -> Path:
        """A USB stick with the bundle, and nothing else, on a FAT."""
        bundle, stick = self.bundle(built, folder), folder / f"stick-{self.version}"
        size = bundle.stat().st_size + (8 << 20)
        with stick.open("wb") as file:
            file.truncate(size - size % 4096)
        subprocess.run(["mkfs.vfat", "-n", "STICK", stick], capture_output=True, check=True)
        subprocess.run(["mcopy", "-i", stick, bundle, "::"], check=True)
        return stick


def replace(root: Path, files: dict[str, bytes]) -> None:
    """Files in the image of a root; Python's compiled ones go with their sources."""
    commands = []
    for number, (path, content) in enumerate(files.items()):
        source = root.with_name(f"file-{number}")
        source.write_bytes(content)
        folder, name = path.rsplit("/", 1)
        compiled = f"{folder}/__pycache__/{name.removesuffix('.py')}.cpython-313.pyc"
        commands += [f"rm {compiled}", f"rm {path}", f"cd {folder}", f"write {source} {name}"]
    subprocess.run(
        ["debugfs", "-w", "-f", "-", root],
        input="\n".join(commands),
        text=True,
        capture_output=True,
        check=True,
    )


def let_take_updates(built: Built, card: Path, folder: Path) -> None:
    """Have the system on a card know the key of these releases: an image may have none."""
    root = folder / "root-a.img"
    subprocess.run(["cp", "--sparse=always", built.folder / "root.img", root], check=True)
    replace(root, {places.UPDATE_KEY: PUBLIC})
    emulator.write(card, root, layout.ROOT_A)
