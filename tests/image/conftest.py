"""The image that is judged is in the folder that LANJAMI_IMAGE names; `make image-check` does.

With it, what needs an image is run; without, all else: it takes a quarter of an hour to make one.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.built import Built
from tests.support.lab import Lab

FOLDER = os.environ.get("LANJAMI_IMAGE")
NEED_AN_IMAGE = {
    "test_again.py",
    "test_alone.py",
    "test_board.py",
    "test_boot.py",
    "test_building.py",
    "test_card.py",
    "test_contents.py",
    "test_drivers.py",
    "test_service.py",
    "test_several.py",
}
collect_ignore = [
    path.name
    for path in Path(__file__).parent.glob("test_*.py")
    if (path.name in NEED_AN_IMAGE) != bool(FOLDER)
]


@pytest.fixture(scope="session")
def built() -> Built:
    assert FOLDER
    return Built(Path(FOLDER))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with contextlib.closing(Lab(tmp_path_factory.mktemp("lab"))) as lab:
        yield lab


@pytest.fixture(scope="session")
def tree(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The root as a folder. Owned by whoever tests, unless that is root."""
    folder = tmp_path_factory.mktemp("root")
    subprocess.run(["tar", "-xf", built.root_tar, "-C", folder], check=True)
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)
