"""What is made anew at every start of the box: its settings in memory, from those that it keeps.

What needs more rights (the machine's name, the clock) is found out here and done by
`image/rootfs/usr/lib/lanjami/name-and-clock`.

The root is read-only below a layer in memory, so nothing here needs to be undone, and a power cut
leaves nothing half done. `root` stands for "/", so that tests can have a box of their own.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import lanjami
from lanjami import layout
from lanjami.box import card, disks, networkd, places
from lanjami.config import Config, Sources, parse
from lanjami.errors import ConfigError, HostError
from lanjami.network import chrony_conf, clock
from lanjami.runtime import disk, log

_log = log.get(__name__)

Run = Callable[[Sequence[str | Path]], str]
Writable = Callable[[], AbstractContextManager[None]]

_SSH_KEY = "ssh/ssh_host_ed25519_key"


@contextlib.contextmanager
def card_writable() -> Iterator[None]:
    """The partition that every computer can read, for a moment: it is read-only else, for a power
    cut damages only what is being written."""
    disks.run(["mount", "-o", "remount,rw", places.CARD])
    try:
        yield
    finally:
        os.sync()
        disks.run(["mount", "-o", "remount,ro", places.CARD])


@dataclass(frozen=True, slots=True)
class Box:
    """Where things are (`root`), and how the world is acted upon."""

    root: Path = Path("/")
    run: Run = disks.run
    writable: Writable = card_writable
    set_password: Callable[[str], None] = lambda _: None

    def path(self, place: str) -> Path:
        return self.root / place.removeprefix("/")

    def settings(self) -> Path:
        """What was taken over from the card, with its secrets."""
        return self.path(places.KEPT) / places.SETTINGS


def set_up(box: Box) -> list[str]:
    """Everything, in the order in which it is needed; returns what went wrong, in sentences."""
    mistakes: list[str] = []

    def go(*steps: Callable[[], None]) -> None:
        for step in steps:  # what one lacks is no reason to go without the others
            try:
                step()
            except (HostError, OSError) as error:
                mistakes.append(str(error))

    go(
        lambda: disk.make_private_folder(box.path(places.KEPT)),
        lambda: disk.make_private_folder(box.path(places.STATE)),
        lambda: box.path(places.RUN).mkdir(mode=0o755, parents=True, exist_ok=True),
        lambda: mistakes.extend(take_card(box)),
    )
    config, text, refusal = kept_settings(box)
    if refusal:
        mistakes.append(f"the settings from before are left aside: {refusal}")
    told = list(mistakes)
    in_force, refusal = Sources(text, page_settings(box)).without_bad_page()
    go(
        lambda: _set_clock(box),
        lambda: _name(box, config.box.hostname),
        lambda: _write_network(box, in_force),
        lambda: write_config(box, text),
        lambda: _open_to_keys(box, config.box.ssh_keys),
        lambda: _keep_machine_id(box),
    )
    if refusal:
        told.append(left_aside(refusal))  # the watch tells it elsewhere, for as long as it is so
    _tell_beside(box, told)
    return mistakes


def take_card(box: Box) -> list[str]:
    """Take over the settings file from the card where there is one, and take its secrets off the
    card; returns what is wrong with it. Then the settings of before are kept."""
    file = box.path(places.CARD) / places.SETTINGS
    box.path(places.TAKEN).unlink(missing_ok=True)
    try:
        _finish_exchange(box, file)
        content = file.read_bytes()
    except FileNotFoundError:
        return []
    except (HostError, OSError) as error:
        return [f"{places.SETTINGS} on the card cannot be read: {error}"]
    try:
        taken = card.take(content, kept=_text(box.settings()))
    except ConfigError as error:
        return [f"{places.SETTINGS} on the card has a mistake: {error}"]
    try:
        if _text(box.settings()) != taken.text:
            keep_settings(box, taken.text)
    except HostError as error:
        disk.write_atomically(box.path(places.TAKEN), taken.text.encode())
        return [f"the settings on the card are used, but the box cannot keep them: {error}"]
    try:
        _clear_card(box, file, content, taken)
    except (HostError, OSError) as error:
        return [f"the settings on the card are used, but not all could be written: {error}"]
    return _lacks_password(box, taken)


def kept_settings(box: Box) -> tuple[Config, str, str]:
    """What was taken over last, and its text; the defaults where there is nothing or, and then with
    the reason, nothing good."""
    taken = box.path(places.TAKEN)
    file = taken if taken.exists() else box.settings()
    try:
        text = file.read_text("utf-8") if file.exists() else ""
        return parse(text), text, ""
    except (ConfigError, OSError, UnicodeDecodeError) as error:  # of a version to come, or damaged
        return Config(), "", str(error)


def left_aside(refusal: str) -> str:
    """The sentence for people where what was set on the page cannot be taken."""
    return (
        f"what was set on the page is left aside, as it does not go with {places.SETTINGS} on the "
        f"card: {refusal}"
    )


def page_settings(box: Box) -> str:
    """What was set on the page; "" where nothing was, and what is no TOML where it is no text."""
    file = box.path(places.STATE) / layout.PAGE_SETTINGS
    try:
        return file.read_bytes().decode() if file.is_file() else ""
    except UnicodeDecodeError:
        return "?"
    except OSError:
        return ""


def keep_settings(box: Box, text: str) -> None:
    """Make a text the kept settings; HostError."""
    disk.make_private_folder(box.path(places.KEPT))
    disk.write_atomically(box.settings(), text.encode())


def write_config(box: Box, text: str) -> None:
    """The configuration for the program, which is not root: the folder gives files its group."""
    disk.write_atomically(box.path(places.CONFIG), text.encode(), mode=0o640)


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _begin_anew(box: Box, file: Path) -> None:
    """Forget what was set on the page, once: from then on the file says that it was heeded."""
    (box.path(places.STATE) / layout.PAGE_SETTINGS).unlink(missing_ok=True)
    with box.writable():
        disk.write_atomically(file, card.BEGUN.replace("\n", "\r\n").encode())


def _clear_card(box: Box, file: Path, content: bytes, taken: card.Taken) -> None:
    """Heed what is to be done once, and take its trigger or its secret off the card."""
    if card.is_empty(content):
        _begin_anew(box, file)
    if taken.password not in ("", card.KEPT):
        box.set_password(taken.password)
    if set(card.secrets(content.decode("utf-8-sig")).values()) - {card.KEPT}:
        with box.writable():
            _exchange_and_wipe(file, taken.visible.encode())


def _lacks_password(box: Box, taken: card.Taken) -> list[str]:
    """The sentence for who brought the card of another box."""
    if taken.password != card.KEPT or (box.path(places.STATE) / layout.OPERATOR).exists():
        return []
    told = f"box.password on the card says {card.KEPT}, but this box has none: write it again"
    return [told]


def _tell_beside(box: Box, sentences: Sequence[str]) -> None:
    """Say on the card what is wrong with the settings; nothing where nothing is."""
    file = box.path(places.CARD) / places.MISTAKES
    told = "".join(f"- {sentence}\n\n" for sentence in sentences)
    text = (
        f"Not all is as it was set. The box goes on with what is good, and with its settings from "
        f"before.\n\n{told}Mend it, and start the box again. This file goes away by itself.\n"
    )
    if _text(file) == (text if sentences else ""):  # read with universal newlines
        return
    try:
        with box.writable():
            if sentences:
                disk.write_atomically(file, text.replace("\n", "\r\n").encode())
            else:
                file.unlink(missing_ok=True)
    except (HostError, OSError) as error:
        _log.warning("the card takes nothing", reason=error)


def _exchange_and_wipe(file: Path, content: bytes) -> None:
    """Replace a file, and overwrite where the old one was: a FAT keeps what is only removed. The
    old one goes when the new one is whole on the card, and is overwritten while it has its name:
    so a power cut leaves something that `_finish_exchange` ends."""
    new = file.with_name(places.NEW_SETTINGS)
    disk.write_atomically(new, content)
    _wipe(file)
    new.replace(file)


def _finish_exchange(box: Box, file: Path) -> None:
    """What a power cut broke off. No text that a person wrote has a NUL in it."""
    new = file.with_name(places.NEW_SETTINGS)
    if not new.exists():
        return
    with box.writable():
        if not file.exists() or b"\0" in file.read_bytes():
            if file.exists():
                _wipe(file)
            new.replace(file)
        else:
            new.unlink()


def _wipe(file: Path) -> None:
    old = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.pwrite(old, b"\0" * os.fstat(old).st_size, 0)
        os.fsync(old)
    finally:
        os.close(old)


def _set_clock(box: Box) -> None:
    """A machine without a clock begins at a time that surely has passed."""
    seen = []
    for folder in (places.KEPT, places.STATE, f"{places.STATE}/{layout.BACKUPS}"):
        with contextlib.suppress(OSError):
            seen += [file.stat().st_mtime for file in box.path(folder).iterdir()]
    passed = clock.newest(made_at=Path(lanjami.__file__).stat().st_mtime, seen=seen)
    to = clock.correction(time.time(), passed)
    if to is not None:
        disk.write_atomically(box.path(places.RUN) / "clock", f"@{to:.0f}\n".encode())


def _name(box: Box, name: str) -> None:
    hosts = f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 {name}\n"
    for place, text in (("/etc/hostname", f"{name}\n"), ("/etc/hosts", hosts)):
        disk.write_atomically(box.path(place), text.encode(), mode=0o644)


def _write_network(box: Box, config: Config) -> None:
    folder = box.path("/run/systemd/network")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # whatever our umask is: others read it
    for name, text in networkd.render(config).items():
        disk.write_atomically(folder / name, text.encode(), mode=0o644)
    if config.ntp.servers:
        followed = chrony_conf.follower(config.ntp.servers, folder=places.CLOCK_RUN)
        disk.write_atomically(box.path(places.CLOCK), followed.encode(), mode=0o644)
    supplicant = networkd.supplicant(config)
    if supplicant:
        disk.write_atomically(box.path(places.RUN) / "wpa_supplicant.conf", supplicant.encode())


def _open_to_keys(box: Box, keys: Sequence[str]) -> None:
    """Without a key there is no SSH (see ssh.service.d/lanjami.conf)."""
    if not keys:
        return
    host_key = box.path(places.KEPT) / _SSH_KEY
    if not host_key.exists() or not host_key.stat().st_size:
        disk.make_private_folder(host_key.parent)
        made = host_key.with_name("made")
        for left in (made, made.with_name("made.pub")):
            left.unlink(missing_ok=True)
        box.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lanjami", "-f", made])
        disk.write_atomically(host_key, made.read_bytes())
        made.unlink()
    authorized = "".join(f"{key.strip()}\n" for key in keys)
    disk.write_atomically(box.path(places.RUN) / "authorized_keys", authorized.encode(), mode=0o644)


def _keep_machine_id(box: Box) -> None:
    """So that the next start has the same from its beginning on (see the initramfs)."""
    kept = box.path(places.KEPT) / "machine-id"
    if not kept.exists():
        disk.write_atomically(kept, box.path("/etc/machine-id").read_bytes(), mode=0o644)
