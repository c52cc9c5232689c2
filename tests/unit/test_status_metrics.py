"""The status as metrics: complete, in the formats that foreign parsers read, and without people."""

import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric as Read
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from lanjami.status.metrics import METRICS, prefers_openmetrics, render
from lanjami.status.snapshot import (
    Dht,
    DhtNode,
    Discovery,
    Http,
    Metrics,
    Neighbour,
    Proxy,
    Registrations,
    Service,
    Snapshot,
    Turn,
)

DOCUMENT = Path("docs/metrics.md")

OF_PROMETHEUS_3 = (  # what it accepts, by its documentation
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)

FULL = Snapshot(
    version="1.0",
    healthy=True,
    services={"dhtnode": Service("up", "UDP 4222", "", 1, 3), "names": Service("down", "", "x", 2)},
    dht=Dht(
        *("0a" * 20, 4222, 3, 2, 17, 99),
        nodes=[
            DhtNode("opendht", "0a" * 20, 4222, 3, 2, 17, 99),
            DhtNode("python", "0b" * 20, 4223, 1, 4, 5, 7, 3, {"malformed": 2, "not local": 1}),
        ],
    ),
    discovery=Discovery(
        *(["eth0"], 7, 6, 5, 3, {"malformed": 2, "not local": 1}),
        neighbours=[
            Neighbour("dht", "1" * 40, "10.0.0.8", "", 30, 2),
            Neighbour("jami", "2" * 40, "10.0.0.9", "Alice", 20, 4),
        ],
    ),
    addresses=["10.0.0.5"],
    host="lanjami.local",
    name_server="http://10.0.0.5",
    names=5,
    registrations=Registrations(5, 2, {"taken or reserved": 2}),
    proxy=Proxy(4, 3, 2, 1, {"sent": 9, "gone": 1}, 2),
    http=Http(6),
    turn=Turn(2, 9, 3, {"forbidden peer": 3}),
    metrics=Metrics(8, 1),
)
BARE = Snapshot(
    version="1.0",
    healthy=False,
    services={},
    dht=Dht("", 4222, 0, 0, 0, 0),
    discovery=Discovery([], 0, 0, 0, 0, {}, []),
    addresses=[],
    host="",
    name_server="",
    names=0,
    registrations=Registrations(0, 0, {}),
)


def _value(text: str, name: str, **labels: str) -> float:
    (found,) = (
        sample.value
        for family in read_text(text)
        for sample in family.samples
        if (sample.name, sample.labels) == (name, labels)
    )
    return float(found)


# --- nothing is missing -------------------------------------------------------------------------


