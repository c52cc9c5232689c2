"""What a person is shown."""

import itertools
import re

import msgspec
import pytest

from lanjami.status.snapshot import (
    Dht,
    DhtNode,
    Discovery,
    Neighbour,
    Proxy,
    Registrations,
    Service,
    Snapshot,
    Turn,
    table,
    welcome,
)

UP = Service("up", "UDP 4222", "", 0)
WORSE = Service("up", "announcing on eth0", "wlan0 IPv6: no such device", 0)
DOWN = Service("down", "", "UDP port 4222 is taken", 3)
MUTE = Service("down", "", "", 1)
STARTING = Service("starting", "", "", 0)

NOBODY = Discovery([], 0, 0, 0, 0, {}, [])


def _snapshot(
    *,
    services: dict[str, Service] | None = None,
    discovery: Discovery = NOBODY,
    addresses: list[str] | None = None,
    host: str = "lanjami.local",
    name_server: str = "http://10.0.0.5",
    healthy: bool = True,
) -> Snapshot:
    return Snapshot(
        version="1.0",
        healthy=healthy,
        services={"dhtnode": UP} if services is None else services,
        dht=Dht("0a" * 20, 4222, 3, 2, 17, 99),
        discovery=discovery,
        addresses=["10.0.0.5"] if addresses is None else addresses,
        host=host,
        name_server=name_server,
        names=5,
        registrations=Registrations(accepted=5, refused=2, refused_by={"taken or reserved": 2}),
    )


def _neighbour(kind: str, number: int, name: str = "") -> Neighbour:
    return Neighbour(kind, f"{number:040x}", "10.0.0.9", name, 10, 1)


# --- the table ----------------------------------------------------------------------------------


def test_a_box_that_is_well_says_so_first() -> None:
    assert table(_snapshot()).splitlines() == [
        "lanjami 1.0: all is well",
        "",
        "  dhtnode  up        UDP 4222",
        "",
        "  Addresses    10.0.0.5",
        "  Name server  http://10.0.0.5, 5 names",
        "  DHT          3 good and 2 dubious nodes, 17 values, 99 requests sent",
        "  Names        5 registrations taken, 2 refused (2 taken or reserved)",
        "  Discovery    0 queries, 0 answers, 0 dropped",
        "  Heard        0 nodes, 0 people",
    ]


def test_words_are_painted_and_lines_keep_their_places() -> None:
    services = {"dhtnode": DOWN, "discovery": WORSE, "names": STARTING}
    shown = _snapshot(services=services, healthy=False)
    painted = table(shown, paint=lambda text, tone: f"<{tone}>{text}</>")
    assert painted.splitlines()[0] == "lanjami 1.0: <warning>something is worse off</>"
    assert "  dhtnode    <bad>down</>        (3 restarts)" in painted
    assert "  discovery  <good>up</>        announcing on eth0" in painted
    assert "  names      <warning>starting</>" in painted
    assert re.sub("<[a-z/]*>", "", painted) == table(shown)


def test_every_node_has_a_line() -> None:
    first = DhtNode("opendht", "0a" * 20, 4222, 3, 2, 17, 99)
    dropped = {"malformed": 2, "not local": 1}
    second = DhtNode("python", "0b" * 20, 4223, 1, 0, 5, 7, 3, dropped)
    dht = Dht("0a" * 20, 4222, 3, 2, 17, 99, nodes=[first, second])
    lines = table(msgspec.structs.replace(_snapshot(), dht=dht)).splitlines()
    at = lines.index("  DHT          3 good and 2 dubious nodes, 17 values, 99 requests sent")
    assert lines[at + 1] == (
        "               python: 1 good and 0 dubious nodes, 5 values, 7 requests sent, "
        "3 dropped (2 malformed, 1 not local)"
    )


def test_a_service_that_is_down_is_shown_with_its_reason() -> None:
    services = {"dhtnode": DOWN, "discovery": WORSE, "names": STARTING}
    lines = table(_snapshot(services=services, healthy=False)).splitlines()
    assert lines[0] == "lanjami 1.0: something is worse off"
    assert lines[2:7] == [
        "  dhtnode    down        (3 restarts)",
        "                       UDP port 4222 is taken",
        "  discovery  up        announcing on eth0",
        "                       wlan0 IPv6: no such device",
        "  names      starting",
    ]


