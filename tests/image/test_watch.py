"""The watch over a box, second by second, in a folder that stands for its root."""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace as exchange
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

import pytest
from msgspec.structs import replace

import lanjami
from lanjami import layout
from lanjami.box import disks, health, notices, places, roles, slots, updating, watch
from lanjami.box.disks import Card, Running
from lanjami.box.roles import Seen
from lanjami.box.setup import Box
from lanjami.box.slots import Slot
from lanjami.box.standing import Standing
from lanjami.box.updating import Told
from lanjami.box.watch import Watch, World
from lanjami.cli.box import make_settings
from lanjami.config import Config, Network, Sources, Wifi, parse
from lanjami.errors import HostError
from lanjami.status.operator.settings import compose, read_form
from lanjami.status.snapshot import Dht, Discovery, Registrations, Service, Snapshot

OWN = IPv4Interface("10.77.0.1/24")
OLD, TRIED = Running("a", tried=False), Running("b", tried=True)
UP = Service("up", "works", "", 0)
WELL = Snapshot(
    version="0.1.0",
    healthy=True,
    services={"dhtnode": UP, "http": UP, "names": UP},
    dht=Dht("", 4222, 0, 0, 0, 0),
    discovery=Discovery([], 0, 0, 0, 0, {}, []),
    addresses=["10.77.0.1"],
    host="",
    name_server="http://10.77.0.1",
    names=0,
    registrations=Registrations(0, 0, {}),
)


class Scene:
    """A box, what is seen of it, and what was done to it."""

    def __init__(self, root: Path) -> None:
        self.ran: list[list[str]] = []
        self.said: list[str] = []
        self.box = Box(root, self._run)
        for place in (places.KEPT, places.RUN, "/etc/lanjami"):
            self.box.path(place).mkdir(parents=True)
        self.snapshot: Snapshot | None = WELL
        self.cables = {"eth0": Seen(carrier=True, leased=True)}
        self.card = Card(root / "card", f"{root}/cardp")
        self.card.device.write_bytes(b"\0" * (2 << 20))
        self.page = self.box.path(places.STATE) / layout.PAGE_SETTINGS
        self.kept = self.box.path(places.KEPT)
        self.lans: list[IPv4Network] = []
        self.theirs: list[IPv4Interface] = []  # addresses that come first to another machine
        self.lasts = True
        self.now = 1000.0
        self.broken = ""  # a word of the commands that fail
        self.unit = "ActiveState=activating\nExecMainStatus=0\nNRestarts=0\n"

    def set_on_page(self, networks: Mapping[str, Network], wifi: Wifi) -> None:
        self.page.parent.mkdir(parents=True, exist_ok=True)
        self.page.write_text(compose(networks, wifi))

    def started(self) -> Config:
        """What lanjami goes by when it starts now."""
        page = self.page.read_text() if self.page.exists() else ""
        return parse(self.box.path(places.CONFIG).read_text(), page=page)

    def watch(self, slot: Slot = "a", *, tried: bool = False) -> Watch:
        world = World(
            box=self.box,
            ask=lambda: self.snapshot,
            seen=lambda: self.cables,
            lans=lambda: self.lans,
            rivals=self._rivals,
            running=Running(slot, tried),
            card=lambda: self.card,
            say=self.said.append,
            lasts=lambda: self.lasts,
        )
        return Watch(world, began=self.now)

    def pass_s(self, seconds: int, watch: Watch) -> None:
        for _ in range(seconds):
            self.now += 1
            watch.tick(self.now)

    def did(self, *words: str) -> int:
        return sum(all(word in command for word in words) for command in self.ran)

    def told(self) -> str:
        return "\n".join(notices.read(folder=self.box.path(places.NOTICES)))

    def _rivals(
        self, wanted: Mapping[str, IPv4Interface], networks: Collection[str], now: float
    ) -> set[str]:
        assert set(networks) <= set(self.cables)
        assert now == self.now
        return {name for name, at in wanted.items() if at in self.theirs}

    def _run(self, command: Sequence[str | Path]) -> str:
        if self.broken in command:
            raise HostError(f"{self.broken}: there is no memory")
        if command[1] == "show":
            return self.unit
        self.ran.append([str(word) for word in command])
        match command:
            case ["ip", "address", "del", at, "dev", str(name)]:
                seen = self.cables[name]
                left = tuple(own for own in seen.own if str(own) != at)
                self.cables[name] = exchange(seen, own=left)
        return ""


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_box_that_is_well_is_left_alone(scene: Scene) -> None:
    scene.pass_s(400, scene.watch())
    assert scene.ran == []
    assert scene.told() == ""
    assert "Jami works here." in scene.box.path(places.SCREEN).read_text()


