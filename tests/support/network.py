"""A box that is the network: its settings, and what its status says."""

import asyncio

from tests.support.appliance import Appliance

# No test sets this machine's clock.
WITHOUT_THE_CLOCK = ("setpriv", "--bounding-set", "-sys_time", "--inh-caps", "-sys_time")


def network(*serve: str, interface: str = "eth0", address: str = "10.77.0.1/24") -> list[str]:
    """The settings of a box that is the network on one interface."""
    words = ", ".join(f'"{what}"' for what in serve)
    return [
        f"network.{interface}.serve=[{words}]",
        f'network.{interface}.address="{address}"',
    ]


ALL = network("dns", "dhcp", "ra", "ntp")


async def hands_out_addresses(appliance: Appliance, *, within_s: float = 20.0) -> None:
    """Wait until the box has made sure that nobody else does."""
    await says(appliance, "detail", "dhcp 10.77.0.20 to", within_s=within_s)


async def says(
    appliance: Appliance,
    member: str,
    words: str,
    *,
    service: str = "network-eth0",
    within_s: float = 20.0,
) -> None:
    """Wait until the status of a service has these words in one of its members."""
    told = None
    try:
        async with asyncio.timeout(within_s):
            while told is None or words not in told[member]:
                await asyncio.sleep(0.2)
                status = await appliance.status()
                told = None if status is None else status["services"].get(service)
    except TimeoutError:
        raise AssertionError(
            f"{service} does not say {words!r} but {told}\n{appliance.process.output()}"
        ) from None