def test_a_box_without_anything_is_shown() -> None:
    shown = table(_snapshot(services={}, addresses=[], name_server=""))
    assert "  Addresses    none" in shown
    assert "  Name server  none, 5 names" in shown


def test_dropped_datagrams_are_split_by_reason() -> None:
    discovery = Discovery(["eth0"], 7, 6, 5, 3, {"malformed": 2, "not local": 1}, [])
    line = "  Discovery    7 queries, 6 answers, 3 dropped (2 malformed, 1 not local)"
    assert line in table(_snapshot(discovery=discovery)).splitlines()


def test_relays_are_shown_where_there_are_some() -> None:
    relaying = msgspec.structs.replace(_snapshot(), turn=Turn(2, 9, 3, {"forbidden peer": 3}))
    assert "  Relays       2 now, 9 given, 3 refused (3 forbidden peer)" in table(relaying)
    assert "Relays" not in table(_snapshot())


def test_people_are_shown_by_name_else_by_id() -> None:
    heard = [_neighbour("dht", 1), _neighbour("jami", 2, "Ann"), _neighbour("jami", 3)]
    discovery = Discovery(["eth0"], 0, 0, 0, 0, {}, heard)
    assert table(_snapshot(discovery=discovery)).splitlines()[-3:] == [
        "  Heard        1 nodes, 2 people",
        "               Ann",
        f"               {3:040x}",
    ]


def test_at_most_ten_people_are_listed_and_all_are_counted() -> None:
    heard = [_neighbour("jami", number, f"person {number}") for number in range(30)]
    shown = table(_snapshot(discovery=Discovery(["eth0"], 0, 0, 0, 0, {}, heard)))
    assert "30 people" in shown
    assert "person 9" in shown
    assert "person 10" not in shown


# --- the welcome --------------------------------------------------------------------------------


def test_the_welcome_tells_who_has_nothing_to_set() -> None:
    assert "(DNS)" not in welcome(_snapshot(), port=4222, http_port=80)
    said = welcome(_snapshot(), port=4222, http_port=80, answers_names=True)
    assert "names (DNS) sets only the name server" in said
    assert len(said.splitlines()) <= 15


def test_the_welcome_tells_how_to_set_a_client_up() -> None:
    said = welcome(_snapshot(), port=4222, http_port=80).splitlines()
    assert said[0] == "lanjami 1.0 is running at 10.0.0.5"
    assert "  OpenDHT configuration > Bootstrap   10.0.0.5:4222" in said
    assert (
        "  Name server                         http://10.0.0.5  (or http://lanjami.local)" in said
    )
    assert "All this for each device, with a QR code: http://10.0.0.5/" in said


def test_a_phone_is_told_of_the_proxy_where_there_is_one() -> None:
    snapshot = _snapshot()
    assert "switch Use DHT proxy off, too." in welcome(snapshot, port=4222, http_port=80)
    proxied = msgspec.structs.replace(snapshot, proxy=Proxy(0, 0, 0, 0, {}))
    assert "DHT proxy address  http://10.0.0.5:80\n" in welcome(proxied, port=4222, http_port=80)
    assert "switch Use DHT proxy off, too." in welcome(proxied, port=4222, http_port=None)


def test_other_ports_are_told() -> None:
    said = welcome(_snapshot(), port=4223, http_port=8080)
    assert "10.0.0.5:4223" in said
    assert "http://10.0.0.5:8080  (or http://lanjami.local:8080)" in said


def test_an_ipv6_address_is_told_in_brackets() -> None:
    said = welcome(_snapshot(addresses=["fd00::5"]), port=4222, http_port=80)
    assert "[fd00::5]:4222" in said
    assert "http://[fd00::5]  " in said


def test_without_a_host_name_the_address_will_do() -> None:
    said = welcome(_snapshot(host=""), port=4222, http_port=80)
    assert "(or " not in said


