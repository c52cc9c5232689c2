"""What the status page shows, decided: how the box is, what to set in a client, who is here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from html import escape

from lanjami import lan
from lanjami.lan import Ip, host_port, http_url
from lanjami.status.history import Course
from lanjami.status.snapshot import Service, Snapshot
from lanjami.status.texts import legible

JAMI_REALM = "ring"  # of accounts that nobody changed, with the user and password "ring"

LONGEST_NAME = 48  # characters of a display name that are shown
LONGEST_NAME_BYTES = 96  # of them in the page, where an "&" has five and a smile four
MOST_PEOPLE = 50
MOST_NAMES = 60

UP = "up"
BOOTSTRAPS = ("dhtnode", "dhtnode-python")  # any of them carries the building


class Level(StrEnum):
    """How the box is: `GOOD` exactly where the status is healthy."""

    GOOD = "good"
    LIMITED = "limited"  # Jami works, and something is worse off
    STARTING = "starting"
    BROKEN = "broken"  # nobody can meet
    UNUSED = "unused"  # of a part: well, with nothing to serve


_WELL = (Level.GOOD, Level.UNUSED)


class Why(StrEnum):
    """Why nobody can meet, or perhaps nobody can."""

    NO_NETWORK = "network"
    NO_BOOTSTRAP = "bootstrap"
    NO_ANSWER = "answer"  # of any bootstrap, which may be overloaded, or hang


@dataclass(frozen=True, slots=True)
class Verdict:
    """The one sentence: `why` where it is not certain that people can meet, and the `worse` parts
    where it is not all well."""

    level: Level
    why: Why | None = None
    worse: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A service: `level` and how long ago it last proved that it works, None for never."""

    name: str
    level: Level
    proved_s: int | None


def verdict(snapshot: Snapshot) -> Verdict:
    """How the box is, for a person."""
    if snapshot.healthy:
        return Verdict(Level.GOOD)
    services = snapshot.services
    bootstraps = [services[name] for name in BOOTSTRAPS if name in services]
    worse = [part.name for part in parts(snapshot) if part.level not in _WELL]
    if not any(service.state == UP for service in bootstraps):
        if any(_is_starting(service) for service in bootstraps):
            return Verdict(Level.STARTING)
        return Verdict(Level.BROKEN, Why.NO_BOOTSTRAP, worse)
    if not snapshot.addresses:
        return Verdict(Level.BROKEN, Why.NO_NETWORK, worse)
    if all(_is_starting(services[name]) for name in worse):
        return Verdict(Level.STARTING)
    can_meet = any(_level(service, is_used=True) is Level.GOOD for service in bootstraps)
    return Verdict(Level.LIMITED, None if can_meet else Why.NO_ANSWER, worse)


def parts(snapshot: Snapshot) -> list[Part]:
    """The services, with those that are worse off first."""
    unused = ["turn"] if snapshot.turn is None else []
    found = [
        Part(name, _level(service, is_used=name not in unused), service.proved_s)
        for name, service in snapshot.services.items()
    ]
    return sorted(found, key=lambda part: part.level in _WELL)


def _level(service: Service, *, is_used: bool) -> Level:
    if _is_starting(service):
        return Level.STARTING
    if service.state != UP:
        return Level.BROKEN
    if service.reason:
        return Level.LIMITED
    return Level.GOOD if is_used else Level.UNUSED


def _is_starting(service: Service) -> bool:
    """For the first time: one that failed and starts again is still to be shown as failed."""
    return service.state == "starting" and not service.failures


