"""Trees of Debian packages, made by mmdebstrap as whoever calls, and kept for the next build."""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from image.steps import Step

FOLDER = Path(__file__).resolve().parent
SUITE = "trixie"
MIRROR = "http://deb.debian.org/debian"
SECURITY_MIRROR = "http://deb.debian.org/debian-security"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SNAPSHOTS = "http://snapshot.debian.org/archive"

# What mmdebstrap mounts on in a tree that it did not make itself.
MOUNT_POINTS = '--setup-hook=mkdir -p "$1/dev/pts" "$1/dev/shm" "$1/proc" "$1/sys"'

# What a build follows of this machine's own settings of apt: proxies, and whether a mirror may be
# older than it says, as one that was stopped is.
FOLLOWED = ("Acquire::http::", "Acquire::https::", "Acquire::Check-")

# Times of files that packages make while they are set up. Not the commit's, so that a tree serves
# many commits; after the point release that the suites began with, so that no clock runs back.
EPOCH_S = 1_754_697_600  # 2025-08-09, Debian 13.0


@dataclass(frozen=True, slots=True)
class Archive:
    """Where packages come from: a mirror, or the mirror of one moment ("20261120T000000Z")."""

    mirror: str = MIRROR
    security_mirror: str = SECURITY_MIRROR
    snapshot: str = ""

    def sources(self, components: str) -> list[str]:
        mirror, security = self.mirror, self.security_mirror
        if self.snapshot:
            mirror = f"{SNAPSHOTS}/debian/{self.snapshot}"
            security = f"{SNAPSHOTS}/debian-security/{self.snapshot}"
        return [
            f"deb {mirror} {SUITE} {components}",
            f"deb {mirror} {SUITE}-updates {components}",
            f"deb {security} {SUITE}-security {components}",
            f"deb {mirror} {SUITE}-backports {components}",
        ]


@dataclass(frozen=True, slots=True)
class Kernel:
    """Linux of the box: `release` as uname(2) has it, `version` of Debian's package."""

    release: str
    version: str

    @property
    def source(self) -> dict[str, str]:
        """The package with its source, with the fields that dpkg's database would have of it."""
        series = ".".join(self.version.split(".")[:2])
        return {
            "Package": f"linux-source-{series}",
            "Version": self.version,
            "Architecture": "all",
        }


@dataclass(frozen=True, slots=True)
class Tree:
    """What is in a tree."""

    name: str
    packages: tuple[str, ...]
    archive: Archive
    architectures: tuple[str, ...] = ()  # of its packages, its own first; none: this machine's
    components: str = "main"
    dpkg_conf: tuple[str, ...] = ()
    setup: str = ""  # a script of sh that gets the tree as $1, before packages are set up
    finish: str = ""  # another, when all is there
    product: str = ""  # what of it is kept, "/a/file"; empty: all, as a tar

    @property
    def key(self) -> str:
        """Of everything that makes the tree, so that whatever changes makes another."""
        return hashlib.sha256(repr(_recipe(self, Path(), Path())).encode()).hexdigest()[:16]


def usual_cache() -> Path:
    """Where a build keeps what it made, unless it is told otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lanjami-image"


def listed(path: Path) -> tuple[str, ...]:
    """The words of a list with comments."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return tuple(line for line in lines if line)


def tools(archive: Archive) -> Tree:
    """What puts the image together, for this machine."""
    return Tree(
        name="tools",
        packages=listed(FOLDER / "tools/packages"),
        archive=archive,
        dpkg_conf=("path-exclude=/usr/share/doc/*", "path-exclude=/usr/share/locale/*"),
    )


def base(archive: Archive) -> Tree:
    """The box's Debian, without lanjami."""
    return Tree(
        name="base",
        packages=listed(FOLDER / "base/packages"),
        archive=archive,
        architectures=("arm64",),
        components="main non-free-firmware",
        dpkg_conf=listed(FOLDER / "base/dpkg.conf"),
        setup=(FOLDER / "base/setup").read_text(),
        finish=(FOLDER / "base/finish").read_text(),
    )


def kernel(base: Path) -> Kernel:
    """The one that a base (a tar) was made with."""
    with tarfile.open(base) as tar:
        status = tar.extractfile("./var/lib/dpkg/status")
        assert status is not None
        packages = {each["Package"]: each for each in installed(status.read().decode())}
    (image,) = (name for name in packages if re.match(r"linux-image-\d", name))
    return Kernel(image.removeprefix("linux-image-"), packages[image]["Version"])


def installed(status: str) -> Iterator[dict[str, str]]:
    """The fields of every package that dpkg's database, by its text, has as installed."""
    for paragraph in status.split("\n\n"):
        fields = HeaderParser().parsestr(paragraph)
        if fields.get("Status") == "install ok installed":
            yield dict(fields)


def driver(archive: Archive, kernel: Kernel) -> Tree:
    """What tells of a Raspberry Pi's under-voltage: Linux has a driver for it that Debian's kernels
    are built without (SENSORS_RASPBERRYPI_HWMON), so it is made of their source."""
    source = kernel.source
    return Tree(
        name="driver",
        packages=(
            f"linux-headers-{kernel.release}:arm64",  # which bring the compiler
            f"{source['Package']}={source['Version']}",
            "make",
        ),
        archive=archive,
        architectures=(_own_architecture(), "arm64"),
        finish=(FOLDER / "driver/finish").read_text(),
        product="/raspberrypi-hwmon.ko.xz",
    )


