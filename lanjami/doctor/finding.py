"""What a check finds: a verdict, what it means and what to do.

A check is a function of what was seen; who looks is in the shell. The names of findings, and the
members of their JSON, are a contract: more may come, none is renamed.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

import msgspec

from lanjami.tone import Paint, Tone, plain

ALL_WELL, A_FAULT, NOT_RUNNING = 0, 1, 3  # exit statuses, as `lanjami status` has them


class Verdict(StrEnum):
    """`NOTE` is worth knowing and nothing to repair; `SKIPPED` could not be looked at, and its
    meaning says why."""

    WELL = "well"
    NOTE = "note"
    FAULT = "fault"
    SKIPPED = "skipped"


class Finding(msgspec.Struct, frozen=True):
    """What the check `name` found; `advice` is empty where nothing is to be done."""

    name: str
    verdict: Verdict
    meaning: str
    advice: str = ""


def well(name: str, meaning: str) -> Finding:
    return Finding(name, Verdict.WELL, meaning)


def note(name: str, meaning: str, advice: str = "") -> Finding:
    return Finding(name, Verdict.NOTE, meaning, advice)


def fault(name: str, meaning: str, advice: str) -> Finding:
    return Finding(name, Verdict.FAULT, meaning, advice)


def skipped(name: str, why: str, advice: str = "") -> Finding:
    return Finding(name, Verdict.SKIPPED, why, advice)


def exit_status(findings: Iterable[Finding], *, is_running: bool) -> int:
    if not is_running:
        return NOT_RUNNING
    is_fault = any(finding.verdict is Verdict.FAULT for finding in findings)
    return A_FAULT if is_fault else ALL_WELL


_MARKS = {Verdict.WELL: "ok", Verdict.NOTE: "note", Verdict.FAULT: "FAULT", Verdict.SKIPPED: "-"}


_TONES: Mapping[Verdict, Tone] = {
    Verdict.WELL: "good",
    Verdict.NOTE: "warning",
    Verdict.FAULT: "bad",
}


def table(findings: Iterable[Finding], *, paint: Paint = plain) -> str:
    """The findings for a person in front of a terminal."""
    return "\n".join(_lines(list(findings), paint))


def _lines(findings: list[Finding], paint: Paint) -> Iterator[str]:
    width = max((len(finding.name) for finding in findings), default=0)
    for finding in findings:
        mark, tone = f"{_MARKS[finding.verdict]:5}", _TONES.get(finding.verdict)
        mark = mark if tone is None else paint(mark, tone)
        yield f"{mark}  {finding.name:{width}}  {_shown(finding.meaning)}"
        if finding.advice:
            yield f"{'':5}  {'':{width}}  -> {_shown(finding.advice)}"
    faults = sum(finding.verdict is Verdict.FAULT for finding in findings)
    yield ""
    yield "All is well." if not faults else f"{faults} fault{'s' * (faults > 1)}."


def _shown(text: str) -> str:
    """What others sent, such as a name, must not speak to the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
