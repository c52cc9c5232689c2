"""The access point, with programs that stand for iw and hostapd: test machines have no radio."""

import sys
from pathlib import Path

import pytest

from lanjami.config import Wifi
from lanjami.errors import HostError
from lanjami.network import access_point
from lanjami.network.access_point import AccessPoint
from lanjami.runtime import privileges
from tests.support.running import running

SETTINGS = Wifi(interface="wlan7", ssid="lanjami", country="DE", channel=6)

IW = """\
#!/bin/sh
echo "	Supported interface modes:"
echo "		 * managed"
echo "		 * {mode}"
echo "	Maximum associated stations in AP mode: 8"
"""
HOSTAPD = f"""\
#!{sys.executable}
import pathlib, socket, sys
conf = dict(line.split("=", 1) for line in pathlib.Path(sys.argv[1]).read_text().splitlines())
folder = pathlib.Path(conf["ctrl_interface"])
folder.mkdir(exist_ok=True)
control = folder / conf["interface"]
control.unlink(missing_ok=True)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
    sock.bind(str(control))
    while True:
        question, asker = sock.recvfrom(64)
        if question == b"PING":
            sock.sendto({{answer!r}}, asker)
"""


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """What the kernel shows of a machine with a radio."""
    phy = tmp_path / "sys" / "net" / "wlan7" / "phy80211"
    (phy / "rfkill0").mkdir(parents=True)
    (phy / "name").write_text("phy7\n")
    for kind in ("soft", "hard"):
        (phy / "rfkill0" / kind).write_text("0\n")
    return tmp_path / "sys"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    _program(folder / "iw", IW.format(mode="AP"))
    _program(folder / "hostapd", HOSTAPD.format(answer=b"PONG\n"))
    return folder


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


async def _refusal(service: AccessPoint) -> str:
    with pytest.raises(HostError) as caught:
        async with running(service):
            pass
    return str(caught.value)


needs_rights = pytest.mark.skipif(
    bool(privileges.missing(access_point.RIGHTS)), reason="an access point needs rights"
)


@needs_rights
async def test_it_serves_when_hostapd_answers(tmp_path: Path, system: Path, programs: Path) -> None:
    async with running(AccessPoint(SETTINGS, state=tmp_path / "state", system=system)) as heard:
        assert heard.details == ["lanjami on channel 6, for at most 8 clients"]


@needs_rights
async def test_a_hostapd_that_says_something_else_is_noticed(
    tmp_path: Path, system: Path, programs: Path
) -> None:
    _program(programs / "hostapd", HOSTAPD.format(answer=b"FAIL\n"))
    told = await _refusal(AccessPoint(SETTINGS, state=tmp_path / "state", system=system))
    assert "no PONG" in told


@needs_rights
async def test_why_hostapd_ended_is_told(tmp_path: Path, system: Path, programs: Path) -> None:
    _program(programs / "hostapd", "#!/bin/sh\necho 'nl80211: no such channel'\nexit 1\n")
    told = await _refusal(AccessPoint(SETTINGS, state=tmp_path / "state", system=system))
    assert told == "hostapd ended with status 1: nl80211: no such channel"


async def test_a_machine_without_a_radio(tmp_path: Path, programs: Path) -> None:
    told = await _refusal(AccessPoint(SETTINGS, state=tmp_path, system=tmp_path))
    assert told == "there is no Wi-Fi interface wlan7: is its hardware there?"


async def test_an_interface_with_a_cable(tmp_path: Path, programs: Path) -> None:
    (tmp_path / "net" / "wlan7").mkdir(parents=True)
    told = await _refusal(AccessPoint(SETTINGS, state=tmp_path, system=tmp_path))
    assert told == "wlan7 is no Wi-Fi interface"


async def test_a_radio_that_is_blocked(tmp_path: Path, system: Path, programs: Path) -> None:
    (system / "net" / "wlan7" / "phy80211" / "rfkill0" / "soft").write_text("1\n")
    told = await _refusal(AccessPoint(SETTINGS, state=tmp_path, system=system))
    assert told == "the radio of wlan7 is blocked: rfkill unblock wlan"


async def test_a_driver_without_access_points(tmp_path: Path, system: Path, programs: Path) -> None:
    _program(programs / "iw", IW.format(mode="monitor"))
    told = await _refusal(AccessPoint(SETTINGS, state=tmp_path, system=system))
    assert told == "the driver of wlan7 cannot make it an access point"
