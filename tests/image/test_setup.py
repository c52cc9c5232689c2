"""A start of the box, in a folder that stands for its root."""

import contextlib
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lanjami import layout
from lanjami.box import card, notices, places, setup, updating
from lanjami.box.setup import Box
from lanjami.cli.box import make_settings
from lanjami.config import Network, Wifi, parse
from lanjami.errors import HostError
from lanjami.runtime import disk
from lanjami.status.operator.settings import compose
from tests.image.loops import needs_root

JOIN = """\
[box]
hostname = "hall"
[box.wifi]
ssid = "x"
passphrase = "correct horse"
country = "DE"
"""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIWm0TLY9dGiVSlBbnK5gOyGLh5mqrAh6PQ3mkvD6jYl me"


class Machine:
    """A box, with what was run on it and how often its card was made writable."""

    def __init__(self, root: Path) -> None:
        self.ran: list[list[str]] = []
        self.card_writes = 0
        self.card_is_dying = False
        self.passwords: list[str] = []
        self.box = Box(root, self._run, self._writable, self._set_password)
        for place in (places.CARD, "/etc/lanjami", "/run"):
            self.box.path(place).mkdir(parents=True)
        self.box.path("/etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        self.card = self.box.path(places.CARD) / places.SETTINGS
        self.page = self.box.path(places.STATE) / layout.PAGE_SETTINGS
        self.complaint = self.card.with_name(places.MISTAKES)

    def start(self) -> list[str]:
        return setup.set_up(self.box)

    def text(self, place: str) -> str:
        return self.box.path(place).read_text()

    def _run(self, command: Sequence[str | Path]) -> str:
        self.ran.append([str(word) for word in command])
        if command[0] == "ssh-keygen":
            Path(command[-1]).write_text("a private key")
        return ""

    def _set_password(self, password: str) -> None:
        self.passwords.append(password)
        (self.box.path(places.STATE) / layout.OPERATOR).touch()

    @contextlib.contextmanager
    def _writable(self) -> Iterator[None]:
        if self.card_is_dying:
            raise HostError("mount: cannot remount /boot/firmware read-write")
        self.card_writes += 1
        yield


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_a_file_it_asks_for_an_address_and_lets_nobody_in(machine: Machine) -> None:
    assert machine.start() == []
    assert "DHCP=ipv4" in machine.text("/run/systemd/network/20-lanjami-cable.network")
    assert machine.text("/etc/hostname") == "lanjami\n"
    assert machine.text(places.CONFIG) == ""
    assert not machine.box.path(f"{places.RUN}/authorized_keys").exists()
    assert not machine.box.path(f"{places.RUN}/wpa_supplicant.conf").exists()
    assert machine.card_writes == 0
    assert machine.ran == []


def test_the_file_is_taken_over_and_its_secret_goes_from_the_card(machine: Machine) -> None:
    machine.card.write_text(JOIN)
    assert machine.start() == []
    assert "correct horse" not in machine.card.read_text()
    assert card.KEPT in machine.card.read_text()
    assert 'psk="correct horse"' in machine.text(f"{places.RUN}/wpa_supplicant.conf")
    assert machine.text("/etc/hostname") == "hall\n"
    assert "correct horse" in machine.text(places.CONFIG)
    for place in (machine.box.settings(), machine.box.path(f"{places.RUN}/wpa_supplicant.conf")):
        assert place.stat().st_mode & 0o077 == 0


def test_a_password_that_another_box_has_is_told(machine: Machine) -> None:
    machine.card.write_text(f'[box]\nhostname = "hall"\npassword = "{card.KEPT}"\n')
    for _ in range(2):
        (told,) = machine.start()
        assert "write it again" in told
        assert told in machine.complaint.read_text()
        assert machine.text("/etc/hostname") == "hall\n"
    assert machine.passwords == []
    (machine.box.path(places.STATE) / layout.OPERATOR).touch()
    assert machine.start() == []
    assert not machine.complaint.exists()


def test_a_network_of_the_card_that_the_page_took_back_leaves_the_cable_a_guests(
    machine: Machine,
) -> None:
    machine.card.write_text('[network.eth0]\nserve = ["dns"]\naddress = "10.77.0.1/24"\n')
    assert machine.start() == []
    own = machine.box.path("/run/systemd/network/10-lanjami-eth0.network")
    assert "DHCP=ipv4" in own.read_text()
    machine.page.write_text(compose({}, Wifi()))
    own.unlink()  # as at a new start
    machine.start()
    assert not own.exists()


class Cut(BaseException):
    """The power goes."""


def _cut(monkeypatch: pytest.MonkeyPatch, after: int) -> list[str]:
    """Let so many changes of a disk pass, and none from then on; returns what was asked for."""
    asked: list[str] = []

    def counted(name: str, change: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any, **options: Any) -> Any:
            if len(asked) == after:
                raise Cut
            asked.append(name)
            return change(*arguments, **options)

        return counting

    monkeypatch.setattr(os, "pwrite", counted("pwrite", os.pwrite))
    monkeypatch.setattr(os, "fsync", counted("fsync", os.fsync))
    monkeypatch.setattr(Path, "replace", counted("replace", Path.replace))
    monkeypatch.setattr(Path, "unlink", counted("unlink", Path.unlink))
    return asked


def test_a_secret_is_nowhere_on_the_card_whenever_the_power_was_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for after in range(100):
        machine = Machine(tmp_path / f"{after}")
        machine.card.write_text(JOIN)
        sectors = machine.box.root / "sectors"
        sectors.hardlink_to(machine.card)  # where it is, also when no name leads there any longer
        with monkeypatch.context() as until_the_cut:
            changes = _cut(until_the_cut, after)
            with contextlib.suppress(Cut):
                machine.start()
        machine.start()
        assert "correct horse" in machine.text(places.CONFIG)
        assert [file.name for file in machine.card.parent.iterdir()] == [places.SETTINGS]
        assert card.KEPT in machine.card.read_text()
        assert "correct horse" not in sectors.read_text(), f"cut after {changes}"
        if len(changes) < after:
            return
    raise AssertionError("it does not end")


def test_a_second_start_is_the_same_and_leaves_the_card_alone(machine: Machine) -> None:
    machine.card.write_text(JOIN)
    machine.start()
    first, writes = machine.text(places.CONFIG), machine.card_writes
    assert machine.start() == []
    assert (machine.text(places.CONFIG), machine.card_writes) == (first, writes)


def test_a_card_whose_file_is_gone_changes_nothing(machine: Machine) -> None:
    machine.card.write_text(JOIN)
    machine.start()
    machine.card.unlink()
    machine.start()
    assert machine.text("/etc/hostname") == "hall\n"


def test_an_empty_file_is_a_new_beginning(machine: Machine) -> None:
    machine.card.write_text(JOIN)
    machine.start()
    machine.card.write_text("")
    machine.start()
    assert machine.text("/etc/hostname") == "lanjami\n"


def test_a_mistake_is_told_beside_the_file_and_what_was_good_stays(machine: Machine) -> None:
    machine.card.write_text(JOIN)
    machine.start()
    machine.card.write_text('[box]\nhostname = "NO GOOD"\n')
    (sentence,) = machine.start()
    assert "hostname" in sentence
    assert "hostname" in machine.complaint.read_text()
    assert machine.text("/etc/hostname") == "hall\n"
    writes = machine.card_writes
    machine.start()
    assert machine.card_writes == writes  # it is told already
    machine.card.write_text('[box]\nhostname = "good"\n')
    assert machine.start() == []
    assert not machine.complaint.exists()


def test_a_card_that_takes_nothing_is_heeded_and_named(machine: Machine) -> None:
    machine.card.write_text(JOIN)
    machine.card_is_dying = True
    (sentence,) = machine.start()
    assert "not all could be written" in sentence
    assert machine.text("/etc/hostname") == "hall\n"


# --- beside what is set on the page ---------------------------------------------------------------

ON_AIR = compose({"wlan0": Network(("dns", "dhcp"))}, Wifi("wlan0", "hall", "", "DE"))


@pytest.mark.parametrize(
    "page", [ON_AIR.encode(), b"[wifi\n", b"\xff\xfe", b"[wifi]\nof_a_later_version = 1\n"]
)
def test_what_the_page_has_set_yields_to_the_card_and_that_is_told(
    machine: Machine, page: bytes
) -> None:
    machine.page.parent.mkdir(parents=True)
    machine.page.write_bytes(page)
    machine.card.write_text(JOIN)
    assert machine.start() == []  # the watch tells it, for as long as it is so
    assert "what was set on the page is left aside" in machine.complaint.read_text()
    assert "ssid" in machine.text(places.CONFIG)
    assert machine.page.read_bytes() == page
    writes = machine.card_writes
    machine.start()
    assert machine.card_writes == writes
    machine.page.unlink()
    machine.start()
    assert not machine.complaint.exists()


def test_what_goes_together_is_not_spoken_of(machine: Machine) -> None:
    machine.page.parent.mkdir(parents=True)
    machine.page.write_text(ON_AIR)
    machine.card.write_text('[box]\nhostname = "hall"\n')
    assert machine.start() == []
    assert not machine.complaint.exists()


@needs_root
@pytest.mark.parametrize("page", [ON_AIR.encode(), b"\xff\xfe"])
def test_lanjami_starts_on_a_box_of_the_image_whatever_the_page_has_set(
    machine: Machine, page: bytes
) -> None:
    machine.page.parent.mkdir(parents=True)
    machine.page.write_bytes(page)
    machine.card.write_text(JOIN)
    machine.start()
    file, state = str(machine.box.path(places.CONFIG)), str(machine.page.parent)
    asked = [sys.executable, "-m", "lanjami", "config", "show", "--config", file, "--state", state]
    elsewhere = subprocess.run(asked, capture_output=True, check=False)
    assert elsewhere.returncode == 78
    image = f'mount -t tmpfs run /run && mkdir {places.RUN} && echo a >{places.SLOT} && exec "$@"'
    shown = subprocess.run(
        ["unshare", "-m", "sh", "-c", image, "sh", *asked],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert "page-settings.toml, which was set on the page: " in shown.stderr
    assert parse(shown.stdout).box.wifi.ssid == "x"


@pytest.mark.parametrize("content", [b"", b"\r\n", b"\xef\xbb\xbf"])
def test_an_empty_file_forgets_once_what_was_set_on_the_page(
    machine: Machine, content: bytes
) -> None:
    machine.page.parent.mkdir(parents=True)
    machine.page.write_text(ON_AIR)
    machine.card.write_bytes(content)
    assert machine.start() == []
    assert not machine.page.exists()
    assert "began anew" in machine.card.read_text()
    machine.page.write_text(ON_AIR)
    assert machine.start() == []
    assert machine.page.read_text() == ON_AIR


def test_settings_that_cannot_be_kept_hold_all_the_same(machine: Machine) -> None:
    _stop_keeping(machine.box)
    machine.card.write_text(JOIN)
    assert any("cannot keep them" in sentence for sentence in machine.start())
    assert machine.text("/etc/hostname") == "hall\n"
    assert "correct horse" in machine.card.read_text()  # else nobody had it
    assert setup.kept_settings(machine.box)[0].box.hostname == "hall"  # as the watch reads them


@pytest.mark.parametrize("slot", ["a", "b"])
def test_whatever_fails_before_it_a_start_has_a_network(machine: Machine, slot: str) -> None:
    """An update was taken back, or memory is to be brought in from a card that is not found."""
    box = machine.box
    disk.make_private_folder(box.path(places.KEPT))
    updating.tell(updating.Told(pending="0.2.0", slot="b"), box.path(places.KEPT))
    _stop_keeping(box)
    box.path(places.RUN).mkdir()
    box.path(places.SLOT).write_text(f"{slot}\n")
    make_settings(box, box.path(places.STATE))
    assert "DHCP=ipv4" in machine.text("/run/systemd/network/20-lanjami-cable.network")
    told = "\n".join(notices.read(folder=box.path(places.NOTICES)))
    assert ("update.json cannot be written" in told) is (slot == "a")
    assert "did not start from a card" in told


def _stop_keeping(box: Box) -> None:
    """As a disk that takes nothing: what is new cannot be written there."""
    for name in (places.SETTINGS, "update.json", "machine-id"):
        (box.path(places.KEPT) / f".{name}.new" / "in the way").mkdir(parents=True)


def test_a_key_opens_ssh_with_a_host_key_that_stays(machine: Machine) -> None:
    machine.card.write_text(f'[box]\nssh_keys = ["{KEY}"]\n')
    assert machine.start() == []
    assert machine.text(f"{places.RUN}/authorized_keys") == f"{KEY}\n"
    host_key = machine.box.path(places.KEPT) / "ssh/ssh_host_ed25519_key"
    assert host_key.stat().st_mode & 0o077 == 0
    machine.start()
    assert [command[0] for command in machine.ran] == ["ssh-keygen"]


def test_the_machines_id_is_kept_from_its_first_start_on(machine: Machine) -> None:
    machine.start()
    machine.box.path("/etc/machine-id").write_text("f" * 32)
    machine.start()
    assert machine.text(f"{places.KEPT}/machine-id").startswith("0123")


@pytest.mark.parametrize("kept", [b"\0" * 9, b"\xff", b"[box]\nof_a_later_version = 1\n"])
def test_settings_that_went_bad_are_left_aside_and_that_is_told(
    machine: Machine, kept: bytes
) -> None:
    machine.box.path(places.KEPT).mkdir(parents=True)
    machine.box.settings().write_bytes(kept)
    (sentence,) = machine.start()
    assert "the settings from before are left aside" in sentence
    assert sentence in machine.complaint.read_text()
    assert machine.text("/etc/hostname") == "lanjami\n"
    machine.card.write_text('[box]\nhostname = "hall"\n')
    assert machine.start() == []
    assert machine.text("/etc/hostname") == "hall\n"


def test_a_password_is_set_once_and_kept_nowhere(machine: Machine) -> None:
    machine.card.write_text('[box]\npassword = "horse staple battery"\n')
    assert machine.start() == []
    assert machine.start() == []
    assert machine.passwords == ["horse staple battery"]
    for text in (machine.card.read_text(), machine.text(places.CONFIG)):
        assert "horse" not in text
    assert "horse" not in machine.box.settings().read_text()


def test_what_others_read_has_the_rights_for_that(machine: Machine) -> None:
    before = os.umask(0o077)
    try:
        machine.start()
    finally:
        os.umask(before)
    folder = machine.box.path("/run/systemd/network")
    assert folder.stat().st_mode & 0o777 == 0o755
    for file in (*folder.iterdir(), machine.box.path("/etc/hostname")):
        assert file.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("place", [f"{places.KEPT}/time", f"{places.STATE}/backups/backup-1.zip"])
def test_a_machine_without_a_clock_begins_when_something_was_written_last(
    machine: Machine, place: str
) -> None:
    now, later = time.time(), time.time() + 30 * 86400
    to = machine.box.path(places.RUN) / "clock"  # for name-and-clock
    assert machine.start() == []
    assert not to.exists()
    file = machine.box.path(place)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    os.utime(file, (now, later))
    assert machine.start() == []
    assert to.read_text() == f"@{later:.0f}\n"


def test_a_clock_follows_the_servers_that_are_named(machine: Machine) -> None:
    followed = machine.box.path(places.CLOCK)
    machine.start()
    assert not followed.exists()
    machine.card.write_text('[ntp]\nservers = ["192.168.1.1"]\n')
    assert machine.start() == machine.start() == []
    assert "server 192.168.1.1 iburst" in followed.read_text()
    assert followed.stat().st_mode & stat.S_IROTH  # by a user of its own
