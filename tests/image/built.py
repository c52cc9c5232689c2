"""An image as it was built: its files, its partitions, its root."""

import json
import subprocess
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from image import layout


@dataclass(frozen=True)
class Built:
    folder: Path

    @property
    def image(self) -> Path:
        (path,) = self.folder.glob("lanjami-*.img")
        return path

    @property
    def compressed(self) -> Path:
        return self.image.with_suffix(".img.xz")

    @property
    def root_tar(self) -> Path:
        return self.folder / "root.tar"

    @property
    def bill(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.image.with_suffix(".spdx.json").read_text())
        return content

    @cached_property
    def root(self) -> dict[str, tarfile.TarInfo]:
        """What is in the root, by its path without the first slash."""
        with tarfile.open(self.root_tar) as tar:
            return {entry.name.removeprefix("./"): entry for entry in tar}

    def read(self, path: str) -> bytes:
        """The content of a file of the root."""
        with tarfile.open(self.root_tar) as tar:
            file = tar.extractfile(self.root[path])
            assert file is not None, f"{path} is no file"
            return file.read()

    def boot_files(self) -> list[str]:
        """The files of the FAT partition, by path."""
        printed = self._mtools("mdir", "-b", "-/", "::")
        return [line.removeprefix("::/") for line in printed.decode().splitlines() if line]

    def boot_file(self, path: str) -> bytes:
        return self._mtools("mtype", f"::/{path}")

    def cut(self, partition: layout.Partition, to: Path) -> Path:
        """A partition as a file of its own, with holes where it is empty."""
        subprocess.run(
            [
                *("dd", f"if={self.image}", f"of={to}", "bs=1M", "conv=sparse", "status=none"),
                *(f"skip={partition.start_mib}", f"count={partition.size_mib}"),
            ],
            check=True,
        )
        return to

    def _mtools(self, command: str, *words: str) -> bytes:
        where = f"{self.image}@@{layout.FIRMWARE.start_mib}M"
        done = subprocess.run([command, "-i", where, *words], capture_output=True, check=True)
        return done.stdout
