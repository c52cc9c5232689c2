"""The build's own decisions, without a build."""

import io
import os
import re
import tarfile
import threading
import tomllib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from image import debian, layout, payload, published
from image.debian import Archive
from image.payload import Release
from image.screen import Screen
from image.steps import BuildError, Steps, tail

RELEASE = Release(version="0.1.0", commit="0" * 40, epoch_s=1_795_000_000)
STATUS = """\
Package: nftables
Status: install ok installed
Architecture: arm64
Version: 1.1.3-1
Description: Program to control packet filtering rules
 Many lines
 .
 of it.

Package: gone
Status: deinstall ok config-files
Architecture: arm64
Version: 1:2-1+b1

"""
SHELL = {"PATH": os.environ["PATH"]}


def test_partitions_follow_each_other_and_slots_are_alike() -> None:
    for one, next_one in pairwise(layout.PARTITIONS):
        assert one.start_mib + one.size_mib == next_one.start_mib
    assert layout.PARTITIONS[0].start_mib * layout.MIB > layout.SLOT_STATE_SECTORS[-1] * 512
    assert layout.ROOT_A.size_mib == layout.ROOT_B.size_mib
    assert layout.PARTITIONS[-1] is layout.DATA  # which grows


def test_a_small_card_is_large_enough() -> None:
    assert layout.SIZE_MIB * layout.MIB < 4e9


def test_another_package_makes_another_tree() -> None:
    tree = debian.base(Archive())
    assert tree.key == debian.base(Archive()).key
    assert tree.key != replace(tree, packages=(*tree.packages, "nano")).key


def test_a_snapshot_takes_the_place_of_every_mirror() -> None:
    moment = "20261120T000000Z"
    sources = Archive(snapshot=moment).sources("main")
    assert all(f"{debian.SNAPSHOTS}/" in line and moment in line for line in sources)


def test_comments_of_a_list_are_no_packages(tmp_path: Path) -> None:
    path = tmp_path / "packages"
    path.write_text("# why\n\nnftables  # rules\nchrony\n")
    assert debian.listed(path) == ("nftables", "chrony")