# --- what to set in a client ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reached:
    """The box as one visitor reaches it: the `address` and `port` that are to be typed.

    `needs_nothing` says that clients on that network find the box without any setting; `relay` is
    what to type for the relay, "" where none is served, and `realm` the relay's.
    """

    address: str
    port: int
    dht_port: int
    has_proxy: bool
    host: str = ""
    needs_nothing: bool = False
    relay: str = ""
    realm: str = JAMI_REALM

    @property
    def url(self) -> str:
        """Of the page, and of the name server."""
        return http_url(self.address, self.port)

    @property
    def bootstrap(self) -> str:
        return host_port(self.address, self.dht_port)

    @property
    def proxy(self) -> str:
        return f"http://{host_port(self.address, self.port)}"


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do with the control that is labelled `label`: to type or paste `value`, or to
    switch it `switch`, "on" or "off"."""

    label: str
    value: str = ""
    switch: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """What to do at one place: `path` are the labels to tap, one after the other. Labels and
    `note` are keys of the catalogue."""

    title: str
    path: Sequence[str]
    actions: Sequence[Action] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """How Jami on one kind of device is set up."""

    name: str
    steps: Sequence[Step]
    is_visitors: bool = False


_DESKTOP = ("ui.desktop.settings", "ui.desktop.account")
_DESKTOP_ADVANCED = (*_DESKTOP, "ui.desktop.advanced")
_ANDROID = ("ui.android.account_settings",)
_ANDROID_ADVANCED = (*_ANDROID, "ui.android.advanced")
_IOS = ("ui.ios.account",)
_IOS_SETTINGS = (*_IOS, "ui.ios.settings")
_IOS_CONNECTIVITY = (*_IOS_SETTINGS, "ui.ios.connectivity")


def devices(reached: Reached, own: str) -> list[Device]:
    """The three guides, with that for the visitor's `own` device first.

    Labels and where they are: jami-client-qt 343c297a5b, jami-client-android 46f4819381 and
    jami-client-ios a8d4bcb1f of August 2026, as their sources have them in English and German.
    """
    guides = {
        "android": [*_android(reached)],
        "ios": [*_ios(reached)],
        "desktop": [*_desktop(reached)],
    }
    shown = [Device(name, steps, name == own) for name, steps in guides.items()]
    return sorted(shown, key=lambda device: not device.is_visitors)


def guess_device(user_agent: str) -> str:
    """The kind of device that a browser says it runs on."""
    if "Android" in user_agent:
        return "android"
    return "ios" if any(word in user_agent for word in ("iPhone", "iPad", "iPod")) else "desktop"


def _desktop(reached: Reached) -> Iterable[Step]:
    if not reached.needs_nothing:
        yield Step(
            "guide.meet",
            (*_DESKTOP_ADVANCED, "ui.desktop.dht"),
            [Action("ui.desktop.bootstrap", value=reached.bootstrap)],
            note="guide.discovery_note",
        )
    yield Step(
        "guide.names",
        (*_DESKTOP_ADVANCED, "ui.desktop.name_server"),
        [Action("ui.desktop.address", value=reached.url)],
    )
    yield Step(
        "guide.username",
        (*_DESKTOP, "ui.desktop.manage_account"),
        [Action("ui.desktop.choose_username")],
    )
    yield from _relay(reached, "ui.desktop", (*_DESKTOP_ADVANCED, "ui.desktop.connectivity"))


def _android(reached: Reached) -> Iterable[Step]:
    if not reached.needs_nothing:
        through_proxy = [
            Action("ui.android.use_proxy", switch="on"),
            Action("ui.android.use_proxy_list", switch="off"),
            Action("ui.android.proxy_address", value=reached.proxy),
        ]
        by_itself = [
            Action("ui.android.use_proxy", switch="off"),
            Action("ui.android.bootstrap", value=reached.bootstrap),
        ]
        yield Step(
            "guide.meet",
            (*_ANDROID_ADVANCED, "ui.android.dht"),
            through_proxy if reached.has_proxy else by_itself,
            note="guide.discovery_android" if reached.has_proxy else "guide.discovery_note",
        )
    yield Step(
        "guide.names",
        _ANDROID_ADVANCED,
        [Action("ui.android.name_server", value=reached.url)],
    )
    yield Step("guide.username", _ANDROID, [Action("ui.android.register_name")])
    yield from _relay(reached, "ui.android", (*_ANDROID_ADVANCED, "ui.android.connectivity"))


def _ios(reached: Reached) -> Iterable[Step]:
    if not reached.needs_nothing and reached.has_proxy:
        yield Step(
            "guide.meet",
            (*_IOS_SETTINGS, "ui.ios.notifications"),
            [
                Action("ui.ios.enable_notifications", switch="on"),
                Action("ui.ios.use_proxy_list", switch="off"),
                Action("ui.ios.proxy_address", value=reached.proxy),
            ],
            note="guide.discovery_ios",
        )
    elif not reached.needs_nothing:
        yield Step(
            "guide.own_node",
            (*_IOS_SETTINGS, "ui.ios.notifications"),
            [Action("ui.ios.enable_notifications", switch="off")],
        )
        yield Step(
            "guide.meet",
            (*_IOS_CONNECTIVITY, "ui.ios.dht"),
            [Action("ui.ios.bootstrap", value=reached.bootstrap)],
            note="guide.discovery_note",
        )
    yield Step(
        "guide.names",
        (*_IOS_SETTINGS, "ui.ios.name_server"),
        [Action("ui.ios.name_server", value=reached.url)],
    )
    yield Step("guide.username", _IOS, [Action("ui.ios.register_username")])
    yield from _relay(reached, "ui.ios", (*_IOS_CONNECTIVITY, "ui.ios.connectivity_header"))


def _relay(reached: Reached, ui: str, path: Sequence[str]) -> Iterable[Step]:
    """For whom nobody gets a call through; Android has no field for the realm."""
    if not reached.relay or reached.needs_nothing:
        return
    is_jamis, has_realm = reached.realm == JAMI_REALM, ui != "ui.android"
    actions = [
        Action(f"{ui}.use_turn", switch="on"),
        Action(f"{ui}.turn_server", value=reached.relay),
    ]
    if has_realm and not is_jamis:
        actions.append(Action(f"{ui}.turn_realm", value=reached.realm))
    note = "guide.relay_note" if has_realm and is_jamis else "guide.relay_note_short"
    yield Step("guide.relay", path, actions, note=note)


def address_for(visited: Ip, interfaces: Sequence[lan.Interface]) -> str:
    """The address to be typed by somebody who came to `visited`: of the interface that they
    reach, IPv4 where there is one; "" where the box has none."""
    for interface in interfaces:
        if any(address.ip == visited for address in interface.addresses):
            own = lan.shown([interface])
            if visited.version == 4 and str(visited) in own:
                return str(visited)
            if own:
                return own[0]
    return next(iter(lan.shown(interfaces)), "")


# --- who is here -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heard:
    """An account that lets itself be seen: its display name as it came, its registered name or
    "", and for how long it has been here."""

    display_name: str
    registered: str
    since_s: int


@dataclass(frozen=True, slots=True)
class Present:
    """Who is here: accounts that were `heard`, the `newest` registered names, and how many
    names there are."""

    heard: Sequence[Heard] = ()
    newest: Sequence[str] = ()
    names: int = 0


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as they are shown: by `title`, and by what they are registered as, too."""

    title: str
    registered: str
    since_s: int