def _numbers(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where in the status there are numbers, down to the members of its lists and tables."""
    match value:
        case bool() | int() | float():
            yield path
        case dict():
            for name, member in value.items():
                yield from _numbers(member, (*path, name))
        case list():
            for place, member in enumerate(value):
                yield from _numbers(member, (*path, place))


def _changed(path: tuple[str | int, ...]) -> Snapshot:
    tree = msgspec.to_builtins(FULL)
    place = tree
    for step in path[:-1]:
        place = place[step]
    before = place[path[-1]]
    place[path[-1]] = not before if isinstance(before, bool) else before + 1000
    return msgspec.convert(tree, Snapshot)


# Of the first node, which `dht.nodes` has, too.
_TWICE = {("dht", field) for field in DhtNode.__struct_fields__}


@pytest.mark.parametrize(
    "path",
    [path for path in _numbers(msgspec.to_builtins(FULL)) if path[:2] not in _TWICE],
    ids=lambda path: ".".join(map(str, path)),
)
def test_every_number_of_the_status_is_in_a_metric(path: tuple[str | int, ...]) -> None:
    assert render(_changed(path)) != render(FULL)


def test_the_first_node_has_nothing_of_its_own() -> None:
    assert set(Dht.__struct_fields__) - {"nodes"} < set(DhtNode.__struct_fields__)


def _fields(kind: Any, path: str = "") -> Iterator[str]:
    """Every field of the status by its type, whatever a snapshot has in it."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            yield from _fields(field.type, f"{path}.{field.name}")
    elif isinstance(kind, types.UnionType):
        for member in set(typing.get_args(kind)) - {type(None)}:
            yield from _fields(member, path)
    elif typing.get_origin(kind) in (list, dict, Mapping):
        yield from _fields(typing.get_args(kind)[-1], f"{path}[]")
    elif kind in (bool, int, float):
        yield path


def _shape(path: tuple[str | int, ...]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    text = re.sub(r"\[\d+\]", "[]", text)
    return re.sub(r"(\.services|_by|\.pushes)\.[^.]+", r"\1[]", text)


def test_the_snapshot_of_these_tests_has_every_number() -> None:
    there = {_shape(path) for path in _numbers(msgspec.to_builtins(FULL))}
    assert set(_fields(Snapshot)) - there == {".dht.dropped_by[]"}


def test_what_has_no_number_is_counted() -> None:
    text = render(FULL)
    assert _value(text, "lanjami_addresses") == 1
    assert _value(text, "lanjami_discovery_interfaces") == 1
    assert _value(text, "lanjami_discovery_neighbours", kind="jami") == 1
    assert _value(text, "lanjami_service_up", service="names") == 0
    assert _value(text, "lanjami_service_worse_off", service="names") == 1
    assert _value(text, "lanjami_build_info", version="1.0") == 1


# --- as the formats have it ---------------------------------------------------------------------


@pytest.mark.parametrize("snapshot", [FULL, BARE], ids=["full", "bare"])
def test_both_formats_say_the_same_to_foreign_parsers(snapshot: Snapshot) -> None:
    text = list(read_text(render(snapshot)))
    openmetrics = list(read_openmetrics(render(snapshot, openmetrics=True)))
    assert [_told(family) for family in text] == [_told(family) for family in openmetrics]
    assert text


def _told(family: Read) -> object:
    samples = [(sample.name, sample.labels, sample.value) for sample in family.samples]
    return family.name, family.type, family.documentation, samples


def test_a_full_box_has_every_metric_and_the_metric_its_labels() -> None:
    families = {family.name: family for family in read_text(render(FULL))}
    for metric in METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert family.type == metric.kind
        assert {tuple(sample.labels) for sample in family.samples} == {metric.labels}


def test_names_follow_the_conventions() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"lanjami(_[a-z]+)+", metric.name)
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert metric.help.endswith(".")
        assert not re.search(r'[\\\n"]', metric.help)


def test_a_large_number_is_exact() -> None:
    large = msgspec.structs.replace(FULL, names=123_456_789_012)
    assert "\nlanjami_names 123456789012\n" in render(large)


def test_reasons_add_up_to_the_total() -> None:
    registrations = Registrations(5, 9, {"malformed": 2, "other": 3})
    text = render(msgspec.structs.replace(FULL, registrations=registrations))
    name = "lanjami_registrations_refused_total"
    assert _value(text, name, reason="malformed") == 2
    assert _value(text, name, reason="other") == 7
    assert _value(render(BARE), name, reason="other") == 0


@given(st.text())
def test_any_label_comes_back(reason: str) -> None:
    turn = Turn(0, 0, 1, {reason: 1})
    text = render(msgspec.structs.replace(BARE, turn=turn), openmetrics=True)
    read = {family.name: family.samples for family in read_openmetrics(text)}
    assert read["lanjami_turn_refused"][0].labels["reason"] == reason


def test_nobody_is_in_them() -> None:
    text = render(FULL, openmetrics=True)
    for secret in ("Alice", "1" * 40, "2" * 40, "0a0a", "0b0b", "10.0.0."):
        assert secret not in text


# --- which format -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", True),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.3", False),
        (OF_PROMETHEUS_3, True),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", False),
    ],
)
def test_a_client_is_given_what_it_prefers(accept: str, openmetrics: bool) -> None:  # noqa: FBT001
    assert prefers_openmetrics(accept) is openmetrics


@given(st.text())
def test_any_wish_is_read(accept: str) -> None:
    assert prefers_openmetrics(accept) in (True, False)


# --- as they are described ----------------------------------------------------------------------


def test_the_document_lists_them_all() -> None:
    table = "\n".join(
        [
            "| metric | kind | labels | meaning |",
            "|---|---|---|---|",
            *(
                f"| `{metric.name}` | {metric.kind} | "
                f"{', '.join(f'`{label}`' for label in metric.labels)} | {metric.help} |"
                for metric in METRICS
            ),
        ]
    )
    assert table in DOCUMENT.read_text("utf-8"), f"docs/metrics.md wants this table:\n{table}"
