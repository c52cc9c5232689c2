"""Every setting, and what the operator is told of a wrong one."""

from contextlib import suppress
from importlib.resources import files
from ipaddress import ip_address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.config import Config, Dht, Http, parse
from lanjami.errors import ConfigError
from lanjami.lan import Address


def _refusal(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, overrides=overrides)
    return str(caught.value)


def test_the_shipped_file_says_the_defaults() -> None:
    assert parse((files("lanjami") / "lanjami.toml").read_text("utf-8")) == Config()


def test_the_shipped_file_has_every_setting() -> None:
    text = (files("lanjami") / "lanjami.toml").read_text("utf-8")
    by_interface = {"network", "fallback"}  # none by default
    sections = set(Config.__struct_fields__) - by_interface
    for section in sections:
        assert f"[{section}]" in text
        for setting in getattr(Config(), section).__struct_fields__:
            nested = f"\n[{section}.{setting}]\n"
            assert f"\n{setting} = " in text or nested in text


def test_an_empty_file_means_the_defaults() -> None:
    assert parse("") == Config()


def test_a_file_needs_only_what_differs() -> None:
    assert parse("[dht]\nport = 4223") == Config(dht=Dht(port=4223))


@pytest.mark.parametrize(
    ("port", "ports"), [(4222, [4222, 4223]), (65534, [65534, 65535]), (65535, [65535, 65534])]
)
def test_every_node_has_a_port_of_its_own(port: int, ports: list[int]) -> None:
    dht = Dht(port=port)
    assert list(dht.ports(dht.engines).values()) == ports
    assert dht.ports(["python"]) == {"python": port}


def test_the_proxy_has_the_ports_that_clients_try_only_where_it_is_told_to() -> None:
    assert Config().proxy.ports == ()
    ports = parse("[proxy]\ndefault_ports = true").proxy.ports
    assert (ports[0], ports[-1], len(ports)) == (80, 95, 16)


