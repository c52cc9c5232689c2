"""What the box does to its card, done to cards made of files: FAT, ext4 and partitions are real."""

import contextlib
import os
import platform
import random
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lanjami import layout
from lanjami.backup import archive
from lanjami.box import places, roles, setup, slots, spare, updating
from lanjami.box.disks import Card, Running
from lanjami.box.setup import Box
from lanjami.box.standing import Standing, UpdateError
from lanjami.errors import HostError
from lanjami.nameserver import record
from lanjami.nameserver.database import Database, copy
from lanjami.nameserver.opening import open_names
from lanjami.runtime import disk
from tests.image import loops
from tests.image.loops import MIB, needs_root, needs_sys_resource, needs_vfat
from tests.support import bundles
from tests.support.bundles import KEY
from tests.support.registrations import registration

pytestmark = needs_root

LIBRARY = Path(__file__).resolve().parents[2] / "image/rootfs/usr/lib/lanjami"
JOIN = (
    '[box.wifi]\nssid = "x"\npassphrase = "correct horse battery"\ncountry = "DE"\n'
    + "# a long comment\n" * 400
)


@pytest.mark.parametrize(
    "make",
    [
        # what a FAT has in common with it: no journal, and a file is written over where it lies
        pytest.param(["mke2fs", "-q", "-t", "ext2"], id="ext2"),
        pytest.param(["mkfs.vfat", "-F", "32"], id="vfat", marks=needs_vfat),
    ],
)
def test_a_passphrase_is_on_no_sector_of_the_cards_visible_part(
    tmp_path: Path, make: list[str]
) -> None:
    image = loops.file_of(tmp_path / "fat", 40 * MIB)
    loops.run(*make, image)
    options = ["fmask=0177", "dmask=0077"] if "mkfs.vfat" in make else []

    @contextlib.contextmanager
    def writable() -> Iterator[None]:
        yield

    box = Box(tmp_path / "root", lambda _: "", writable)
    box.path("/boot").mkdir(parents=True)
    with loops.mounted(image, box.path(places.CARD), *options) as folder:
        (folder / places.SETTINGS).write_text(JOIN)
    assert b"correct horse battery" in image.read_bytes()
    with loops.mounted(image, box.path(places.CARD), *options) as folder:
        assert setup.take_card(box) == []
        assert "(kept in the box)" in (folder / places.SETTINGS).read_text()
    assert b"correct horse battery" not in image.read_bytes()
    assert "correct horse battery" in box.settings().read_text()
    loops.run("fsck.vfat" if options else "e2fsck", "-n", image)


# --- the data partition ------------------------------------------------------------------------


def _data(device: Path, run: Path, *words: str | Path, programs: Path | None = None) -> str:
    """Run the script of lanjami-data.service, with `programs` before those of the machine; returns
    what was told in this `run` of the box."""
    environment = {
        "PATH": f"{programs or ''}:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANJAMI_LIB": str(LIBRARY),
        "LANJAMI_DISK": str(device),
        "LANJAMI_RUN": str(run),
    }
    run.mkdir(exist_ok=True)
    subprocess.run([LIBRARY / "data", *words], env=environment, check=True, capture_output=True)
    told = run / "notices/data"
    return told.read_text() if told.exists() else ""


def _fill(folder: Path) -> None:
    """Leave there what a box has from its first start on, and a file."""
    for name in (places.KEPT, places.STATE):
        (folder / Path(name).name).mkdir()
    (folder / "kept").write_text("kept")


