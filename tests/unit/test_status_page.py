"""What the status page says, and that nobody else writes on it."""

import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from ipaddress import ip_address, ip_interface

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lanjami.lan import Address, Interface
from lanjami.status import page
from lanjami.status.history import History, Tally
from lanjami.status.live import LANGUAGES, load, read_static
from lanjami.status.page import (
    Heard,
    Level,
    Now,
    Present,
    Reached,
    Verdict,
    Why,
    address_for,
    devices,
    guess_device,
    here,
    parts,
    verdict,
)
from lanjami.status.quality import Line
from lanjami.status.render import LIVE, digest, qr
from lanjami.status.snapshot import Dht, Discovery, Registrations, Service, Snapshot, Turn

RENDERER = load()
UP = Service("up", "UDP 4222", "", 0, 3)
WORSE = Service("up", "", "/var/lib/secret is full", 0, 3)
DOWN = Service("down", "", "UDP port 4222 is taken by evil (process 7)", 3, 90)
AGAIN = Service("starting", "", "", 1)
STARTING = Service("starting", "", "", 0)
REACHED = Reached("10.0.0.5", 80, 4222, has_proxy=True, host="lanjami.local")

EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "</li></ul><h1>All is lost</h1>",
    "&lt;b&gt;",
    "\u202e<b>evil\u202c",
    "javascript:alert(1)",
]


def _snapshot(addresses: tuple[str, ...] = ("10.0.0.5",), **services: Service) -> Snapshot:
    named = {name.replace("_", "-"): service for name, service in services.items()}
    named = {"dhtnode": UP, "names": UP} | named
    return Snapshot(
        version="1.0",
        healthy=all(s.state == "up" and not s.reason for s in named.values()),
        services=named,
        dht=Dht("", 4222, 0, 0, 0, 0),
        discovery=Discovery([], 0, 0, 0, 0, {}, []),
        addresses=list(addresses),
        host="lanjami.local",
        name_server="",
        names=0,
        registrations=Registrations(0, 0, {}),
    )


def _now(snapshot: Snapshot | None = None, present: Present | None = None) -> Now:
    return Now(snapshot or _snapshot(), present, History().course())


def _page(
    now: Now | None = None, reached: Reached = REACHED, *, language: str = "en", device: str = "ios"
) -> str:
    return RENDERER.page(language, now or _now(), reached, device)