def make(step: Step, tree: Tree, cache: Path, *, fresh: bool) -> Path:
    """The tree's product in the cache, made unless it is there. Raises BuildError."""
    suffix = "".join(Path(tree.product).suffixes) or ".tar"
    made = cache / f"{tree.name}-{tree.key}{suffix}"
    if made.exists() and not fresh:
        step.kept = made.name
        return made
    packages = cache / "packages" / tree.name
    packages.mkdir(parents=True, exist_ok=True)
    unfinished = cache / f"new-{made.name}"
    command = [*mmdebstrap(), *_machine_settings()]
    step.run([*command, *_recipe(tree, packages, unfinished)], environment=environment(EPOCH_S))
    unfinished.rename(made)
    return made


def initramfs(step: Step, base: Path, ours: Path, cache: Path) -> Path:
    """The initramfs of a base with the files of the tar `ours`, made unless it is in the cache.

    It takes minutes under emulation and seldom changes. Raises BuildError.
    """
    key = hashlib.sha256(base.name.encode() + ours.read_bytes()).hexdigest()[:16]
    made = cache / f"initrd-{key}.img"
    if made.exists() and made.stat().st_mtime >= base.stat().st_mtime:
        step.kept = made.name
        return made
    unfinished = made.with_suffix(".new.img")
    inside = 'chroot "$1" mkinitramfs -o /initrd.img "$(ls "$1/usr/lib/modules")"'
    step.run(
        [
            *[*mmdebstrap(), "--variant=custom", "--format=null"],
            *["--architectures=arm64", "--skip=setup,update,cleanup"],
            f"--setup-hook=tar-in {base} /",
            MOUNT_POINTS,
            f"--customize-hook=tar-in {ours} /",
            f"--customize-hook={inside}",
            f"--customize-hook=download /initrd.img {unfinished}",
            *[SUITE, "-", f"deb {MIRROR} {SUITE} main"],
        ],
        environment=environment(EPOCH_S),
    )
    unfinished.rename(made)
    return made


def _recipe(tree: Tree, packages: Path, target: Path) -> list[str | Path]:
    """What makes the tree; `packages` is where fetched ones are kept."""
    return [
        "--variant=apt",
        *([f"--architectures={','.join(tree.architectures)}"] if tree.architectures else []),
        f"--include={','.join(tree.packages)}",
        "--aptopt=APT::Install-Recommends false",
        "--aptopt=Acquire::Retries 3",
        *(["--aptopt=Acquire::Check-Valid-Until false"] if tree.archive.snapshot else []),
        "--dpkgopt=force-confold",
        "--dpkgopt=force-unsafe-io",  # a tree that lost its power is made again
        *[f"--dpkgopt={line}" for line in tree.dpkg_conf],
        "--skip=essential/unlink,download/empty,cleanup/apt,output/dev",
        '--setup-hook=mkdir -p "$1/var/cache/apt/archives"',
        f"--setup-hook=sync-in {packages} /var/cache/apt/archives",
        *([f"--essential-hook={tree.setup}"] if tree.setup else []),
        f"--customize-hook=sync-out /var/cache/apt/archives {packages}",
        *([f"--customize-hook={tree.finish}"] if tree.finish else []),
        '--customize-hook=rm -rf "$1/var/cache/apt/archives" "$1/var/lib/apt/lists"',
        *([f"--customize-hook=download {tree.product} {target}"] if tree.product else []),
        *(["--format=null"] if tree.product else []),
        SUITE,
        "-" if tree.product else target,
        *tree.archive.sources(tree.components),
    ]


def _own_architecture() -> str:
    """This machine's, in Debian's words."""
    command = ["dpkg", "--print-architecture"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _machine_settings() -> list[str]:
    """How this machine's apt reaches the archive: no package differs by it."""
    printed = subprocess.run(
        ["apt-config", "dump", "--no-empty", "--format", '%F "%v";%n', "Acquire"],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (line for line in printed.stdout.splitlines() if line.startswith(FOLLOWED))
    return [f"--aptopt={line}" for line in lines]


def mmdebstrap() -> list[str]:
    """How it gets to own files: as root it is root, with mounts that end with it however it ends;
    else in a user namespace."""
    if os.geteuid() == 0:
        return ["unshare", "--mount", "mmdebstrap", "--mode=root"]
    return ["mmdebstrap", "--mode=unshare"]


def environment(epoch_s: int) -> Mapping[str, str]:
    """What programs of the build see of this machine: little, and no language."""
    keep = ("HOME", "PATH", "TMPDIR", "http_proxy", "https_proxy", "no_proxy")
    kept = {name: os.environ[name] for name in keep if name in os.environ}
    kept["PATH"] = f"{kept.get('PATH', '')}:/usr/sbin:/sbin"
    return {
        **kept,
        "LC_ALL": "C.UTF-8",
        "SOURCE_DATE_EPOCH": str(epoch_s),
        "QEMU_CPU": "cortex-a53",
    }


def missing(programs: Sequence[str]) -> list[str]:
    path = environment(0)["PATH"]
    return [program for program in programs if shutil.which(program, path=path) is None]
