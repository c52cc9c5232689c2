"""The settings file on the card: what is taken over, what stays readable, what is refused."""

import tomllib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.box import card
from lanjami.box.card import KEPT, take
from lanjami.config import parse
from lanjami.errors import ConfigError

JOIN = """\
# our box
[box]
hostname = "hall"

[box.wifi]
ssid = "our network"
passphrase = "correct horse"  # it was 'battery staple' before
country = "DE"
"""
TWO_WISHES = """\
[box.wifi]
ssid = "x"
country = "DE"
[network.wlan0]
serve = ["dns"]
[wifi]
interface = "wlan0"
ssid = "y"
country = "DE"
"""
ASCII = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=8, max_size=63)


def _refusal(text: str, *, kept: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        take(text.encode(), kept=kept)
    return str(caught.value)


def test_a_secret_goes_into_the_box_and_off_the_card() -> None:
    taken = take(JOIN.encode(), kept="")
    assert taken.config.box.wifi.passphrase == "correct horse"
    assert parse(taken.text) == taken.config
    for word in ("correct horse", "battery staple"):
        assert word not in taken.visible
    assert taken.visible.startswith("# our box\n[box]\n")


def test_the_wiped_file_means_the_same() -> None:
    first = take(JOIN.encode(), kept="")
    again = take(first.visible.encode(), kept=first.text)
    assert (again.config, again.visible) == (first.config, first.visible)


def test_a_wiped_file_may_be_changed() -> None:
    first = take(JOIN.encode(), kept="")
    changed = first.visible.replace("hall", "attic")
    taken = take(changed.encode(), kept=first.text)
    assert taken.config.box.hostname == "attic"
    assert taken.config.box.wifi.passphrase == "correct horse"


def test_a_wiped_file_in_another_box_is_refused() -> None:
    wiped = take(JOIN.encode(), kept="").visible
    assert "box.wifi.passphrase" in _refusal(wiped)


def test_the_wiped_file_passes_the_check_on_any_computer() -> None:
    assert parse(take(JOIN.encode(), kept="").visible).box.wifi.passphrase == KEPT


@given(ASCII)
def test_every_passphrase_survives(passphrase: str) -> None:
    quoted = passphrase.replace("\\", "\\\\").replace('"', '\\"')
    text = JOIN.replace("correct horse", quoted)
    if passphrase == KEPT:
        return
    taken = take(text.encode(), kept="")
    assert taken.config.box.wifi.passphrase == passphrase
    assert tomllib.loads(taken.visible)["box"]["wifi"]["passphrase"] == KEPT


@given(st.text() | st.just(JOIN), st.text())
def test_whatever_is_on_the_card_is_taken_or_refused_with_a_sentence(text: str, kept: str) -> None:
    with suppress(ConfigError):
        taken = take(text.encode("utf-8", "surrogatepass"), kept=kept)
        assert set(card.secrets(taken.visible).values()) <= {KEPT}


@pytest.mark.parametrize(
    "text",
    [
        'box.wifi = {ssid = "x", passphrase = "correct horse", country = "DE"}',
        '[box.wifi]\nssid = "x"\ncountry = "DE"\npassphrase = """\ncorrect horse"""',
        '[box]\nwifi.ssid = "x"\nwifi.country = "DE"\nwifi.passphrase = "correct horse"',
    ],
)
def test_a_secret_that_could_not_be_wiped_is_refused(text: str) -> None:
    assert "line of its own" in _refusal(text)


def test_what_windows_saves_is_read() -> None:
    text = "\ufeff" + JOIN.replace("\n", "\r\n")
    assert take(text.encode(), kept="").config == parse(JOIN)


def test_what_is_no_utf8_is_refused() -> None:
    with pytest.raises(ConfigError, match="UTF-8"):
        take('[box.wifi]\nssid = "Café"'.encode("latin-1"), kept="")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[box]\nhostname = 'A b'", "hostname"),
        ("[box]\nssh_keys = ['ssh-ed25519 short']", "ssh_keys"),
        ('[box]\nssh_keys = [\'command="x" ssh-ed25519 ' + "A" * 60 + "']", "ssh_keys"),
        ("[box]\naddress = '192.168.1.5'", "address"),
        ("[box]\naddress = '192.168.1.5/24'\nrouter = '192.168.2.1'", "router"),
        ("[box]\nrouter = '192.168.2.1'", "router"),
        ("[box.wifi]\nssid = 'x'\npassphrase = 'longenough'", "country"),
        ("[box.wifi]\nssid = 'x'\ncountry = 'DE'\npassphrase = 'short'", "passphrase"),
        ("[box]\npassword = 'x'", "password"),
        (TWO_WISHES, "one radio"),
        ("[fallback.eth0]\nserve = ['dhcp']", "leave it out"),
    ],
)
def test_a_mistake_is_named(text: str, named: str) -> None:
    assert named in _refusal(text)


def test_a_key_as_ssh_keygen_writes_it_is_taken() -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIWm0TLY9dGiVSlBbnK5gOyGLh5mqrAh6PQ3mkvD6jYl me@home"
    assert take(f"[box]\nssh_keys = ['{key}']".encode(), kept="").config.box.ssh_keys == (key,)
