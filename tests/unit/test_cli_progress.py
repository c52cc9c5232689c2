"""A bar for a person, and nothing for anybody else."""

import io

import pytest

from lanjami.cli import names, progress
from lanjami.cli.progress import Bar
from lanjami.errors import HostError


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _screen(written: str) -> str:
    """What a terminal shows in its line after all this."""
    shown: list[str] = []
    at = 0
    for character in written:
        at = 0 if character == "\r" else at + 1
        if at:
            shown[at - 1 : at] = [character]
    return "".join(shown).rstrip()


def _bar(stream: io.StringIO, total: int = 0) -> Bar:
    bar = Bar(stream, is_shown=True)
    bar.begin("Writing", total)
    return bar


def test_it_shows_how_far_the_work_is() -> None:
    stream = _Terminal()
    bar = _bar(stream, 200)
    assert _screen(stream.getvalue()) == f"Writing  [{'-' * 30}]   0 %"
    bar._drawn_at -= 1  # noqa: SLF001 - as a while ago
    bar.reach(100)
    assert _screen(stream.getvalue()) == f"Writing  [{'#' * 15}{'-' * 15}]  50 %"


def test_it_is_drawn_a_few_times_a_second_only() -> None:
    stream = _Terminal()
    bar = _bar(stream, 100_000)
    for _ in bar.over(range(100_000)):
        pass
    assert stream.getvalue().count("\r") < 100


def test_more_than_all_is_all() -> None:
    stream = _Terminal()
    bar = _bar(stream, 2)
    bar._drawn_at -= 1  # noqa: SLF001 - as a while ago
    bar.advance(3)
    assert _screen(stream.getvalue()).endswith("100 %")


def test_a_shorter_line_leaves_nothing_of_a_longer_one() -> None:
    stream = _Terminal()
    bar = _bar(stream, 2)
    bar.begin("Checking")
    assert _screen(stream.getvalue()) == "Checking …"
    bar.clear()
    assert _screen(stream.getvalue()) == ""


def test_a_file_is_as_far_as_it_was_read() -> None:
    stream = _Terminal()
    bar = _bar(stream, 4)
    file = bar.reading(io.BytesIO(b"ab\nc"))
    assert file.readline() == b"ab\n"
    bar._drawn_at -= 1  # noqa: SLF001 - as a while ago
    assert file.read(1) == b"c"
    assert _screen(stream.getvalue()).endswith("100 %")
    assert file.seek(0) == 0
    assert file.read(2) == b"ab"


@pytest.mark.parametrize("is_wanted", [True, False])
def test_it_is_gone_at_the_end_and_never_there_for_who_wants_none(
    monkeypatch: pytest.MonkeyPatch, *, is_wanted: bool
) -> None:
    terminal = _Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with progress.shown("Writing", 3, is_wanted=is_wanted) as bar:
        assert bar.is_shown is is_wanted
        bar.advance()
    assert _screen(terminal.getvalue()) == ""
    assert bool(terminal.getvalue()) is is_wanted


def test_a_pipe_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr("sys.stderr", pipe)
    with progress.shown("Writing", 3) as bar:
        bar.advance()
        bar.begin("Checking")
    assert pipe.getvalue() == ""


def test_a_running_box_reads_an_import_to_check_and_then_to_take_it() -> None:
    stream = _Terminal()
    bar = _bar(stream)
    far = [b'{"read":5,"size":9}', b'{"read":2,"size":9}']
    assert names._taken([*far, b"4"], bar) == 4  # noqa: SLF001 - what the box says
    assert stream.getvalue().index("\rChecking  [") < stream.getvalue().index("\rWriting  [")
    with pytest.raises(HostError, match="did not say"):
        names._taken(far, bar)  # noqa: SLF001
