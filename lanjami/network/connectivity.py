"""What phones and computers ask to see whether a network has the Internet, and want to hear.

Each asks over plain HTTP, on port 80. Sources: Android NetworkMonitor
(CAPTIVE_PORTAL_HTTP_URL and its fallbacks), Apple's CaptiveNetwork, Microsoft's NCSI, Firefox's
captivedetect.canonicalURL and network.connectivity-service.*.url.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Expected:
    """The answer that means "all is well"."""

    status: int
    kind: str = ""
    body: str = ""


_EMPTY = Expected(204)
_APPLE = Expected(
    200,
    "text/html",
    "<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>",
)
_FIREFOX = Expected(
    200,
    "text/html",
    '<meta http-equiv="refresh" content="0;url=https://support.mozilla.org/kb/captive-portal"/>',
)
_FIREFOX_TEXT = Expected(200, "text/plain", "success\n")
_WINDOWS = Expected(200, "text/plain", "Microsoft Connect Test")
_WINDOWS_OLD = Expected(200, "text/plain", "Microsoft NCSI")

_EXPECTED = {
    ("connectivitycheck.gstatic.com", "/generate_204"): _EMPTY,
    ("connectivitycheck.android.com", "/generate_204"): _EMPTY,
    ("clients3.google.com", "/generate_204"): _EMPTY,
    ("www.google.com", "/generate_204"): _EMPTY,
    ("www.google.com", "/gen_204"): _EMPTY,
    ("play.googleapis.com", "/generate_204"): _EMPTY,
    ("captive.apple.com", "/hotspot-detect.html"): _APPLE,
    ("www.apple.com", "/library/test/success.html"): _APPLE,
    ("detectportal.firefox.com", "/canonical.html"): _FIREFOX,
    ("detectportal.firefox.com", "/success.txt"): _FIREFOX_TEXT,
    ("www.msftconnecttest.com", "/connecttest.txt"): _WINDOWS,
    ("ipv6.msftconnecttest.com", "/connecttest.txt"): _WINDOWS,
    ("www.msftncsi.com", "/ncsi.txt"): _WINDOWS_OLD,
}

# Windows resolves this name, too, and compares what it hears.
WINDOWS_DNS_NAME, WINDOWS_DNS_ADDRESS = "dns.msftncsi.com", "131.107.255.255"

# Names that are only asked to see whether there is an Internet. www.google.com and www.apple.com
# are more than that, but without an upstream nothing else could be had from them.
HOSTS = tuple(sorted({host for host, _ in _EXPECTED}))
PATHS = tuple(sorted({path for _, path in _EXPECTED}))


def expected(host: str, path: str) -> Expected | None:
    """The answer to a GET of `path` with this Host field; None for what is no such check."""
    name = host.lower().partition(":")[0].rstrip(".")
    return _EXPECTED.get((name, path))
