"""What a measurement hands over, and how it is written down: Markdown, aligned for terminals."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_HEAD = ("What", "Measured", "Compared with", "Ratio", "Aim", "Met")


@dataclass(frozen=True, slots=True)
class Samples:
    """The values of the rounds, shown with their unit and so many digits after the point."""

    values: Sequence[float]
    unit: str
    digits: int

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def shown(self, value: float) -> str:
        return f"{value:,.{self.digits}f} {self.unit}".strip()

    def __str__(self) -> str:
        if len(self.values) == 1:
            return self.shown(self.values[0])
        edges = min(self.values), max(self.values)
        low, high = (f"{edge:,.{self.digits}f}" for edge in edges)
        return f"{self.shown(self.median)} ({low} to {high})"


@dataclass(frozen=True, slots=True)
class Reference:
    """The samples that a row is compared with, and what they are of."""

    what: str
    samples: Samples


@dataclass(frozen=True, slots=True)
class Aim:
    """What a row should not exceed, or not fall short of where it is a `least`: its median, its
    worst round or its ratio of medians."""

    bound: float
    of: str = "median"  # "median", "worst" or "ratio"
    least: bool = False

    def allows(self, value: float) -> bool:
        return value >= self.bound if self.least else value <= self.bound


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; without an aim it is there to be known."""

    what: str
    measured: Samples
    reference: Reference | None = None
    aim: Aim | None = None

    @property
    def ratio(self) -> float | None:
        """The median as a multiple of the reference's."""
        if self.reference is None or not self.reference.samples.median:
            return None
        return self.measured.median / self.reference.samples.median

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None where there is none."""
        if self.aim is None:
            return None
        match self.aim.of:
            case "ratio":
                return self.ratio is not None and self.aim.allows(self.ratio)
            case "worst":
                return all(self.aim.allows(value) for value in self.measured.values)
            case _:
                return self.aim.allows(self.measured.median)


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    rule = tuple("-" * width for width in widths)
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in (lines[0], rule, *lines[1:])
    )


def _cells(row: Row) -> tuple[str, ...]:
    reference = "" if row.reference is None else f"{row.reference.what}: {row.reference.samples}"
    ratio = "" if row.ratio is None else f"{row.ratio:,.2f}"
    met = {None: "", True: "yes", False: "no"}[row.met]
    return row.what, str(row.measured), reference, ratio, _aim(row), met


def _aim(row: Row) -> str:
    if row.aim is None:
        return ""
    bound = f"at {'least' if row.aim.least else 'most'} {row.aim.bound:g}"
    if row.aim.of == "ratio":
        return f"ratio {bound}"
    always = "always " if row.aim.of == "worst" else ""
    return f"{always}{bound} {row.measured.unit}".strip()
