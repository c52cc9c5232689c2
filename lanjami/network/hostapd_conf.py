"""The configuration of hostapd: an access point. Pure."""

from lanjami.config import Wifi


def render(wifi: Wifi, *, channel: int, control: str) -> str:
    """The whole configuration file; `control` is the folder of its control socket."""
    lines = [
        f"interface={wifi.interface}",
        "driver=nl80211",
        f"ctrl_interface={control}",
        # as hex digits: whatever the name is made of, it stays a name
        f"ssid2={wifi.ssid.encode().hex()}",
        "utf8_ssid=1",
        f"country_code={wifi.country}",
        "ieee80211d=1",
        "hw_mode=g",
        f"channel={channel}",
        "ieee80211n=1",
        "wmm_enabled=1",
        "auth_algs=1",
        # everybody is to reach everybody
        "ap_isolate=0",
    ]
    if wifi.passphrase:
        lines += [
            "wpa=2",
            f"wpa_passphrase={wifi.passphrase}",
            "wpa_key_mgmt=WPA-PSK",
            "rsn_pairwise=CCMP",
        ]
    return "".join(f"{line}\n" for line in lines)
