"""The build's own decisions, without a build."""

import io
import lzma
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import tomllib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from image import debian, layout, payload, published, updates
from image.debian import Archive
from image.payload import Release
from image.screen import Screen
from image.steps import BuildError, Steps, tail
from lanjami.box import places, slots
from tests.support import bundles

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


def test_the_driver_is_made_for_the_kernel_of_the_box(tmp_path: Path) -> None:
    version = "7.3.4-1~bpo13+1"
    status = f"""\
Package: linux-image-arm64
Status: install ok installed
Version: {version}

Package: linux-image-7.3.4+deb13-arm64
Status: install ok installed
Architecture: arm64
Version: {version}

{STATUS}"""
    base = tmp_path / "base.tar"
    with tarfile.open(base, "w") as tar:
        entry = tarfile.TarInfo("./var/lib/dpkg/status")
        entry.size = len(status)
        tar.addfile(entry, io.BytesIO(status.encode()))
    kernel = debian.kernel(base)
    assert kernel == debian.Kernel("7.3.4+deb13-arm64", version)
    tree = debian.driver(Archive(), kernel)
    assert f"linux-source-7.3={version}" in tree.packages
    assert "linux-headers-7.3.4+deb13-arm64:arm64" in tree.packages
    assert tree.key != debian.driver(Archive(), replace(kernel, version="7.3.4-2")).key


def test_a_snapshot_takes_the_place_of_every_mirror() -> None:
    moment = "20261120T000000Z"
    sources = Archive(snapshot=moment).sources("main")
    assert all(f"{debian.SNAPSHOTS}/" in line and moment in line for line in sources)


def test_comments_of_a_list_are_no_packages(tmp_path: Path) -> None:
    path = tmp_path / "packages"
    path.write_text("# why\n\nnftables  # rules\nchrony\n")
    assert debian.listed(path) == ("nftables", "chrony")


def test_only_installed_packages_are_in_the_bill() -> None:
    bill = published.spdx(RELEASE, debian.installed(STATUS), [])
    (part,) = bill["packages"]
    assert (part["name"], part["versionInfo"]) == ("nftables", "1.1.3-1")
    purl = part["externalRefs"][0]["referenceLocator"]
    assert purl == "pkg:deb/debian/nftables@1.1.3-1?arch=arm64&distro=trixie"
    assert bill["creationInfo"]["created"] == "2026-11-18T11:06:40Z"


def test_a_bill_of_the_same_parts_is_the_same() -> None:
    first, second = (published.spdx(RELEASE, debian.installed(STATUS), []) for _ in range(2))
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


# Its steps are like mmdebstrap, which waits for what it has started whatever it is told.
BUILD = """
import io, signal, sys
from pathlib import Path
from image.screen import Screen
from image.steps import BuildError, Steps

signal.signal(signal.SIGINT, signal.default_int_handler)  # also where this runs in the background
folder, *titles = sys.argv[1:]
steps = Steps(Path(folder), dict.fromkeys(titles, 1), Screen(io.StringIO()))

def work(title):
    with steps.step(title) as step:
        script = f"trap : TERM; sleep 600 & echo begun >{folder}/{title}; wait; wait"
        step.run(["sh", "-c", script], environment={"PATH": "/usr/bin:/bin"})

try:
    with steps.ended_with_us():
        if len(titles) == 1:
            work(*titles)
        else:
            steps.together(*[lambda title=title: work(title) for title in titles])
except BuildError as error:
    sys.exit(f"it ended: {error}")
"""


@pytest.mark.parametrize("titles", [["one"], ["one", "two"]], ids=["alone", "together"])
@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_build_that_is_told_to_end_ends_what_it_runs(
    tmp_path: Path, titles: list[str], told: signal.Signals
) -> None:
    for title in titles:
        os.mkfifo(tmp_path / title)
    build = subprocess.Popen(
        [sys.executable, "-c", BUILD, tmp_path, *titles],
        cwd=payload.CHECKOUT,
        stderr=subprocess.PIPE,
        text=True,
    )
    for title in titles:
        (tmp_path / title).read_text()
    build.send_signal(told)
    try:
        _, complaint = build.communicate(timeout=20.0)
    finally:
        build.kill()
    assert build.returncode
    assert ("it ended" in complaint) is (told is signal.SIGTERM)


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