@dataclass(frozen=True, slots=True)
class Here:
    """Who is here, as it is shown; `more_people` and `more_names` are not."""

    people: Sequence[Person] = ()
    names: Sequence[str] = ()
    more_people: int = 0
    more_names: int = 0


def here(present: Present) -> Here:
    """Only what people publish themselves: no address and no ID."""
    people = [
        Person(
            _fitting(legible(heard.display_name, at_most=LONGEST_NAME)) or heard.registered,
            heard.registered,
            heard.since_s,
        )
        for heard in present.heard[:MOST_PEOPLE]
    ]
    names = sorted(present.newest[:MOST_NAMES])
    return Here(
        people=people,
        names=names,
        more_people=len(present.heard) - len(people),
        more_names=max(0, present.names - len(names)),
    )


def _fitting(name: str) -> str:
    """As much of a name as the page has room for, with one character that says that it is cut."""
    shown, kept = name, len(name)
    while len(escape(shown).encode()) > LONGEST_NAME_BYTES:
        kept -= 1
        shown = name[:kept].rstrip("\u2026 ") + "\u2026"
    return shown


@dataclass(frozen=True, slots=True)
class Now:
    """All that changes while somebody looks; `present` is None where the operator does not
    want it shown."""

    snapshot: Snapshot
    present: Present | None
    course: Course
