"""The sections of the settings: what each may hold, what it is by default, and what the service is run with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from detector.adapters.nats.subjects import PARTITIONS
from detector.domain.budget import MOST_BUDGETS, Budget, per_day
from detector.domain.forecast import HOUR, Limit, Selection
from detector.domain.sharing import parse_partitions, show_partitions
from detector.domain.volume import Ration
from detector.pipeline.budget import LOWEST
from detector.pipeline.crowd import Limits
from detector.pipeline.forecasters import ForecastPlan
from detector.pipeline.state import Levels
from models import CAP, KernelBank, RiverBank
from models.load import Calendar
from models.load.contract import LEAST_COVERAGE, MOST_COVERAGE
from models.river_drift import check_drift

PREFIX = "DETECTOR_"
FOLDER = Path("detector-data")
SECRET = re.compile(r"\bS[A-Z][A-Z2-7]{56}\b|PRIVATE KEY")
"""The seed of an nkey, or a key in PEM."""
OWN = {"floor": (int, float), "least": (int, float), "direction": (str,), "time_zone": (str,)}
"""Parameters of the model of our own, and what each may be."""
_LEVELS, _LIMITS, _FORECASTS = Levels(), Limits(), ForecastPlan()
Surprise = Annotated[float, Field(gt=0, le=CAP)]
Windows = Annotated[int, Field(ge=1, le=10_000)]
Statistic = Literal["mean", "rate", "p50", "p99", "error_ratio", "ratio"]
Figure = Annotated[float, Field(allow_inf_nan=False)]


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("begins with the name of somebody whose home folder isn't known; write it out") from None


def _or_unset(value: Any) -> Any:
    """Take an empty text, which as a path would be the working folder, for no path."""
    return None if value == "" else value


Place = Annotated[Path, AfterValidator(_expanded)]
File = Annotated[Path | None, BeforeValidator(_or_unset)]


def _allowed(text: str) -> str:
    if text:
        per_day(text)
    return text


class Section(BaseModel):
    """A table of the file; unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Nats(Section):
    """Broker; without a URL one is started below `folder`. Secrets stand in files of their own."""

    url: str = ""
    nkey_seed_file: File = None
    tls_ca: File = None
    tls_cert: File = None
    tls_key: File = None

    @field_validator("nkey_seed_file", "tls_ca", "tls_cert", "tls_key")
    @classmethod
    def _file(cls, path: Path | None) -> Path | None:
        if path is not None and SECRET.search(str(path)):
            raise ValueError("this is the secret itself; write it to a file of mode 0600 and name that")
        return _expanded(path) if path is not None else None


class Database(Section):
    """Database; without a URL it is a file below `folder`."""

    url: str = ""


