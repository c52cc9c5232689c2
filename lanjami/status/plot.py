"""Lines of plots, as the paths of SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 300, 60  # of the drawing, which is stretched to its place
_NICE = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Plot:
    """`line` and `area` are the `d` of paths in a drawing of `WIDTH` by `HEIGHT`; `top` is the
    value at its upper edge, `highest` and `latest` are of the values."""

    line: str
    area: str
    top: int
    highest: float
    latest: float


def draw(values: Sequence[float | None]) -> Plot:
    """A line from left to right, with gaps where there is no value."""
    known = [value for value in values if value is not None]
    highest = max(known, default=0.0)
    top = nice(highest)
    step = WIDTH / max(1, len(values) - 1)
    line, area = [], []
    for run in _runs(values):
        points = [
            (_short(step * at), _short(HEIGHT - value / top * (HEIGHT - 2) - 1))
            for at, value in run
        ]
        path = "M" + "L".join(f"{x} {y}" for x, y in points)
        if len(points) == 1:
            path += "h1"  # one value alone is a dot, not nothing
        line.append(path)
        area.append(f"{path}V{HEIGHT}H{points[0][0]}z")
    return Plot("".join(line), "".join(area), top, highest, known[-1] if known else 0.0)


def nice(value: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50 … that is not below a value."""
    scale = 1
    while True:
        for digit in _NICE:
            if digit * scale >= value:
                return digit * scale
        scale *= 10


def _runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """The values with their places, where there is one next to the other."""
    runs: list[list[tuple[int, float]]] = []
    for at, value in enumerate(values):
        if value is None:
            continue
        if not runs or runs[-1][-1][0] != at - 1:
            runs.append([])
        runs[-1].append((at, value))
    return runs


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
