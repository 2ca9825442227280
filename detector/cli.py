"""The command line: thin, and never a traceback for what a user can mend."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detector import __version__
from detector.errors import DetectorError, SettingsError, UsageError
from detector.simulate import named, simulate

if TYPE_CHECKING:
    from detector.config import Loaded

DONE, FAILED, WRONG_USE, ALERTS_FOUND = 0, 1, 2, 3

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Watches backend metrics as they stream by: scores, alerts, and less telemetry to pay for.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong use, 3 alerts found (score --fail-on-alert).",
)
db = typer.Typer(no_args_is_help=True, help="The database.")
config = typer.Typer(no_args_is_help=True, help="Settings.")
app.add_typer(db, name="db")
app.add_typer(config, name="config")
app.add_typer(simulate, name="simulate")

Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings as TOML.")]
Folder = Annotated[Path | None, typer.Option(help="Where broker and database live that have no URL.")]
NatsUrl = Annotated[str | None, typer.Option("--nats", metavar="URL", help="Broker; none: the one of --folder.")]
DatabaseUrl = Annotated[str | None, typer.Option("--database", metavar="URL", help="SQLAlchemy URL.")]
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV, JSON or Parquet; or folders of them.")]
Out = Annotated[Path | None, typer.Option(help="A folder; without it rows go to standard output.")]
TimeColumn = Annotated[str | None, typer.Option(help="Column of time stamps, where it is not found by itself.")]
ValueColumn = Annotated[str | None, typer.Option(help="Column of values, where it is not found by itself.")]


def main() -> None:
    """Run the command line; what a user can mend is one line on standard error."""
    try:
        try:
            app()
        finally:
            _write_out()
    except (SettingsError, UsageError) as error:
        _end(error, WRONG_USE)
    except DetectorError as error:
        _end(error, FAILED)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has had enough
        sys.exit(DONE)
    except OSError as error:
        if error.strerror is None:  # not the system's word, but a fault of ours
            raise
        _end(f"{error.filename}: {error.strerror}" if error.filename else error.strerror, FAILED)


def _write_out() -> None:
    """Write what standard output holds back, so that what prevents it is known here."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            sys.stdout.close()  # else Python tries once more at its end
        raise


def _end(error: DetectorError | str, code: int) -> None:
    typer.secho(f"detector: {error}", fg="red", err=True)
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command(epilog="Example: detector demo --seconds 60")
def demo(
    seconds: Annotated[float | None, typer.Option(min=1, help="End by itself after so long.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Keep broker and database there; else they are thrown away.")
    ] = None,
) -> None:
    """Watch this machine and a simulated shop; an incident begins after half a minute."""
    from detector.demo import demonstrate

    _run(demonstrate(seconds, folder))


@app.command(
    epilog="Example: detector run --nats nats://broker:4222 --database sqlite:////var/lib/detector.db --partitions 0-15"
)
def run(
    file: Config = None,
    folder: Folder = None,
    nats: NatsUrl = None,
    database: DatabaseUrl = None,
    host: Annotated[str | None, typer.Option(help="Where /livez, /readyz and /metrics are served.")] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free one.")] = None,
    partitions: Annotated[
        str | None, typer.Option(metavar="LIST", help="Work on these only, such as 0-7,12,30-31; else on a fair share.")
    ] = None,
) -> None:
    """Run the service. Without settings it starts its own broker and database below ./detector-data.

    Several processes with the same broker and database share the 32 partitions evenly; when one ends, the
    others take over.
    """
    from detector.adapters.terminal.logs import set_up_logs
    from detector.app import serve

    flags = {"http.host": host, "http.port": port, "partitions": partitions}
    loaded = _load(file, folder, nats, database, flags)
    set_up_logs(loaded.settings.log.level, loaded.settings.log.format)
    _run(serve(loaded.settings))


@app.command(epilog="Example: detector collect --nats nats://broker:4222 --tenant acme --service web-1")
def collect(
    file: Config = None,
    folder: Folder = None,
    nats: NatsUrl = None,
    tenant: Annotated[str, typer.Option(callback=named, help="Tenant to publish as.")] = "default",
    service: Annotated[str, typer.Option(callback=named, help="Service to publish as.")] = "host",
    seconds: Annotated[float, typer.Option(min=0.2, help="Length of a window.")] = 1.0,
) -> None:
    """Publish the metrics of this machine until Ctrl-C."""
    from detector.adapters.terminal.logs import set_up_logs
    from detector.collector.collect import collect_host
    from detector.deployment import broker_url, credentials

    settings = _load(file, folder, nats).settings
    set_up_logs(settings.log.level, settings.log.format)
    _run(collect_host(broker_url(settings), credentials(settings), tenant, service, seconds))


