"""What lies beside an image: sums, a list of its parts, and Raspberry Pi Imager's entry."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

from image import debian
from image.payload import Release

# Tags of downloads.raspberrypi.com/os_list_imagingutility_v4.json; a Zero 2 W has the 3's.
DEVICES = ["pi5-64bit", "pi4-64bit", "pi3-64bit"]
ICON = "https://www.raspberrypi.com/favicon.ico"
IMAGER = "lanjami.rpi-imager.json"
CHUNK = 1 << 20


def describe(
    out: Path,
    release: Release,
    *,
    source: Mapping[str, str],
    site: Path,
    url: str,
    update: Path | None,
) -> Path:
    """Writes all three into `out`, beside the image, whose compressed file it returns.

    `source` is Debian's package of what was compiled for the box, `site` has its wheels. `url` is
    where the image will be; without, its place on this machine. `update` is the one that was made
    with it.
    """
    image = out / f"{release.name}.img"
    compressed = out / f"{release.name}.img.xz"
    status = out / "dpkg-status"
    bill = out / f"{release.name}.spdx.json"
    packages = [*debian.installed(status.read_text("utf-8")), source]
    bill.write_text(_json(spdx(release, packages, python_packages(site))))
    status.unlink()
    entry = imager_entry(release, image=image, compressed=compressed, url=url)
    (out / IMAGER).write_text(_json({"os_list": [entry]}))
    sums = [f"{sha256(path)}  {path.name}\n" for path in (compressed, bill, update) if path]
    (out / "SHA256SUMS").write_text("".join(sums))
    return compressed


def python_packages(site: Path) -> Iterator[dict[str, str]]:
    """The fields of every installed wheel, from its METADATA."""
    for metadata in sorted(site.glob("*.dist-info/METADATA")):
        yield dict(HeaderParser().parsestr(metadata.read_text(encoding="utf-8")))


def spdx(
    release: Release, packages: Iterable[Mapping[str, str]], python: Iterable[Mapping[str, str]]
) -> dict[str, Any]:
    """A bill of materials as SPDX 2.3 has it: every package with its version and its purl."""
    parts = [
        _part(
            "deb",
            fields["Package"],
            fields["Version"],
            f"pkg:deb/debian/{fields['Package']}@{quote(fields['Version'])}"
            f"?arch={fields['Architecture']}&distro=trixie",
        )
        for fields in packages
    ] + [
        _part(
            "pypi",
            fields["Name"],
            fields["Version"],
            f"pkg:pypi/{fields['Name'].lower()}@{fields['Version']}",
            license_expression=fields.get("License-Expression", "NOASSERTION"),
        )
        for fields in python
    ]
    content = hashlib.sha256(_json(parts).encode()).hexdigest()
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": release.name,
        "documentNamespace": f"https://spdx.org/spdxdocs/{release.name}-{content}",
        "creationInfo": {
            "created": f"{_moment(release):%Y-%m-%dT%H:%M:%SZ}",
            "creators": [f"Tool: lanjami-image-{release.version}"],
        },
        "documentDescribes": [part["SPDXID"] for part in parts],
        "packages": parts,
    }


def imager_entry(release: Release, *, image: Path, compressed: Path, url: str) -> dict[str, Any]:
    """What Raspberry Pi Imager shows and checks; see doc/json-schema in its repository."""
    return {
        "name": f"lanjami {release.version}",
        "description": "Jami without the Internet, for everybody on a LAN",
        "icon": ICON,
        "website": "https://jami.net",
        "url": url or compressed.as_uri(),
        "release_date": f"{_moment(release):%Y-%m-%d}",
        "extract_size": image.stat().st_size,
        "extract_sha256": sha256(image),
        "image_download_size": compressed.stat().st_size,
        "image_download_sha256": sha256(compressed),
        "devices": DEVICES,
        "init_format": "none",  # what Imager could set is set in lanjami.toml
    }


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _part(
    kind: str, name: str, version: str, purl: str, *, license_expression: str = "NOASSERTION"
) -> dict[str, Any]:
    safe = "".join(c if c.isalnum() or c in ".-" else "-" for c in name)
    return {
        "SPDXID": f"SPDXRef-{kind}-{safe}",
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": license_expression,
        "copyrightText": "NOASSERTION",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": purl,
            }
        ],
    }


def _moment(release: Release) -> datetime:
    return datetime.fromtimestamp(release.epoch_s, UTC)


def _json(content: Any) -> str:
    return json.dumps(content, indent=1) + "\n"