# --- updates -----------------------------------------------------------------------------------


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "settings/signing-key.pem"
    updates.make_key(path)
    return path


def test_a_key_is_made_once_for_its_owner_alone(key: Path) -> None:
    assert key.stat().st_mode & 0o777 == 0o600
    before = key.read_bytes()
    with pytest.raises(BuildError, match="already"):
        updates.make_key(key)
    assert key.read_bytes() == before


def test_no_private_key_is_made_in_the_checkout() -> None:
    path = payload.CHECKOUT / "dist/../image/key.pem"
    with pytest.raises(BuildError, match="checkout"):
        updates.make_key(path)
    assert not path.exists()


def test_the_key_is_made_by_one_command_and_found_by_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    command = [str(payload.CHECKOUT / "image/build"), "--new-key"]
    environment = {**os.environ, "PYTHON": sys.executable}
    for exit_status in (0, 1):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == exit_status, done.stderr
    assert updates.keys(None, None, usual=updates.private_key()).private is not None


def test_an_image_without_a_key_takes_no_updates(tmp_path: Path) -> None:
    none = updates.keys(None, None, usual=tmp_path / "none")
    assert none == updates.Keys(public=None, private=None)


def test_the_usual_key_is_the_images(key: Path, tmp_path: Path) -> None:
    found = updates.keys(None, None, usual=key)
    assert found == updates.keys(None, None, usual=key)
    assert found.private == key
    assert found.public is not None
    slots.public_key(found.public)
    (tmp_path / "site").mkdir()
    packed = tmp_path / "payload.tar"
    payload.pack(packed, site=tmp_path / "site", release=RELEASE, update_key=found.public)
    with tarfile.open(packed) as tar:
        content = tar.extractfile(f"root{places.UPDATE_KEY}")
        assert content is not None
        assert content.read() == found.public


def test_an_image_of_another_signer_has_their_key_and_no_update(key: Path, tmp_path: Path) -> None:
    public = tmp_path / "theirs.pem"
    public.write_bytes(bundles.PUBLIC)
    assert updates.keys(public, None, usual=key) == updates.Keys(bundles.PUBLIC, None)
    with pytest.raises(BuildError, match="not the private half"):
        updates.keys(public, key, usual=key)


def test_what_is_no_key_of_ours_is_said_before_the_build(tmp_path: Path) -> None:
    wrong = tmp_path / "rsa.pem"
    subprocess.run(["openssl", "genrsa", "-out", wrong, "1024"], capture_output=True, check=True)
    with pytest.raises(BuildError, match="Ed25519"):
        updates.keys(None, wrong, usual=wrong)
    wrong.write_text("no key")
    with pytest.raises(BuildError, match="openssl"):
        updates.keys(None, wrong, usual=wrong)


def test_the_update_beside_an_image_is_what_its_boxes_take(key: Path, tmp_path: Path) -> None:
    root = tmp_path / "root.img"
    root.write_bytes(b"root" * (1 << 18))
    made = []
    for _ in range(2):
        with _steps(tmp_path / "logs", "update").step("update") as step:
            made.append(updates.bundle(step, tmp_path, RELEASE, key, level=1).read_bytes())
    assert made[0] == made[1]
    public = updates.keys(None, None, usual=key).public
    assert public is not None
    with tarfile.open(updates.path(tmp_path, RELEASE)) as tar:
        contents = [tar.extractfile(member) for member in tar]
        manifest, signature, packed = (file.read() for file in contents if file is not None)
    told = slots.manifest(manifest, signature, slots.public_key(public))
    assert (told.version, told.machine) == (RELEASE.version, "aarch64")
    assert lzma.decompress(packed) == root.read_bytes()
