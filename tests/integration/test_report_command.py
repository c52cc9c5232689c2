"""`lanjami report`: all that helps, and nothing of who is here."""

import json
import socket
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

from tests.support import registrations
from tests.support.box import Box
from tests.support.ports import free_port

SECRETS = {
    "person": "alice-of-the-third-floor",
    "passphrase": "correct horse battery",
    "network": "The Building",
    "relay user": "bob-on-the-relay",
    "password": "pw-of-bob",
    "realm": "relay.alices.lan",
    "key file": "/home/alice/relay-key.pem",
    "phone": "alices-phone",
    "box": "alices-box",
    "argument": "token-of-alice",
    "hardware address": "52:54:00:ab:cd:ef",
    "account": registrations.account_id(1),
}

_CONFIG = f"""
[wifi]
interface = "wlan9"
ssid = "{SECRETS["network"]}"
passphrase = "{SECRETS["passphrase"]}"
country = "DE"
[network.wlan9]
serve = ["ntp"]
[turn]
serve = false
realm = "{SECRETS["realm"]}"
certificate = "{SECRETS["key file"]}"
key = "{SECRETS["key file"]}"
[mdns]
host = "{SECRETS["box"]}"
[names]
reserved = ["{SECRETS["person"]}-2"]
"""

_LOG = f"""\
12:00:00 INFO    starting version=0.1.0 state=/home/alice/.local/state/lanjami
12:00:01 WARNING service down, trying again service=wifi reason="no {SECRETS["network"]} on wlan9"
12:00:02 WARNING child says child=dnsmasq line="DHCPACK 10.0.0.7 {SECRETS["hardware address"]} \
{SECRETS["phone"]}"
12:00:03 INFO    registered name={SECRETS["person"]} id={SECRETS["account"]}
12:00:04 DEBUG   coturn says line='session user <{SECRETS["relay user"]}>: {SECRETS["password"]}'
ValueError: {SECRETS["person"]}
"""


_HOLD = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", int(sys.argv[1])))
print("bound", flush=True)
time.sleep(600)
"""


def _register(box: Box) -> None:
    body = json.dumps(registrations.body(SECRETS["person"], 1)).encode()
    url = f"http://127.0.0.1:{box.http}/name/{SECRETS['person']}"
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        assert answer.status == 200


def test_a_report_says_what_is_wrong_and_nothing_of_who_is_here(box: Box, tmp_path: Path) -> None:
    config, log, file = (tmp_path / name for name in ("c.toml", "log", "report.tar.gz"))
    config.write_text(_CONFIG)
    log.write_text(_LOG)
    box.running("--config", str(config), "--set", 'wifi.interface=""')
    _register(box)
    words = ("--state", str(box.state))
    add = ("turn", "--config", str(config), *words, "add-user", SECRETS["relay user"])
    assert box.run(*add, given=SECRETS["password"])[0] == 0
    taken = free_port(socket.SOCK_DGRAM)
    holding = (sys.executable, "-c", _HOLD, str(taken), f"--token={SECRETS['argument']}")
    box.started.append(subprocess.Popen(holding, stdout=subprocess.PIPE, text=True))
    assert box.started[-1].stdout is not None
    box.started[-1].stdout.readline()

    status, printed, told = box.run(
        *("report", *words, "--config", str(config), "--log", str(log), str(file)),
        *("--set", f"dht.port={taken}"),
    )
    assert (status, told) == (0, "")
    assert "look through it before you hand it on" in printed
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as archive:
        parts = {
            Path(member.name).name: opened.read().decode()
            for member in archive
            if (opened := archive.extractfile(member)) is not None
        }
    assert parts.keys() == {
        *("README.txt", "doctor.json", "log.txt", "settings.json", "status.json", "versions.txt"),
    }
    node_ids = [node["node_id"] for node in box.status()[1]["dht"]["nodes"]]
    assert all(node_ids)
    for what, word in [*SECRETS.items(), *(("node", id) for id in node_ids)]:
        for name, text in parts.items():
            assert word not in text, f"{what} in {name}"
    assert "service down, trying again service=wifi" in parts["log.txt"]
    assert json.loads(parts["status.json"])["names"] == 1
    assert json.loads(parts["settings.json"])["wifi"]["passphrase"] == "(hidden)"
    findings = json.loads(parts["doctor.json"])["findings"]
    names = {finding["name"] for finding in findings}
    (ports,) = [f for f in findings if f["name"] == "ports"]
    assert f"UDP {taken} by {sys.executable} (hidden)" in ports["meaning"]
    assert names >= {"running", "services", "disk", "addresses"}
    assert "lanjami 0.1.0" in parts["versions.txt"]