class Http(Section):
    """Where health and metrics are served: loopback unless told otherwise; port 0 takes a free one."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8650


Allowed = Annotated[str, AfterValidator(_allowed)]


class BudgetSection(Section):
    """A budget of its own for the signals that fit two shell-style patterns; the first table that fits counts."""

    tenant: Annotated[str, Field(min_length=1, max_length=512)] = "*"
    metric: Annotated[str, Field(min_length=1, max_length=512)] = "*"
    budget: Annotated[Allowed, Field(min_length=1)]

    def read(self) -> Budget:
        """Return what a partition is run with."""
        return Budget(per_day(self.budget), self.tenant, self.metric)


class Alerts(Section):
    """When an alert opens, worsens and resolves; surprises are -log10 of the share of normal windows above.

    Signals under a budget open alerts at the level that holds it, once there is one. `critical` keeps its distance
    from `on`, and the other settings count as they stand.
    """

    on: Surprise = _LEVELS.on
    off: Surprise = _LEVELS.off
    critical: Surprise = _LEVELS.critical
    min_windows: Windows = _LEVELS.min_windows
    keep_windows: Windows = _LEVELS.keep_windows
    missing_windows: Windows = _LEVELS.missing_windows
    rearm_windows: Annotated[int, Field(ge=0, le=10_000)] = _LEVELS.rearm_windows
    budget: Allowed = ""
    budgets: Annotated[tuple[BudgetSection, ...], Field(max_length=MOST_BUDGETS - 1)] = ()

    @model_validator(mode="after")
    def _in_order(self) -> Alerts:
        if not self.off < self.on <= self.critical:
            raise ValueError(f"off < on <= critical must hold, got {self.off}, {self.on}, {self.critical}")
        names = [budget.name for budget in self.read_budgets()]
        if names and self.off >= LOWEST:
            raise ValueError(
                f"with a budget off must be below {LOWEST}, the lowest level it can come to, got {self.off}"
            )
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"{twice} has two budgets; the one for all that fits no table is alerts.budget")
        return self

    def read_budgets(self) -> list[Budget]:
        """Return all budgets in the order in which they are tried."""
        overall = [Budget(per_day(self.budget))] if self.budget else []
        return [*(budget.read() for budget in self.budgets), *overall]


class WindowsSection(Section):
    """Steps are not shorter than this; time stamps not older than the retention of the stream.

    Quantiles and error ratios of windows with fewer than `least_events` are not judged.
    """

    min_step_seconds: Annotated[float, Field(ge=1, le=86_400)] = 10.0
    retention_hours: Annotated[float, Field(gt=0, le=24 * 365)] = 24.0
    least_events: Annotated[float, Field(ge=0, le=1e9)] = 0.0


class SamplingSection(Section):
    """Recommendations to collectors that sample: `off`, `shadow` (stored, not published) or `on`.

    `budget` is what a tenant may keep, in events a second over all its services; `p_min` the least probability, which
    only the caps of the budget go below.
    """

    control: Literal["off", "shadow", "on"] = "off"
    budget: Annotated[float, Field(gt=0, le=1e12)] | None = None
    p_min: Annotated[float, Field(gt=0, le=1)] = 0.001
    mode: Literal["strata", "rate"] = "strata"

    @model_validator(mode="after")
    def _enough(self) -> SamplingSection:
        if self.control != "off" and self.budget is None:
            raise ValueError("sampling.budget must be set (events a second of a tenant) where control is not off")
        return self

    def ration(self) -> Ration | None:
        """Return what a tenant may keep; None where nothing is recommended."""
        return None if self.control == "off" or self.budget is None else Ration(self.budget, self.p_min, self.mode)


class Retention(Section):
    """How long resolved alerts and forecasts are kept."""

    alerts_days: Annotated[float, Field(ge=1, le=36_500)] = 90.0
    forecasts_days: Annotated[float, Field(ge=1, le=36_500)] = 3.0


class Backup(Section):
    """Where checkpoints are copied to once an hour; without a folder below `folder`, if the database is there too."""

    folder: Annotated[Place | None, BeforeValidator(_or_unset)] = None


class Ensemble(Section):
    """Whether the signals of each service are watched together, and how often their forests are fitted anew."""

    enabled: bool = False
    refit_hours: Annotated[float, Field(gt=0, le=24 * 7)] = 24.0


class ForecastLimit(Section):
    """What the signals that fit must not pass: told once the forecast passes it within `lead_hours`."""

    metric: Annotated[str, Field(min_length=1, max_length=512)]
    signal: Statistic = "mean"
    above: Figure | None = None
    below: Figure | None = None
    probability: Annotated[float, Field(ge=0.51, le=0.999)] = 0.9
    lead_hours: Annotated[float, Field(gt=0, le=24 * 7)] = 24.0

    @model_validator(mode="after")
    def _one_sided(self) -> ForecastLimit:
        if (self.above is None) == (self.below is None):
            raise ValueError(f"the limit of {self.metric!r} needs one of above and below")
        return self

    def read(self) -> Limit:
        """Return what a partition is run with."""
        value = self.below if self.above is None else self.above
        return Limit(
            where=Selection(self.metric, self.signal),
            above=self.above is not None,
            value=0.0 if value is None else value,
            probability=self.probability,
            lead=round(self.lead_hours * HOUR),
        )


class LimitsSection(Section):
    """Series a partition holds, of one metric of one service and in all; and limits that forecasts must not pass.

    `[[limits]]` is short for `[[limits.forecast]]`, which can stand beside the others.
    """

    series_per_metric: Annotated[int, Field(ge=1)] = _LIMITS.series_per_metric
    series_per_partition: Annotated[int, Field(ge=1)] = _LIMITS.series
    forecast: tuple[ForecastLimit, ...] = ()


class ForecastSignal(Section):
    """Signals to forecast: one statistic of the metrics that fit a shell-style pattern."""

    metric: Annotated[str, Field(min_length=1, max_length=512)] = "*"
    signal: Statistic = "rate"


class Forecasts(Section):
    """What is forecast beside signals with a limit, and whose clock and holidays seasons follow."""

    signals: tuple[ForecastSignal, ...] = (ForecastSignal(),)
    signals_per_partition: Annotated[int, Field(ge=1, le=10_000)] = _FORECASTS.most
    coverage: Annotated[float, Field(ge=LEAST_COVERAGE, le=MOST_COVERAGE)] = _FORECASTS.coverage
    zone: str = "UTC"
    country: str = ""
    region: str = ""

    @model_validator(mode="after")
    def _known(self) -> Forecasts:
        self.calendar()
        return self

    def calendar(self) -> Calendar:
        """Return the clock and the holidays."""
        return Calendar(self.zone, self.country, self.region)


class Model(Section):
    """Models of the metrics that fit a shell-style pattern; the first table that fits counts."""

    metric: str
    model: str = "novelty"
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _exists(self) -> Model:
        if self.model != "novelty":
            RiverBank(self.model, self.parameters)
        elif self.parameters:
            _check_own(self.parameters)
            KernelBank(**self.parameters)
        return self


def _check_own(parameters: dict[str, Any]) -> None:
    """Refuse what the model of our own has no parameter for; `KernelBank` looks at the values."""
    for name, value in parameters.items():
        if name not in OWN:
            raise ValueError(f"model 'novelty' has no parameter {name!r}: it has {', '.join(OWN)}")
        if type(value) not in OWN[name]:
            kind = "text" if str in OWN[name] else "number"
            raise ValueError(f"model 'novelty': parameters.{name} is {value!r}: give a {kind}")


class DriftSection(Section):
    """Drift detector of the metrics that fit a shell-style pattern; the first table that fits counts."""

    metric: str
    detector: str = "river:drift.ADWIN"
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _exists(self) -> DriftSection:
        check_drift(self.detector, self.parameters)
        return self


class RatioSection(Section):
    """A ratio of two metrics of a service, for each set of labels that both have."""

    name: Annotated[str, Field(min_length=1, max_length=512)]
    numerator: str
    denominator: str

    @model_validator(mode="after")
    def _apart(self) -> RatioSection:
        if len({self.name, self.numerator, self.denominator}) < 3:
            raise ValueError(f"name, numerator and denominator of ratio {self.name!r} must be three metrics")
        return self


class Log(Section):
    """What is logged, to standard error: for people on a terminal, as JSON elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


class Settings(BaseSettings):
    """All settings, frozen."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    folder: Annotated[Place, BeforeValidator(lambda value: value or FOLDER)] = FOLDER
    partitions: str = show_partitions(range(PARTITIONS))
    nats: Nats = Nats()
    database: Database = Database()
    http: Http = Http()
    alerts: Alerts = Alerts()
    windows: WindowsSection = WindowsSection()
    limits: LimitsSection = LimitsSection()
    sampling: SamplingSection = SamplingSection()
    retention: Retention = Retention()
    backup: Backup = Backup()
    forecasts: Forecasts = Forecasts()
    ensemble: Ensemble = Ensemble()
    models: tuple[Model, ...] = ()
    ratios: tuple[RatioSection, ...] = ()
    drift: tuple[DriftSection, ...] = ()
    log: Log = Log()

    @field_validator("partitions")
    @classmethod
    def _known(cls, partitions: str) -> str:
        return show_partitions(parse_partitions(partitions, PARTITIONS))

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from `config.load` alone, which knows where each came from."""
        return (init_settings,)