def test_an_integer_will_do_for_seconds() -> None:
    assert parse("[discovery]\ninterval_s = 30").discovery.interval_s == 30.0


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[dht]\nprot = 4222", "`prot` - at `$.dht`"),
        ("[dth]\nport = 4222", "`dth`"),
        ("port = 4222", "`port`"),
        ("[dht]\nport = '4222'", "`$.dht.port`"),
        ("[dht]\nport = true", "`$.dht.port`"),
        ("[dht]\nport = 4222.0", "`$.dht.port`"),
        ("[dht]\nport = 0", "`$.dht.port`"),
        ("[dht]\nport = 65536", "`$.dht.port`"),
        ("[dht]\nport = -1", "`$.dht.port`"),
        ("[dht]\nport = 100000000000000000000000000", "`$.dht.port`"),
        ("[dht]\nport = 1979-05-27", "`$.dht.port`"),
        ("dht = 4222", "`$.dht`"),
        ("[dht]\nengines = []", "`$.dht.engines`"),
        ("[dht]\nengines = ['kad']", "`$.dht.engines[0]`"),
        ("[dht]\nengines = ['python', 'python']", "`$.dht`"),
        ("[turn]\nrelay_ports = [61000]", "`$.turn.relay_ports`"),
        ("[turn]\nrelay_ports = [61000, 61001]", "`$.turn`"),
        ("[turn]\nrelay_ports = [61499, 61000]", "`$.turn`"),
        ("[turn]\ncertificate = '/c.pem'", "`$.turn`"),
        ("[turn]\ncertificate = '/c'\nkey = \"a\\nno-auth\"", "`$.turn`"),
        ("[turn]\nrealm = 'a b'", "`$.turn.realm`"),
        ("[turn]\nsessions = 0", "`$.turn.sessions`"),
        ("[http]\nports = 80", "`$.http.ports`"),
        ("[http]\nports = []", "`$.http.ports`"),
        ("[http]\nports = [80, 0]", "`$.http.ports[1]`"),
        ("[http]\nports = [80, '8080']", "`$.http.ports[1]`"),
        ("[discovery]\ninterval_s = 0.9", "`$.discovery.interval_s`"),
        ("[discovery]\ninterval_s = 3601", "`$.discovery.interval_s`"),
        ("[discovery]\ninterval_s = nan", "`$.discovery.interval_s`"),
        ("[discovery]\ninterval_s = inf", "`$.discovery.interval_s`"),
        ("[discovery]\nignored_interfaces = [1]", "`$.discovery.ignored_interfaces[0]`"),
        ("[mdns]\nhost = ''", "`$.mdns.host`"),
        ("[mdns]\nhost = '-box'", "`$.mdns.host`"),
        ("[mdns]\nhost = 'box-'", "`$.mdns.host`"),
        ("[mdns]\nhost = 'Box'", "`$.mdns.host`"),
        ("[mdns]\nhost = 'the.box'", "`$.mdns.host`"),
        ("[mdns]\nhost = 'bücher'", "`$.mdns.host`"),
        (f"[mdns]\nhost = '{'b' * 53}'", "`$.mdns.host`"),
        ("[network]\nserve = ['dns']", "`$.network[...]`"),
        ("[network.eth0]", "`serve` - at `$.network[...]`"),
        ("[network.eth0]\nserve = []", "`$.network[...].serve`"),
        ("[network.eth0]\nserve = ['dsn']", "'dsn' - at `$.network[...].serve[0]`"),
        ("[network.'eth0\\nx']\nserve = ['dns']", "`key` in `$.network`"),
        ("[network.a123456789012345]\nserve = ['dns']", "`key` in `$.network`"),
        (
            "[network.eth0]\nserve = ['ntp']\naddress = '10.0.0.1/24'",
            "`address` is for who serves dns, dhcp or ra, too",
        ),
        ("[dns]\njami = 'never'", "`$.dns.jami`"),
        ("[dns]\nupstream = ['router']", "'router', which is no IP address - at `$.dns`"),
        ("[ntp]\nservers = ['']", "`$.ntp`"),
        ("[metrics]\nnetworks = 'local'", "`$.metrics.networks`"),
        ("[metrics]\nnetworks = ['lan']", "'lan', which is neither 'local' nor a network"),
        ("[metrics]\nnetworks = ['10.0.0.1/24']", "has host bits set - at `$.metrics`"),
        ("[wifi]\nchannel = 14", "`$.wifi.channel`"),
        ("[wifi]\ninterface = 'a/b'", "no name of an interface - at `$.wifi`"),
        ("[wifi]\ninterface = 'wlan0'", "`ssid`"),
        (f"[wifi]\ninterface = 'wlan0'\nssid = '{'ü' * 17}'", "`ssid`"),
        ("[wifi]\ninterface = 'wlan0'\nssid = 'x'", "`country` is needed"),
        ("[wifi]\ninterface = 'wlan0'\nssid = 'x'\ncountry = 'de'", "`country` is needed"),
        ("[wifi]\ninterface = 'wlan0'\nssid = 'x'\npassphrase = 'short'", "`passphrase` has 8"),
        (
            "[wifi]\ninterface = 'wlan0'\nssid = 'x'\ncountry = 'DE'",
            "`wifi` needs a table [network.wlan0]",
        ),
        (
            (
                "[network]\neth0 = {serve = ['dns'], address = '10.0.0.1/8'}\n"
                "eth1 = {serve = ['dns'], address = '10.7.0.1/24'}"
            ),
            "`network.eth0` and `network.eth1` are the same network",
        ),
    ],
)
def test_a_wrong_setting_is_named_by_its_place(text: str, place: str) -> None:
    assert place in _refusal(text)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("10.77.0.1", "written with its network's length"),
        ("10.77.0.1/24\\n", "written with its network's length"),
        ("fd77::1/64", "written with its network's length"),
        ("10.77.0.1/30", "a length from 8 to 29"),
        ("10.77.0.0/24", "that of the whole network"),
        ("10.77.0.255/24", "that of the whole network"),
        ("300.77.0.1/24", "300"),
        ("8.8.8.8/24", "of a private network"),
        ("169.254.0.1/16", "of a private network"),
    ],
)
def test_an_address_for_the_box_is_one_that_it_can_have(address: str, sentence: str) -> None:
    told = _refusal(f'[network.eth0]\nserve = ["dhcp"]\naddress = "{address}"')
    assert sentence in told
    assert "`$.network[...]`" in told


def test_what_is_served_on_which_interface() -> None:
    config = parse("[network]\neth0 = {serve = ['dns', 'ntp']}\nwlan0 = {serve = ['dns']}")
    assert config.serving("dns") == ["eth0", "wlan0"]
    assert config.serving("ntp") == ["eth0"]
    assert config.serving("dhcp") == []


def test_clients_that_ask_the_box_for_names_find_the_proxy_on_every_port_that_they_try() -> None:
    assert parse("[network.eth0]\nserve = ['dhcp']").proxy_ports == ()
    assert len(parse("[network.eth0]\nserve = ['dns']").proxy_ports) == 16


def test_an_override_reaches_the_table_of_an_interface() -> None:
    parsed = parse(
        "", overrides=['network.br-lan.serve=["dns"]', "network.br-lan.address=10.0.0.1/8"]
    )
    assert parsed.network["br-lan"].serve == ("dns",)
    assert str(parsed.network["br-lan"].at) == "10.0.0.1/8"