def test_a_new_card_gets_a_data_partition_up_to_its_end(tmp_path: Path) -> None:
    with loops.card(tmp_path / "card", size=256 * MIB, data=16) as device:
        data = Path(f"{device}p4")
        loops.run("mke2fs", "-q", "-t", "ext4", "-L", "lanjami-data", data)
        assert _data(device, tmp_path / "run") == ""
        with loops.mounted(data, tmp_path / "data") as folder:
            (folder / "kept").write_text("kept")
        assert int(Path("/sys/class/block", data.name, "size").read_text()) * 512 > 190 * MIB
        loops.run("e2fsck", "-f", "-n", data)
        assert _data(device, tmp_path / "run") == ""  # a second start finds nothing to do
        with loops.mounted(data, tmp_path / "data") as folder:
            assert (folder / "kept").read_text() == "kept"


@needs_sys_resource
def test_a_mounted_one_grows_as_well(tmp_path: Path) -> None:
    with loops.card(tmp_path / "card", size=256 * MIB, data=16) as device:
        data = Path(f"{device}p4")
        loops.run("mke2fs", "-q", "-t", "ext4", data)
        with loops.mounted(data, tmp_path / "data") as folder:
            assert _data(device, tmp_path / "run") == ""
            free = loops.run("stat", "-f", "-c", "%b %S", folder).split()
            assert int(free[0]) * int(free[1]) > 170 * MIB


@pytest.mark.parametrize("damage", ["blank", "noise", "superblock"])
def test_what_is_beyond_repair_is_made_anew_and_what_is_not_is_mended(
    tmp_path: Path, damage: str
) -> None:
    with loops.card(tmp_path / "card", size=128 * MIB, data=70) as device:
        data = Path(f"{device}p4")
        if damage != "blank":
            loops.run("mke2fs", "-q", "-t", "ext4", data)
            with loops.mounted(data, tmp_path / "data") as folder:
                (folder / "kept").write_text("kept")
        with data.open("r+b") as file:
            noise = random.Random(7).randbytes(64 * MIB if damage == "noise" else 8192)
            file.write(noise if damage != "blank" else b"")
        told = _data(device, tmp_path / "run")
        assert ("made anew" in told) is (damage != "superblock")
        assert ("is mended" in told) is (damage == "superblock")
        with loops.mounted(data, tmp_path / "data") as folder:
            assert (folder / "kept").exists() is (damage == "superblock")
        loops.run("e2fsck", "-f", "-n", data)


@pytest.mark.parametrize("end", ["exit 4", "exit 8", "exit 12", "kill -9 $$"])
def test_what_a_check_could_not_mend_is_only_read(tmp_path: Path, end: str) -> None:
    """The card may be read again a moment later, and memory may be free again."""
    run, place, programs = (tmp_path / name for name in ("run", "data", "programs"))
    programs.mkdir()
    check = programs / "e2fsck"
    check.write_text(f"#!/bin/sh\n{end}\n")
    check.chmod(0o755)
    with loops.card(tmp_path / "card", size=128 * MIB, data=70) as device:
        data = Path(f"{device}p4")
        loops.run("mke2fs", "-q", "-t", "ext4", data)
        with loops.mounted(data, place) as folder:
            _fill(folder)
        assert _data(device, run, programs=programs) == ""
        assert "only read" in _data(device, run, "mount", place)
        try:
            assert (place / "kept").read_text() == "kept"
            with pytest.raises(OSError, match="Read-only"):
                (place / "new").touch()
        finally:
            loops.run("umount", place)
        again = tmp_path / "again"
        assert _data(device, again) == _data(device, again, "mount", place) == ""
        (place / "new").touch()
        loops.run("umount", place)


def test_a_card_that_takes_nothing_is_only_read(tmp_path: Path) -> None:
    run, place = tmp_path / "run", tmp_path / "data"
    with loops.card(tmp_path / "card", size=128 * MIB, data=70) as device:
        data = Path(f"{device}p4")
        loops.run("mke2fs", "-q", "-t", "ext4", data)
        with loops.mounted(data, place) as folder:
            _fill(folder)
        with loops.mounted(data, place) as folder:
            (folder / "open").write_text("left in the journal")
            loops.pull_the_plug(folder)
        loops.run("blockdev", "--setro", data)
        _data(device, run)
        assert "only read" in _data(device, run, "mount", place)
        kept = (place / "kept").exists()
        loops.run("umount", place)
        assert kept