def test_a_switch_without_a_router_makes_the_box_the_network_and_a_router_takes_it_back(
    scene: Scene,
) -> None:
    scene.cables["eth0"] = Seen(carrier=True, leased=False)
    watching = scene.watch()
    scene.pass_s(19, watching)
    assert scene.ran == []
    scene.pass_s(10, watching)
    assert scene.did("restart", "lanjami.service") == 1
    config = scene.box.path(places.CONFIG)
    assert '[fallback."eth0"]\nserve = ["dns", "dhcp", "ra", "ntp"]' in config.read_text()
    assert "eth0" in scene.box.path(places.SCREEN).read_text()
    scene.cables["eth0"] = Seen(carrier=True, leased=True, own=(OWN,))
    scene.pass_s(1, watching)
    assert scene.did("restart", "lanjami.service") == 2
    assert scene.did("del", "10.77.0.1/24", "eth0") == 1
    assert config.read_text() == ""
    # by the lanjami that was just ending
    scene.cables["eth0"] = Seen(carrier=True, leased=True, own=(OWN,))
    scene.pass_s(10, watching)
    assert scene.cables["eth0"].own == ()
    assert scene.did("del") == 2


def test_a_guest_whose_page_was_saved_becomes_the_network_all_the_same(scene: Scene) -> None:
    scene.set_on_page({}, Wifi())
    scene.cables["eth0"] = Seen(carrier=True, leased=False)
    scene.pass_s(30, scene.watch())
    assert scene.started().serving("dhcp") == ["eth0"]


def test_an_access_point_of_the_page_and_a_cable_have_networks_that_differ(scene: Scene) -> None:
    at_page = Network(("dns", "dhcp"), "10.77.0.1/24")
    scene.set_on_page({"wlan0": at_page}, Wifi("wlan0", "x", "", "DE"))
    scene.cables["eth0"] = Seen(carrier=True, leased=False)
    scene.pass_s(30, scene.watch())
    found = scene.started()
    assert found.serving("dhcp") == ["wlan0", "eth0"]
    assert found.network["eth0"].address == "10.77.1.1/24"


def test_a_cable_has_no_network_that_the_box_is_a_guest_in_elsewhere(scene: Scene) -> None:
    """As on the network of another box, which comes while it is one itself."""
    scene.cables["eth0"] = Seen(carrier=True, leased=False)
    watching = scene.watch()
    scene.pass_s(30, watching)
    assert scene.started().network["eth0"].address == "10.77.0.1/24"
    scene.cables["eth0"] = Seen(carrier=True, leased=False, own=(OWN,))
    scene.lans = [IPv4Network("10.77.0.0/24")]
    scene.pass_s(1, watching)
    assert scene.started().network["eth0"].address == "10.77.1.1/24"
    assert scene.did("del", "10.77.0.1/24", "eth0") == 1