@app.command(epilog="Example: detector score --out scored cpu.csv latency.csv")
def score(
    files: Files,
    out: Out = None,
    time_column: TimeColumn = None,
    value_column: ValueColumn = None,
    fail_on_alert: Annotated[bool, typer.Option(help="Exit with 3 where an alert was found.")] = False,
    file: Config = None,
) -> None:
    """Score files: a row out for each row in, with interval, score, surprise and alerts."""
    from detector.client.files import score_files
    from detector.deployment import plan_of

    found = score_files(plan_of(_load(file).settings), files, out, time_column, value_column)
    if found and fail_on_alert:
        raise typer.Exit(ALERTS_FOUND)


@app.command(epilog="Example: detector forecast --horizon 24 --coverage 0.9 --plot load.png load.csv")
def forecast(
    files: Files,
    horizon: Annotated[str, typer.Option(metavar="N", help="Steps of the file ahead, up to seven seasons.")] = "24",
    coverage: Annotated[str, typer.Option(metavar="SHARE", help="Of the values that the interval is to hold.")] = "0.9",
    plot: Annotated[Path | None, typer.Option(help="Draw it too: a file that ends in .png, .svg or .pdf.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line for each file.")] = False,
    zone: Annotated[str | None, typer.Option(help="Whose clock the season follows, such as Europe/Berlin.")] = None,
    time_column: TimeColumn = None,
    value_column: ValueColumn = None,
    file: Config = None,
) -> None:
    """Forecast files: what comes next, with an interval. A season has to be learned first: a day, or a week."""
    from detector.client.forecasts import forecast_files

    calendar = _load(file, more={"forecasts.zone": zone}).settings.forecasts.calendar()
    forecast_files(files, horizon, coverage, calendar, plot, as_json, time_column, value_column)


@app.command(epilog="Example: detector replay --out scored cpu.csv")
def replay(
    files: Files,
    out: Out = None,
    time_column: TimeColumn = None,
    value_column: ValueColumn = None,
    tenant: Annotated[str | None, typer.Option(help="Starts with replay-; by default a new one each time.")] = None,
    file: Config = None,
    folder: Folder = None,
    nats: NatsUrl = None,
) -> None:
    """Send files through a running service, at once and on their own time, and write what it scored."""
    from detector.adapters.terminal.logs import set_up_logs
    from detector.client.files import replay_files
    from detector.deployment import broker_url, credentials

    settings = _load(file, folder, nats).settings
    set_up_logs(settings.log.level, settings.log.format)
    tenant = tenant or f"replay-{uuid.uuid4().hex[:8]}"
    if not tenant.startswith("replay-"):
        raise typer.BadParameter("must start with replay-", param_hint="--tenant")
    _run(replay_files(broker_url(settings), credentials(settings), files, out, time_column, value_column, tenant))


@app.command(epilog="Example: detector alerts --state firing --json | jq .summary")
def alerts(
    state: Annotated[str | None, typer.Option(help="firing or resolved.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Of this tenant only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line.")] = False,
    file: Config = None,
    folder: Folder = None,
    database: DatabaseUrl = None,
) -> None:
    """List alerts, the latest first."""
    from detector.adapters.formats.outgoing import alert_payload
    from detector.queries import list_alerts

    if state not in (None, "firing", "resolved"):
        raise typer.BadParameter("must be firing or resolved", param_hint="--state")
    found = asyncio.run(list_alerts(_load(file, folder, None, database).settings, state, tenant, limit))
    if as_json:
        for alert in found:
            typer.echo(json.dumps(alert_payload(alert), ensure_ascii=False))
        return
    from rich.console import Console

    from detector.adapters.terminal.live import table_of_alerts

    Console().print(table_of_alerts(found) if found else "no alerts")


@app.command(epilog="Example: detector budget --config detector.toml")
def budget(file: Config = None, folder: Folder = None, database: DatabaseUrl = None) -> None:
    """Show how the alert budget is held: levels, alerts a day to expect, and those that fired."""
    from detector.adapters.terminal.budget import table_of_levels
    from detector.adapters.terminal.tables import show
    from detector.queries import list_levels

    found = asyncio.run(list_levels(_load(file, folder, None, database).settings))
    if found:
        show(table_of_levels(found))
    else:
        typer.echo("no levels yet: alerts.budget is not set, or just now")


