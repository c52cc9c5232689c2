"""The image as it is, started on a machine; the plug pulled while names are registered; the start
after that, with a mistake in the file on the card; updates; and a start whose memory is lost."""

import asyncio
import contextlib
import itertools
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from image import layout as card_layout
from lanjami import layout
from lanjami.box import places, slots
from lanjami.nameserver import opening
from tests.image import asking, emulator, power_cuts, releases
from tests.image.built import Built
from tests.image.emulator import Emulated
from tests.image.releases import Release
from tests.support.asker import Asker
from tests.support.kept import kept_at
from tests.support.operator_browser import Desk
from tests.support.ports import free_port
from tests.support.registrations import ClientKeys

pytestmark = pytest.mark.timeout(900)  # the first test of a start waits for it

BOOT_S = 90.0
MEMORY_MOST = 200e6  # bytes
CLIENTS = 4
ACKNOWLEDGED = 100  # names, before the plug is pulled
CUTS = 100
ADDRESS = "10.0.2.15"  # QEMU's router gives it
DATA = card_layout.DATA.start_mib * card_layout.MIB
SELF_TEST = re.compile("self-test: passed")
MISTAKE = '[box]\nhostname = "NO GOOD"\n'


@dataclass
class Box:
    """A card, the machine that it is in, and the ports of this host that lead there."""

    built: Built
    folder: Path
    card: Path
    ports: tuple[int, int] = field(default_factory=lambda: (free_port(), free_port()))

    @contextlib.contextmanager
    def started(
        self, name: str, *, writes: Path | None = None, reboots: bool = False
    ) -> Iterator[Emulated]:
        """Switched on, and it answers what clients ask."""
        network = emulator.forwarded(*self.ports)
        machine = Emulated(
            self.built,
            self.card,
            self.folder / name,
            network=network,
            writes=writes,
            reboots=reboots,
            extra=emulator.USB,
        )
        with contextlib.ExitStack() as at_end:
            at_end.callback(machine.switch_off)
            while wrong := asking.wrong("127.0.0.1", *self.ports, patience_s=3):
                assert machine.up_s < BOOT_S, f"no {wrong} in {BOOT_S} s:\n{machine.said[-4000:]}"
                time.sleep(0.5)  # a port that QEMU forwards is open all the time
            yield machine


@pytest.fixture(scope="module")
def box(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Box:
    folder = tmp_path_factory.mktemp("box")
    return Box(built, folder, emulator.new_card(built, folder / "card"))


# --- the first start -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def machine(box: Box) -> Iterator[Emulated]:
    with box.started("first", writes=box.folder / "writes") as machine:
        yield machine


def test_clients_are_answered_soon(machine: Emulated) -> None:
    assert machine.up_s < BOOT_S


def test_no_unit_has_failed(machine: Emulated) -> None:
    state = machine.run("systemctl is-system-running --wait", within_s=120)
    assert state == "running", machine.run("systemctl --failed --no-legend --plain --no-pager")


def test_its_self_test_says_so_on_the_serial_console(machine: Emulated) -> None:
    told = re.compile(r"lanjami self-test: passed; lanjami \S+ from slot a serves at [0-9.]+")
    machine.wait_for(told, within_s=60)


def test_the_data_has_the_rest_of_the_card(machine: Emulated) -> None:
    size = int(machine.run("blockdev --getsize64 $(blkid -L lanjami-data)"))
    assert size > 2e9  # of 4 GiB
    assert int(machine.run("df -B1 --output=size /data | tail -n 1")) > 0.9 * size


def test_there_is_memory_left(machine: Emulated) -> None:
    assert machine.memory_in_use() < MEMORY_MOST


def test_it_knocks_at_no_door_outside(machine: Emulated) -> None:
    outside = {
        address
        for address in emulator.destinations(machine.capture)
        if address.is_global and not address.is_multicast
    }
    assert not outside


# --- the plug is pulled --------------------------------------------------------------------------


@dataclass
class Pulled:
    """What was acknowledged: by name, the ID, and how many writes to the card there were then."""

    writes: Path
    ids: dict[str, str] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)

    def acknowledged(self, after: int) -> dict[str, str]:
        """Those of a cut after so many writes."""
        return {name: self.ids[name] for name, count in self.written.items() if count <= after}


@pytest.fixture(scope="module")
def pulled(box: Box, machine: Emulated) -> Pulled:
    """The machine ends while names are registered."""
    pulled = Pulled(box.folder / "writes")
    asyncio.run(_register(box.ports[0], pulled, pull=machine.switch_off))
    return pulled


