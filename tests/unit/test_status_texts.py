"""The catalogues, the choice of a language, and names as others write them."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.status.live import LANGUAGES, read_catalogues
from lanjami.status.texts import Catalogue, choose, legible

FOLDER = Path(__file__).resolve().parents[2] / "lanjami/status/texts"
CATALOGUES = read_catalogues()
ENGLISH = CATALOGUES["en"]


def _placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


def test_every_catalogue_is_offered() -> None:
    assert {file.stem for file in FOLDER.glob("*.toml")} == set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_catalogues_have_the_same_keys_and_placeholders(language: str) -> None:
    other = CATALOGUES[language].sentences
    assert other.keys() == ENGLISH.sentences.keys()
    for key, sentence in ENGLISH.sentences.items():
        assert _placeholders(other[key]) == _placeholders(sentence), key
        assert other[key].strip(), key


def test_a_missing_sentence_is_an_error() -> None:
    with pytest.raises(KeyError):
        ENGLISH("page.no_such_sentence")


@pytest.mark.parametrize(
    ("wished", "accept", "spoken"),
    [
        ("", "", "en"),
        ("", "de-DE,de;q=0.9,en;q=0.8", "de"),
        ("", "fr,de;q=0.3,en;q=0.2", "de"),
        ("", "en;q=0.5, DE ; q=0.7", "de"),
        ("", "de;q=0", "en"),
        ("", "*, xx", "en"),
        ("", "fr", "en"),
        ("en", "de", "en"),
        ("de", "en", "de"),
        ("../../etc/passwd", "de", "de"),
    ],
)
def test_the_visitors_language_is_spoken(wished: str, accept: str, spoken: str) -> None:
    assert choose(wished, accept, LANGUAGES) == spoken


@given(st.text(), st.text())
def test_every_header_leads_to_a_language(wished: str, accept: str) -> None:
    assert choose(wished, accept, LANGUAGES) in LANGUAGES


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "checked just now"),
        (19, "checked just now"),
        (25, "checked 20 s ago"),
        (119, "checked 110 s ago"),
        (125, "checked 2 min ago"),
        (7200, "checked 2 hours ago"),
        (3 * 86400, "checked 3 days ago"),
    ],
)
def test_times_are_told_in_units_that_fit(seconds: int, told: str) -> None:
    assert ENGLISH.ago(seconds) == told


def test_what_never_was_has_no_time() -> None:
    assert ENGLISH.ago(None) == ""


def test_numbers_are_written_as_the_language_does() -> None:
    assert CATALOGUES["de"].number(3.14159, 2) == "3,14"
    assert ENGLISH.number(3.14159, 2) == "3.14"
    assert Catalogue("xx", {"units.decimal": "·"}).number(0.5, 1) == "0·5"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Ann", "Ann"),
        ("  Ann \t\n Lee ", "Ann Lee"),
        ("\u202eevil\u202c", "evil"),  # right-to-left override
        ("a\u2066b\u2069c\u200fd\u061ce", "abcde"),  # isolates and marks
        ("a\u200bb\ufeffc\u00adz", "abcz"),  # what hides
        ("a\u2028b\n\n\u2029c\x00d\x1b[31m", "a b cd[31m"),  # lines, controls
        ("\ud800\ue000\U000e0041", ""),  # surrogate, private, tag
        ("e\u0301\u0302\u0303\u0304\u0305x", "e\u0301\u0302x"),  # a heap of accents
        ("Ünïcödé 名前 ☃", "Ünïcödé 名前 ☃"),
        ("a\u3000b", "a b"),
        ("x" * 60, "x" * 19 + "…"),
    ],
)
def test_names_cannot_disturb_what_is_around_them(written: str, shown: str) -> None:
    assert legible(written, at_most=20) == shown


@given(st.text(), st.integers(1, 30))
def test_a_name_is_one_short_line(written: str, at_most: int) -> None:
    shown = legible(written, at_most=at_most)
    assert len(shown) <= at_most
    assert shown == shown.strip()
    assert all(character == " " or character.isprintable() for character in shown)
    assert legible(shown, at_most=at_most) == shown
