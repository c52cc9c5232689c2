"""What is seen becomes the finding that it should."""

import json
import re
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_interface

import msgspec
import pytest

from lanjami.config import parse
from lanjami.discovery.wire import Beacon
from lanjami.doctor import lan_checks, machine_checks, service_checks
from lanjami.doctor.finding import Finding, Verdict, exit_status, fault, note, skipped, table, well
from lanjami.doctor.lan_checks import Heard, Held, Route, parse_routes
from lanjami.doctor.machine_checks import Disk, Past
from lanjami.firewall.openings import Opening, openings
from lanjami.lan import Address, Interface
from lanjami.network.dhcp_wire import Offer
from lanjami.network.dns_wire import Answer
from lanjami.status.snapshot import Service
from tests.support.page_stage import Stage

BOX = IPv4Address("10.0.0.5")
ROUTER = IPv4Address("10.0.0.1")
OTHER = IPv4Address("10.0.0.9")
NODE = Beacon(b"n" * 20, 4222)
FOREIGN = Beacon(b"f" * 20, 4222)
DEFAULT = Route(IPv4Network("0.0.0.0/0"), "eth0", ROUTER)


def _interface(*addresses: str, name: str = "eth0") -> Interface:
    return Interface(name, 2, tuple(Address(ip_interface(text)) for text in addresses))


LAN = [_interface("10.0.0.5/24", "fe80::5/64")]


# --- findings -----------------------------------------------------------------------------------


def test_the_exit_status_says_how_it_is() -> None:
    good = [well("a", "x"), note("b", "x"), skipped("c", "x")]
    assert exit_status(good, is_running=True) == 0
    assert exit_status([*good, fault("d", "x", "y")], is_running=True) == 1
    assert exit_status([fault("running", "x", "y")], is_running=False) == 3


def test_a_table_shows_each_with_its_advice_and_lets_nobody_speak_to_the_terminal() -> None:
    shown = table([well("a", "fine"), fault("long-name", "bad \x1b[2J", "mend it")])
    assert shown.splitlines() == [
        "ok     a          fine",
        "FAULT  long-name  bad \\x1b[2J",
        "                  -> mend it",
        "",
        "1 fault.",
    ]
    assert table([well("a", "fine")]).endswith("All is well.")


def test_verdicts_are_painted_and_lines_keep_their_places() -> None:
    findings = [well("a", "fine"), note("b", "so"), fault("c", "bad", "mend"), skipped("d", "why")]
    painted = table(findings, paint=lambda text, tone: f"<{tone}>{text}</>")
    marks = ("<good>ok   </>  a", "<warning>note </>  b", "<bad>FAULT</>  c")
    for line, mark in zip(painted.splitlines(), marks, strict=False):
        assert line.startswith(mark)
    assert re.sub("<[a-z/]*>", "", painted) == table(findings)


def test_a_finding_is_json() -> None:
    told = json.loads(msgspec.json.encode(fault("a", "b", "c")))
    assert told == {"name": "a", "verdict": "fault", "meaning": "b", "advice": "c"}


# --- the LAN ------------------------------------------------------------------------------------

_ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
*\t0000A8C0\t00000000\t0201\t0\t0\t0\t0000FFFF\t0\t0\t0
nonsense
"""


def test_routes_are_read_as_linux_writes_them() -> None:
    assert parse_routes(_ROUTES) == [
        DEFAULT,
        Route(IPv4Network("10.0.0.0/24"), "eth0", None),
    ]


def test_addresses() -> None:
    assert lan_checks.addresses(LAN).verdict is Verdict.WELL
    assert "plug in the cable" in lan_checks.addresses([]).advice
    alone = lan_checks.addresses([_interface("169.254.1.1/16")])
    assert (alone.verdict, "nobody hands out" in alone.meaning) == (Verdict.FAULT, True)


def test_a_default_route_is_needed_but_where_the_box_hands_it_out() -> None:
    def check(routes: list[Route] | None, *handing_out: str) -> Verdict:
        return lan_checks.default_route(LAN, routes, handing_out=handing_out).verdict

    assert check([DEFAULT]) is Verdict.WELL
    assert check([Route(IPv4Network("239.0.0.0/8"), "eth0", None)]) is Verdict.WELL
    assert check([Route(IPv4Network("10.0.0.0/24"), "eth0", None)]) is Verdict.FAULT
    assert check([], "eth0") is Verdict.WELL
    assert check(None) is Verdict.SKIPPED
    two = [*LAN, _interface("10.1.0.5/24", name="eth1")]
    found = lan_checks.default_route(two, [DEFAULT], handing_out=())
    assert "eth1 has none of its own" in found.meaning


def test_the_internet_is_judged_by_what_is_set_up_and_never_a_fault() -> None:
    assert "a way out through 10.0.0.1" in lan_checks.internet([DEFAULT], [], "").meaning
    assert "no way out" in lan_checks.internet([], [], "").meaning
    asked = lan_checks.internet([DEFAULT], ["10.0.0.1"], "no upstream answers")
    assert "upstream DNS 10.0.0.1: no upstream answers" in asked.meaning
    assert asked.verdict is Verdict.NOTE
    assert "sends nothing out" in asked.meaning


def test_a_port_that_another_has_is_told_with_its_owner() -> None:
    wanted = openings(parse(""))
    ours = Held("udp", 4222, "lanjami (process 7)", is_ours=True)
    assert lan_checks.ports([ours], wanted).verdict is Verdict.WELL
    nginx = Held("tcp", 80, "nginx (process 8)", is_ours=False)
    found = lan_checks.ports([ours, nginx], wanted)
    assert (found.verdict, found.meaning) == (
        Verdict.FAULT,
        "taken by others: TCP 80 by nginx (process 8)",
    )
    hidden = Held("tcp", 80, "", is_ours=False)
    assert "only root can see" in lan_checks.ports([hidden], wanted).meaning
    elsewhere = Held("tcp", 22, "sshd", is_ours=False)
    assert lan_checks.ports([elsewhere], wanted).verdict is Verdict.WELL


def test_of_each_port_it_is_told_who_has_it() -> None:
    wanted = openings(parse("[turn]\nrelay_ports = [61000, 61010]"), http=(80,))
    ours = [Held("udp", port, "lanjami (process 7)", is_ours=True) for port in (4222, 8888)]
    relays = [Held("udp", port, "nginx (process 8)", is_ours=False) for port in range(61001, 61011)]
    found = lan_checks.ports([*ours, *relays[:2]], wanted)
    assert found.verdict is Verdict.WELL
    assert found.meaning.split("; ") == [
        "4222, 8888: the box's own",
        "4223, 80, 5353, 3478, 61001-61010: free",
        "2 of the relays' are others'",
    ]
    found = lan_checks.ports([*ours, *relays], wanted)
    assert (found.verdict, found.meaning.count("nginx")) == (Verdict.FAULT, 8)


def test_the_port_of_http_that_is_served_is_enough() -> None:
    def ports(*foreign: int, served: int | None = None) -> list[int]:
        held = [Held("tcp", port, "nginx (process 8)", is_ours=False) for port in foreign]
        return list(lan_checks.http_ports((80, 8080), held, served=served))

    assert ports(8080, served=80) == ports(8080) == ports() == [80]
    assert ports(80, served=8080) == ports(80) == [80, 8080]
    assert ports(80, 8080) == [80]


def _heard(
    *, group: bool = True, broadcast: bool | None = True, node: Beacon | None = NODE
) -> list[Heard]:
    answers = () if node is None else ((BOX, node),)
    return [Heard("eth0", 4, group, broadcast, answers, answers)]


def test_what_is_sent_has_to_be_heard() -> None:
    assert lan_checks.multicast(_heard()).verdict is Verdict.WELL
    assert lan_checks.broadcast(_heard()).verdict is Verdict.WELL
    assert lan_checks.multicast(_heard(group=False)).verdict is Verdict.FAULT
    assert lan_checks.broadcast(_heard(group=False)).verdict is Verdict.WELL
    assert lan_checks.broadcast(_heard(broadcast=False)).verdict is Verdict.FAULT
    assert lan_checks.multicast(_heard(broadcast=False)).verdict is Verdict.WELL
    assert lan_checks.broadcast(_heard(broadcast=None)).verdict is Verdict.SKIPPED
    assert lan_checks.multicast([]).verdict is Verdict.SKIPPED


def test_the_box_has_to_answer_where_a_question_can_come() -> None:
    nodes = {NODE.node_id}
    assert lan_checks.discovery(_heard(), nodes).verdict is Verdict.WELL
    assert lan_checks.discovery(_heard(node=FOREIGN), nodes).verdict is Verdict.FAULT
    assert lan_checks.discovery(_heard(node=None), nodes).verdict is Verdict.FAULT
    unheard = _heard(node=None, group=False, broadcast=False)
    assert lan_checks.discovery(unheard, nodes).verdict is Verdict.WELL
    assert lan_checks.discovery([], nodes).verdict is Verdict.SKIPPED


def test_a_second_dhcp_server_is_a_fault_and_one_is_none() -> None:
    def check(*servers: IPv4Address, handing_out: tuple[str, ...] = ()) -> Verdict:
        offers = {"eth0": [Offer(server, OTHER) for server in servers]}
        return lan_checks.other_dhcp(
            offers, own={BOX}, handing_out=handing_out, is_root=True
        ).verdict

    assert check() is Verdict.WELL
    assert check(ROUTER, ROUTER) is Verdict.WELL
    assert check(ROUTER, OTHER) is Verdict.FAULT
    assert check(BOX, handing_out=("eth0",)) is Verdict.WELL
    assert check(BOX, ROUTER, handing_out=("eth0",)) is Verdict.FAULT


def test_a_lan_that_cannot_be_asked_hides_no_other() -> None:
    two = [Offer(ROUTER, OTHER), Offer(OTHER, OTHER)]

    def check(offers: dict[str, list[Offer] | str], *, is_root: bool = True) -> Finding:
        return lan_checks.other_dhcp(offers, own=(), handing_out=(), is_root=is_root)

    unasked = check({"eth0": "not allowed"}, is_root=False)
    assert (unasked.verdict, unasked.advice) == (Verdict.SKIPPED, "run it as root")
    taken = check({"eth0": "UDP port 68 is taken by dhclient (process 7)"})
    assert (taken.verdict, "root" in taken.advice) == (Verdict.SKIPPED, False)
    assert "port 68" in taken.advice
    assert check({"eth0": "not allowed", "eth1": two}).verdict is Verdict.FAULT
    partly = check({"eth0": "taken", "eth1": two[:1]})
    assert partly.verdict is Verdict.SKIPPED
    assert partly.meaning == (
        "nobody could be asked for an address on eth0 (taken); elsewhere, addresses are handed out "
        "by 10.0.0.1 on eth1"
    )


def test_other_nodes_are_told_from_our_own_and_other_boxes_from_clients() -> None:
    heard = [
        Heard("eth0", 4, True, True, ((BOX, NODE), (OTHER, FOREIGN)), ((ROUTER, FOREIGN),)),
        Heard("eth0", 4, True, True, ((OTHER, Beacon(b"x" * 20, 5, 7)),)),  # another network's
    ]
    others = lan_checks.others(heard, nodes={NODE.node_id}, own={BOX})
    assert others == {OTHER: {4222}, ROUTER: {4222}}

    def verdicts(ports: set[int], *name_servers: IPv4Address) -> list[Verdict]:
        found = lan_checks.other_boxes({OTHER: ports}, name_servers, usual_port=4222)
        return [finding.verdict for finding in found]

    assert verdicts({40000}) == [Verdict.WELL, Verdict.WELL]
    assert verdicts({4222, 4223}) == [Verdict.NOTE, Verdict.WELL]
    assert verdicts({4222}, OTHER) == [Verdict.NOTE, Verdict.FAULT]


def test_a_node_of_the_internet_is_a_leak() -> None:
    def check(*told: str) -> Verdict:
        every = {"opendht": [ip_address(text) for text in told]}
        return lan_checks.public_dht(every, [_interface("130.1.1.5/24")]).verdict

    assert check("10.0.0.7", "fd00::1", "130.1.1.9") is Verdict.WELL
    assert check("10.0.0.7", "203.0.113.1") is Verdict.FAULT
    assert lan_checks.public_dht(None, LAN).verdict is Verdict.SKIPPED


def test_what_a_firewall_drops_is_told() -> None:
    dht = Opening("dht", "udp", 4222, 4222)
    found = lan_checks.firewall([("eth0", dht)])
    assert (found.verdict, "UDP 4222 on eth0 (dht)" in found.meaning) == (Verdict.FAULT, True)
    assert lan_checks.firewall([]).verdict is Verdict.WELL
    assert lan_checks.firewall("no nft").verdict is Verdict.SKIPPED


# --- the machine --------------------------------------------------------------------------------


def test_a_clock_before_what_was_saved_is_wrong() -> None:
    def check(now: float, passed: float, told_by: str = "") -> Finding:
        past = Past(passed, told_by)
        return machine_checks.clock_is_sane(now, past, made_at=1.8e9)

    assert check(2e9, 1.9e9).verdict is Verdict.WELL
    found = check(0, 1.9e9)
    assert found.verdict is Verdict.FAULT
    assert "the clock says 1970-01-01 00:00 UTC, but it is at least 2030-03-17" in found.meaning
    assert "touch" not in found.advice
    found = check(1.9e9, 2e9, "/state/names.sqlite")
    assert "at least 2033-05-18 03:33 UTC, by the date of /state/names.sqlite:" in found.meaning
    assert "touch" in found.advice
    assert "date -s" in found.advice


@pytest.mark.parametrize(("made_at", "year"), [(1.8e9, 2057), (1.0, 2056), (315532800.0, 2056)])
def test_a_clock_that_is_decades_ahead_is_wrong_too(made_at: float, year: int) -> None:
    """Also where the program is dated 1970 or 1980, as reproducible packages have their files."""

    def check(year: int) -> Finding:
        now = datetime(year, 1, 1, tzinfo=UTC).timestamp()
        return machine_checks.clock_is_sane(now, Past(made_at, ""), made_at=made_at)

    assert check(2028).verdict is check(year - 1).verdict is Verdict.WELL
    for later in (year + 1, 2099, 2199):
        assert check(later).verdict is Verdict.FAULT
    assert "the clock says 2099-01-01 00:00 UTC, decades after this program was made" in (
        check(2099).meaning
    )


def _disk(
    *,
    free: int = 1 << 30,
    inodes: int = 10_000,
    read_only: bool = False,
    errors: int | None = 0,
    worn: int | None = 1,
) -> Disk:
    return Disk("/state", free, inodes, read_only, errors, worn)


def test_the_disk_has_room_and_takes_it() -> None:
    assert machine_checks.disk(_disk()).verdict is Verdict.WELL
    assert machine_checks.disk(_disk(inodes=-1)).verdict is Verdict.WELL
    assert machine_checks.disk(_disk(free=1 << 20)).verdict is Verdict.FAULT
    assert machine_checks.disk(_disk(inodes=3)).verdict is Verdict.FAULT
    assert "read-only" in machine_checks.disk(_disk(read_only=True)).meaning
    assert machine_checks.disk("gone").verdict is Verdict.SKIPPED


def test_a_card_that_dies_is_told() -> None:
    assert machine_checks.card(_disk()).verdict is Verdict.WELL
    assert machine_checks.card(_disk(errors=None, worn=None)).verdict is Verdict.SKIPPED
    assert "counted 3 errors" in machine_checks.card(_disk(errors=3)).meaning
    assert "nine tenths" in machine_checks.card(_disk(worn=0x0A)).meaning
    assert "all of its life" in machine_checks.card(_disk(worn=0x0B)).meaning
    assert machine_checks.card(_disk(errors=None, worn=9)).verdict is Verdict.WELL
    assert machine_checks.card("gone").verdict is Verdict.SKIPPED


def test_power() -> None:
    assert machine_checks.power(None, alarm=None).verdict is Verdict.SKIPPED
    assert machine_checks.power(0, alarm=False).verdict is Verdict.WELL
    assert "(now)" in machine_checks.power(0x50001, alarm=None).meaning
    assert "(now)" in machine_checks.power(None, alarm=True).meaning
    assert "(since the start)" in machine_checks.power(0x50000, alarm=False).meaning
    assert "(a while ago)" in machine_checks.power(0, alarm=False, was_low=True).meaning
    assert "(now)" in machine_checks.power(1, alarm=None, was_low=True).meaning
    assert machine_checks.power(None, alarm=None, was_low=True).verdict is Verdict.SKIPPED


# --- the services -------------------------------------------------------------------------------


def test_services_are_as_the_status_says() -> None:
    stage = Stage()
    assert service_checks.running(stage.snapshot()).verdict is Verdict.WELL
    assert service_checks.running(None).verdict is Verdict.FAULT
    assert service_checks.running(None, "it belongs to root").meaning == "it belongs to root"
    assert service_checks.services(stage.snapshot()).verdict is Verdict.WELL
    stage.services["names"] = Service("up", "", "the disk is full", 0)
    stage.services["mdns"] = Service("down", "", "", 1)
    found = service_checks.services(stage.snapshot())
    assert (found.verdict, found.meaning) == (
        Verdict.FAULT,
        "names: the disk is full; mdns: down",
    )


def test_what_was_asked_fails_where_one_place_does() -> None:
    for check in (service_checks.names, service_checks.proxy):
        assert check({"10.0.0.5:80": ""}).verdict is Verdict.WELL
        assert check({}).verdict is Verdict.SKIPPED
        found = check({"10.0.0.5:80": "", "[fd00::5]:80": "refused"})
        assert found.verdict is Verdict.FAULT
        assert "([fd00::5]:80: refused)" in found.meaning
    assert service_checks.dht("python", {"10.0.0.5:4223": "no answer"}).name == "dht-python"


def test_mdns_has_to_lead_to_the_box_on_each_lan() -> None:
    box, own = Stage().snapshot(), [BOX]
    assert service_checks.mdns(box, {"eth0": [BOX]}, own).verdict is Verdict.WELL
    assert service_checks.mdns(box, {"eth0": [BOX], "eth1": []}, own).verdict is Verdict.FAULT
    assert service_checks.mdns(box, {"eth0": [OTHER]}, own).verdict is Verdict.FAULT
    assert service_checks.mdns(box, {}, own).verdict is Verdict.SKIPPED


def test_why_the_box_has_no_name_is_said() -> None:
    stage = Stage()
    nameless = msgspec.structs.replace(stage.snapshot(), host="")
    found = service_checks.mdns(nameless, {}, [BOX])
    assert (found.verdict, found.meaning) == (
        Verdict.FAULT,
        "the box has no name: it is still looking for a free one",
    )
    stage.services["mdns"] = Service("up", "", "others answer to it", 0)
    nameless = msgspec.structs.replace(stage.snapshot(), host="")
    assert service_checks.mdns(nameless, {}, [BOX]).meaning.endswith("no name: others answer to it")


def test_a_relay_that_is_not_served_is_no_fault() -> None:
    stage = Stage()
    assert "switched off" in service_checks.turn(stage.snapshot(), {}).meaning
    stage.services["turn"] = Service("up", "not served: coturn is not installed", "", 0)
    found = service_checks.turn(stage.snapshot(), {})
    assert (found.verdict, "coturn is not installed" in found.meaning) == (Verdict.SKIPPED, True)


def test_jamis_names_lead_to_the_box() -> None:
    def check(*addresses: IPv4Address, policy: str = "always") -> Verdict:
        answers = {str(BOX): {"bootstrap.jami.net": Answer(0, addresses)}}
        return service_checks.jami_dns(answers, [BOX], policy=policy).verdict

    assert check(BOX) is Verdict.WELL
    assert check(OTHER) is Verdict.FAULT
    assert check(OTHER, policy="offline") is Verdict.NOTE
    silent = {str(BOX): {"bootstrap.jami.net": None}}
    assert service_checks.jami_dns(silent, [BOX], policy="always").verdict is Verdict.FAULT
    assert service_checks.jami_dns({}, [BOX], policy="always").verdict is Verdict.NOTE
