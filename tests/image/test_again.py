"""The same commit and the same packages make the same bytes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.image.built import Built


@pytest.fixture
def again(tmp_path: Path) -> Built:
    """A second build, in another folder, with other rights for new files. scripts/image-check has
    made one with a first stage of its own, where it says so; else it is of the kept first stage."""
    folder = os.environ.get("LANJAMI_IMAGE_AGAIN")
    if folder is not None:
        return Built(Path(folder))
    subprocess.run(
        ["image/build", "--out", tmp_path / "out"],
        env={**os.environ, "PYTHON": sys.executable},
        umask=0o077,
        check=True,
    )
    return Built(tmp_path / "out")


def test_a_second_build_makes_the_same_image(built: Built, again: Built) -> None:
    assert built.folder != again.folder
    for path in (built.image, built.compressed, built.root_tar):
        assert subprocess.run(["cmp", path, again.folder / path.name], check=False).returncode == 0
    assert built.bill == again.bill