@pytest.mark.parametrize("is_checked", [True, False])
def test_a_new_card_that_takes_nothing_gives_way_to_memory(
    tmp_path: Path, *, is_checked: bool
) -> None:
    """Nobody can make the folders in it that a box has its state in."""
    run, place = tmp_path / "run", tmp_path / "data"
    place.mkdir()
    with loops.card(tmp_path / "card", size=128 * MIB, data=70) as device:
        data = Path(f"{device}p4")
        loops.run("mke2fs", "-q", "-t", "ext4", data)
        loops.run("blockdev", "--setro", data)
        if is_checked:
            assert _data(device, run) == ""
        with pytest.raises(subprocess.CalledProcessError):
            _data(device, run, "mount", place)
        assert not place.is_mount()
        told = (run / "notices/data").read_text()
    assert told.startswith("its memory cannot be read: until the next start")
    assert told.count("\n") == 1


def test_a_new_card_gets_the_folders_of_its_state(tmp_path: Path) -> None:
    place = tmp_path / "data"
    place.mkdir()
    with loops.card(tmp_path / "card", size=128 * MIB, data=70) as device:
        data = Path(f"{device}p4")
        loops.run("mke2fs", "-q", "-t", "ext4", data)
        assert _data(device, tmp_path / "run", "mount", place) == ""
        made = {path.name for path in place.iterdir()}
        loops.run("umount", place)
    assert made == {"lost+found", "lanjami", "box"}


def test_power_cuts_leave_what_was_said_to_be_kept(tmp_path: Path) -> None:
    """At any moment of a writer's life, as the file system sees a cut."""
    dice = random.Random(3)
    with loops.card(tmp_path / "card", size=128 * MIB, data=70) as device:
        data = Path(f"{device}p4")
        loops.run("mke2fs", "-q", "-t", "ext4", data)
        kept = -1
        for _ in range(10):
            with loops.mounted(data, tmp_path / "data") as folder:
                if kept >= 0:
                    assert int((folder / "count").read_text()) in (kept, kept + 1)
                with contextlib.suppress(HostError):
                    until = time.monotonic() + dice.uniform(0.0, 0.1)
                    while True:
                        if time.monotonic() > until:
                            (folder / "open").write_bytes(b"x" * dice.randrange(1, 3 * MIB))
                            loops.pull_the_plug(folder)
                        disk.write_atomically(folder / "count", f"{kept + 1}".encode())
                        kept += 1
            assert _data(device, tmp_path / "run") == ""
            loops.run("e2fsck", "-f", "-n", data)
        assert kept > 0


def test_names_of_an_update_that_was_taken_back_are_looked_up_where_nothing_can_be_written(
    tmp_path: Path,
) -> None:
    image = loops.file_of(tmp_path / "data.img", 16 * MIB)
    loops.run("mke2fs", "-q", "-t", "ext4", image)
    alice = record.of(registration("alice", 1), when=1000)
    with loops.mounted(image, tmp_path / "data") as folder:
        with closing(Database(folder / layout.NAMES)) as database:
            database.register([alice])
        with closing(sqlite3.connect(folder / layout.NAMES)) as newer:
            newer.executescript("ALTER TABLE names ADD COLUMN note TEXT; PRAGMA user_version = 99;")
    with loops.mounted(image, tmp_path / "data", "ro") as folder:
        names = open_names(folder / layout.NAMES, spare=lambda _: None, suspect=False)
        try:
            assert names.database.by_id(alice.id) == alice
            assert names.why_read_only
        finally:
            names.close()


# --- updates -----------------------------------------------------------------------------------