def test_only_installed_packages_are_in_the_bill(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text(STATUS)
    bill = published.spdx(RELEASE, published.debian_packages(status), [])
    (part,) = bill["packages"]
    assert (part["name"], part["versionInfo"]) == ("nftables", "1.1.3-1")
    purl = part["externalRefs"][0]["referenceLocator"]
    assert purl == "pkg:deb/debian/nftables@1.1.3-1?arch=arm64&distro=trixie"
    assert bill["creationInfo"]["created"] == "2026-11-18T11:06:40Z"


def test_a_bill_of_the_same_parts_is_the_same(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text(STATUS)
    first, second = (
        published.spdx(RELEASE, published.debian_packages(status), []) for _ in range(2)
    )
    assert first == second


def test_who_built_it_where_is_not_in_what_is_packed(tmp_path: Path) -> None:
    packed = []
    for number, mask in enumerate((0o022, 0o077)):
        site = tmp_path / f"site{number}"
        previous = os.umask(mask)
        try:
            (site / "package").mkdir(parents=True)
            for name in ("b.py", "a.py")[:: 1 - 2 * number]:  # in another order, too
                (site / "package" / name).write_text("")
        finally:
            os.umask(previous)
        path = tmp_path / f"{number}.tar"
        payload.pack(path, site=site, release=RELEASE, update_key=None)
        packed.append(path.read_bytes())
    assert packed[0] == packed[1]
    with tarfile.open(fileobj=io.BytesIO(packed[0])) as tar:
        entries = list(tar)
    assert {(entry.uid, entry.gid, entry.mtime) for entry in entries} == {(0, 0, RELEASE.epoch_s)}
    assert {entry.mode for entry in entries if entry.isreg()} == {0o644, 0o755}


def test_what_makes_the_initramfs_knows_no_commit(tmp_path: Path) -> None:
    for name in ("one", "two"):
        payload.pack_for_initramfs(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with tarfile.open(tmp_path / "one") as tar:
        assert "etc/initramfs-tools/hooks/lanjami" in tar.getnames()


def _steps(folder: Path, *titles: str, written: io.StringIO | None = None) -> Steps:
    return Steps(folder, dict.fromkeys(titles, 60), Screen(written or io.StringIO()))


def test_a_failed_step_says_which_and_keeps_its_log(tmp_path: Path) -> None:
    steps = _steps(tmp_path, "a step")
    with (
        pytest.raises(BuildError, match="a step: sh failed") as failed,
        steps.step("a step") as step,
    ):
        step.run(["sh", "-c", "echo why; exit 3"], environment=SHELL)
    log = failed.value.log
    assert log == tmp_path / "01-a-step.log"
    assert tail(log) == "why"


def test_parts_of_a_step_are_timed(tmp_path: Path) -> None:
    written = io.StringIO()
    steps = _steps(tmp_path, "whole", written=written)
    with steps.step("whole") as step:
        step.run(["sh", "-c", "echo == first; echo no part; echo == second"], environment=SHELL)
    assert set(steps.times) == {"whole", "first", "second"}
    assert "[1/1] whole" in written.getvalue()


def test_where_a_step_fails_those_beside_it_are_ended(tmp_path: Path) -> None:
    steps = _steps(tmp_path, "long", "bad")
    marks = tmp_path / "begun"
    os.mkfifo(marks)

    def run(title: str, script: str) -> None:
        with steps.step(title) as step:
            step.run(["sh", "-c", script], environment=SHELL)

    with pytest.raises(BuildError, match="bad: sh failed"):
        steps.together(
            lambda: run("long", f"echo >{marks}; exec sleep 600"),
            lambda: run("bad", f"read -r _ <{marks}; exit 3"),
        )
    assert not steps.times


def test_what_begins_after_a_failure_is_ended(tmp_path: Path) -> None:
    steps = _steps(tmp_path, "late", "bad")
    has_failed = threading.Event()

    def fail() -> None:
        try:
            with steps.step("bad") as step:
                step.run(["false"], environment=SHELL)
        finally:
            has_failed.set()

    def begin() -> None:
        has_failed.wait()
        with steps.step("late") as step:
            step.run(["sleep", "600"], environment=SHELL)

    with pytest.raises(BuildError, match="bad: false failed"):
        steps.together(fail, begin)


def test_steps_side_by_side_are_all_done_at_the_end(tmp_path: Path) -> None:
    steps = _steps(tmp_path, "one", "two")
    ways = [tmp_path / "to one", tmp_path / "to two"]
    for way in ways:
        os.mkfifo(way)

    def meet(title: str, script: str) -> None:
        with steps.step(title) as step:
            step.run(["sh", "-c", script, "sh", *ways], environment=SHELL)

    steps.together(
        lambda: meet("one", 'echo >"$2"; read -r _ <"$1"'),
        lambda: meet("two", 'read -r _ <"$2"; echo >"$1"'),
    )
    assert set(steps.times) == {"one", "two"}


def test_a_kept_tree_is_not_made_again(tmp_path: Path) -> None:
    tree = debian.tools(Archive())
    kept = tmp_path / f"tools-{tree.key}.tar"
    kept.write_text("")
    written = io.StringIO()
    with _steps(tmp_path / "logs", "tools", written=written).step("tools") as step:
        assert debian.make(step, tree, tmp_path, fresh=False) == kept
    assert f"kept: {kept.name}" in written.getvalue()


def test_the_wheels_of_the_box_are_of_the_versions_of_everybody() -> None:
    locks = {}
    for name in ("run", "image"):
        text = (payload.CHECKOUT / f"requirements/{name}.txt").read_text()
        locks[name] = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))
    assert locks["image"].items() <= locks["run"].items()
    project = tomllib.loads((payload.CHECKOUT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[^A-Za-z0-9-]", line)[0] for line in project["dependencies"]}
    assert needed <= locks["image"].keys()
