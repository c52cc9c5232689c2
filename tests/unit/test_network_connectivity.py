"""What those who look for the Internet want to hear."""

import pytest

from lanjami.network.connectivity import HOSTS, PATHS, expected


@pytest.mark.parametrize(
    ("host", "path", "status", "body"),
    [
        ("connectivitycheck.gstatic.com", "/generate_204", 204, ""),
        ("www.google.com", "/gen_204", 204, ""),
        ("captive.apple.com", "/hotspot-detect.html", 200, "Success"),
        ("www.msftconnecttest.com", "/connecttest.txt", 200, "Microsoft Connect Test"),
        ("www.msftncsi.com", "/ncsi.txt", 200, "Microsoft NCSI"),
        ("detectportal.firefox.com", "/success.txt", 200, "success\n"),
        ("detectportal.firefox.com", "/canonical.html", 200, "captive-portal"),
    ],
)
def test_each_hears_what_it_expects(host: str, path: str, status: int, body: str) -> None:
    for written in (host, host.upper(), f"{host}:80", f"{host}."):
        found = expected(written, path)
        assert found is not None
        assert found.status == status
        assert body in found.body
    assert host in HOSTS
    assert path in PATHS


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("10.77.0.1", "/generate_204"),
        ("", "/generate_204"),
        ("www.google.com", "/search"),
        ("captive.apple.com", "/generate_204"),
    ],
)
def test_nobody_else_hears_it(host: str, path: str) -> None:
    assert expected(host, path) is None


def test_an_empty_answer_has_no_kind() -> None:
    found = expected("connectivitycheck.gstatic.com", "/generate_204")
    assert found is not None
    assert (found.kind, found.body) == ("", "")
