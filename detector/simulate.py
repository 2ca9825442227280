"""The commands that simulate: load for a running service, and sampling on paper."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from detector.collector.made import Source
    from detector.simulation.report import Results


def named(name: str) -> str:
    """Refuse what no subject can be made of."""
    from detector.adapters.nats.subjects import escape

    try:
        escape(name)
    except ValueError:
        raise typer.BadParameter("must be a name, and in UTF-8") from None
    return name


simulate = typer.Typer(no_args_is_help=True, help="Believable load for a running service, and sampling on paper.")

Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings as TOML.")]
Folder = Annotated[Path | None, typer.Option(help="Where the service lives whose broker has no URL.")]
NatsUrl = Annotated[str | None, typer.Option("--nats", metavar="URL", help="Broker; none: the one of --folder.")]
Tenant = Annotated[str, typer.Option(callback=named, help="Tenant to publish as.")]
Seed = Annotated[int, typer.Option(min=0)]
Window = Annotated[int, typer.Option(min=1, help="Length of a window, seconds.")]
History = Annotated[float, typer.Option(min=0, help="Hours of the past to send first, at once.")]
Seconds = Annotated[float | None, typer.Option(min=1, help="End by itself after so long.")]


@simulate.command(epilog="Example: detector simulate shop --history-hours 2 --incident-after 60")
def shop(
    file: Config = None,
    folder: Folder = None,
    nats: NatsUrl = None,
    tenant: Tenant = "shop",
    seed: Seed = 7,
    window_seconds: Window = 10,
    history_hours: History = 0.0,
    incident_after: Annotated[
        float, typer.Option(min=0, help="Seconds until the payment provider slows down; 0: never.")
    ] = 0.0,
    incident_seconds: Annotated[float, typer.Option(min=1, help="How long that lasts.")] = 300.0,
    seconds: Seconds = None,
) -> None:
    """Feed a running service with a shop: services behind a front end, until Ctrl-C."""
    from detector.collector.shop import NEVER, Incident, Shop

    def make(start: int) -> Source:
        begins = start + round(incident_after * 1000)
        return Shop(seed, Incident(begins, incident_seconds) if incident_after else NEVER)

    _feed(file, folder, nats, make, (tenant, window_seconds, history_hours, seconds))


@simulate.command(epilog="Example: detector simulate poll --history-hours 2 --stall-after 60")
def poll(
    file: Config = None,
    folder: Folder = None,
    nats: NatsUrl = None,
    tenant: Tenant = "poll",
    seed: Seed = 7,
    window_seconds: Window = 10,
    history_hours: History = 0.0,
    stall_after: Annotated[
        float, typer.Option(min=0, help="Seconds until votes can hardly be counted any more; 0: never.")
    ] = 0.0,
    stall_seconds: Annotated[float, typer.Option(min=1, help="How long that lasts.")] = 300.0,
    seconds: Seconds = None,
) -> None:
    """Feed a running service with a live vote: a crowd whenever a poll is shown on air, until Ctrl-C."""
    from detector.collector.poll import Poll, Stall

    def make(start: int) -> Source:
        return Poll(seed, Stall(start + round(stall_after * 1000), stall_seconds) if stall_after else None)

    _feed(file, folder, nats, make, (tenant, window_seconds, history_hours, seconds))


def _feed(
    file: Path | None,
    folder: Path | None,
    nats: str | None,
    make: Callable[[int], Source],
    what: tuple[str, int, float, float | None],
) -> None:
    from detector.adapters.terminal.logs import set_up_logs
    from detector.adapters.terminal.progress import progress
    from detector.collector.feed import Course, feed
    from detector.config import load
    from detector.deployment import broker_url, credentials

    settings = load(file, {"folder": folder, "nats.url": nats}).settings
    set_up_logs(settings.log.level, settings.log.format)
    tenant, window_seconds, history_hours, seconds = what
    course = Course(tenant, window_seconds * 1000, history_hours * 3600, seconds)
    with progress(f"{tenant}: the past", 100) as advance:
        done = 0

        def told(share: float) -> None:
            nonlocal done
            percent = math.floor(100 * share)
            if percent > done:
                advance(percent - done, f"{tenant}: the past is sent, now live" if percent == 100 else "")
                done = percent

        try:
            asyncio.run(feed(broker_url(settings), credentials(settings), make, course, told))
        except KeyboardInterrupt:
            raise typer.Exit from None


@simulate.command(epilog="Example: detector simulate sampling --seeds 3 --plot errors.png")
def sampling(
    seeds: Annotated[int, typer.Option(min=2, help="Runs; intervals are over them.")] = 10,
    series: Annotated[int, typer.Option(min=8)] = 120,
    windows: Annotated[int, typer.Option(min=60, help="Of five minutes; the first third settles.")] = 288,
    events: Annotated[float, typer.Option(min=10, help="Requests of a series in a window, on the average.")] = 2400.0,
    plot: Annotated[Path | None, typer.Option(help="Draw errors against volume into this file.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print tables as Markdown.")] = False,
) -> None:
    """Compare ways of sampling at equal volume, on requests that are made up; about half a minute a seed."""
    from detector.adapters.terminal.progress import progress
    from detector.adapters.terminal.tables import print_tables
    from detector.simulation.report import CLAIM_COLUMNS, COLUMNS, claim_rows, contest, surges, table
    from detector.simulation.traffic import Size

    size = Size(series, windows, windows // 3, events, seeds)
    with progress("windows", 2 * windows * seeds) as advance:
        results = contest(size, lambda steps: advance(steps, ""))
        surged = surges(size)
    print_tables([(COLUMNS, table(results)), (CLAIM_COLUMNS, claim_rows(results, surged))], markdown=markdown)
    if plot is not None:
        _draw(plot, results)


def _draw(path: Path, results: Results) -> None:
    from detector.adapters.files.error_plot import draw_errors
    from detector.simulation.report import FIGURES, points

    draw_errors(path, FIGURES, points(results))
    typer.echo(f"written: {path}", err=True)
