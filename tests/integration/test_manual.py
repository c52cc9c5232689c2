"""The manual pages and completions that are installed beside the program."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lanjami.cli import manual

SHARE = Path("packaging/share")
PAGES = sorted(SHARE.glob("man/man1/*.1"))

# The programs of two makes that read manual pages, as strict as they can be. A page has no date:
# it is as old as the version that it names.
READERS = {
    "mandoc": ["mandoc", "-T", "lint", "-W", "warning"],
    "groff": ["groff", "-man", "-ww", "-z"],
}
NO_DATE = 'WARNING: missing date, using "": TH'


def test_what_is_installed_is_what_the_commands_say() -> None:
    there = {
        str(file.relative_to(SHARE)): file.read_text("utf-8")
        for file in SHARE.rglob("*")
        if file.is_file()
    }
    assert there == manual.files(), "make pages"


@pytest.mark.parametrize("reader", READERS)
def test_readers_find_no_fault(reader: str) -> None:
    if shutil.which(reader) is None:
        pytest.skip(f"{reader} is not installed")
    assert PAGES
    done = subprocess.run([*READERS[reader], *PAGES], capture_output=True, text=True, check=False)
    told = (done.stdout + done.stderr).splitlines()
    assert [line for line in told if not line.endswith(NO_DATE)] == []


def test_every_command_and_verb_has_its_place() -> None:
    pages = {page.stem: page.read_text("utf-8") for page in PAGES}
    assert "lanjami\\-names (1)" in pages["lanjami"]
    assert ".SS import\n.B lanjami names import\n" in pages["lanjami-names"]
    assert ".B \\-\\-from\\-client HOST\n" in pages["lanjami-doctor"]


def test_the_wheel_brings_it_to_where_it_is_looked_for(tmp_path: Path) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), "."),
        ],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        brought = {
            name.partition(".data/data/share/")[2]: archive.read(name).decode()
            for name in archive.namelist()
            if ".data/data/share/" in name
        }
    assert brought == manual.files()
