"""The name server's answers are what openapi.json says: those to its own examples, those to what
schemathesis makes up from it, and those that only real registrations bring about."""

import json
import sqlite3
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import schemathesis
from hypothesis import settings
from schemathesis.checks import not_a_server_error

from tests.support.box import Box
from tests.support.registrations import ClientKeys

DESCRIBED = schemathesis.openapi.from_path("lanjami/nameserver/openapi.json")
PATHS: dict[str, Any] = DESCRIBED.raw_schema["paths"]
REGISTER: dict[str, Any] = PATHS["/name/{name}"]["post"]
ALICE = REGISTER["requestBody"]["content"]["application/json"]["examples"]["alice"]["value"]
KEYS = ClientKeys()
EXPONENTS = KEYS.exponents()

Case = schemathesis.Case[Any]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A box that runs, in which alice has her name."""
    box = Box(tmp_path_factory.mktemp("box"))
    try:
        box.running()
        url = _url(box)
        assert _validated(_registration("alice", ALICE), url) == 200
        yield url
    finally:
        box.end()


def test_a_box_serves_it(url: str) -> None:
    assert _get(f"{url}/openapi.json") == DESCRIBED.raw_schema


@pytest.mark.parametrize("path", [path for path in PATHS if "{" in path])
def test_its_examples_are_real_answers(url: str, path: str) -> None:
    content = PATHS[path]["get"]["responses"]["200"]["content"]["application/json"]
    asked = path.format(name="alice", id=ALICE["addr"])
    assert _get(f"{url}{asked}") == content["examples"]["alice"]["value"]


@DESCRIBED.parametrize()
@settings(max_examples=50, derandomize=True, deadline=None)
def test_whatever_is_asked_is_answered_as_it_says(url: str, case: Case) -> None:
    _validated(case, url)


@pytest.mark.parametrize("name", ["bob", "Bob-2", "b" * 32, "---", "0x0", "name", "publickey"])
def test_what_is_registered_is_found_by_every_link(url: str, name: str) -> None:
    body = _signed(name.lower())
    assert _validated(_registration(name, body), url) == 200
    values = {"$request.path.name": name, "$request.body#/addr": body["addr"]}
    for link in REGISTER["responses"]["200"]["links"].values():
        asked = {parameter: values[source] for parameter, source in link["parameters"].items()}
        linked = DESCRIBED.find_operation_by_id(link["operationId"])
        assert _validated(linked.Case(path_parameters=asked), url) == 200, link


def test_what_is_refused_is_refused_as_it_says(url: str) -> None:
    carol = _signed("carol")
    large = {**carol, "more": "x" * 20_000}
    assert _validated(_registration("carol", large), url) == 413
    assert _validated(_registration("carol", {**carol, "addr": ALICE["addr"]}), url) == 401
    exponent = next(EXPONENTS)
    assert _validated(_registration("carol", KEYS.body("carol", exponent)), url) == 200
    assert _validated(_registration("carol-2", KEYS.body("carol-2", exponent)), url) == 403
    assert _validated(_registration("carol", carol), url) == 403
    assert _validated(_registration("admin", _signed("admin")), url) == 403


def test_what_the_operator_changes_is_answered_as_it_says(box: Box) -> None:
    box.running()
    assert _validated(_registration("dave", _signed("dave")), _url(box)) == 200
    box.run("names", "--state", str(box.state), "rename", "dave", "david", "--yes")
    for path, status in (("", 200), ("/publickey", 200), ("/signature", 404), ("/owner", 200)):
        asked = DESCRIBED[f"/name/{{name}}{path}"]["GET"].Case(path_parameters={"name": "david"})
        assert _validated(asked, _url(box)) == status


def test_what_passes_is_answered_as_it_says(box: Box) -> None:
    box.running()
    with closing(sqlite3.connect(box.state / "names.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert _validated(_registration("erin", _signed("erin")), _url(box)) == 503


def _signed(name: str) -> dict[str, str]:
    """What a new account posts to register `name`."""
    return KEYS.body(name, next(EXPONENTS))


def _registration(name: str, body: dict[str, str]) -> Case:
    operation = DESCRIBED["/name/{name}"]["POST"]
    given: dict[str, Any] = dict(body)
    return operation.Case(path_parameters={"name": name}, body=given, media_type="application/json")


def _validated(case: Case, url: str) -> int:
    """The status of the answer to a request, both held against the description."""
    return case.call_and_validate(base_url=url, excluded_checks=[not_a_server_error]).status_code


def _url(box: Box) -> str:
    return f"http://127.0.0.1:{box.http}"


def _get(url: str) -> Any:
    with urllib.request.urlopen(url) as answer:
        return json.loads(answer.read())
