"""Settings that can't be used are refused by name, with the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.config import load
from detector.errors import SettingsError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "detector.toml"


def refused(file: Path | None, **environment: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(file, environment=environment)
    return str(caught.value)


def test_sampling_without_a_budget_is_refused(file: Path) -> None:
    file.write_text('[sampling]\ncontrol = "on"\n')
    assert "sampling.budget must be set" in refused(file)
    assert load(file, environment={"DETECTOR_SAMPLING__BUDGET": "500"}).settings.sampling.ration() is not None
    assert "sampling.p_min" in refused(None, DETECTOR_SAMPLING__P_MIN="0")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://det:hunter,hunter@db/detector", "postgresql://det:***@db/detector"),
        ("postgresql://det:hunter@hunter@db/detector?sslmode=require", "postgresql://det:***@db/detector?***"),
        ("postgresql://det:hun://hunter@db/detector", "postgresql://det:***@db/detector"),
        ("postgresql://det:hunter?hunter@db/detector", "postgresql://***"),
        ("postgresql://det@db/detector?password=hunter@hunter", "postgresql://***"),
        ("postgresql:///detector?host=db&password=hunter", "postgresql:///detector?***"),
        ("host=db user=det password=hunter dbname=detector", "***"),
        ("det:hunter@db", "***"),
        ("", ""),
        ("nats://svc:hunter@a:4222,nats://svc:hunter@b,c", "nats://svc:***@a:4222,nats://svc:***@b,c"),
    ],
)
def test_a_password_is_shown_nowhere_whatever_it_is_made_of(url: str, shown: str) -> None:
    for section in ("NATS", "DATABASE"):
        rows = load(environment={f"DETECTOR_{section}__URL": url}).rows()
        assert next(value for key, value, _ in rows if key == f"{section.lower()}.url") == shown


@pytest.mark.parametrize(
    "url", ['["nats://svc:hunter@a:4222", "nats://svc:hunter@b"]', '[{ host = "a", password = "hunter" }]']
)
def test_a_list_of_servers_is_refused_without_its_passwords(file: Path, url: str) -> None:
    file.write_text(f"[nats]\nurl = {url}\n")
    said = refused(file)
    assert "nats.url: Input should be a valid string" in said
    assert "hunter" not in said


@pytest.mark.parametrize(
    "text", ['database = "host=x password=hunter"', 'nats = "hunter"', "nats.url = 5", 'nats.tls_ca = ["hunter"]']
)
def test_what_stands_for_broker_or_database_is_not_quoted(file: Path, text: str) -> None:
    file.write_text(text)
    said = refused(file)
    assert text.partition(" = ")[0] in said
    assert "hunter" not in said
    assert "got" not in said


def test_a_password_in_a_list_is_not_shown(file: Path) -> None:
    file.write_text('[[forecasts.signals]]\nmetric = "http://svc:hunter@a/*"\n[[forecasts.signals]]\nmetric = "load"\n')
    shown = next(value for key, value, _ in load(file, environment={}).rows() if key == "forecasts.signals")
    assert "'load'" in shown
    assert "'http://svc:***@a/*'" in shown


GOOD = '[alerts]\nbudget = "20/day"\n[[alerts.budgets]]\ntenant = "acme"\nbudget = "1/hour"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("20/day", "20"), "such as 2/day"),
        (GOOD.replace('tenant = "acme"\n', ""), "*/* has two budgets"),
        (GOOD.replace('"1/hour"', '""'), "alerts.budgets.0.budget"),
        (GOOD.replace("[alerts]", "[alerts]\noff = 2.6"), "off must be below 2.5"),
    ],
)
def test_budgets_that_cannot_be_are_refused(file: Path, text: str, said: str) -> None:
    file.write_text(GOOD)
    assert [budget.name for budget in load(file, environment={}).settings.alerts.read_budgets()] == ["acme/*", "*/*"]
    file.write_text(text)
    assert said in refused(file)


def test_the_parameter_of_a_river_model_is_named(file: Path) -> None:
    file.write_text(
        '[[models]]\nmetric = "a"\nmodel = "river:time_series.SNARIMAX"\nparameters = { p = 1, d = 0, q = 0, m = 0 }\n'
        '[[models]]\nmetric = "b"\nmodel = "river:time_series.HoltWinters"\nparameters = { alpha = 2.0 }\n'
        '[[drift]]\nmetric = "*"\ndetector = "river:drift.ADWIM"\n'
    )
    said = refused(file)
    faults = (
        "models.0: ",
        "parameters.m is 0",
        "models.1: ",
        "parameters.alpha is 2.0",
        "drift.0: ",
        "river:drift.ADWIN",
    )
    assert [fault for fault in faults if fault not in said] == []


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ("flr = 0.01", "has no parameter 'flr': it has floor, least, direction, time_zone"),
        ("capacity = 1000000000", "has no parameter 'capacity'"),
        ('floor = "abc"', "parameters.floor is 'abc': give a number"),
        ("least = true", "parameters.least is True: give a number"),
        ('direction = ["up"]', "parameters.direction is ['up']: give a text"),
        ("time_zone = 5", "parameters.time_zone is 5: give a text"),
        ("floor = 2.0", "floor 2.0 is not in [0, 1)"),
    ],
)
def test_the_parameter_of_our_own_model_is_named(file: Path, parameter: str, said: str) -> None:
    file.write_text(f'[[models]]\nmetric = "disk.*"\nparameters = {{ {parameter} }}\n')
    found = refused(file)
    assert "models.0: " in found
    assert said in found


def test_what_kubernetes_puts_beside_a_service_called_detector_is_no_setting() -> None:
    injected = {
        "DETECTOR_SERVICE_HOST": "10.0.0.1",
        "DETECTOR_SERVICE_PORT": "8650",
        "DETECTOR_SERVICE_PORT_HTTP": "8650",
        "DETECTOR_PORT": "tcp://10.0.0.1:8650",
        "DETECTOR_PORT_8650_TCP": "tcp://10.0.0.1:8650",
        "DETECTOR_PORT_8650_TCP_ADDR": "10.0.0.1",
    }
    assert load(environment=injected).settings == load(environment={}).settings
    assert "DETECTOR_PORTS: no such setting" in refused(None, DETECTOR_PORTS="8650", **injected)


@pytest.mark.parametrize("name", ["DETECTOR_FOLDER__X", "DETECTOR_PARTITIONS__X"])
def test_a_name_below_a_setting_that_has_none_is_refused(name: str) -> None:
    assert f"{name}: no such setting" in refused(None, **{name: "1"})


def test_an_empty_path_is_none() -> None:
    names = ("NATS__NKEY_SEED_FILE", "NATS__TLS_CA", "NATS__TLS_CERT", "NATS__TLS_KEY", "BACKUP__FOLDER", "FOLDER")
    emptied = load(environment={f"DETECTOR_{name}": "" for name in names}).settings
    assert emptied == load(environment={}).settings


def test_an_empty_host_which_would_be_every_interface_is_refused() -> None:
    assert "http.host" in refused(None, DETECTOR_HTTP__HOST="")
