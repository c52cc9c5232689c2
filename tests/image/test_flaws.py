"""How flaws are looked up that others have found in Debian's packages."""

from typing import Any

from tests.image import flaws

STATUS = """\
Package: libssl3t64
Status: install ok installed
Source: openssl
Version: 3.5.1-1

Package: systemd-resolved
Status: install ok installed
Source: systemd (257.9-1)
Version: 257.9-1+b1

Package: gone
Status: deinstall ok config-files
Version: 1

Package: nftables
Status: install ok installed
Version: 1.1.3-1
"""


def test_versions_are_those_of_the_sources() -> None:
    expected = {"openssl": "3.5.1-1", "systemd": "257.9-1", "nftables": "1.1.3-1"}
    assert flaws.sources(STATUS) == expected


def _found(version: str, *, suite: str = "trixie", **release: str) -> list[str]:
    about: dict[str, Any] = {"releases": {suite: release}}
    tracker = {"tool": {"CVE-2026-1": about}}
    return list(flaws.worst(tracker, {"tool": version, "unknown": "1"}, suite="trixie"))


def test_a_flaw_counts_until_the_version_that_mends_it() -> None:
    mended = {"status": "resolved", "urgency": "high", "fixed_version": "1.2-3+deb13u1"}
    assert _found("1.2-3", **mended) == ["CVE-2026-1 in tool 1.2-3"]
    assert _found("1.2-3+deb13u1", **mended) == []
    assert _found("1.2-3", **(mended | {"fixed_version": "0"})) == []  # it never was there


def test_a_flaw_counts_that_nobody_mended() -> None:
    assert _found("1.2-3", status="open", urgency="high**") == ["CVE-2026-1 in tool 1.2-3"]
    assert _found("1.2-3", status="open", urgency="not yet assigned") == []
    assert _found("1.2-3", status="open", urgency="high", nodsa="Minor issue") == []


def test_what_debian_has_mended_counts_however_urgent_it_is() -> None:
    """Most flaws are mended before somebody says how urgent they are."""
    mended = {"status": "resolved", "fixed_version": "1.2-3+deb13u1"}
    assert _found("1.2-3", urgency="not yet assigned", **mended) == ["CVE-2026-1 in tool 1.2-3"]
    assert _found("1.2-3", urgency="unimportant", **mended) == []
    assert _found("1.2-3+deb13u1", urgency="not yet assigned", **mended) == []


def test_what_is_of_the_backports_follows_unstable() -> None:
    mended = {"suite": "sid", "status": "resolved", "urgency": "high", "fixed_version": "7.3.4-1"}
    assert _found("7.3.3-1~bpo13+1", **mended) == ["CVE-2026-1 in tool 7.3.3-1~bpo13+1"]
    assert _found("7.3.4-1~bpo13+1", **mended) == []
    assert _found("7.3.3-1", **mended) == []
    assert _found("7.3.3-1~bpo13+1", **(mended | {"urgency": "not yet assigned"})) == []
