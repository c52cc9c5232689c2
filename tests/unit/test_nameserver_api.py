"""The description of the name server's interface, openapi.json, against what it describes."""

import json
import re
from pathlib import Path
from typing import Any, cast

import lanjami
from lanjami.nameserver import api, signature
from lanjami.nameserver.names import Name

DESCRIPTION: dict[str, Any] = json.loads(Path("lanjami/nameserver/openapi.json").read_text("utf-8"))


def test_it_names_the_very_requests_that_are_answered() -> None:
    routes = api.Api(cast(api.Names, None)).routes()
    answered = {(_without_prefix_and_slash(route.path), route.method.lower()) for route in routes}
    described = {
        (path, method)
        for path, item in DESCRIPTION["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert described == answered


def test_it_is_of_this_version() -> None:
    assert DESCRIPTION["info"]["version"] == lanjami.__version__


def test_the_registration_it_shows_is_a_real_one() -> None:
    content = DESCRIPTION["paths"]["/name/{name}"]["post"]["requestBody"]["content"]
    body = content["application/json"]["examples"]["alice"]["value"]
    signature.verify(signature.read(Name("alice"), json.dumps(body).encode()))


def _without_prefix_and_slash(path: str) -> str:
    return re.sub(r"\{(prefix|slash):[^}]*\}", "", path)
