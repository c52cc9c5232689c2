"""The file that runs alone says the same as the package does."""

import ast
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami import lan
from lanjami.config import Config
from lanjami.discovery import wire
from lanjami.doctor import from_client
from lanjami.turn import users

_SOURCE = Path(from_client.__file__).read_text()

_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=40,
)


def test_it_needs_nothing_but_python_3_9() -> None:
    tree = ast.parse(_SOURCE, feature_version=(3, 9))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names


@given(_VALUES)
def test_it_reads_messagepack(value: Any) -> None:
    packed = msgpack.packb(value)
    assert from_client.unpack(packed) == (value, len(packed))


@given(st.binary(max_size=80))
def test_nonsense_is_no_beacon(data: bytes) -> None:
    from_client.read_beacon(data)


def test_it_writes_messagepack() -> None:
    value = {"a": {"id": b"x" * 20, "w": [2, 10]}, "s": True, "t": 1 << 31, "n": False}
    assert msgpack.unpackb(from_client.pack(value)) == value


def test_it_knows_discovery_as_the_package_does() -> None:
    beacon = wire.Beacon(b"n" * 20, 4222)
    assert from_client.read_beacon(wire.pack(beacon)) == (b"n" * 20, 4222, 0)
    assert from_client.read_beacon(wire.QUERY) is None
    assert from_client.QUERY == wire.QUERY
    assert str(wire.GROUP_V4) == from_client.GROUP
    assert from_client.DISCOVERY_PORT == wire.PORT
    defaults = Config()
    assert defaults.http.ports == from_client.HTTP_PORTS
    assert (defaults.dht.port, defaults.turn.port) == (from_client.DHT_PORT, from_client.TURN_PORT)
    assert users.STOCK == (from_client.TURN_USER, from_client.TURN_USER)
    assert {str(network) for network in lan.LOCAL_NETWORKS} == {
        str(network) for network in from_client.LOCAL_NETWORKS
    }


def test_it_asks_nobody_outside_of_the_local_networks(capsys: pytest.CaptureFixture[str]) -> None:
    assert from_client.local_address("10.0.0.5") == "10.0.0.5"
    assert from_client.local_address("[fd00::5]") == "fd00::5"
    assert from_client.main(["203.0.113.5"]) == from_client.USAGE
    assert "outside of the local networks" in capsys.readouterr().err
    assert from_client.main(["www.example.org"]) == from_client.USAGE
    assert "does not appear to be an IPv4 or IPv6 address" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.0.0.5", "10.0.0.5", None),
        ("10.0.0.5:8000", "10.0.0.5", 8000),
        ("fd00::5", "fd00::5", None),
        ("[fd00::5]", "[fd00::5]", None),
        ("[fd00::5]:8000", "[fd00::5]", 8000),
        ("lanjami.local:8000", "lanjami.local", 8000),
    ],
)
def test_a_box_may_be_typed_with_its_port(text: str, host: str, port: int | None) -> None:
    assert from_client.split_port(text) == (host, port)


@pytest.mark.parametrize("text", ["10.0.0.5:", "10.0.0.5:http", "10.0.0.5:0", "10.0.0.5:65536"])
def test_what_is_no_port_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert from_client.main([text]) == from_client.USAGE
    assert "no port" in capsys.readouterr().err
