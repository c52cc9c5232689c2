"""Looks around by mDNS: `python -m tests.support.browser NAME ...` prints JSON.

For each name the addresses of NAME.local, and for each of lanjami's services the port and the
properties of the first instance that is heard within two seconds.
"""

import asyncio
import json
import sys

import zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

SERVICES = ("_lanjami._tcp", "_opendht._udp", "_http._tcp")
LISTENS_S = 2.0


async def main(names: list[str]) -> None:
    found: dict[str, object] = {}
    instances: dict[str, str] = {}

    def on_change(
        zeroconf: zeroconf.Zeroconf,
        service_type: str,
        name: str,
        state_change: zeroconf.ServiceStateChange,
    ) -> None:
        instances.setdefault(service_type, name)

    async with AsyncZeroconf(interfaces=zeroconf.InterfaceChoice.All) as browser:
        types = [f"{service}.local." for service in SERVICES]
        listening = AsyncServiceBrowser(browser.zeroconf, types, handlers=[on_change])
        for name in names:
            resolver = zeroconf.AddressResolver(f"{name}.local.")
            await resolver.async_request(browser.zeroconf, LISTENS_S * 1000 / len(names))
            found[name] = resolver.parsed_addresses()
        await asyncio.sleep(LISTENS_S)
        for service in SERVICES:
            instance = instances.get(f"{service}.local.")
            if instance is None:
                continue
            info = AsyncServiceInfo(f"{service}.local.", instance)
            await info.async_request(browser.zeroconf, LISTENS_S * 1000)
            found[service] = {"port": info.port, "properties": info.decoded_properties}
        await listening.async_cancel()
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
