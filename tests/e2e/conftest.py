import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import dhcp_client
from tests.support.chromium import Chromium, chromium
from tests.support.jami import Jami
from tests.support.lab import Host, Lab, Switch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.fail("the lab needs root on Linux; leave tests/e2e out elsewhere")
    made = Lab(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def switch(lab: Lab) -> Switch:
    return lab.switch()


@pytest.fixture
def box(lab: Lab, switch: Switch) -> Host:
    """The machine that lanjami runs on, plugged into the switch."""
    return lab.host("box").plug(switch, "10.77.0.1/24", "fd77::1/64")


@pytest.fixture
def bare_box(lab: Lab, switch: Switch) -> Host:
    """A machine with a cable to the switch, and no address."""
    return lab.host("box").plug(switch)


@pytest.fixture
def visitors_machine(lab: Lab, switch: Switch) -> Host:
    return lab.host("visitor").plug(switch, "10.77.0.9/24")


@pytest.fixture
async def browser(visitors_machine: Host) -> AsyncIterator[Chromium]:
    async with chromium(visitors_machine) as opened:
        yield opened


@pytest.fixture
def newcomer(lab: Lab, switch: Switch) -> Iterator[Callable[[str], Host]]:
    """Plugs in machines that know nothing of the LAN yet, and ask nobody for names."""
    with ExitStack() as at_end:
        yield lambda name: at_end.enter_context(dhcp_client.newcomer(lab, switch, name))


@pytest.fixture
async def client(lab: Lab, switch: Switch) -> AsyncIterator[Callable[..., Awaitable[Jami]]]:
    """Starts clients, each on a machine of its own on the switch; a number gives the address."""
    made: list[Jami] = []

    async def make(
        name: str,
        number: int,
        *,
        on: Switch = switch,
        net: str = "10.77.0",
        discovery: bool = True,
        bootstrap: str = "",
        proxy: str = "",
    ) -> Jami:
        host = lab.host(name).without_ipv6()
        # IPv4 discovery in clients needs a default route; the gateway need not exist
        host.plug(on, f"{net}.{number}/24", gateway=f"{net}.254")
        jami = Jami(
            host,
            name_server=f"http://{net}.1",
            discovery=discovery,
            bootstrap=bootstrap,
            proxy=proxy,
        )
        made.append(jami)
        await jami.start()
        return await jami.add_account()

    yield make
    for jami in made:
        await jami.stop()