@app.command(epilog="Example: detector models | jq .signals")
def models(file: Config = None, folder: Folder = None, database: DatabaseUrl = None) -> None:
    """Print the model cards of the forests that watch the signals of a service together, a JSON object a line."""
    from detector.queries import list_models

    for card in asyncio.run(list_models(_load(file, folder, None, database).settings)):
        typer.echo(json.dumps(card, ensure_ascii=False))


@app.command(epilog="Example: detector recommendations --tenant acme --service checkout --history")
def recommendations(
    tenant: Annotated[str | None, typer.Option(help="Of this tenant only.")] = None,
    service: Annotated[str | None, typer.Option(help="Of this service only.")] = None,
    history: Annotated[bool, typer.Option("--history", help="Those before, too: two days.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="The newest as collectors read them, one a line.")] = False,
    file: Config = None,
    folder: Folder = None,
    database: DatabaseUrl = None,
) -> None:
    """Show how much collectors are recommended to sample, why, what error to expect, and what they kept."""
    from detector.adapters.formats.sampling import encode_recommendation
    from detector.queries import list_recommendations

    settings = _load(file, folder, None, database).settings
    found = asyncio.run(list_recommendations(settings, tenant, service, history, limit))
    if as_json:
        for one in found:
            typer.echo(encode_recommendation(one.recommendation).decode())
        return
    from detector.adapters.terminal.sampling import table_of_recommendations
    from detector.adapters.terminal.tables import show

    if found:
        show(table_of_recommendations(found))
    else:
        typer.echo("none yet: sampling.control is off, or just now on")


@db.command("upgrade", epilog="Example: detector db upgrade --database sqlite:///detector.db")
def db_upgrade(file: Config = None, folder: Folder = None, database: DatabaseUrl = None) -> None:
    """Bring the tables up to this version; `run` does so by itself."""
    from detector.adapters.sql.migrate import revision, upgrade
    from detector.deployment import database_url

    settings = _load(file, folder, None, database).settings
    if not settings.database.url:
        settings.folder.mkdir(parents=True, exist_ok=True)
    url = database_url(settings)
    upgrade(url)
    typer.echo(f"the database is at revision {revision(url)}")


@db.command("restore-checkpoints", epilog="Example: detector db restore-checkpoints --from /var/backups/detector")
def db_restore_checkpoints(
    source: Annotated[Path | None, typer.Option("--from", help="The copies; none: those of backup.folder.")] = None,
    file: Config = None,
    folder: Folder = None,
    database: DatabaseUrl = None,
) -> None:
    """Put the hourly copies of the checkpoints back. Stop every `run` before; the next reads on from there."""
    from detector.queries import restore

    settings = _load(file, folder, None, database).settings
    if not settings.database.url:
        settings.folder.mkdir(parents=True, exist_ok=True)
    for partition, position in asyncio.run(restore(settings, source)).items():
        typer.echo(f"partition {partition} is at position {position}")


@config.command("check", epilog="Example: DETECTOR_ALERTS__ON=4 detector config check --config detector.toml")
def config_check(
    file: Config = None, folder: Folder = None, nats: NatsUrl = None, database: DatabaseUrl = None
) -> None:
    """Show each setting and where it came from, or all that is wrong with them."""
    from rich.table import Column, Table
    from rich.text import Text

    from detector.adapters.sql.engine import url_faults
    from detector.adapters.terminal.tables import show
    from detector.deployment import credentials, database_url

    loaded = _load(file, folder, nats, database)
    if faults := [*credentials(loaded.settings).faults(), *url_faults(database_url(loaded.settings))]:
        raise SettingsError("\n  ".join(["settings can't be used:", *faults]))
    table = Table(*(Column(name, overflow="fold") for name in ("setting", "value", "from")))
    for row in loaded.rows():
        table.add_row(*map(Text, row))
    show(table)


def _load(
    file: Path | None,
    folder: Path | None = None,
    nats: str | None = None,
    database: str | None = None,
    more: dict[str, Any] | None = None,
) -> Loaded:
    from detector.config import load

    return load(file, {"folder": folder, "nats.url": nats, "database.url": database, **(more or {})})


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end, or to Ctrl-C, which is no error."""
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(DONE) from None
