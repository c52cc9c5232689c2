"""`lanjami up` and `lanjami status` as programs, on the loopback interface only."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lanjami.status.live import read_catalogues
from tests.support.appliance import LANJAMI, opendht_child
from tests.support.box import Box
from tests.support.ports import free_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_speaks_briefly_serves_and_stops_within_three_seconds(
    box: Box, number: signal.Signals
) -> None:
    process = box.up()
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first.startswith("lanjami 0.1.0 is running")
    child = opendht_child(process.pid)
    process.send_signal(number)
    printed, told = process.communicate(timeout=3)
    assert process.returncode == 0
    assert (first + printed).count("\n") <= 15
    # without -v a person is told what matters, and no more: here, that there is no network for
    # discovery, nor for the box's name
    assert told.count("\n") == told.count("no network interface is up") == 2
    assert not Path("/proc", str(child)).exists()


def test_a_box_whose_state_folder_takes_no_socket_is_asked_all_the_same(tmp_path: Path) -> None:
    boxes = [Box(tmp_path / f"{number}{'x' * 100}") for number in range(2)]  # too long for one
    try:
        for box in boxes:
            box.folder.mkdir()
            assert box.status() == (3, {})
            box.running()
        for box in boxes:
            _, status = box.status()
            assert status["dht"]["port"] == box.dht
            assert "control.sock" not in status["services"]["status"]["detail"]
        for box in boxes:
            box.started[0].terminate()  # which takes the socket away
            assert box.started[0].wait(3) == 0
            assert box.status() == (3, {})
    finally:
        for box in boxes:
            box.end()


def test_the_status_tells_all_and_ends_with_its_meaning(box: Box) -> None:
    assert box.status() == (3, {})
    process = box.running()
    exit_status, status = box.status()
    # this box has no network on purpose, and that is worse off than it should be
    assert exit_status == 1
    for name in ("discovery", "mdns"):
        assert status["services"][name]["reason"] == "no network interface is up"
    assert status["services"]["dhtnode"]["state"] == "up"
    assert status["dht"]["port"] == box.dht
    assert len(status["dht"]["node_id"]) == 40
    assert status.keys() >= {"version", "healthy", "services", "dht", "discovery", "addresses"}
    assert status.keys() >= {"name_server", "names"}
    table = subprocess.run(
        [*LANJAMI, "status", "--state", str(box.state)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert table.returncode == 1
    assert "no network interface is up" in table.stdout
    process.terminate()
    assert process.wait(3) == 0
    assert box.status() == (3, {})
    assert box.state.stat().st_mode & 0o777 == 0o700


def test_every_service_is_described_to_people(box: Box) -> None:
    box.running()
    _, status = box.status()
    where_it_is_the_network = ["network", "upstream", "time", "wifi"]
    for language, sentences in read_catalogues().items():
        for name in [*status["services"], *where_it_is_the_network]:
            for what in ("title", "proved", "fault"):
                assert f"part.{name}.{what}" in sentences, language


def test_both_nodes_serve(box: Box) -> None:
    box.running()
    nodes = _nodes(box, until=lambda nodes: all(node["node_id"] for node in nodes))
    assert [(node["engine"], node["port"]) for node in nodes] == [
        ("opendht", box.dht),
        ("python", box.dht + 1),
    ]
    assert nodes[0]["node_id"] != nodes[1]["node_id"]
    _, status = box.status()
    assert status["dht"]["node_id"] == nodes[0]["node_id"]


def test_the_node_in_python_serves_alone(box: Box) -> None:
    process = box.up("--set", 'dht.engines=["python"]')
    assert process.stdout is not None
    process.stdout.readline()
    (node,) = _nodes(box, until=lambda nodes: bool(nodes[0]["node_id"]))
    assert node["port"] == box.dht
    with pytest.raises(AssertionError, match="no OpenDHT child"):
        opendht_child(process.pid)


def test_without_opendht_the_node_in_python_has_its_port(box: Box, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['opendht'] = None")
    process = box.up(PYTHONPATH=str(tmp_path))
    assert process.stdout is not None
    process.stdout.readline()
    (node,) = _nodes(box, until=lambda nodes: bool(nodes[0]["node_id"]))
    assert (node["engine"], node["port"]) == ("python", box.dht)


def _nodes(
    box: Box, *, until: Callable[[list[dict[str, Any]]], bool], within_s: float = 15.0
) -> list[dict[str, Any]]:
    """The DHT nodes in the status, once they are as they should be."""
    deadline = time.monotonic() + within_s
    while True:
        nodes: list[dict[str, Any]] = box.status()[1]["dht"]["nodes"]
        if until(nodes):
            return nodes
        assert time.monotonic() < deadline, nodes
        time.sleep(0.1)


def test_a_second_box_on_the_same_state_is_refused(box: Box) -> None:
    first = box.running()
    exit_status, told = Box(box.folder).refused()
    assert exit_status == 69
    assert told == (
        f"lanjami: lanjami already runs with the state folder {box.state} (process {first.pid})\n"
    )
    assert first.poll() is None


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_taken_port_is_named_and_nothing_is_half_started(
    box: Box, kind: socket.SocketKind
) -> None:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("", box.dht if kind is socket.SOCK_DGRAM else box.http))
        if kind is socket.SOCK_STREAM:
            sock.listen()
        exit_status, told = box.refused("--set", 'dht.engines=["python"]')
    assert exit_status == 69
    port = f"UDP port {box.dht}" if kind is socket.SOCK_DGRAM else f"TCP port {box.http}"
    assert f"{port} is taken by" in told
    assert f"(process {os.getpid()})" in told
    assert told.count("\n") == 1
    assert {path.name for path in box.state.iterdir()} == {"lock"}


@pytest.mark.parametrize("taken", [0, 1], ids=["opendht", "python"])
def test_one_node_carries_the_other_whose_port_is_taken(box: Box, taken: int) -> None:
    port = box.dht + taken
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", port))
        process = box.up()
        assert process.stdout is not None
        process.stdout.readline()
        nodes = _nodes(box, until=lambda nodes: bool(nodes[1 - taken]["node_id"]))
        assert nodes[taken]["node_id"] == ""
        exit_status, status = box.status()
        assert exit_status == 1
        service = status["services"][("dhtnode", "dhtnode-python")[taken]]
        assert f"UDP port {port} is taken by" in service["reason"]
    nodes = _nodes(box, until=lambda nodes: all(node["node_id"] for node in nodes), within_s=60)
    assert [node["port"] for node in nodes] == [box.dht, box.dht + 1]


def test_both_ports_of_the_nodes_taken_are_refused(box: Box) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second,
    ):
        first.bind(("", box.dht))
        second.bind(("", box.dht + 1))
        exit_status, told = box.refused()
    assert exit_status == 69
    assert f"UDP port {box.dht} is taken by" in told


def test_the_second_http_port_is_taken_where_the_first_is_not_free(box: Box) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("", box.http))
        sock.listen()
        other = free_port()
        process = box.up("--set", f"http.ports=[{box.http}, {other}]")
        assert process.stdout is not None
        process.stdout.readline()
        _, status = box.status()
        assert status["services"]["http"]["detail"].startswith(f"TCP {other},")


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ("dht.port=0", "$.dht.port"),
        ("dht.prot=1", "`$.dht`"),
        ("http.ports=[]", "$.http.ports"),
        ("nonsense", "section.key=value"),
    ],
)
def test_a_wrong_setting_is_named_with_its_place(box: Box, wrong: str, place: str) -> None:
    exit_status, told = box.refused("--set", wrong)
    assert exit_status == 78
    assert place in told
    assert told.count("\n") == 1
    assert not box.state.exists()


def test_a_configuration_file_is_read(box: Box) -> None:
    file = box.folder / "lanjami.toml"
    file.write_text('[mdns]\nhost = "no name"\n')
    exit_status, told = box.refused("--config", str(file))
    assert exit_status == 78
    assert f"{file}: " in told
    assert "$.mdns.host" in told
    exit_status, told = box.refused("--config", str(box.folder / "missing.toml"))
    assert exit_status == 78
    assert "missing.toml" in told


def test_the_child_dies_with_a_parent_that_is_killed(box: Box) -> None:
    process = box.running()
    child = Path("/proc", str(opendht_child(process.pid)))
    process.kill()
    process.wait()
    ends_at = time.monotonic() + 2
    while child.exists() and time.monotonic() < ends_at:
        time.sleep(0.01)  # the only way to see a process end that is not ours
    assert not child.exists()
    # and the box starts again on what is there
    assert box.running().poll() is None


def test_a_hung_child_dies_with_its_parent_too(box: Box) -> None:
    process = box.running()
    child = opendht_child(process.pid)
    os.kill(child, signal.SIGSTOP)
    process.kill()
    process.wait()
    ends_at = time.monotonic() + 2
    while Path("/proc", str(child)).exists() and time.monotonic() < ends_at:
        time.sleep(0.01)  # the only way to see a process end that is not ours
    assert not Path("/proc", str(child)).exists()


def test_systemd_is_told(box: Box, tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(address))
        sock.settimeout(15)
        process = box.up(NOTIFY_SOCKET=str(address), WATCHDOG_USEC="400000")
        first = sock.recv(4096).decode()
        assert first.startswith("READY=1\nSTATUS=")
        beats = [time.monotonic() for _ in range(3) if b"WATCHDOG=1" in sock.recv(4096)]
        assert len(beats) == 3
        assert beats[2] - beats[0] < 0.8
        process.terminate()
        told = b""
        while b"STOPPING=1" not in told:
            told = sock.recv(4096)
        assert process.wait(3) == 0