def test_without_a_name_server_none_is_told() -> None:
    said = welcome(_snapshot(), port=4222, http_port=None)
    assert "http://" not in said
    assert "10.0.0.5:4222" in said


def test_without_an_address_the_person_is_told_what_to_do() -> None:
    said = welcome(_snapshot(addresses=[]), port=4222, http_port=80)
    assert said.startswith("lanjami 1.0 is running at no address yet")
    assert "Connect this computer to a network" in said
    assert "Bootstrap" not in said


def test_the_first_four_addresses_are_told_and_the_others_counted() -> None:
    addresses = [f"10.0.{number}.5" for number in range(7)]
    first = welcome(_snapshot(addresses=addresses), port=4222, http_port=80).splitlines()[0]
    assert first.endswith("10.0.0.5, 10.0.1.5, 10.0.2.5, 10.0.3.5 and 3 more")
    first = welcome(_snapshot(addresses=addresses[:4]), port=4222, http_port=80).splitlines()[0]
    assert first.endswith("10.0.3.5")


def test_what_is_worse_off_is_told() -> None:
    said = welcome(
        _snapshot(services={"dhtnode": DOWN, "discovery": WORSE, "names": UP}),
        port=4222,
        http_port=80,
    )
    assert "Running: discovery, name server" in said.splitlines()
    assert (
        "Worse off: dhtnode: UDP port 4222 is taken; discovery: wlan0 IPv6: no such device"
        in said.splitlines()
    )


def test_a_service_that_is_down_without_a_word_is_told() -> None:
    said = welcome(_snapshot(services={"mdns": MUTE}), port=4222, http_port=80)
    assert any(line.startswith("Worse off: mdns") for line in said.splitlines())


def test_nothing_running_yet_is_told() -> None:
    said = welcome(_snapshot(services={"dhtnode": STARTING}), port=4222, http_port=None)
    assert "Running: nothing yet" in said
    assert "Worse off" not in said


@pytest.mark.parametrize("addresses", [[], ["10.0.0.5"], ["10.0.0.5", "fd00::5"] * 20])
@pytest.mark.parametrize("host", ["", "lanjami.local"])
@pytest.mark.parametrize("http_port", [None, 80, 8080])
def test_the_welcome_never_takes_more_than_fifteen_lines(
    addresses: list[str], host: str, http_port: int | None
) -> None:
    names = ("dhtnode", "discovery", "mdns", "names", "http", "status")
    for states in itertools.product((UP, WORSE, DOWN, MUTE, STARTING), repeat=3):
        services = dict(zip(names, states * 2, strict=True))
        snapshot = msgspec.structs.replace(
            _snapshot(services=services, addresses=addresses, host=host),
            proxy=Proxy(0, 0, 0, 0, {}),
        )
        assert len(welcome(snapshot, port=4222, http_port=http_port).splitlines()) <= 15


# --- the JSON -----------------------------------------------------------------------------------


def test_the_json_is_read_back_as_it_was() -> None:
    heard = Discovery(["eth0"], 1, 2, 3, 4, {"malformed": 4}, [_neighbour("jami", 1, "Ann")])
    snapshot = _snapshot(services={"dhtnode": DOWN}, discovery=heard)
    assert msgspec.json.decode(msgspec.json.encode(snapshot), type=Snapshot) == snapshot


def test_the_members_of_the_json_are_a_contract() -> None:
    members = msgspec.to_builtins(_snapshot(services={"dhtnode": UP}))
    assert members.keys() >= {
        "version",
        "healthy",
        "services",
        "dht",
        "discovery",
        "addresses",
        "host",
        "name_server",
        "names",
    }
    assert members["dht"].keys() >= {"node_id", "port", "good", "dubious", "values", "messages"}
    assert members["services"]["dhtnode"].keys() >= {"state", "detail", "reason", "failures"}
    assert members["discovery"].keys() >= {
        "interfaces",
        "queries",
        "answers",
        "announcements",
        "dropped",
        "dropped_by",
        "neighbours",
    }