class _Tags(HTMLParser):
    """The tags and attributes of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def words(self) -> str:
        """The text, with a plain ">" between the labels of a path."""
        return " ".join(self.text.split()).replace("\u203a", ">")


# --- how the box is -----------------------------------------------------------------------------


def test_a_healthy_box_is_good() -> None:
    assert verdict(_snapshot()) == Verdict(Level.GOOD)


@pytest.mark.parametrize(
    ("snapshot", "expected"),
    [
        (_snapshot(dhtnode=DOWN), Verdict(Level.BROKEN, Why.NO_BOOTSTRAP, ["dhtnode"])),
        (_snapshot(dhtnode=AGAIN), Verdict(Level.BROKEN, Why.NO_BOOTSTRAP, ["dhtnode"])),
        (_snapshot(dhtnode=STARTING), Verdict(Level.STARTING)),
        (_snapshot(dhtnode=DOWN, dhtnode_python=STARTING), Verdict(Level.STARTING)),
        (_snapshot(dhtnode=DOWN, dhtnode_python=UP), Verdict(Level.LIMITED, None, ["dhtnode"])),
        (_snapshot(dhtnode=WORSE), Verdict(Level.LIMITED, Why.NO_ANSWER, ["dhtnode"])),
        (_snapshot(dhtnode=WORSE, dhtnode_python=UP), Verdict(Level.LIMITED, None, ["dhtnode"])),
        (
            _snapshot(dhtnode=WORSE, dhtnode_python=DOWN),
            Verdict(Level.LIMITED, Why.NO_ANSWER, ["dhtnode", "dhtnode-python"]),
        ),
        (
            _snapshot((), dhtnode=WORSE),
            Verdict(Level.BROKEN, Why.NO_NETWORK, ["dhtnode"]),
        ),
        (_snapshot(names=WORSE), Verdict(Level.LIMITED, None, ["names"])),
        (_snapshot(names=DOWN), Verdict(Level.LIMITED, None, ["names"])),
        (_snapshot(backups=STARTING), Verdict(Level.STARTING)),
        (
            _snapshot(backups=STARTING, names=DOWN),
            Verdict(Level.LIMITED, None, ["names", "backups"]),
        ),
        (_snapshot((), names=WORSE), Verdict(Level.BROKEN, Why.NO_NETWORK, ["names"])),
    ],
)
def test_a_box_that_is_worse_off_says_what_it_means(snapshot: Snapshot, expected: Verdict) -> None:
    assert verdict(snapshot) == expected


def test_the_page_is_green_exactly_where_the_status_is_healthy() -> None:
    for state in ("up", "starting", "down"):
        for reason in ("", "a reason"):
            for failures in (0, 1):
                snapshot = _snapshot(names=Service(state, "", reason, failures))
                assert (verdict(snapshot).level is Level.GOOD) == snapshot.healthy


def test_what_is_worse_off_comes_first() -> None:
    found = parts(_snapshot(names=WORSE, mdns=STARTING))
    assert [(part.name, part.level) for part in found] == [
        ("names", Level.LIMITED),
        ("mdns", Level.STARTING),
        ("dhtnode", Level.GOOD),
    ]


def test_a_relay_that_is_not_served_neither_works_nor_is_down() -> None:
    resting = _snapshot(turn=Service("up", "not served: coturn is not installed", "", 0, 3))
    assert [(part.name, part.level) for part in parts(resting)][-1] == ("turn", Level.UNUSED)
    assert verdict(resting) == Verdict(Level.GOOD)
    served = msgspec.structs.replace(resting, turn=Turn(0, 0, 0, {}))
    assert {part.level for part in parts(served)} == {Level.GOOD}
    down = _snapshot(turn=DOWN)
    assert verdict(down) == Verdict(Level.LIMITED, None, ["turn"])


def test_every_part_says_what_it_proved_and_when() -> None:
    text = _Tags(RENDERER.pieces("en", _now())["parts"]).words
    assert "Meeting point works Something was put in and came back. checked just now" in text
    text = _Tags(RENDERER.pieces("en", _now(_snapshot(names=DOWN)))["parts"]).words
    assert "Usernames down Usernames may not be found" in text
    assert "well until 90 s ago" in text
    assert "lanjami status" in text


@pytest.mark.parametrize(
    ("language", "claims"),
    [("en", ("People can", "Jami works")), ("de", ("Alle können", "Jami funktioniert hier mit"))],
)
def test_that_people_can_meet_is_said_only_where_it_was_proved(
    language: str, claims: tuple[str, ...]
) -> None:
    def said(dhtnode: Service) -> str:
        now = _now(_snapshot(dhtnode=dhtnode, names=WORSE))
        return _Tags(RENDERER.pieces(language, now)["verdict"]).words

    assert all(claim in said(UP) for claim in claims)
    assert not any(claim in said(WORSE) for claim in claims)


def test_a_part_that_misses_its_checks_says_when_it_last_passed_one() -> None:
    late = msgspec.structs.replace(WORSE, proved_s=40)
    text = _Tags(RENDERER.pieces("en", _now(_snapshot(dhtnode=late)))["parts"]).words
    assert "Meeting point limited The first of the meeting points does not answer" in text
    assert "last passed its check 40 s ago" in text
    assert "is down" not in text.partition("Usernames")[0]


def test_reasons_are_not_told_to_everybody() -> None:
    text = _page(_now(_snapshot(names=WORSE, dhtnode=DOWN)))
    assert "secret" not in text
    assert "process 7" not in text


def test_a_part_that_nobody_described_is_shown_by_its_name() -> None:
    text = _Tags(
        RENDERER.pieces("en", _now(_snapshot(("10.0.0.5",), **{"<turn>": DOWN})))["parts"]
    ).words
    assert "<turn> down It does not work as it should." in text


def test_each_interface_that_the_box_serves_is_named() -> None:
    parts = RENDERER.pieces("en", _now(_snapshot(("10.0.0.5",), **{"network-wlan0": DOWN})))
    assert "This network (wlan0) down New devices may not get" in _Tags(parts["parts"]).words


# --- what to set --------------------------------------------------------------------------------


def test_the_guide_names_labels_and_values_for_each_device() -> None:
    words = _Tags(_page()).words
    for told in (
        "Account Settings > Advanced > OpenDHT Use DHT proxy switch on",
        "Use DHT proxy switch on Use DHT proxy list switch off",
        "DHT proxy address http://10.0.0.5:80",
        "Account > Settings > Notifications Enable notifications switch on",
        "Enable notifications switch on Use proxy list switch off",
        "Settings > Account > Advanced settings > OpenDHT configuration Bootstrap 10.0.0.5:4222",
        "Settings > Account > Advanced settings > Name server Address http://10.0.0.5",
        "First the name server, then the username",
        "before and after spring 2026 cannot talk to each other",
    ):
        assert told in words
    assert words.index("Without a setting") < words.index("Account Settings")


def test_german_guides_have_the_labels_of_a_german_jami() -> None:
    words = _Tags(_page(language="de")).words
    assert "Kontoeinstellungen > Erweitert > OpenDHT DHT-Proxy verwenden einschalten" in words
    assert "Erweiterte Einstellungen > OpenDHT-Konfiguration Bootstrap 10.0.0.5:4222" in words


RELAYING = replace(REACHED, relay="10.0.0.5")


def test_where_the_box_relays_each_device_is_told_how_to_use_it() -> None:
    words = _Tags(_page(reached=RELAYING)).words.replace("CopyCopied ", "")
    for told in (
        "Account > Advanced settings > Connectivity Use TURN switch on TURN address 10.0.0.5",
        "Advanced > Peer-to-peer connectivity Use TURN switch on TURN server 10.0.0.5",
        "configurations > Connectivity Enable TURN switch on TURN address 10.0.0.5",
    ):
        assert told in words
    assert words.count("TURN username, TURN password and TURN realm stay as they are: ring.") == 2
    assert words.count("TURN username and TURN password stay as they are: ring.") == 1
    german = _Tags(_page(reached=RELAYING, language="de")).words
    assert "Peer-to-Peer-Verbindung TURN verwenden einschalten TURN-Server 10.0.0.5" in german
    assert (
        "Benutzername, Passwort und Realm (oder Bereich) von TURN bleiben, wie sie sind: ring."
        in german
    )


def test_a_realm_of_the_operators_own_is_told_where_it_can_be_set() -> None:
    words = _Tags(_page(reached=replace(RELAYING, realm="attic"))).words.replace("CopyCopied ", "")
    assert words.count("TURN address 10.0.0.5 TURN realm attic") == 2
    assert "TURN realm stay" not in words


@pytest.mark.parametrize("reached", [REACHED, replace(RELAYING, needs_nothing=True)])
def test_a_relay_that_is_not_served_or_found_by_itself_is_not_to_be_set(reached: Reached) -> None:
    assert "TURN" not in _page(reached=reached)


def test_how_to_be_found_without_typing_is_told_for_each_device() -> None:
    for reached in (REACHED, replace(REACHED, has_proxy=False)):
        assert _Tags(_page(reached=reached)).words.count("Enable local peer discovery") == 3
    assert "local peer discovery" not in _page(reached=replace(REACHED, needs_nothing=True))


def test_where_the_box_is_the_network_there_is_nothing_to_set() -> None:
    words = _Tags(_page(reached=replace(REACHED, needs_nothing=True))).words
    assert "Nothing to set." in words
    assert "Bootstrap" not in words
    assert "proxy" not in words.lower()
    assert "Name server http://10.0.0.5" in words


def test_without_a_proxy_phones_go_by_themselves() -> None:
    words = _Tags(_page(reached=replace(REACHED, has_proxy=False))).words
    assert "Use DHT proxy switch off Bootstrap 10.0.0.5:4222" in words
    assert "Enable notifications switch off" in words
    assert "10.0.0.5:80" not in words


def test_a_box_without_an_address_sets_nothing() -> None:
    words = _Tags(_page(reached=replace(REACHED, address=""))).words
    assert "no address on a network yet" in words
    assert "Pass it on" not in words


def test_ports_and_ipv6_are_written_as_clients_take_them() -> None:
    reached = Reached("fd00::5", 8080, 4222, has_proxy=True)
    assert (reached.url, reached.bootstrap) == ("http://[fd00::5]:8080", "[fd00::5]:4222")
    assert reached.proxy == "http://[fd00::5]:8080"


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        ("Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/140", "android"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605", "ios"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "desktop"),
        ("", "desktop"),
    ],
)
def test_the_visitors_own_device_comes_first(user_agent: str, device: str) -> None:
    assert guess_device(user_agent) == device
    first, *others = devices(REACHED, device)
    assert (first.name, first.is_visitors) == (device, True)
    assert not any(other.is_visitors for other in others)
    assert len(others) == 2


def _interface(name: str, number: int, *addresses: str) -> Interface:
    return Interface(name, number, tuple(Address(ip_interface(one)) for one in addresses))


LANS = (
    _interface("eth0", 2, "10.0.0.5/24", "10.0.1.5/24", "fd00::5/64", "fe80::5/64"),
    _interface("wlan0", 3, "192.168.4.1/24", "fe80::6/64"),
)


@pytest.mark.parametrize(
    ("visited", "typed"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("10.0.1.5", "10.0.1.5"),
        ("192.168.4.1", "192.168.4.1"),
        ("fd00::5", "10.0.0.5"),
        ("fe80::6", "192.168.4.1"),
        ("127.0.0.1", "10.0.0.5"),
    ],
)
def test_what_is_typed_is_the_address_that_the_visitor_reaches(visited: str, typed: str) -> None:
    assert address_for(ip_address(visited), LANS) == typed
    assert address_for(ip_address(visited), ()) == ""


def test_a_lan_of_ipv6_alone_has_an_address() -> None:
    only = (_interface("eth0", 2, "fd00::5/64", "fe80::5/64"),)
    assert address_for(ip_address("fe80::5"), only) == "fd00::5"


def test_the_qr_code_is_an_image_without_a_style() -> None:
    drawn = qr("http://10.0.0.5/")
    assert drawn.startswith("<svg viewBox=")
    assert "style" not in drawn


# --- who is here --------------------------------------------------------------------------------


def test_only_what_people_publish_is_shown() -> None:
    shown = here(
        Present(
            heard=[Heard("Ann\u202e", "ann", 60), Heard("", "bob", 5), Heard("", "", 5)],
            newest=["zoe", "ann"],
            names=2,
        )
    )
    assert [(p.title, p.registered) for p in shown.people] == [
        ("Ann", "ann"),
        ("bob", "bob"),
        ("", ""),
    ]
    assert list(shown.names) == ["ann", "zoe"]
    assert (shown.more_people, shown.more_names) == (0, 0)


def test_words_that_stand_side_by_side_have_a_space_between_them() -> None:
    pieces = RENDERER.pieces("en", _now(present=Present(heard=[Heard("Ann", "ann-lee", 60)])))
    assert "Ann username ann-lee for 60 s" in " ".join(_Tags(pieces["people"]).text.split())


def test_long_lists_are_cut_and_say_so() -> None:
    crowd = Present(
        heard=[Heard(f"person {n}", "", n) for n in range(page.MOST_PEOPLE + 7)],
        newest=[f"name-{n}" for n in range(page.MOST_NAMES)],
        names=5000,
    )
    shown = here(crowd)
    assert (len(shown.people), shown.more_people) == (page.MOST_PEOPLE, 7)
    assert (len(shown.names), shown.more_names) == (page.MOST_NAMES, 5000 - page.MOST_NAMES)
    assert "and 7 more" in _Tags(_page(_now(present=crowd))).words


def test_the_operator_can_keep_people_off_the_page() -> None:
    assert "Who is here" in _page(_now(present=Present()))
    assert "Who is here" not in _page(_now(present=None))
    assert "people" not in RENDERER.pieces("en", _now(present=None))
    assert RENDERER.pieces("en", _now(present=Present())).keys() == set(LIVE)


@pytest.mark.parametrize("name", EVIL)
def test_nobody_else_writes_html(name: str) -> None:
    """Neither where a name is text nor in an attribute, whoever chose it."""
    harmless = _now(present=Present(heard=[Heard("Ann", "ann", 1)], newest=["bob"], names=1))
    hostile = _now(
        msgspec.structs.replace(_snapshot(), host=name, version=name),
        Present(heard=[Heard(name, f"not {name}", 1)], newest=[name], names=1),
    )
    reached = replace(REACHED, host=name)
    expected = [tag for tag, _ in _Tags(_page(harmless)).tags]
    found = _Tags(_page(hostile, reached))
    assert [tag for tag, _ in found.tags] == expected
    assert not any(key.startswith("on") for _, attributes in found.tags for key in attributes)
    assert not any((a.get("href") or "").startswith("javascript") for _, a in found.tags)


@hypothesis_settings(max_examples=30)
@given(st.text(max_size=200))
def test_no_display_name_changes_the_page(name: str) -> None:
    pieces = RENDERER.pieces("en", _now(present=Present(heard=[Heard(name, "", 1)])))
    tags = [tag for tag, _ in _Tags(pieces["people"]).tags]
    assert tags == ["h3", "ul", "li", "bdi", "span", "h3", "p"]
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200e\u200f]", pieces["people"])


# --- the page as a whole ------------------------------------------------------------------------


NASTY = {
    "long": "W" * 48,
    "escaped": "&\"'<>" * 10,
    "emoji": "\U0001f600" * 48,
    "accents": "a\u0301\u0302" * 48,
    "ideographs": "\u6f22" * 48,
}
PARTS = (  # of a box of our image that is the network of three interfaces
    *("dhtnode", "dhtnode-python", "proxy", "push", "discovery", "mdns", "names", "backups"),
    *("http", "turn", "page", "status", "upstream", "time", "wifi", "setup", "machine"),
    *("network-eth0", "network-eth1", "network-wlan0"),
)


def _busy(name: str = NASTY["long"]) -> Now:
    history = History()
    for minute in range(1440):
        history.add(Tally(minute % 50, {"a": minute * minute * 700}, {"b": minute * minute}))
    crowd = Present(
        heard=[Heard(name, "w" * 32, n) for n in range(page.MOST_PEOPLE)],
        newest=[f"{n:03}" + "w" * 29 for n in range(page.MOST_NAMES)],
        names=5000,
    )
    down = dict.fromkeys(PARTS, DOWN)
    return Now(_snapshot(("10.0.0.5",), **down), crowd, history.course())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["", *NASTY.values()], ids=["none", *NASTY])
def test_all_that_a_browser_loads_is_less_than_60_kb(language: str, name: str) -> None:
    static = read_static()
    now = _busy(name) if name else _now(present=Present())
    drawn = _page(now, RELAYING, language=language)
    told = RENDERER.pieces(language, now).items()
    assert all(digest(piece, text) in drawn for piece, text in told), "not told again at once"
    loaded = {name for name in static if f"/{name}" in drawn}
    assert loaded >= {"page.css", "page.js"}
    assert len(drawn.encode()) + sum(len(static[name]) for name in loaded) < 60_000


@given(st.text(max_size=100))
def test_what_a_name_costs_is_bounded(name: str) -> None:
    (person,) = here(Present(heard=[Heard(name, "", 1)])).people
    assert len(escape(person.title).encode()) <= page.LONGEST_NAME_BYTES


def test_a_name_that_costs_too_much_is_cut_and_says_so() -> None:
    shown = [p.title for p in here(Present(heard=[Heard(n, "", 1) for n in NASTY.values()])).people]
    assert shown[0] == "W" * 48, "nobody is cut who writes with letters"
    assert all(title.endswith("\u2026") for title in shown[1:])
    assert shown[2] == "\U0001f600" * 23 + "\u2026"


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_inline_and_nothing_comes_from_elsewhere(language: str) -> None:
    found = _Tags(_page(_busy(), language=language))
    for tag, attributes in found.tags:
        assert "style" not in attributes, (tag, attributes)
        assert not any(name.startswith("on") for name in attributes)
        assert tag != "style"
        for name in ("src", "href"):
            target = attributes.get(name) or ""
            own = (
                target.startswith(
                    ("/status/", "/doctor.py", "/operator?", "#", "?lang=", f"{REACHED.url}/")
                )
                or not target
            )
            assert own, (tag, target)
        if tag == "script":
            assert attributes["src"]


def test_without_scripts_a_starting_box_is_shown_again_soon() -> None:
    def is_shown_again(node: Service) -> bool:
        found = _Tags(_page(_now(_snapshot(dhtnode=node))))
        return ("meta", {"http-equiv": "refresh", "content": "2"}) in found.tags

    assert is_shown_again(STARTING)
    assert not is_shown_again(UP)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_result_is_written_in_each_language(language: str) -> None:
    text = RENDERER.result(language, Line(5.25, 1.0, 2, 230.0, 0.01, 93.4, 250.6))
    words = _Tags(text).words
    assert ("5,2 ms" if language == "de" else "5.2 ms") in words
    assert "251 Mbit/s" in words
