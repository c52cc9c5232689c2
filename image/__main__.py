"""`image/build`: makes the image for Raspberry Pi from this checkout."""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from image import assembly, debian, payload, published, updates
from image.screen import Screen
from image.steps import BuildError, Steps, tail

# The steps, and about how many seconds of a processor each takes with nothing kept.
TOOLS = "tools of Debian"
WHEELS = "lanjami and its wheels"
BASE = "Debian for the box"
INITRAMFS = "initramfs"
DRIVER = "driver for the board's power"
FILES = "files for the box"
IMAGE = "image"
UPDATE = "update"
LISTS = "sums and lists"
USUAL_S = {
    TOOLS: 40,
    WHEELS: 10,
    BASE: 230,
    INITRAMFS: 90,
    DRIVER: 45,
    FILES: 1,
    IMAGE: 80,
    UPDATE: 40,  # where there is a key
    LISTS: 4,
}

# Program, and the package of Debian and Ubuntu that has it.
NEEDED = {
    "mmdebstrap": "mmdebstrap",
    "arch-test": "arch-test",
    "newuidmap": "uidmap",
    "tar": "tar",
    "git": "git",
}


def main() -> int:
    options = _options()
    began = time.monotonic()
    screen = Screen(sys.stderr)
    try:
        if options.new_key:
            return _make_key(options, screen)
        release = _release()
        _require_programs()
        keys = updates.keys(options.update_key, options.signing_key, usual=updates.private_key())
        is_signed = keys.private is not None
        usual_s = {title: s for title, s in USUAL_S.items() if title != UPDATE or is_signed}
        steps = Steps(options.out / "logs", usual_s, screen)
        with steps.ended_with_us(), steps.shown():
            made = _build(options, steps, release, keys)
    except BuildError as error:
        screen.say(f"image/build: {error}")
        if error.log is not None:
            screen.say(f"{tail(error.log)}\nThe whole log: {error.log}")
        return 1
    times = {title: round(seconds, 1) for title, seconds in steps.times.items()}
    (options.out / "logs/times.json").write_text(json.dumps(times, indent=1) + "\n")
    size = made.stat().st_size / 1e6
    screen.say(f"{made} ({size:.0f} MB, {time.monotonic() - began:.0f} s)")
    if keys.public is None:
        screen.say("Its boxes take no updates: `image/build --new-key` makes a key for that.")
    elif keys.private is not None:
        screen.say(f"{updates.path(options.out, release)} brings it to boxes that know this key")
    return 0


def _make_key(options: argparse.Namespace, screen: Screen) -> int:
    path = options.signing_key or updates.private_key()
    updates.make_key(path)
    screen.say(
        f"{path} signs updates from now on. Keep a copy where nobody else finds it: without it, no "
        "update can be brought to the boxes of your images, and with it, anything."
    )
    return 0