async def _register(port: int, pulled: Pulled, *, pull: Callable[[], None]) -> None:
    keys = ClientKeys(bits=2048)
    accounts = zip(itertools.count(), keys.exponents(), strict=False)

    async def client() -> None:
        async with Asker(port) as asker:
            for number, exponent in accounts:
                name = f"name-{number}"
                body = keys.body(name, exponent)
                try:
                    answer = await asker.post(f"/name/{name}", body)
                except (OSError, EOFError):
                    return
                assert answer[0] == 200
                pulled.written[name] = power_cuts.entries_so_far(pulled.writes)
                pulled.ids[name] = body["addr"]
                if len(pulled.ids) == ACKNOWLEDGED:
                    pull()

    async with asyncio.timeout(120), asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(client())


def test_the_root_was_not_written_to(box: Box, pulled: Pulled) -> None:
    assert pulled.ids
    assert not emulator.written_to(box.built, box.card, card_layout.ROOT_A)


def test_whenever_the_plug_is_pulled_what_was_acknowledged_is_there(
    box: Box, pulled: Pulled, tmp_path: Path
) -> None:
    """A hundred times, each as the card may be then; mended as the initramfs does."""
    dice = Random(1)
    disk = box.built.cut(card_layout.DATA, tmp_path / "data")
    cuts = power_cuts.Cuts(pulled.writes, disk, start=DATA, size=emulator.CARD_SIZE - DATA)
    first = min(pulled.written.values()) - 20
    moments = sorted(dice.randrange(first, len(cuts) + 1) for _ in range(CUTS))
    for after in moments:
        left = cuts.cut(after, tmp_path / "left", dice=dice)
        assert pulled.acknowledged(after).items() <= _names(left, tmp_path / "names").items()
    assert len({len(pulled.acknowledged(after)) for after in moments}) > CUTS / 4


def _names(data: Path, folder: Path) -> dict[str, str]:
    """The names on a data partition, by lanjami's own reading."""
    folder.mkdir(exist_ok=True)
    path = folder / layout.NAMES
    assert subprocess.run(["e2fsck", "-p", data], capture_output=True, check=False).returncode < 4
    for suffix in ("", "-wal"):
        file = f"{path}{suffix}"
        Path(file).unlink(missing_ok=True)
        subprocess.run(
            ["debugfs", "-R", f"dump /lanjami/{layout.NAMES}{suffix} {file}", data],
            capture_output=True,
            check=True,
        )
    opened = opening.open_names(path, spare=lambda _: None, suspect=True)
    opened.close()
    assert not opening.set_aside(path)
    return {record.name: record.id for record in kept_at(path)}


# --- the next start ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def again(box: Box, pulled: Pulled) -> Iterator[Emulated]:
    """With the card as a hard cut leaves it, on which somebody has made a mistake since, and
    which their computer has given another label."""
    cuts = power_cuts.Cuts(
        pulled.writes,
        emulator.new_card(box.built, box.folder / "new"),
        start=0,
        size=emulator.CARD_SIZE,
    )
    cuts.cut(len(cuts), box.card, dice=Random(2))
    emulator.put(box.card, places.SETTINGS, MISTAKE)
    emulator.rename(box.card, "NO NAME")
    releases.let_take_updates(box.built, box.card, box.folder)
    with box.started("again", reboots=True) as machine:
        yield machine


def test_a_start_after_the_cut_has_the_names(box: Box, pulled: Pulled, again: Emulated) -> None:
    asyncio.run(_found(box.ports[0], pulled.ids))


async def _found(port: int, ids: Mapping[str, str]) -> None:
    async with Asker(port) as asker:
        for name, id in ids.items():
            status, found = await asker.get(f"/name/{name}")
            assert (status, found["addr"]) == (200, id)


def test_the_mistake_is_told_where_people_look(box: Box, again: Emulated) -> None:
    told = "box.hostname"
    again.wait_for(SELF_TEST, within_s=60)
    assert told in _on_the_screen(again)
    assert told in emulator.get(box.card, places.MISTAKES)


def test_a_backup_is_restored_onto_it(box: Box, pulled: Pulled, again: Emulated) -> None:
    """As the page on the image has it; the settings stay those of the card."""
    name, id = next(iter(pulled.ids.items()))
    config = places.CONFIG
    for command in (
        "systemctl stop lanjami",
        f"cp {config} /run/card.toml",
        f"echo '# of before' >>{config}",
        "lanjami backup /run/lanjami-backup.zip",
        f"cp /run/card.toml {config}",
        f"lanjami names remove --yes {name}",
        "lanjami restore /run/lanjami-backup.zip",
        "systemctl start lanjami",
    ):
        told = again.run(f"{command} && echo well")
        assert told.endswith("well"), f"{command}: {told}"
    assert again.run(f"cmp {config} /run/card.toml && echo same") == "same"
    assert "# of before" in again.run(f"cat /var/lib/lanjami/{layout.RESTORED_CONFIG}")
    while asking.wrong("127.0.0.1", *box.ports, patience_s=3):
        time.sleep(0.5)
    asyncio.run(_found(box.ports[0], {name: id}))


