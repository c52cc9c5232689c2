"""The same commit and the same packages make the same bytes."""

import os
import subprocess
import sys
from pathlib import Path

from tests.image.built import Built


def test_a_second_build_makes_the_same_image(built: Built, tmp_path: Path) -> None:
    """Of the kept first stage; in another folder, with other rights for new files."""
    subprocess.run(
        ["image/build", "--out", tmp_path / "out"],
        env={**os.environ, "PYTHON": sys.executable},
        umask=0o077,
        check=True,
    )
    again = Built(tmp_path / "out")
    for path in (built.image, built.compressed, built.root_tar):
        assert subprocess.run(["cmp", path, again.folder / path.name], check=False).returncode == 0
    assert built.bill == again.bill