def _build(
    options: argparse.Namespace, steps: Steps, release: payload.Release, keys: updates.Keys
) -> Path:
    work = options.out / "work"
    for folder in (work, options.cache):
        folder.mkdir(parents=True, exist_ok=True)
    archive = debian.Archive(
        mirror=options.mirror, security_mirror=options.security_mirror, snapshot=options.snapshot
    )
    made: dict[str, Path] = {}

    def tree(title: str, tree: debian.Tree) -> None:
        with steps.step(title) as step:
            made[title] = debian.make(step, tree, options.cache, fresh=options.fresh)

    def initramfs() -> None:
        with steps.step(INITRAMFS) as step:
            ours = work / "initramfs.tar"
            payload.pack_for_initramfs(ours)
            made[INITRAMFS] = debian.initramfs(step, made[BASE], ours, options.cache)

    def wheels() -> None:
        tree(TOOLS, debian.tools(archive))
        with steps.step(WHEELS) as step:
            made[WHEELS] = payload.install_wheels(
                step, options.python, work, epoch_s=release.epoch_s
            )

    # What runs under emulation takes the longest and one core, so the rest is made beside it.
    steps.together(lambda: tree(BASE, debian.base(archive)), wheels)
    kernel = debian.kernel(made[BASE])
    steps.together(initramfs, lambda: tree(DRIVER, debian.driver(archive, kernel)))
    with steps.step(FILES):
        packed = work / "payload.tar"
        payload.pack(packed, site=made[WHEELS], release=release, update_key=keys.public)
    with steps.step(IMAGE) as step:
        inputs = assembly.Inputs(
            tools=made[TOOLS],
            base=made[BASE],
            initramfs=made[INITRAMFS],
            driver=made[DRIVER],
            payload=packed,
            level=options.xz,
        )
        assembly.assemble(step, inputs, options.out, release)
    # an earlier build's, of another root
    updates.path(options.out, release).unlink(missing_ok=True)
    update = None
    if keys.private is not None:
        with steps.step(UPDATE) as step:
            update = updates.bundle(step, options.out, release, keys.private, level=options.xz)
    with steps.step(LISTS):
        return published.describe(
            options.out,
            release,
            source=kernel.source,
            site=made[WHEELS],
            url=options.url,
            update=update,
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="image/build",
        description="Makes the image of lanjami for Raspberry Pi from this checkout, as whoever "
        "calls: no root, no loop device. The first stage, Debian's packages, is kept in the cache. "
        "Proxies are taken from the environment and from apt's settings of this machine.",
    )
    add = parser.add_argument
    add("--out", type=_path, default=_path("dist/image"), help="default: %(default)s")
    add("--cache", type=_path, default=debian.usual_cache(), help="default: %(default)s")
    add("--fresh", action="store_true", help="make the first stage anew, with today's packages")
    add("--mirror", default=debian.MIRROR, help="of Debian; default: %(default)s")
    add("--security-mirror", default=debian.SECURITY_MIRROR, help="default: %(default)s")
    add("--snapshot", default="", metavar="TIME", help="packages as they were: 20261120T000000Z")
    add("--new-key", action="store_true", help="make the key that updates are signed with, once")
    add("--signing-key", type=_path, help=f"PEM, private; default: {updates.private_key()}")
    add("--update-key", type=_path, help="PEM: the public key, where another signs the updates")
    add("--url", default="", help="where the image will be, for the entry of Raspberry Pi Imager")
    add("--xz", type=int, default=1, choices=range(10), help="level; default: %(default)s")
    add("--python", type=Path, default=Path(sys.executable), help="with pip and hatchling")
    options = parser.parse_args()
    if options.update_key is None and updates.PUBLIC.exists():
        options.update_key = updates.PUBLIC
    return options


def _path(text: str) -> Path:
    return Path(text).absolute()


def _release() -> payload.Release:
    """Raises BuildError outside of a repository: the image's time is its commit's."""
    source = (payload.CHECKOUT / "lanjami/__init__.py").read_text()
    version = re.search(r'__version__ = "(.+)"', source)
    assert version is not None
    return payload.Release(
        version=version[1],
        commit=_git("rev-parse", "HEAD") + ("-dirty" if _git("status", "--porcelain") else ""),
        epoch_s=int(_git("show", "-s", "--format=%ct", "HEAD")),
    )


def _git(*words: str) -> str:
    folder = str(payload.CHECKOUT)
    # safe.directory: the checkout may be another's, as in a container.
    command = ["git", "-c", f"safe.directory={folder}", "-C", folder, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"the time of the image is its commit's, and git says: {done.stderr}")
    return done.stdout.strip()


def _require_programs() -> None:
    missing = [NEEDED[program] for program in debian.missing(list(NEEDED))]
    arm64 = ["arch-test", "arm64"]
    if not missing and subprocess.run(arm64, capture_output=True, check=False).returncode:
        missing = ["qemu-user-static", "binfmt-support"]
    if not debian.KEYRING.exists():
        missing.append("debian-archive-keyring")
    if missing:
        raise BuildError(
            f"missing on this machine: {' '.join(missing)} "
            f"(sudo apt-get install {' '.join(missing)})"
        )


if __name__ == "__main__":
    sys.exit(main())
