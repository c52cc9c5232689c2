"""Watches over a box: who is the network on a cable, whether the services live, whether an update
passed its test. It looks once a second, and `tick` never waits for long.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

import lanjami
from lanjami.box import disks, health, notices, places, roles, screen, setup, updating
from lanjami.box.disks import Card, Running
from lanjami.box.health import Action, Course
from lanjami.box.roles import Line, Seen
from lanjami.box.setup import Box
from lanjami.box.standing import Standing
from lanjami.box.updating import Told
from lanjami.config import Sources
from lanjami.errors import HostError
from lanjami.runtime import disk, log, net
from lanjami.status.snapshot import Snapshot

_log = log.get(__name__)

LOOK_EVERY_S = 1.0
ASK_EVERY_S = 5.0
NOTE_TIME_EVERY_S = 900.0  # seldom enough for a memory card

REFUSED = 78  # of lanjami: its configuration is wrong
LEFT_ALONE = (REFUSED, 100)
_ETHERNET = "1"  # ARPHRD_ETHER, Linux include/uapi/linux/if_arp.h


@dataclass(frozen=True, slots=True)
class World:
    """What the watch looks at, and acts by."""

    box: Box
    ask: Callable[[], Snapshot | None]  # the box's status; None where it does not answer
    seen: Callable[[], dict[str, Seen]]  # the cables
    lans: Callable[[], list[IPv4Network]]  # that others made, and the box is a guest in
    # see `rivals.Ear.look`: the addresses wanted, the cables on which the box is the network, now
    rivals: Callable[[Mapping[str, IPv4Interface], Collection[str], float], Collection[str]]
    running: Running
    card: Callable[[], Card]
    say: Callable[[str], None]  # to whoever reads the serial console
    lasts: Callable[[], bool]  # whether what is kept is on the card, and not in memory


class Watch:
    """`began` and the `now` of every call are of one clock that never goes back, in seconds."""

    def __init__(self, world: World, *, began: float) -> None:
        self._world = world
        self._networks = _read_roles(world.box.path(places.ROLES))
        self._lines = {name: Line(is_network=True) for name in self._networks}
        self._left: set[tuple[str, IPv4Interface]] = set()  # addresses from roles of before
        self._config, self._text, _ = setup.kept_settings(world.box)
        self._page = self._refusal = ""
        self._course = Course(began)
        self._snapshot: Snapshot | None = None
        self._ask_at = self._note_at = began
        self._tried = world.running.tried
        self._kept = world.box.path(places.KEPT)
        self._reboots = _read_count(self._kept)
        self._gave_up = self._leaving = self._is_refused = False
        self._reported = self._reboots > 0
        self._said = ""
        self._faults: dict[str, str] = {}  # by what they kept it from

    def tick(self, now: float) -> None:
        """Look, and do what is to be done; nothing any longer where the machine goes down. What
        the machine refuses keeps nothing else from being done, and is tried again."""
        for look in (self._follow_page, self._follow_cables, self._follow_health):
            if self._leaving:
                return
            fault = ""
            try:
                look(now)
            except HostError as error:
                fault = str(error)
                if fault != self._faults.get(look.__name__):
                    _log.warning("the watch is kept from something", reason=fault)
            self._faults[look.__name__] = fault

    def _follow_health(self, now: float) -> None:
        if now >= self._ask_at:
            self._ask_at = now + ASK_EVERY_S
            self._snapshot = self._world.ask()
            self._course = self._course.after(is_well=self._is_well(), now=now)
            try:
                self._act(now)
            finally:
                self._tell()
        if now >= self._note_at:
            self._note_at = now + NOTE_TIME_EVERY_S
            with suppress(HostError):
                disk.write_atomically(self._kept / "time", b"")

    def _is_well(self) -> bool:
        """Whether there is nothing that a new start could mend."""
        if self._snapshot is not None:
            return health.serves(self._snapshot)
        return not self._tried and self._is_left_alone()

    def _is_left_alone(self) -> bool:
        """Whether systemd leaves the program stopped: its operator stopped it, or its configuration
        is wrong (RestartPreventExitStatus= of the unit)."""
        told = self._unit("ActiveState", "ExecMainStatus", "ExecMainExitTimestampMonotonic")
        state, status = told["ActiveState"], int(told["ExecMainStatus"])
        is_left = state in ("inactive", "failed") and status in LEFT_ALONE
        # by systemctl; without an exit, it never ran
        is_left |= state == "inactive" and told["ExecMainExitTimestampMonotonic"] != "0"
        self._is_refused = is_left and status == REFUSED
        return is_left

    def _is_hopeless(self) -> bool:
        """Whether a program that is tried ends again and again, or for good."""
        if not self._tried or self._course.well_since is not None:
            return False
        told = self._unit("ActiveState", "NRestarts")
        return told["ActiveState"] == "failed" or int(told["NRestarts"]) >= health.CRASHES_MOST

    def _unit(self, *properties: str) -> dict[str, str]:
        asked = [word for name in properties for word in ("-p", name)]
        told = self._world.box.run(["systemctl", "show", *asked, "lanjami.service"])
        return dict(line.split("=", 1) for line in told.split())

    def _follow_page(self, _: float) -> None:
        """Know of what is set on the page: which cables are the operator's, and which networks."""
        page = setup.page_settings(self._world.box)
        if page != self._page:
            self._page = page
            self._config, self._refusal = Sources(self._text, page).without_bad_page()

    def _follow_cables(self, now: float) -> None:
        seen = self._world.seen()
        names = roles.may_fall_back(self._config, list(seen))
        lines = {name: self._lines.get(name, Line()) for name in names}
        alone = roles.if_nobody_comes(lines, seen)
        lans = self._world.lans() if any(line.is_network for line in alone.values()) else []
        wanted = self._addresses(alone, lans)
        here = [name for name, line in lines.items() if line.is_network]
        first = self._world.rivals(wanted, here, now)
        rivals = [name for name in first if lines[name].gives_way]
        self._lines = {
            name: roles.step(line, seen[name], has_rival=name in rivals, now=now)
            for name, line in lines.items()
        }
        taken = [wanted[name].network for name in rivals]
        networks = self._addresses(self._lines, [*lans, *taken])
        if networks != self._networks:
            self._be(networks)
        # Again and again: one that goes while lanjami still runs is given anew by it.
        for name, at in sorted(self._left):
            if name in names and at in seen[name].own:
                with suppress(HostError):  # it went with its interface
                    self._world.box.run(["ip", "address", "del", str(at), "dev", name])

    def _addresses(
        self, lines: Mapping[str, Line], lans: Sequence[IPv4Network]
    ) -> dict[str, IPv4Interface]:
        return roles.addresses(lines, self._config, before=self._networks, lans=lans)

    def _be(self, networks: dict[str, IPv4Interface]) -> None:
        """Be the network on these cables, and on no other."""
        _log.info("the box is the network", on=", ".join(networks) or "no cable")
        run = self._world.box.run
        setup.write_config(self._world.box, roles.with_roles(self._text, networks))
        # What the operator took over stays as it is until they have lanjami start again.
        ours = {n: at for n, at in self._networks.items() if n not in self._config.chosen}
        self._left = (self._left | ours.items()) - networks.items()
        if networks != ours:
            run(["systemctl", "--no-block", "restart", "lanjami.service"])
        kept = "".join(f"{name} {at}\n" for name, at in networks.items())
        disk.write_atomically(self._world.box.path(places.ROLES), kept.encode())
        self._networks = networks

    def _act(self, now: float) -> None:
        if self._reboots and self._course.is_forgiven(now=now):
            self._count(0)
            self._reboots = 0
        action = health.decide(
            self._course,
            now=now,
            tried=self._tried,
            reboots=self._reboots,
            is_hopeless=self._is_hopeless(),
        )
        match action:
            case Action.KEEP:
                disks.write_good(self._world.card(), self._world.running.slot)
                self._tried = False
                self._remember_the_update()
                _log.info("the update passed its test and is kept", version=lanjami.__version__)
            case Action.ROLL_BACK:
                _log.error("the update did not pass its test, the other slot starts")
                runs = f"lanjami {lanjami.__version__} from slot {self._world.running.slot}"
                self._world.say(f"lanjami self-test: failed; {runs} is taken back")
                self._reboot()
            case Action.REBOOT:
                if not self._count(self._reboots + 1):
                    self._gave_up = True  # it would not know when to stop
                    return
                _log.error("the services are down for too long, the machine starts again")
                self._reboot()
                self._reboots += 1
            case Action.GIVE_UP:
                self._gave_up = True
            case Action.NOTHING:
                self._gave_up = False

    def _remember_the_update(self) -> None:
        """That it is kept, for who asks later: another update, and the watch itself where it starts
        again. It is kept also where none of this can be written."""
        box, slot = self._world.box, self._world.running.slot
        updating.stand(Standing("kept", lanjami.__version__), box.path(places.UPDATE))
        with suppress(HostError):
            disk.write_atomically(box.path(places.SLOT), f"{slot}\n".encode(), mode=0o644)
        with suppress(HostError):
            updating.tell(Told(kept=lanjami.__version__), self._kept)

    def _reboot(self) -> None:
        self._world.box.run(["systemctl", "--no-block", "reboot"])
        self._leaving = True

    def _count(self, reboots: int) -> bool:
        """Whether the next start will know of it."""
        try:
            disk.write_atomically(self._kept / "reboots", f"{reboots}\n".encode())
        except HostError:
            return False
        return self._world.lasts()

    def _tell(self) -> None:
        sentences = self._sentences()
        box = self._world.box
        notices.write("watch", sentences, folder=box.path(places.NOTICES))
        text = screen.render(
            self._snapshot,
            version=lanjami.__version__,
            networks=sorted(self._networks),
            notices=notices.read(folder=box.path(places.NOTICES)),
            clock=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        )
        file = box.path(places.SCREEN)
        if not file.exists() or file.read_text("utf-8") != text:
            disk.write_atomically(file, text.encode(), mode=0o644)
        line = screen.self_test(
            self._snapshot, version=lanjami.__version__, slot=self._world.running.slot
        )
        if line and line != self._said:
            self._said = line
            self._world.say(line)

    def _sentences(self) -> list[str]:
        told = [setup.left_aside(self._refusal)] if self._refusal else []
        if self._is_refused and self._snapshot is None:
            told.append(
                "lanjami takes its settings for wrong and does not run: start the box again"
            )
        if self._gave_up and self._reboots < health.REBOOTS_MOST:
            told.append(
                "its services are down, and the card keeps nothing that is written to it: it does "
                "not start itself again, as it could not count how often"
            )
        elif self._gave_up:
            told.append(
                f"its services are down, and {self._reboots} new starts in a row did not help: it "
                "does not try again by itself"
            )
        elif self._reported and self._reboots:
            told.append(
                "it started itself again because its services were down for "
                f"{health.DOWN_MOST_S / 60:.0f} minutes (start {self._reboots} of "
                f"{health.REBOOTS_MOST})"
            )
        if self._tried:
            told.append("an update is being tried")
        if refused := updating.told(self._kept).refused:
            told.append(
                f"the update to lanjami {refused} did not pass its test and was taken back; "
                f"{lanjami.__version__} runs"
            )
        return told


