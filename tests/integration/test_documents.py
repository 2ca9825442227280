"""What the README and docs/ name exists: links, commands, settings, subjects, reasons, packages."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer.main

from detector.adapters.nats import subjects
from detector.cli import app
from detector.config import flatten, load
from detector.pipeline.contradictions import CONTRADICTIONS, DISTRIBUTION_FAULTS
from detector.pipeline.windows import REFUSALS
from tests.shared import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text()
WIRE = (ROOT / "docs" / "wire.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCES = [path.read_text() for folder in ("detector", "models") for path in (ROOT / folder).rglob("*.py")]


def _blocks(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        assert "://" in target or (document.parent / target).exists(), f"{document.name} links to {target}"


def test_life_of_a_batch_links_every_file_that_data_passes() -> None:
    life = README.partition("## Life of a batch")[2].partition("\n## ")[0]
    linked = set(re.findall(r"\]\(([^)]+\.py)\)", life))
    pipeline = {
        f"detector/pipeline/{name}.py"
        for name in ("admit", "assess", "decide", "directory", "silence", "step", "windows")
    }
    assert pipeline <= linked
    assert {"detector/adapters/nats/reader.py", "detector/adapters/sql/store.py", "detector/jobs/relay.py"} <= linked


def _commands() -> list[list[str]]:
    lines = [
        line for document in DOCUMENTS for _, block in _blocks(document.read_text()) for line in block.splitlines()
    ]
    words = [shlex.split(line, comments=True) for line in lines if re.match(r"(\.venv/bin/)?detector \w", line)]
    return [w[1:] for w in words]


@pytest.mark.parametrize("arguments", _commands(), ids=" ".join)
def test_commands_parse(arguments: list[str]) -> None:
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[arguments[0]]
        arguments = arguments[1:]
    command.make_context(command.name or "", list(arguments))


def test_there_are_commands_to_test() -> None:
    assert {arguments[0] for arguments in _commands()} >= {
        "score",
        "run",
        "collect",
        "replay",
        "alerts",
        "config",
        "db",
    }


@pytest.mark.parametrize(
    "target", sorted({m for d in DOCUMENTS for m in re.findall(r"(?:`|^)make (\w+)", d.read_text(), re.MULTILINE)})
)
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"make {target}"


def test_make_clean_leaves_what_a_service_has_stored() -> None:
    removed = re.findall(r"^clean:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert "quality-report" in removed[0]
    assert str(load(environment={}).settings.folder) not in removed[0]


def test_the_python_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    found = [block for language, block in _blocks(README) if language == "python"]
    assert found
    for block in found:
        exec(compile(block, "README.md", "exec"), {})
    assert "spike" in capsys.readouterr().out


def test_settings_of_the_readme_load(tmp_path: Path) -> None:
    found = [block for language, block in _blocks(README) if language == "toml"]
    assert found
    for block in found:
        file = tmp_path / "detector.toml"
        file.write_text(block)
        load(file, environment={})


def test_settings_named_in_prose_exist() -> None:
    known = {key for key, _ in flatten(load(environment={}).settings.model_dump())}
    sections = {key.partition(".")[0] for key in known if "." in key}
    named = {
        name
        for document in DOCUMENTS
        for name in re.findall(r"`([a-z]+\.[a-z_]+)`", document.read_text())
        if name.partition(".")[0] in sections - {"models"}
    }
    assert named
    assert named <= known, named - known


def test_subjects_named_in_the_wire_contract_are_those_of_the_program() -> None:
    names = ("<tenant>", "<service>")
    named = [make("T", "S") for make in (subjects.metrics, subjects.deadletter, subjects.scores)]
    for subject in [*named, subjects.alerts("T", "S", "V")]:
        written = subject.replace(".T.", f".{names[0]}.").replace(".S", f".{names[1]}").replace(".V", ".<severity>")
        assert f"`{written}`" in WIRE, written
    assert subjects.metrics("acme", "web.shop") in WIRE
    for written in (
        "sampling.rec.<tenant>.<service>",
        "sampling.heartbeat.<tenant>",
        f"KV bucket `{subjects.SAMPLING}`",
    ):
        assert written in WIRE
    assert subjects.recommended("T", "S") == "sampling.rec.T.S"
    assert subjects.acknowledged("T", "S", "a.b") == "sampling.ack.T.S.a=2Eb"
    assert subjects.heartbeat("T") == "sampling.heartbeat.T"
    assert subjects.tick(7).replace("7", "<p>") in WIRE
    for stream in (subjects.METRICS, subjects.ALERTS, subjects.DEADLETTER):
        assert f"`{stream}`" in WIRE


def test_reasons_of_refusals_are_those_of_the_program() -> None:
    listed = set(re.findall(r"`(\w+)`", WIRE.partition("Reasons of a refusal:")[2].partition("\n## ")[0]))
    patterns = (r'Undecodable\(\s*"(\w+)"', r'Refusal\([^"()]*"(\w+)"', r'return "(\w+)", f?"', r'"(not_\w+)", body')
    used = {name for source in SOURCES for pattern in patterns for name in re.findall(pattern, source)}
    used |= {reason for reason, _ in [*CONTRADICTIONS.values(), *REFUSALS.values()]} | set(DISTRIBUTION_FAULTS)
    assert listed <= used, listed - used
    assert {name for name in used if "_" in name} <= listed, used - listed


def test_every_dependency_has_its_line() -> None:
    table = README.partition("## Dependencies")[2]
    wanted = {re.split(r"[><=,\[]", line)[0] for line in PROJECT["project"]["dependencies"]}
    told = {name.strip() for row in re.findall(r"^\| ([\w, -]+) \| ", table, re.MULTILINE) for name in row.split(",")}
    assert wanted <= told, wanted - told
