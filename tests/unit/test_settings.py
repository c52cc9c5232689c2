"""Where each setting comes from."""

from importlib.resources import files

from hypothesis import given
from hypothesis import strategies as st

from lanjami.config import Config, Sources, parse
from lanjami.settings import Setting, as_toml, settings

FILE = """\
[dht]
port = 4223
[network."eth0.1"]
serve = ["dns"]
"""


def _origins(text: str, *overrides: str, page: str = "") -> dict[str, str]:
    found = settings(Sources(text, page, overrides))
    return {".".join((*one.table, one.key)): one.origin for one in found}


def test_each_says_where_it_comes_from() -> None:
    origins = _origins(FILE, "dht.routed=true", "mdns.host=box")
    assert origins["dht.port"] == "file"
    assert origins["dht.routed"] == "--set"
    assert origins["dht.engines"] == "default"
    assert origins["mdns.host"] == "--set"
    assert origins["network.eth0.1.serve"] == "file"
    assert origins["network.eth0.1.address"] == "default"


def test_an_override_is_named_where_the_file_says_so_too() -> None:
    assert _origins(FILE, "dht.port=4223")["dht.port"] == "--set"
    origins = _origins("", 'network.eth0.serve=["ntp"]')
    assert (origins["network.eth0.serve"], origins["network.eth0.address"]) == ("--set", "default")


def test_what_the_page_sets_takes_the_place_of_a_whole_table() -> None:
    page = '[network.eth1]\nserve = ["dns"]\n'
    origins = _origins(FILE, 'network.eth1.address="10.1.0.1/24"', page=page)
    assert origins["network.eth1.serve"] == "page"
    assert origins["network.eth1.address"] == "--set"
    assert not any(name.startswith("network.eth0") for name in origins)
    assert origins["dht.port"] == "file"


def test_what_the_box_falls_back_to_is_shown_as_that() -> None:
    text = FILE + '[fallback.eth1]\nserve = ["dhcp"]\naddress = "10.77.0.1/24"\n'
    assert _origins(text)["fallback.eth1.serve"] == "file"
    assert "network.eth1.serve" not in _origins(text)
    assert parse(as_toml(settings(Sources(text)), file="")) == parse(text)


def test_the_shipped_file_has_them_all_in_this_order() -> None:
    text = (files("lanjami") / "lanjami.toml").read_text("utf-8")
    assert set(_origins(text).values()) == {"file"}
    places = [text.index(f"\n[{one.table[0]}]") for one in settings(Sources(text))]
    assert places == sorted(places)


def test_a_table_for_people_names_the_file() -> None:
    assert as_toml(settings(Sources(FILE))[:2], file="/etc/l.toml") == (
        "[dht]\nport = 4223  # /etc/l.toml\nrouted = false  # default"
    )


def test_a_table_says_the_same_as_what_it_shows() -> None:
    assert parse(as_toml(settings(Sources()), file="")) == Config()
    assert parse(as_toml(settings(Sources(FILE)), file="a\nb")) == parse(FILE)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_shown_legibly_and_means_the_same(text: str) -> None:
    shown = as_toml([Setting(("names",), "reserved", [text], "file")], file="")
    assert parse(shown).names.reserved == (text,)
    assert all(line.isprintable() for line in shown.splitlines())
