"""Usernames and Jami IDs."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.errors import RequestError
from lanjami.nameserver.names import parse_id, parse_name

ID = "887ac25370595f6432c2ef2a50e129d1772ed74c"


@pytest.mark.parametrize("name", ["ann", "a-b", "a_b", "---", "007", "a" * 32])
def test_names_of_the_rule_are_names(name: str) -> None:
    assert parse_name(name) == name


def test_a_name_may_be_typed_in_any_case() -> None:
    assert parse_name("AnnMarie") == "annmarie"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ab",
        "a" * 33,
        "with.dot",
        "with space",
        "ann\n",
        "\nann",
        "ann\0",
        "bücher",
        "\u212aelvin",  # the Kelvin sign, whose lower case is k
        "аnn",  # noqa: RUF001 - a Cyrillic a
        "١٢٣",  # digits, but not 0 to 9
        "ann@box",
        "../..",
    ],
)
def test_what_cannot_be_a_name_is_a_bad_request(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_name(text)
    assert caught.value.status == 400
    assert caught.value.body == {"name": text[:64]}


def test_a_long_text_is_not_sent_back_whole() -> None:
    with pytest.raises(RequestError) as caught:
        parse_name("x" * 5000)
    assert len(caught.value.body["name"]) == 64


@pytest.mark.parametrize(
    "text", [ID, ID.upper(), f"0x{ID}", f"0X{ID}", f"ring:{ID}", f"jami:{ID}", f"RING:{ID.upper()}"]
)
def test_an_id_is_read_in_every_form(text: str) -> None:
    assert parse_id(text) == ID


@pytest.mark.parametrize(
    "text",
    ["", ID[:-1], f"{ID}0", f"{ID[:-1]}g", f"{ID}\n", f" {ID}", f"sip:{ID}", "0x", f"ring-{ID}"],
)
def test_what_is_no_id_is_a_bad_request(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_id(text)
    assert caught.value.status == 400


@given(st.text(max_size=50))
def test_any_text_is_a_name_or_a_bad_request(text: str) -> None:
    with suppress(RequestError):
        name = parse_name(text)
        assert name == parse_name(name) == parse_name(name.upper())
        assert name.isascii()
        assert 3 <= len(name) <= 32


@given(st.text(max_size=60) | st.text("0123456789abcdefABCDEFx:", min_size=38, max_size=44))
def test_any_text_is_an_id_or_a_bad_request(text: str) -> None:
    with suppress(RequestError):
        id = parse_id(text)
        assert id == parse_id(id) == parse_id(f"ring:{id}")
        assert len(bytes.fromhex(id)) == 20
