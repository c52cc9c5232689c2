"""An update by the operator's page: in pieces to the disk, whole or not at all."""

import asyncio
import random
from pathlib import Path

import pytest

from lanjami.box import updating, upload
from lanjami.box.standing import Standing, UpdateError
from lanjami.box.upload import PIECE, Upload
from lanjami.runtime import disk
from tests.support import bundles
from tests.support.http_client import Answer
from tests.support.operator_stage import PASSWORD, Browser, Stage, served

pytestmark = pytest.mark.usefixtures("quick_hashes")

CONTENT = random.Random(1).randbytes(1 << 20)  # which packs to several pieces


@pytest.fixture
async def operator(stage: Stage) -> Browser:
    return await _signed_in(stage)


@pytest.fixture
def bundle(tmp_path: Path) -> bytes:
    return bundles.write(tmp_path / "bundle", CONTENT).read_bytes()


async def _signed_in(stage: Stage) -> Browser:
    browser = Browser(stage)
    assert (await browser.sign_in()).status == 303
    return browser


async def _begin(browser: Browser, size: int) -> str:
    answer = await browser.post("/operator/update/begin", {"size": str(size)})
    assert answer.status == 200, answer.body
    return str(answer.json["token"])


async def _piece(browser: Browser, token: str, at: int, content: bytes) -> Answer:
    return await browser.piece(f"/operator/update/piece?token={token}&at={at}", content)


async def _send(browser: Browser, content: bytes) -> Answer:
    """All of it, or up to where it is refused."""
    token = await _begin(browser, len(content))
    for at in range(0, len(content), PIECE):
        answer = await _piece(browser, token, at, content[at : at + PIECE])
        if answer.status != 200:
            return answer
        assert answer.json == {"have": min(at + PIECE, len(content))}
    return await browser.post("/operator/update/end", {"token": token})


def _left(stage: Stage) -> list[str]:
    return [file.name for file in stage.state.rglob("*") if file.is_file()]


async def test_an_update_comes_whole_and_is_left_to_the_machine(
    stage: Stage, operator: Browser, bundle: bytes
) -> None:
    answer = await _send(operator, bundle)
    assert answer.json == {"then": "/operator/update?lang=en"}
    assert (stage.state / "update.tar").read_bytes() == bundle
    assert _left(stage) == ["update.tar"]
    assert b"It is checked next." in (await operator.get("/operator/update")).body
    again = await operator.post("/operator/update/begin", {"size": "100"})
    assert (again.status, "Another update" in again.json["error"]) == (409, True)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ("manifest", "was not made by who made this box's system"),
        ("version", "not newer than what runs"),
        ("all", "no update of lanjami"),
    ],
)
async def test_what_is_refused_is_refused_with_its_first_piece(
    stage: Stage, operator: Browser, changed: str, told: str
) -> None:
    content = CONTENT
    if changed != "all":
        version = "0.1.0" if changed == "version" else "0.2.0"
        path = bundles.write(stage.folder / "other", CONTENT, version=version, changed=changed)
        content = path.read_bytes()
    token = await _begin(operator, len(content))
    answer = await _piece(operator, token, 0, content[:PIECE])
    assert answer.status == 409
    assert told in answer.json["error"]
    assert _left(stage) == []
    answer = await _piece(operator, token, PIECE, content[PIECE : 2 * PIECE])
    assert "did not come whole" in answer.json["error"]


async def test_it_is_refused_in_the_operators_language(stage: Stage, operator: Browser) -> None:
    answer = await operator.post("/operator/update/end?lang=de", {"token": "guess"})
    assert answer.json == {"error": "Das Update kam nicht ganz an. Senden Sie es noch einmal."}