# --- updates -------------------------------------------------------------------------------------

GOOD = Release("0.2.0")
BAD = Release("0.3.0", broken="app")
UPDATE_S = 300.0


@pytest.fixture(scope="module")
def updated(box: Box, again: Emulated) -> Emulated:
    """An update came on a USB stick."""
    again.plug_in(GOOD.stick(box.built, box.folder))
    again.wait_for(re.compile("passed; lanjami 0.2.0 from slot b"), within_s=UPDATE_S)
    return again


def test_a_good_update_runs_and_is_kept(box: Box, updated: Emulated) -> None:
    within_s = updated.up_s + UPDATE_S
    while emulator.good_slot(box.card) != slots.good_sector("b"):
        assert updated.up_s < within_s
        time.sleep(1)  # a card tells nobody that it was written to
    assert not asking.wrong("127.0.0.1", *box.ports)


def test_a_bad_update_is_taken_back_and_that_is_said(box: Box, updated: Emulated) -> None:
    before = len(updated.said)
    updated.plug_in(BAD.stick(box.built, box.folder))
    failed = re.compile("failed; lanjami 0.3.0 from slot a is taken back")
    before = updated.wait_for(failed, within_s=UPDATE_S, since=before).end()
    served = re.compile("passed; lanjami 0.2.0 from slot b")
    before = updated.wait_for(served, within_s=UPDATE_S, since=before).end()
    told = _on_the_screen(updated, since=before)
    assert "0.3.0 did not pass its test and was taken back" in told
    assert not asking.wrong("127.0.0.1", *box.ports)


# --- the end, and a lost memory ------------------------------------------------------------------


@pytest.fixture(scope="module")
def ended(box: Box, updated: Emulated) -> Box:
    """Somebody who looks after it has shut it down from the page."""
    assert updated.run("systemctl is-system-running --wait", within_s=120) == "running"
    desk = Desk(box.ports[0], ADDRESS)
    desk.follow(desk.link(updated.run("lanjami admin-link")))
    status, page = desk.post("/operator/box/end", {"end": "power-off", "sure": "1"})
    assert status == 200, page.decode()
    updated.wait_for_its_end(within_s=60)
    return box


def test_a_memory_that_cannot_be_mended_is_only_read(ended: Box, pulled: Pulled) -> None:
    with _unknown_feature(ended.card, "R31"), ended.started("only read") as machine:
        asyncio.run(_found(ended.ports[0], pulled.ids))
        machine.wait_for(SELF_TEST, within_s=60)
        assert "its memory cannot be mended and is only read" in _on_the_screen(machine)
        assert machine.run("findmnt -no OPTIONS /var/lib/lanjami").startswith("ro,")
        machine.run("until lanjami status | grep Relays; do sleep 1; done", within_s=60)


def test_one_that_cannot_be_read_either_is_served_from_the_other_slot(
    ended: Box, pulled: Pulled
) -> None:
    """As where sectors of the card are lost: nothing is written there."""
    with _unknown_feature(ended.card, "I31"), ended.started("unreadable") as machine:
        asyncio.run(_found(ended.ports[0], pulled.ids))
        machine.wait_for(SELF_TEST, within_s=60)
        assert "its memory cannot be read" in _on_the_screen(machine)
        assert machine.run("findmnt -n /data") == ""


@contextlib.contextmanager
def _unknown_feature(card: Path, name: str) -> Iterator[None]:
    """The data has a feature that neither e2fsck nor Linux knows, so they leave it alone: with one
    of incompatible ones ("I…") Linux does not mount it, with another ("R…") only to be read."""
    with card.open("r+b") as file:
        file.seek(DATA)
        head = file.read(4096)
        command = ["debugfs", "-w", "-R", f"feature FEATURE_{name}", f"{card}?offset={DATA}"]
        subprocess.run(command, capture_output=True, check=True)
        yield
        file.seek(DATA)
        file.write(head)


def test_a_lost_memory_comes_back_from_the_other_slot(ended: Box, pulled: Pulled) -> None:
    with ended.card.open("r+b") as file:
        file.truncate(DATA)
        file.truncate(emulator.CARD_SIZE)
    with ended.started("lost") as machine:
        asyncio.run(_found(ended.ports[0], pulled.ids))
        machine.wait_for(SELF_TEST, within_s=60)
        assert "its memory was lost" in _on_the_screen(machine)
        assert machine.run("findmnt -no FSTYPE /data") == "ext4"


def _on_the_screen(machine: Emulated, *, since: int = 0) -> str:
    """Without the ends of lines, which are where they fit."""
    return machine.run("cat /run/lanjami-box/screen", since=since).replace("\n", "")