def cables(*, sys: Path = Path("/sys")) -> dict[str, Seen]:
    """The machine's own Ethernet interfaces, by cable or USB, not Wi-Fi nor made by software."""
    leased = set[str]()
    own: dict[str, tuple[IPv4Interface, ...]] = {}
    for name, at in net.own_ipv4():
        if at.ip in roles.ADDRESSES:
            own[name] = (*own.get(name, ()), at)
        elif _is_given(at):
            leased.add(name)
    found = {}
    for place in sorted((sys / "class/net").iterdir()):
        if not (place / "device").exists() or (place / "phy80211").exists():
            continue
        if _read(place / "type") == _ETHERNET:
            carrier = _read(place / "carrier") == "1"
            found[place.name] = Seen(carrier, place.name in leased, own.get(place.name, ()))
    return found


def lans() -> list[IPv4Network]:
    """The networks that others made, on any interface."""
    return [at.network for _, at in net.own_ipv4() if _is_given(at)]


def _is_given(at: IPv4Interface) -> bool:
    """Whether an address is neither self-made nor our own as the network."""
    return not at.ip.is_link_local and at.ip not in roles.ADDRESSES


def _read(file: Path) -> str:
    try:
        return file.read_text("ascii").strip()
    except OSError:  # an interface that is down has no carrier to read
        return ""


def _read_roles(file: Path) -> dict[str, IPv4Interface]:
    """What a watch before this one, of the same start, had decided."""
    try:
        lines = file.read_text("ascii").splitlines()
    except OSError:
        return {}
    return {name: IPv4Interface(at) for name, _, at in (line.partition(" ") for line in lines)}


def _read_count(kept: Path) -> int:
    with suppress(OSError, ValueError):
        return int((kept / "reboots").read_text("ascii"))
    return 0


def uptime() -> float:
    """Seconds since the machine's start, also while it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
