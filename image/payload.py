"""What is ours in the image: the installed wheel, the units, and the files of `rootfs/`.

All of it goes into the second stage as one tar, in which nothing tells who built it where.
"""

import io
import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from image import debian, layout
from image.steps import Step

CHECKOUT = debian.FOLDER.parent
VENV = "opt/lanjami"
PYTHON = "3.13"  # of Debian 13
# What pip takes for a box with glibc 2.41 on 64-bit ARM.
PLATFORMS = tuple(f"manylinux_2_{minor}_aarch64" for minor in (34, 31, 28, 17))

LAUNCHER = f"""\
#!/{VENV}/bin/python3
import sys
from lanjami.cli.main import main
sys.exit(main())
"""
PYVENV = f"""\
home = /usr/bin
include-system-site-packages = true
version = {PYTHON}
"""

# Where the checkout's own files go; of the same files as docs/system-service.md installs.
UNITS = "usr/lib/systemd/system"
PLACES = {
    "packaging/lanjami.service": f"{UNITS}/lanjami.service",
    "packaging/lanjami-power-off.service": f"{UNITS}/lanjami-power-off.service",
    "packaging/lanjami-power-off.path": f"{UNITS}/lanjami-power-off.path",
    "packaging/lanjami-power-off.conf": f"{UNITS}/lanjami.service.d/power-off.conf",
    "packaging/lanjami.sysusers": "usr/lib/sysusers.d/lanjami.conf",
    "LICENSE": "usr/share/doc/lanjami/copyright",
}
INITRAMFS = """\
# Level 1: the initramfs is made under emulation.
MODULES=most
COMPRESS=zstd
COMPRESSLEVEL=1
"""


@dataclass(frozen=True, slots=True)
class Release:
    """Of which state of the checkout an image is made; `epoch_s` is the commit's time."""

    version: str
    commit: str  # empty outside of a repository; with "-dirty" where files differ from it
    epoch_s: int

    @property
    def name(self) -> str:
        return f"lanjami-{self.version}-rpi-arm64"


_PROGRAM = re.compile(r"(\.\./)*bin/")


def install_wheels(step: Step, python: Path, folder: Path, *, epoch_s: int) -> Path:
    """The wheel of this checkout and the locked ones, laid out as the box's site-packages.

    `python` is one of a venv with pip and the project's build backend. Raises BuildError.
    """
    site = folder / "site-packages"
    for old in (site, folder / "dist"):
        shutil.rmtree(old, ignore_errors=True)
    environment = {**debian.environment(epoch_s), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    pip: list[str | Path] = [python, "-m", "pip"]
    into: list[str | Path] = ["--no-deps", "--no-compile", "--target", site]
    step.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder / "dist", CHECKOUT],
        environment=environment,
    )
    step.run(
        [
            *[*pip, "install", *into, "--require-hashes", "--only-binary=:all:"],
            *["-r", str(CHECKOUT / "requirements/image.txt"), "--python-version", PYTHON],
            *["--implementation", "cp", "--abi", "cp313", "--abi", "abi3", "--abi", "none"],
            *[word for platform in PLATFORMS for word in ("--platform", platform)],
        ],
        environment=environment,
    )
    # By its name and not its path, which pip would write down.
    step.run(
        [*pip, "install", *into, "--no-index", "--find-links", folder / "dist", "lanjami"],
        environment=environment,
    )
    for unwanted in ("bin", "share"):  # programs for the machine that builds; manuals
        shutil.rmtree(site / unwanted, ignore_errors=True)
    for record in site.glob("*.dist-info/RECORD"):  # with hashes of programs that name `python`
        lines = record.read_text("utf-8").splitlines(keepends=True)
        record.write_text("".join(line for line in lines if not _PROGRAM.match(line)), "utf-8")
    return site


def pack(path: Path, *, site: Path, release: Release, update_key: bytes | None) -> None:
    """Writes the tar: `root/` for the box, `firmware/` for its FAT partition, and the scripts."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        packer = _Packer(tar, release.epoch_s)
        for script in ("install", "assemble"):
            packer.file(f"stage2/{script}", debian.FOLDER / "stage2" / script)
        packer.text("layout.sh", layout.variables())
        packer.text("layout.sfdisk", layout.table())
        packer.tree("firmware", debian.FOLDER / "firmware")
        packer.tree(f"root/{VENV}/lib/python{PYTHON}/site-packages", site)
        packer.text(f"root/{VENV}/bin/lanjami", LAUNCHER, mode=0o755)
        packer.link("root/usr/bin/lanjami", f"/{VENV}/bin/lanjami")  # for who comes by SSH
        packer.link(f"root/{VENV}/bin/python3", "/usr/bin/python3")
        packer.link(f"root/{VENV}/bin/python", "python3")
        packer.text(f"root/{VENV}/pyvenv.cfg", PYVENV)
        for source, place in PLACES.items():
            packer.file(f"root/{place}", CHECKOUT / source)
        about = {"version": release.version, "commit": release.commit, "built": release.epoch_s}
        packer.text("root/usr/share/lanjami/image.json", json.dumps(about) + "\n")
        if update_key is not None:
            packer.text("root/usr/share/lanjami/update-key.pem", update_key.decode("ascii"))
        packer.tree("root", debian.FOLDER / "rootfs")


def pack_for_initramfs(path: Path, *, is_bare: bool = False) -> None:
    """Writes what an initramfs is made with besides Debian: the same tar for many commits. A bare
    one has nothing of lanjami."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        packer = _Packer(tar, debian.EPOCH_S)
        packer.text("etc/initramfs-tools/conf.d/lanjami-build", INITRAMFS)
        for folder in () if is_bare else ("etc/initramfs-tools", "usr/lib/lanjami"):
            packer.tree(folder, debian.FOLDER / "rootfs" / folder)


class _Packer:
    """Puts files into a tar in an order, as root's, at one time, with one of two modes."""

    def __init__(self, tar: tarfile.TarFile, epoch_s: int) -> None:
        self._tar = tar
        self._epoch_s = epoch_s
        self._folders: set[str] = set()

    def tree(self, place: str, source: Path) -> None:
        for path in sorted(_files_below(source)):
            name = f"{place}/{path.relative_to(source)}"
            if path.is_symlink():
                self.link(name, str(path.readlink()))
            else:
                self.file(name, path)

    def file(self, place: str, source: Path) -> None:
        executable = bool(source.stat().st_mode & 0o100)
        self._add(place, source.read_bytes(), mode=0o755 if executable else 0o644)

    def text(self, place: str, text: str, *, mode: int = 0o644) -> None:
        self._add(place, text.encode(), mode=mode)

    def link(self, place: str, target: str) -> None:
        entry = self._entry(place, mode=0o777)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self._tar.addfile(entry)

    def _add(self, place: str, content: bytes, *, mode: int) -> None:
        entry = self._entry(place, mode=mode)
        entry.size = len(content)
        self._tar.addfile(entry, io.BytesIO(content))

    def _entry(self, place: str, *, mode: int) -> tarfile.TarInfo:
        for parent in reversed(Path(place).parents[:-1]):
            if str(parent) not in self._folders:
                self._folders.add(str(parent))
                folder = tarfile.TarInfo(str(parent))
                folder.type, folder.mode, folder.mtime = tarfile.DIRTYPE, 0o755, self._epoch_s
                self._tar.addfile(folder)
        entry = tarfile.TarInfo(place)
        entry.mode, entry.mtime = mode, self._epoch_s
        return entry


def _files_below(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if (path.is_symlink() or path.is_file()) and path.suffix != ".pyc":
            yield path
