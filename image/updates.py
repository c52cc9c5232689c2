"""Whom boxes of an image take updates from: an Ed25519 key, and the update that it signs.

Its public half is in the image; who has the private one can bring anything to every box. What an
update is, is in `image/bundle`.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from image import debian
from image.payload import Release
from image.steps import BuildError, Step

PUBLIC = debian.FOLDER / "update-key.pem"  # where a distributor keeps theirs
PRIVATE = "lanjami-image/signing-key.pem"  # in the folder for settings of whoever builds


@dataclass(frozen=True, slots=True)
class Keys:
    """The `public` half, as PEM, None for an image that takes no updates; and the file with the
    private one, None where updates are not signed here."""

    public: bytes | None
    private: Path | None


def private_key() -> Path:
    """Where the private key of who builds is, outside of every checkout."""
    settings = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(settings, PRIVATE)


def make_key(path: Path) -> None:
    """Make a key, for nobody but its owner to read. Raises BuildError, also where there is one: to
    boxes that know another, no update can be brought any longer."""
    if path.resolve().is_relative_to(debian.FOLDER.parent.resolve()):
        raise BuildError(f"{path} is in the checkout, where it would be given to everybody")
    made = _openssl("genpkey", "-algorithm", "ed25519")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "wb") as key:
            key.write(made)
            os.fsync(file)
    except FileExistsError:
        raise BuildError(f"there is a key in {path} already, which boxes may know") from None
    except OSError as error:
        raise BuildError(f"{path} cannot be written: {error.strerror}") from error


def keys(public: Path | None, private: Path | None, *, usual: Path) -> Keys:
    """Those of a build: what is given, else the `usual` private key where there is one, of which
    the public half is made. No update is signed with the usual one where another `public` one is
    given. Raises BuildError where a key is none, or two that are given are of different pairs."""
    mine = private or (usual if usual.exists() else None)
    half = None if mine is None else _openssl("pkey", "-in", mine, "-pubout")
    given = half if public is None else _openssl("pkey", "-pubin", "-in", public, "-pubout")
    for key in filter(None, (half, given)):
        if b"ED25519" not in _openssl("pkey", "-pubin", "-noout", "-text", given=key):
            raise BuildError("updates are signed with a key of Ed25519, and this is another")
    if half != given and private is not None:
        raise BuildError(f"{private} is not the private half of {public}")
    return Keys(given, mine if half == given else None)


def bundle(step: Step, out: Path, release: Release, key: Path, *, level: int) -> Path:
    """Write what brings this image's root to boxes beside it. Raises BuildError."""
    made = path(out, release)
    step.run(
        [
            *(sys.executable, debian.FOLDER / "bundle"),
            *(out / "root.img", release.version, key, made, str(level)),
        ],
        environment=debian.environment(release.epoch_s),
    )
    return made


def path(out: Path, release: Release) -> Path:
    return out / f"lanjami-update-{release.version}.tar"


def _openssl(*words: str | Path, given: bytes = b"") -> bytes:
    try:
        done = subprocess.run(["openssl", *words], input=given, capture_output=True, check=False)
    except FileNotFoundError:
        raise BuildError(
            "missing on this machine: openssl (sudo apt-get install openssl)"
        ) from None
    if done.returncode:
        complaint = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise BuildError(f"openssl {words[0]}: {complaint[0] if complaint else 'failed'}")
    return done.stdout
