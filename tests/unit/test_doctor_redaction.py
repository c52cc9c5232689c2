"""What leaves the box in a report says nothing of people."""

from lanjami.config import parse
from lanjami.doctor import redaction
from lanjami.doctor.finding import fault
from lanjami.doctor.redaction import HIDDEN
from lanjami.status.snapshot import Dht, DhtNode, Discovery, Neighbour, Service
from tests.support.page_stage import Stage

ID = "0a3fa8803498cf2bf57762d7fe2e60db150e35f0"


def test_ids_keys_and_hardware_addresses_are_hidden() -> None:
    key = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA"
    told = redaction.redact(f"{ID} 52:54:00:12:34:56 {key}== /home/alice/x 10.0.0.5 UDP 4222")
    assert told == f"{HIDDEN} {HIDDEN} {HIDDEN} {HIDDEN}/x 10.0.0.5 UDP 4222"


def test_homes_are_hidden_wherever_a_system_has_them() -> None:
    told = redaction.redact("/Users/alice/x /var/home/alice/x '/home/alice'")
    assert told == f"{HIDDEN}/x /var{HIDDEN}/x '{HIDDEN}'"


def test_of_who_has_a_port_only_the_program_is_named() -> None:
    told = (
        "taken by others: TCP 80 by /usr/bin/web --token=abc;\nx (process 7); UDP 53 by named "
        "(process 8); UDP 5353 by avahi-daemon: running [alices.local] (process 9)"
    )
    assert redaction.redact(told) == (
        f"taken by others: TCP 80 by /usr/bin/web {HIDDEN} (process 7); UDP 53 by named "
        f"(process 8); UDP 5353 by avahi-daemon: {HIDDEN} (process 9)"
    )
    line = 'service down service=http reason="TCP port 80 is taken by web --key k (process 7)"'
    assert "--key" not in redaction.log_line(line)


def test_the_name_that_people_gave_the_box_is_hidden_and_its_own_is_not() -> None:
    secrets = redaction.secrets_of(parse('[mdns]\nhost = "alices-box"'), host="alices-box-2.local")
    told = redaction.redact("alices-box.local, alices-box-2.local", secrets=secrets)
    assert told == f"{HIDDEN}.local, {HIDDEN}.local"
    assert redaction.secrets_of(parse(""), host="bobs.local")[-1] == "bobs"
    own = [*redaction.secrets_of(parse(""), host="lanjami-2.local"), "lanjami", "localhost"]
    for text in ("lanjami up: lanjami.local", "lanjami-2.local", "http://localhost"):
        assert redaction.redact(text, secrets=own) == text


def test_findings_keep_their_form_whatever_people_call_things() -> None:
    found = [fault("names", "verdict on well", "ask well")]
    shown = redaction.findings(found, secrets=["names", "well", "verdict"])
    assert shown == [fault("names", f"{HIDDEN} on {HIDDEN}", f"ask {HIDDEN}")]


def test_secrets_are_hidden_as_whole_words() -> None:
    assert redaction.redact("alice said malice", secrets=["alice", ""]) == f"{HIDDEN} said malice"


def test_a_line_of_the_log_keeps_what_says_nothing_of_people() -> None:
    line = '12:00:01 WARNING service down, trying again service=names reason="disk full" name=bob'
    assert redaction.log_line(line) == line.replace("name=bob", f"name={HIDDEN}")
    child = "child says child=dnsmasq line='DHCPACK 10.0.0.7 alices-phone'"
    assert "alices" not in redaction.log_line(child)
    assert redaction.log_line("ValueError: no 'bob'") == f"ValueError: {HIDDEN}"


def test_settings_are_shown_without_secrets() -> None:
    config = parse(
        '[wifi]\ninterface="wlan0"\nssid="Alices Netz"\npassphrase="correct horse"\n'
        'country="DE"\n[network.wlan0]\nserve=["dns"]\naddress="10.1.0.1/24"\n'
        '[turn]\nrealm="alice.lan"\ncertificate="/home/alice/c.pem"\nkey="/home/alice/k.pem"\n'
        '[names]\nreserved=["bob"]\n[mdns]\nhost="alices-box"\n'
    )
    told = str(redaction.settings(config))
    for word in ("lice", "correct", "bob", "pem"):
        assert word not in told
    assert redaction.settings(config)["wifi"]["passphrase"] == HIDDEN
    assert redaction.settings(config)["network"]["wlan0"]["address"] == "10.1.0.1/24"
    every = redaction.secrets_of(config)
    assert {"correct horse", "Alices Netz", "alice.lan", "/home/alice/k.pem"} <= set(every)
    assert "ring" not in redaction.secrets_of(parse(""))


def test_the_status_tells_how_many_are_here_and_not_who() -> None:
    stage = Stage()
    stage.services["names"] = Service("up", f"for {ID}", "correct horse", 0)
    stage.services["mdns"] = Service("up", "alices-box.local", "", 0)
    snapshot = stage.snapshot()
    alice = Neighbour("jami", ID, "10.0.0.7", "Alice", 1, 1)
    told = redaction.status(
        type(snapshot)(
            **{
                **{name: getattr(snapshot, name) for name in snapshot.__struct_fields__},
                "discovery": Discovery(["eth0"], 0, 0, 0, 0, {}, [alice, alice]),
                "host": "alices-box.local",
                "name_server": "http://alices-box.local:8080",
                "dht": Dht(ID, 1, 0, 0, 0, 0, nodes=[DhtNode("python", ID, 1, 0, 0, 0, 0)]),
            }
        ),
        secrets=["correct horse", "alices-box"],
    )
    assert told["discovery"]["neighbours"] == {"jami": 2}
    for word in (ID, "lice", "10.0.0.7", "correct"):
        assert word not in str(told)