def test_a_host_name_does_not_end_in_a_new_line() -> None:
    assert "`$.mdns.host`" in _refusal('[mdns]\nhost = "lanjami\\n"')


@pytest.mark.parametrize("host", ["b", "box", "box-2", "2box", "b" * 52])
def test_a_host_name_is_one_label(host: str) -> None:
    assert parse(f"[mdns]\nhost = '{host}'").mdns.host == host


def test_a_file_that_is_not_toml_is_told_with_its_line() -> None:
    assert "not TOML" in _refusal("[dht")
    assert "line 2" in _refusal("[dht]\nport 4222")


def test_an_override_wins_over_the_file() -> None:
    assert parse("[dht]\nport = 1", overrides=["dht.port=2"]).dht.port == 2


def test_the_last_override_wins() -> None:
    assert parse("", overrides=["dht.port=2", "dht.port=3"]).dht.port == 3


def test_an_override_leaves_the_rest_of_its_section() -> None:
    parsed = parse("[discovery]\ninterval_s = 20", overrides=["discovery.ignored_interfaces=[]"])
    assert (parsed.discovery.interval_s, parsed.discovery.ignored_interfaces) == (20.0, ())


def test_an_override_takes_a_list() -> None:
    assert parse("", overrides=["http.ports=[81, 8081]"]).http == Http(ports=(81, 8081))


@pytest.mark.parametrize("override", ["mdns.host=box", 'mdns.host="box"', " mdns.host = 'box' "])
def test_an_override_takes_a_string_with_or_without_quotes(override: str) -> None:
    assert parse("", overrides=[override]).mdns.host == "box"


@pytest.mark.parametrize(
    "override", ["", "dht", "dht.port", "port=1", "a.b.c=1", ".port=1", "dht.=1", "Dht.Port=1"]
)
def test_a_malformed_override_is_told_how_to_write_it(override: str) -> None:
    sentence = _refusal("", override)
    assert "section.key=value" in sentence
    assert repr(override) in sentence


@pytest.mark.parametrize(
    ("override", "place"),
    [
        ("dht.port=many", "`$.dht.port`"),
        ("dht.port=", "`$.dht.port`"),
        ("dht.port=0", "`$.dht.port`"),
        ("dht.prot=1", "`$.dht`"),
        ("dth.port=1", "`dth`"),
        ("http.ports=80, 8080", "`$.http.ports`"),
        ("mdns.host=7", "`$.mdns.host`"),
    ],
)
def test_a_wrong_override_is_named_by_its_place(override: str, place: str) -> None:
    assert place in _refusal("", override)


def test_an_override_of_what_is_no_table_is_refused() -> None:
    assert "$.dht is not a table" in _refusal("dht = 1", "dht.port=2")


def test_an_absurdly_long_number_is_a_mistake_of_the_operator_too() -> None:
    assert _refusal("", f"dht.port={'9' * 5000}")
    assert _refusal(f"[dht]\nport = {'9' * 5000}")


@pytest.mark.parametrize(
    ("networks", "ip", "may"),
    [
        ("[]", "127.0.0.1", False),
        ("['local']", "10.0.0.9", True),
        ("['local']", "fe80::9", True),
        ("['local']", "203.0.113.9", True),  # a neighbour, though the address is public
        ("['local']", "198.51.100.9", False),
        ("['10.0.0.0/24']", "10.0.0.9", True),
        ("['10.0.0.0/24']", "10.0.1.9", False),
        ("['10.0.0.0/24']", "::1", False),
        ("['10.0.0.9', '::1']", "10.0.0.9", True),
        ("['10.0.0.9', '::1']", "::1", True),
        ("['10.0.0.9', '::1']", "10.0.0.8", False),
    ],
)
def test_metrics_are_for_who_is_named(networks: str, ip: str, may: bool) -> None:  # noqa: FBT001
    metrics = parse(f"[metrics]\nnetworks = {networks}").metrics
    own = [Address(ip_interface("203.0.113.1/24"))]
    assert metrics.may_ask(ip_address(ip), own) is may


@given(st.text())
def test_any_text_is_a_configuration_or_a_sentence(text: str) -> None:
    with suppress(ConfigError):
        parse(text)


@given(st.text())
def test_any_override_is_a_setting_or_a_sentence(value: str) -> None:
    with suppress(ConfigError):
        parse("", overrides=[f"mdns.host={value}"])
    with suppress(ConfigError):
        parse("", overrides=[value])


@given(st.integers(min_value=1, max_value=65535))
def test_every_port_may_be_set(port: int) -> None:
    assert parse("", overrides=[f"dht.port={port}"]).dht.port == port