def test_what_fails_keeps_nothing_else_from_being_done_and_is_tried_again(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.cables["eth0"] = Seen(carrier=True, leased=False)
    scene.broken = "systemctl"
    watching = scene.watch("b", tried=True)
    scene.pass_s(60, watching)
    assert disks.running(root=scene.box.root) == Running("b", tried=False)
    assert caplog.text.count("there is no memory") == 1
    scene.broken = ""
    scene.pass_s(1, watching)
    assert scene.did("restart", "lanjami.service") == 1
    assert scene.started().serving("dhcp") == ["eth0"]


def test_a_start_that_is_refused_does_not_count(scene: Scene) -> None:
    scene.snapshot = None
    scene.broken = "reboot"
    watching = scene.watch()
    scene.pass_s(400, watching)
    assert "did not help" not in scene.told()
    assert scene.box.path(places.SCREEN).exists()
    scene.broken = ""
    scene.pass_s(5, watching)
    assert scene.did("reboot") == 1
    assert (scene.kept / "reboots").read_text() == "1\n"


def test_the_address_of_another_box_is_left_to_it_and_given_up_for_another_in_the_end(
    scene: Scene,
) -> None:
    scene.cables["eth0"] = Seen(carrier=True, leased=False)
    scene.theirs = [OWN]
    watching = scene.watch()
    scene.pass_s(int(roles.RIVAL_PATIENCE_S), watching)
    assert scene.ran == []
    scene.pass_s(10, watching)  # whoever that is, it gives nobody an address
    assert scene.started().network["eth0"].address == "10.77.1.1/24"
    scene.pass_s(200, watching)
    assert scene.did("restart", "lanjami.service") == 1


def test_a_network_is_kept_where_something_answers_for_every_address(scene: Scene) -> None:
    scene.cables["eth0"] = Seen(carrier=True, leased=False)
    scene.theirs = [roles.address(number) for number in range(8)]
    watching = scene.watch()
    scene.pass_s(int(3 * roles.RIVAL_PATIENCE_S), watching)
    restarts = scene.did("restart", "lanjami.service")
    scene.pass_s(1000, watching)
    assert scene.did("restart", "lanjami.service") == restarts == 3
    assert scene.started().serving("dhcp") == ["eth0"]


def test_of_two_networks_that_are_connected_one_gives_its_address_up(scene: Scene) -> None:
    scene.cables["eth0"] = Seen(carrier=True, leased=False)
    watching = scene.watch()
    scene.pass_s(30, watching)
    scene.cables["eth0"] = Seen(carrier=True, leased=False, own=(OWN,))
    scene.theirs = [OWN]
    scene.pass_s(10, watching)
    assert scene.cables["eth0"].own == ()
    assert scene.started().network == {}
    assert scene.did("restart", "lanjami.service") == 2
    scene.cables["eth0"] = Seen(carrier=True, leased=True)
    scene.pass_s(200, watching)
    assert scene.started().network == {}


def test_a_page_that_is_saved_while_the_box_is_the_network_does_not_make_that_last(
    scene: Scene,
) -> None:
    scene.cables["eth0"] = Seen(carrier=True, leased=False)
    watching = scene.watch()
    scene.pass_s(30, watching)
    sources = Sources(scene.box.path(places.CONFIG).read_text())
    scene.page.parent.mkdir(parents=True)
    scene.page.write_text(read_form({"wifi.interface": ""}, sources, "", {"eth0": ()}))
    scene.pass_s(1, watching)
    assert scene.did("restart", "lanjami.service") == 1
    assert scene.started().serving("dhcp") == ["eth0"]
    scene.cables["eth0"] = Seen(carrier=True, leased=True)
    scene.pass_s(1, watching)
    assert scene.did("restart", "lanjami.service") == 2
    assert scene.started().network == {}


def test_a_cable_that_the_operator_takes_over_is_theirs_from_their_own_restart_on(
    scene: Scene,
) -> None:
    scene.cables["eth0"] = Seen(carrier=True, leased=False)
    watching = scene.watch()
    scene.pass_s(30, watching)
    scene.cables["eth0"] = Seen(carrier=True, leased=False, own=(OWN,))
    scene.set_on_page({"eth0": Network(("dns", "dhcp"), "10.77.0.1/24")}, Wifi())
    scene.pass_s(30, watching)
    assert scene.did("restart", "lanjami.service") == 1
    assert scene.did("del") == 0
    assert "nobody gives addresses" not in scene.box.path(places.SCREEN).read_text()
    scene.cables["eth0"] = Seen(carrier=True, leased=True, own=(OWN,))
    scene.pass_s(30, watching)
    assert scene.did("del") == 0
    assert scene.did("restart", "lanjami.service") == 1
    assert list(scene.started().chosen) == ["eth0"]


def test_a_mistake_on_the_card_is_on_the_screen_and_in_the_status(scene: Scene) -> None:
    folder = scene.box.path(places.CARD)
    folder.mkdir(parents=True)
    (folder / places.SETTINGS).write_text('[box]\nhostname = "NO GOOD"\n')
    box = Box(scene.box.root, scene.box.run, contextlib.nullcontext)
    scene.box.path("/etc/machine-id").touch()
    make_settings(box, box.path(places.STATE))
    scene.pass_s(10, scene.watch())
    status = notices.read(folder=box.path(places.NOTICES))  # see test_box_services
    screen = scene.box.path(places.SCREEN).read_text().replace("\n", "")
    beside = (folder / places.MISTAKES).read_text()
    for told in ("\n".join(status), screen, beside):
        assert "box.hostname" in told


def test_a_page_that_does_not_go_with_the_card_is_told_until_it_does(scene: Scene) -> None:
    join = '[box.wifi]\nssid = "x"\npassphrase = "correct horse"\ncountry = "DE"\n'
    scene.box.settings().write_text(join)
    scene.set_on_page({"wlan0": Network(("dns",))}, Wifi("wlan0", "hall", "", "DE"))
    watching = scene.watch()
    scene.pass_s(10, watching)
    for told in (scene.told(), scene.box.path(places.SCREEN).read_text().replace("\n", "")):
        assert "what was set on the page is left aside" in told
        assert "one radio is an access point or joins one" in told
    scene.set_on_page({}, Wifi())
    scene.pass_s(10, watching)
    assert scene.told() == ""


def test_a_new_watch_knows_the_role_of_the_one_before(scene: Scene) -> None:
    scene.cables["eth0"] = Seen(carrier=True, leased=False)
    scene.pass_s(30, scene.watch())
    watching = scene.watch()
    scene.pass_s(30, watching)
    assert scene.did("restart", "lanjami.service") == 1
    scene.cables["eth0"] = Seen(carrier=True, leased=True)
    scene.pass_s(1, watching)
    assert scene.did("restart", "lanjami.service") == 2


@pytest.mark.parametrize(
    ("unit", "reboots"),
    [
        ("ActiveState=failed\nExecMainStatus=100\n", 0),  # stopped by its operator
        ("ActiveState=inactive\nExecMainStatus=0\n", 0),  # by systemctl
        ("ActiveState=failed\nExecMainStatus=78\n", 0),
        ("ActiveState=failed\nExecMainStatus=1\n", 1),
        ("ActiveState=activating\nExecMainStatus=100\n", 1),
        ("ActiveState=inactive\nExecMainStatus=0\nExecMainExitTimestampMonotonic=0\n", 1),
    ],
)
def test_what_a_start_would_not_mend_causes_none(scene: Scene, unit: str, reboots: int) -> None:
    scene.snapshot, scene.unit = None, f"ExecMainExitTimestampMonotonic=17\n{unit}"
    watching = scene.watch()
    scene.pass_s(400, watching)
    assert scene.did("reboot") == reboots
    assert ("takes its settings for wrong" in scene.told()) is ("=78" in unit)
    scene.snapshot = WELL
    scene.pass_s(10, watching)
    assert "takes its settings for wrong" not in scene.told()


def test_services_that_stay_down_start_the_machine_again_so_often_and_it_says_so(
    scene: Scene,
) -> None:
    scene.snapshot = None
    for start in range(health.REBOOTS_MOST):
        watching = scene.watch()
        scene.pass_s(299, watching)
        assert scene.did("reboot") == start
        scene.pass_s(10, watching)
        assert scene.did("reboot") >= start + 1
        scene.ran = scene.ran[: start + 1]
    watching = scene.watch()
    scene.pass_s(6, watching)
    assert "started itself again" in scene.told()
    scene.pass_s(400, watching)
    assert scene.did("reboot") == health.REBOOTS_MOST
    assert "did not help" in scene.told()


@pytest.mark.parametrize("card", ["takes nothing", "is not there"])
def test_it_does_not_start_itself_again_where_it_could_not_count_that(
    scene: Scene, card: str
) -> None:
    scene.snapshot = None
    if card == "takes nothing":
        (scene.kept / ".reboots.new" / "in the way").mkdir(parents=True)
    else:
        scene.lasts = False
    scene.pass_s(400, scene.watch())
    assert scene.did("reboot") == 0
    assert "could not count" in scene.told()


def test_an_hour_without_fault_is_a_new_life(scene: Scene) -> None:
    (scene.kept / "reboots").write_text("3\n")
    watching = scene.watch()
    scene.pass_s(10, watching)
    assert "started itself again" in scene.told()
    scene.pass_s(3610, watching)
    assert scene.told() == ""
    assert (scene.kept / "reboots").read_text() == "0\n"


def test_an_update_that_serves_is_kept(scene: Scene) -> None:
    updating.tell(Told("0.2.0", "b"), scene.kept)
    watching = scene.watch("b", tried=True)
    scene.pass_s(5, watching)
    assert "being tried" in scene.told()
    scene.pass_s(40, watching)
    sector = scene.card.device.read_bytes()[slots.GOOD_SECTOR * slots.SECTOR :][: slots.SECTOR]
    assert sector == slots.good_sector("b")
    assert disks.running(root=scene.box.root) == Running("b", tried=False)  # it takes another one
    assert updating.told(scene.kept) == Told(kept=lanjami.__version__)
    assert updating.standing(scene.box.path(places.UPDATE)) == Standing("kept", lanjami.__version__)
    assert scene.told() == ""
    assert scene.ran == []


def test_an_update_is_kept_also_where_nothing_can_be_written_of_it(scene: Scene) -> None:
    updating.tell(Told("0.2.0", "b"), scene.kept)
    (scene.kept / ".update.json.new" / "in the way").mkdir(parents=True)
    watching = scene.watch("b", tried=True)
    scene.pass_s(60, watching)
    assert disks.running(root=scene.box.root) == Running("b", tried=False)
    assert updating.standing(scene.box.path(places.UPDATE)) == Standing("kept", lanjami.__version__)
    assert scene.told() == ""


def test_an_update_that_does_not_serve_is_taken_back_and_that_is_said(scene: Scene) -> None:
    updating.tell(Told("0.2.0", "b"), scene.kept)
    before = scene.card.device.read_bytes()
    scene.snapshot = None
    watching = scene.watch("b", tried=True)
    scene.pass_s(430, watching)
    assert scene.did("reboot") == 1
    assert "is taken back" in scene.said[-1]
    assert scene.card.device.read_bytes() == before
    assert not (scene.kept / "reboots").exists()

    updating.settle_update(Running("a", tried=False), kept=scene.kept)
    scene.snapshot = WELL
    scene.pass_s(10, scene.watch("a"))
    assert "0.2.0 did not pass its test and was taken back" in scene.told()


@pytest.mark.parametrize(
    ("unit", "reboots"),
    [
        ("ActiveState=activating\nExecMainStatus=1\nNRestarts=4\n", 0),
        ("ActiveState=activating\nExecMainStatus=1\nNRestarts=5\n", 1),
        ("ActiveState=failed\nExecMainStatus=78\nNRestarts=0\n", 1),
        ("ActiveState=inactive\nExecMainStatus=0\nNRestarts=0\n", 0),  # not started yet
    ],
)
def test_an_update_that_cannot_serve_is_taken_back_at_once(
    scene: Scene, unit: str, reboots: int
) -> None:
    scene.snapshot, scene.unit = None, unit
    scene.pass_s(30, scene.watch("b", tried=True))
    assert scene.did("reboot") == reboots


@pytest.mark.parametrize(
    ("told", "running", "after", "standing"),
    [
        (Told("0.2.0", "b"), TRIED, Told("0.2.0", "b"), Standing("tried", "0.2.0")),
        (Told("0.2.0", "b"), Running("b", tried=False), None, Standing("kept", "0.2.0")),
        (Told("0.2.0", "b"), OLD, Told(refused="0.2.0"), Standing("back", "0.2.0")),
        (Told(refused="0.2.0"), OLD, None, Standing("back", "0.2.0")),
        (Told(kept="0.2.0"), OLD, None, Standing("kept", "0.2.0")),
        (Told(), OLD, None, Standing()),
    ],
)
def test_a_start_knows_what_became_of_an_update(
    tmp_path: Path, told: Told, running: Running, after: Told | None, standing: Standing
) -> None:
    updating.tell(told, tmp_path)
    assert updating.settle_update(running, kept=tmp_path) == standing
    assert updating.told(tmp_path) == (after or told)


def _net(root: Path, name: str, *made: str, **files: str) -> None:
    for folder in made:
        (root / "class/net" / name / folder).mkdir(parents=True)
    for file, text in files.items():
        (root / "class/net" / name).mkdir(parents=True, exist_ok=True)
        (root / "class/net" / name / file).write_text(f"{text}\n")


def test_only_real_cables_are_followed(tmp_path: Path) -> None:
    _net(tmp_path, "eth0", "device", type="1", carrier="1")
    _net(tmp_path, "usb0", "device", type="1", carrier="0")
    _net(tmp_path, "wlan0", "device", "phy80211", type="1", carrier="1")
    _net(tmp_path, "veth1", type="1", carrier="1")
    _net(tmp_path, "can0", "device", type="280", carrier="1")
    found = {name: seen.carrier for name, seen in watch.cables(sys=tmp_path).items()}
    assert found == {"eth0": True, "usb0": False}


@pytest.mark.parametrize(
    ("text", "found"),
    [("a \n", Running("a", tried=False)), ("b tried\n", Running("b", tried=True)), ("", None)],
)
def test_the_running_slot_is_known(tmp_path: Path, text: str, found: Running | None) -> None:
    file = tmp_path / places.SLOT[1:]
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert disks.running(root=tmp_path) == found


def test_other_machines_have_no_slot(tmp_path: Path) -> None:
    assert disks.running(root=tmp_path) is None


def test_the_outcome_of_the_self_test_is_said_once(scene: Scene) -> None:
    watching = scene.watch("b")
    scene.snapshot = None
    scene.pass_s(10, watching)
    assert scene.said == []
    scene.snapshot = replace(WELL, addresses=[])
    scene.pass_s(10, watching)
    scene.snapshot = WELL
    scene.pass_s(60, watching)
    scene.snapshot = replace(
        WELL,
        healthy=False,
        services={**WELL.services, "dhtnode": Service("down", "", "gone", 1)},
    )
    scene.pass_s(10, watching)
    runs = f"lanjami {lanjami.__version__} from slot b"
    assert scene.said == [
        f"lanjami self-test: no network; {runs}",
        f"lanjami self-test: passed; {runs} serves at 10.77.0.1",
        f"lanjami self-test: failed; {runs}, with limits: dhtnode",
    ]
