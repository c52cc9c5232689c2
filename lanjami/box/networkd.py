"""What systemd-networkd and wpa_supplicant are told, from the configuration."""

from ipaddress import IPv4Interface

from lanjami.config import Config

_TOLD = "# Written at every start by lanjami; what is changed here is lost.\n"
_QUIET = "MulticastDNS=no\nLLMNR=no\n"


def render(config: Config) -> dict[str, str]:
    """The files for /run/systemd/network, by their names."""
    # A cable with a network of the box's own has no address of `box`. It asks by DHCP all the same,
    # as one has on which that was set on the page: so it is a guest as soon as that is taken back.
    files = {
        f"10-lanjami-{name}.network": f"{_TOLD}[Match]\nType=ether\nName={name}\n{_LINK}{_DHCP}"
        for name, network in config.network.items()
        if network.address
    }
    files["20-lanjami-cable.network"] = f"{_TOLD}[Match]\nType=ether\n{_LINK}{_cable(config)}"
    if config.box.wifi.ssid:
        files["20-lanjami-wifi.network"] = f"{_TOLD}[Match]\nType=wlan\n{_LINK}{_DHCP}"
    return files


# A box without a network is up all the same.
_LINK = "\n[Link]\nRequiredForOnline=no\n\n[Network]\nLinkLocalAddressing=ipv6\n" + _QUIET
# By the hardware's address, which stays when the card is another: routers keep its address.
_DHCP = "DHCP=ipv4\n\n[DHCPv4]\nClientIdentifier=mac\nUseTimezone=no\nUseHostname=no\n"


def _cable(config: Config) -> str:
    box = config.box
    if not box.address:
        return _DHCP
    router = f"Gateway={box.router}\nDNS={box.router}\n" if box.router else ""
    return f"ConfigureWithoutCarrier=yes\nAddress={IPv4Interface(box.address)}\n{router}"


def supplicant(config: Config) -> str:
    """The configuration of wpa_supplicant for the Wi-Fi network to join; "" for none."""
    wifi = config.box.wifi
    if not wifi.ssid:
        return ""
    secured = f'psk="{wifi.passphrase}"' if wifi.passphrase else "key_mgmt=NONE"
    return (
        f"{_TOLD}country={wifi.country}\n"
        # in hexadecimal: any bytes may be in a name
        f"network={{\n  ssid={wifi.ssid.encode().hex()}\n  scan_ssid=1\n  {secured}\n}}\n"
    )