class Cards:
    """A card whose slot b is empty, and bundles with a system for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card = Card(loops.file_of(folder / "card", 2 * MIB), f"{folder}/cardp")
        loops.file_of(self.card.slot("b"), 24 * MIB)
        system = folder / "system/usr/lib/modules/another"
        system.mkdir(parents=True)
        (system / "file").write_text("of the new system")
        self.root = loops.file_of(folder / "root.img", 16 * MIB)
        loops.run("mke2fs", "-q", "-t", "ext4", "-d", folder / "system", self.root)

    def bundle(self, *, version: str = "0.2.0", changed: str = "") -> Path:
        path = self.folder / "lanjami-update-0.2.0.tar"
        return bundles.write(path, self.root.read_bytes(), version=version, changed=changed)

    def install(self, bundle: Path, *, again: bool = False) -> list[Standing]:
        """Returns how it told that it went on."""
        told: list[Standing] = []
        updating.install(
            bundle,
            key=KEY.public_key(),
            card=self.card,
            now="a",
            version="0.1.0",
            again=again,
            kept=self.folder,
            progress=told.append,
        )
        return told

    def is_tried(self) -> bool:
        sector = self.card.device.read_bytes()[slots.TRY_SECTOR * slots.SECTOR :][: slots.SECTOR]
        return sector == slots.try_sector("b")


@pytest.fixture
def cards(tmp_path: Path) -> Cards:
    return Cards(tmp_path)


def test_an_update_comes_whole_into_the_other_slot_with_the_kernels_modules(cards: Cards) -> None:
    cards.install(cards.bundle())
    assert cards.is_tried()
    assert updating.told(cards.folder) == updating.Told("0.2.0", "b")
    slot = cards.card.slot("b")
    assert loops.run("e2label", slot).strip() == "root-b"
    with loops.mounted(slot, cards.folder / "slot", "ro") as folder:
        assert (folder / "usr/lib/modules/another/file").read_text() == "of the new system"
        own = Path("/usr/lib/modules", platform.release())
        assert (folder / "usr/lib/modules" / own.name).exists() == own.is_dir()
        free = loops.run("stat", "-f", "-c", "%b %S", folder).split()
        assert int(free[0]) * int(free[1]) > 17 * MIB  # it has the whole slot


def test_it_is_told_how_far_an_update_is(cards: Cards) -> None:
    told = cards.install(cards.bundle())
    assert [(how.state, how.done // MIB) for how in told] == [
        (state, done) for state in ("writing", "reading") for done in range(1, 17)
    ]
    assert {(how.version, how.total) for how in told} == {("0.2.0", 16 * MIB)}


@pytest.mark.parametrize("changed", ["", "torn", "manifest"])
def test_what_begins_well_is_told_by_its_beginning(cards: Cards, changed: str) -> None:
    bundle = cards.bundle(changed=changed)
    bundle.write_bytes(bundle.read_bytes()[:8192])
    with pytest.raises(UpdateError) if changed == "manifest" else contextlib.nullcontext():
        assert updating.examine(bundle, key=KEY.public_key(), version="0.1.0").version == "0.2.0"


def test_no_pipe_is_waited_for(cards: Cards) -> None:
    pipe = cards.folder / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UpdateError, match="no file"):
        cards.install(pipe)


def test_one_that_waits_for_its_trial_is_told_no_longer_when_another_is_written(
    cards: Cards,
) -> None:
    cards.install(cards.bundle())
    with pytest.raises(UpdateError):
        cards.install(cards.bundle(version="0.3.0", changed="torn"))
    assert updating.told(cards.folder) == updating.Told()


def test_one_update_is_written_at_a_time(tmp_path: Path) -> None:
    with (
        updating.alone(tmp_path),
        pytest.raises(UpdateError, match="another"),
        updating.alone(tmp_path),
    ):
        pass
    with updating.alone(tmp_path):
        pass


def test_what_the_maker_of_bundles_makes_is_taken(
    cards: Cards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    key, bundle = cards.folder / "key.pem", cards.folder / "made.tar"
    key.write_bytes(
        KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
    loops.run(LIBRARY.parents[3] / "bundle", cards.root, "0.2.0", key, bundle)
    cards.install(bundle)
    assert cards.is_tried()


@pytest.mark.parametrize("changed", ["root", "longer", "torn", "cut", "manifest"])
def test_a_changed_update_is_refused_and_not_tried(cards: Cards, changed: str) -> None:
    with pytest.raises(HostError):
        cards.install(cards.bundle(changed=changed))
    assert not cards.is_tried()


@pytest.mark.parametrize("changed", ["root", "longer", "torn", "cut"])
def test_what_broke_off_is_no_system_that_could_start(cards: Cards, changed: str) -> None:
    """Not even where the other slot is lost, and the initramfs looks here for a system."""
    with pytest.raises(HostError):
        cards.install(cards.bundle(changed=changed))
    mounted = subprocess.run(
        ["mount", "-t", "ext4", "-o", "ro,noload", cards.card.slot("b"), "/mnt"],
        capture_output=True,
        check=False,
    )
    if not mounted.returncode:
        loops.run("umount", "/mnt")
    assert mounted.returncode


def test_what_is_no_bundle_is_refused(cards: Cards) -> None:
    for content in (b"", b"x" * 5000, cards.root.read_bytes()):
        file = cards.folder / "file.tar"
        file.write_bytes(content)
        with pytest.raises(HostError, match="update"):
            cards.install(file)
    assert not cards.is_tried()


def test_what_failed_its_test_before_is_not_taken_by_itself(cards: Cards) -> None:
    updating.tell(updating.Told(refused="0.2.0"), cards.folder)
    bundle = cards.bundle()
    with pytest.raises(HostError, match="again"):
        cards.install(bundle)
    assert not cards.is_tried()
    cards.install(bundle, again=True)
    assert cards.is_tried()


# --- the spare -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spares:
    """A box that runs from slot a, with two backups, and a slot b of its system or of `content`."""

    cards: Cards
    tried: bool = False

    def __post_init__(self) -> None:
        (self.cards.folder / "backups").mkdir()
        for number, content in ((1, b"old"), (2, b"new")):
            (self.cards.folder / f"backups/backup-{number:06}.zip").write_bytes(content)
        loops.file_of(self.slot, 80 * MIB)
        loops.run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", self.slot)

    @property
    def slot(self) -> Path:
        return self.cards.card.slot("b")

    def keep(self) -> str:
        folder = self.cards.folder
        return spare.keep(
            folder / "backups",
            card=self.cards.card,
            running=Running("a", tried=self.tried),
            kept=folder,
            run=folder,
        )

    def kept(self) -> bytes | None:
        with loops.mounted(self.slot, self.cards.folder / "slot", "ro") as folder:
            file = folder / places.SPARE
            return file.read_bytes() if file.exists() else None


@pytest.fixture
def spares(cards: Cards) -> Spares:
    return Spares(cards)


def test_the_newest_backup_outlives_the_data_partition(spares: Spares) -> None:
    assert spares.keep() == ""
    assert "has_journal" in loops.run("dumpe2fs", "-h", spares.slot)
    assert spares.keep() == ""
    assert spares.kept() == b"new"


def test_there_is_no_spare_without_a_backup(spares: Spares) -> None:
    for backup in (spares.cards.folder / "backups").iterdir():
        backup.unlink()
    assert spares.keep() == ""
    assert spares.kept() is None


def test_a_spare_leaves_a_small_slot_some_room(spares: Spares) -> None:
    spares.slot.unlink()
    loops.run("mke2fs", "-q", "-t", "ext4", loops.file_of(spares.slot, 24 * MIB))
    with pytest.raises(HostError, match="left"):
        spares.keep()


@pytest.mark.parametrize("left", ["a torn update", "two systems in one", "nothing"])
def test_a_slot_that_an_update_left_unsound_is_made_anew(spares: Spares, left: str) -> None:
    match left:
        case "a torn update":
            with pytest.raises(UpdateError):
                spares.cards.install(spares.cards.bundle(changed="torn"))
        case "two systems in one":  # whose superblock says that nothing needs a check
            with spares.slot.open("r+b") as file:
                file.seek(8192)
                file.write(random.Random(7).randbytes(2 * MIB))
        case _:
            spares.slot.write_bytes(bytes(80 * MIB))
    assert "made anew" in spares.keep()
    assert spares.keep() == ""
    assert spares.kept() == b"new"
    assert loops.run("e2label", spares.slot).strip() == "root-b"


def test_an_update_that_was_not_fitted_to_its_slot_takes_a_spare(spares: Spares) -> None:
    with spares.slot.open("r+b") as file:
        file.write(spares.cards.root.read_bytes())
    assert spares.keep() == ""
    assert spares.kept() == b"new"


def test_a_slot_of_which_nobody_knows_whether_it_is_sound_is_left(
    spares: Spares, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = spares.cards.folder / "e2fsck"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setenv("PATH", f"{killed.parent}:{os.environ['PATH']}")
    before = spares.slot.read_bytes()
    with pytest.raises(HostError):
        spares.keep()
    assert spares.slot.read_bytes() == before


def test_a_version_on_trial_leaves_the_way_back_as_it_is(cards: Cards) -> None:
    spares = Spares(cards, tried=True)
    before = spares.slot.read_bytes()
    assert spares.keep() == ""
    assert spares.slot.read_bytes() == before


def test_an_update_that_waits_for_its_trial_is_left_as_it_was_read_back(spares: Spares) -> None:
    spares.cards.install(spares.cards.bundle())
    before = spares.slot.read_bytes()
    assert spares.keep() == ""
    assert spares.slot.read_bytes() == before


def test_a_spare_waits_for_an_update_that_is_written(spares: Spares) -> None:
    before = spares.slot.read_bytes()
    with ThreadPoolExecutor(1) as thread:
        with updating.alone(spares.cards.folder):
            keeping = thread.submit(spares.keep)
            with pytest.raises(TimeoutError):
                keeping.result(timeout=0.5)
            assert spares.slot.read_bytes() == before
        assert keeping.result(timeout=30.0) == ""
    assert spares.kept() == b"new"


def test_a_lost_memory_comes_back_with_its_settings(cards: Cards) -> None:
    text = "[mdns]\nhost = 'hall'\n"
    role = roles.with_roles(text, {"eth0": roles.address(0)})
    old, state = cards.folder / "old", cards.folder / "root/state"
    old.mkdir()
    with closing(Database(old / layout.NAMES)):
        (old / layout.NODE_ID).write_text("4" * 40)
    backups = cards.folder / "backups"
    backups.mkdir()
    with disk.scratch(cards.folder) as collected:
        take = partial(copy, old / layout.NAMES)
        archive.collect(collected, copy_names=take, state=old, config=role)
        archive.write(backups / "backup-000001.zip", collected, created="2026-01-01T00:00:00Z")
    loops.file_of(cards.card.slot("b"), 80 * MIB)
    loops.run("mke2fs", "-q", "-t", "ext4", cards.card.slot("b"))
    spare.keep(
        backups,
        card=cards.card,
        running=Running("a", tried=False),
        kept=cards.folder,
        run=cards.folder,
    )

    box = Box(cards.folder / "root")
    for folder in (box.path(places.RUN), state):
        folder.mkdir(parents=True)
    told = spare.bring_in(box, state, card=cards.card, idle="b")
    assert "2026-01-01" in told
    assert (state / layout.NODE_ID).read_text() == "4" * 40
    assert (state / layout.NAMES).exists()
    assert setup.kept_settings(box)[1] == text
    assert spare.bring_in(box, state, card=cards.card, idle="b") == ""