async def test_a_line_that_was_cut_goes_on_where_it_was(
    stage: Stage, operator: Browser, bundle: bytes
) -> None:
    token = await _begin(operator, len(bundle))
    first = bundle[:PIECE]
    for _ in range(2):  # its first answer was lost
        assert (await _piece(operator, token, 0, first)).json == {"have": PIECE}
    answer = await _piece(operator, token, PIECE, bundle[PIECE:][: PIECE // 2])
    have = answer.json["have"]
    while have < len(bundle):
        have = (await _piece(operator, token, have, bundle[have : have + PIECE])).json["have"]
    await operator.post("/operator/update/end", {"token": token})
    assert (stage.state / "update.tar").read_bytes() == bundle


async def test_what_is_not_whole_is_not_taken(
    stage: Stage, operator: Browser, bundle: bytes
) -> None:
    token = await _begin(operator, len(bundle))
    await _piece(operator, token, 0, bundle[:PIECE])
    answer = await operator.post("/operator/update/end", {"token": token})
    assert "did not come whole" in answer.json["error"]
    assert not (stage.state / "update.tar").exists()


@pytest.mark.parametrize(("at", "more"), [(PIECE + 1, 0), (10 * PIECE, 0), (PIECE, 1)])
async def test_no_piece_goes_beyond_what_was_said(
    stage: Stage, operator: Browser, bundle: bytes, at: int, more: int
) -> None:
    token = await _begin(operator, 2 * PIECE - more)
    await _piece(operator, token, 0, bundle[:PIECE])
    answer = await _piece(operator, token, at, bundle[PIECE : 2 * PIECE])
    assert answer.status == 409
    assert _left(stage) == []


@pytest.mark.parametrize("size", ["", "-1", "1e9", "0x10", "9" * 16, "²"])
async def test_a_size_is_a_number(stage: Stage, operator: Browser, size: str) -> None:
    answer = await operator.post("/operator/update/begin", {"size": size})
    assert answer.status == 400
    assert _left(stage) == []


async def test_what_fits_no_slot_is_not_begun(stage: Stage, operator: Browser) -> None:
    answer = await operator.post("/operator/update/begin", {"size": str(upload.LARGEST + 1)})
    assert (answer.status, "too large" in answer.json["error"]) == (409, True)


async def test_a_piece_has_an_end(stage: Stage, operator: Browser) -> None:
    token = await _begin(operator, 4 * PIECE)
    assert (await _piece(operator, token, 0, b"x" * (PIECE + 1))).status == 413


async def test_one_update_comes_at_a_time(stage: Stage, operator: Browser, bundle: bytes) -> None:
    token = await _begin(operator, len(bundle))
    other = await _signed_in(stage)
    answer = await other.post("/operator/update/begin", {"size": "100"})
    assert "Another update" in answer.json["error"]
    assert (await _piece(other, token, 0, bundle[:PIECE])).status == 409
    assert (await _piece(operator, token, 0, bundle[:PIECE])).status == 200
    await _begin(operator, len(bundle))  # whoever loads the page anew begins anew
    assert (await _piece(operator, token, PIECE, bundle[PIECE:][:PIECE])).status == 409


async def test_what_does_not_go_on_is_given_up(tmp_path: Path, bundle: bytes) -> None:
    async with served(tmp_path, silent_s=0.05) as stage:
        await stage.passwords.keep(PASSWORD)
        operator = await _signed_in(stage)
        token = await _begin(operator, len(bundle))
        await _piece(operator, token, 0, bundle[:PIECE])
        async with asyncio.timeout(5):
            while _left(stage):
                await asyncio.sleep(0.01)
        assert (await _piece(operator, token, PIECE, bundle[PIECE:][:PIECE])).status == 409


@pytest.mark.parametrize(
    ("standing", "told"),
    [
        (Standing(), "No update was brought to it so far."),
        (Standing("writing", "0.2.0", 10, 100), "lanjami 0.2.0 is checked and written"),
        (Standing("reading", "0.2.0", 10, 100), "is read back from the card"),
        (Standing("starting", "0.2.0"), "The box starts with it next."),
        (Standing("tried", "0.2.0"), "is being tried"),
        (Standing("kept", "0.2.0"), "passed its test and is kept"),
        (Standing("back", "0.2.0"), "did not pass its test. The box went back"),
        (Standing("refused", fault="damaged", reason="a <b>sum</b>"), "a &lt;b&gt;sum"),
    ],
)
async def test_the_page_says_how_it_stands(
    stage: Stage, operator: Browser, standing: Standing, told: str
) -> None:
    stage.standing = standing
    page = (await operator.get("/operator/update")).body.decode()
    assert told in page
    assert ('type="file"' in page) is not standing.is_moving
    assert ('<progress max="100" value="10"' in page) is (standing.total > 0)
    answer = await operator.post("/operator/update/begin", {"size": "100"})
    assert answer.status == (409 if standing.is_moving else 200)


# --- the disk -----------------------------------------------------------------------------------


def _upload(folder: Path) -> Upload:
    return Upload(folder, examine=lambda _: None, standing=Standing)


def test_a_disk_without_room_is_told_before_and_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking = _upload(tmp_path)
    monkeypatch.setattr(disk, "SPARED", 1 << 60)
    with pytest.raises(UpdateError) as told:
        taking.begin("ann", 100, now=0)
    assert told.value.fault == "disk"
    monkeypatch.undo()
    token = taking.begin("ann", 100, now=0)
    monkeypatch.setattr(disk, "SPARED", 1 << 60)
    with pytest.raises(UpdateError) as told:
        taking.add("ann", token, 0, b"x" * 100, now=0)
    assert told.value.fault == "disk"
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_program_left_is_gone_at_its_start(tmp_path: Path) -> None:
    taking = _upload(tmp_path)
    token = taking.begin("ann", 200, now=0)
    taking.add("ann", token, 0, b"x" * 100, now=0)
    disk.remove_scratch(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1, "it is in use"
    taking.drop_silent(now=upload.SILENT_S - 1)
    assert len(list(tmp_path.iterdir())) == 1
    taking.drop_silent(now=upload.SILENT_S)
    assert list(tmp_path.iterdir()) == []


def test_how_it_stands_is_for_everybody_on_the_box(tmp_path: Path) -> None:
    file = tmp_path / "update"
    assert updating.standing(file) == Standing()
    updating.stand(Standing("kept", "0.2.0"), file)
    assert updating.standing(file) == Standing("kept", "0.2.0")
    assert file.stat().st_mode & 0o777 == 0o644
    file.write_text("{")
    assert updating.standing(file) == Standing()
