"""The second stage: Debian's tree and our files become an image, inside the tree of tools."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from image import debian
from image.payload import Release
from image.steps import Step

HOSTNAME = "lanjami"


@dataclass(frozen=True, slots=True)
class Inputs:
    """Tars of the tools, of the box's Debian and of what is ours (`payload`), with the initramfs
    and the driver that are made for it; and how hard xz tries."""

    tools: Path
    base: Path
    initramfs: Path
    driver: Path
    payload: Path
    level: int


def assemble(step: Step, inputs: Inputs, out: Path, release: Release) -> None:
    """Writes the image, plain and compressed, and what is to be told of it, into `out`.

    mmdebstrap is here only for the way in which it becomes root of a tree. Raises BuildError.
    """
    variables = {
        "IMAGE": f"{release.name}.img",
        "XZ_LEVEL": str(inputs.level),
        "HOSTNAME_OF_THE_BOX": HOSTNAME,
        "SOURCE_DATE_EPOCH": str(release.epoch_s),
        "PATH": "/usr/sbin:/usr/bin",
        "LC_ALL": "C.UTF-8",
    }
    run = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    inside = f'chroot "$1" /usr/bin/env -i {run} /bin/sh /payload/stage2'
    packed = out / "work/out.tar"
    step.run(
        [
            *[*debian.mmdebstrap(), "--variant=custom", "--format=null"],
            "--skip=setup,update,cleanup",
            f"--setup-hook=tar-in {inputs.tools} /",
            debian.MOUNT_POINTS,
            '--customize-hook=mkdir "$1/target" "$1/payload"',
            f"--customize-hook=tar-in {inputs.base} /target",
            f"--customize-hook=tar-in {inputs.payload} /payload",
            f"--customize-hook=upload {inputs.initramfs} /payload/initrd.img",
            f"--customize-hook=upload {inputs.driver} /payload/raspberrypi-hwmon.ko.xz",
            f"--customize-hook={inside}/install",
            f"--customize-hook={inside}/assemble",
            f"--customize-hook=download /out.tar {packed}",
            *[debian.SUITE, "-", f"deb {debian.MIRROR} {debian.SUITE} main"],
        ],
        environment=debian.environment(release.epoch_s),
    )
    step.run(
        ["tar", "--extract", "--sparse", "--file", packed, "--directory", out],
        environment=debian.environment(release.epoch_s),
    )
    packed.unlink()
