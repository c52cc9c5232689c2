"""`lanjami quality`: how good the line to another box is."""

from collections.abc import Iterator

import click
import msgspec

from lanjami.cli import measuring, progress
from lanjami.cli.failure import sentences
from lanjami.status.live import read_catalogues
from lanjami.status.quality import USES, Line, judge, verdicts


@click.command()
@click.argument("host")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@sentences
def quality(*, host: str, as_json: bool) -> None:
    """Measure the line to the box at HOST: latency, jitter, stalls and throughput both ways.

    Takes up to fifteen seconds, and longer over a slow line or where somebody else measures.
    """
    with progress.shown("Measuring") as bar:

        def show(share: float, ahead: int) -> None:
            if ahead:
                bar.begin(f"{ahead} measure before us")
            else:
                bar.begin("Measuring", 100)
                bar.reach(int(100 * share))

        line = judge(measuring.measure(host, show))
    if as_json:
        body = {"line": line, "verdicts": verdicts(line)}
        click.echo(msgspec.json.format(msgspec.json.encode(body), indent=2).decode())
    else:
        click.echo("\n".join(_table(line)))


def _table(line: Line) -> Iterator[str]:
    t = read_catalogues()["en"]
    stalls = f"{line.stalls}, longest {line.longest_stall_ms:.0f} ms" if line.stalls else "none"
    yield f"Latency       {line.latency_ms:.1f} ms"
    yield f"Jitter        {line.jitter_ms:.1f} ms"
    yield f"Stalls        {stalls}"
    yield f"From the box  {line.down_mbit:.1f} Mbit/s"
    yield f"To the box    {line.up_mbit:.1f} Mbit/s"
    yield ""
    borne = verdicts(line)
    for use in USES:
        yield (
            f"{t(f'line.uses.{use.name}'):24}  {use.mbit:4g} Mbit/s assumed  "
            f"{t(f'line.{borne[use.name]}')}"
        )
