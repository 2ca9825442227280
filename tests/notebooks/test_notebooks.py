"""Every notebook runs from top to bottom in a fresh kernel of this environment, and lies in git without output."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from tests.shared import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS = 300
"""For one cell; those of all notebooks together take about a minute."""


class OwnKernel(AsyncKernelManager):
    """Starts the Python that runs this test, whatever kernels are installed for the user."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"])


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: str(path.stem))
def test_nb_01_a_notebook_is_valid_and_cleared_of_output(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None), f"clear the output of {path.name} before commit"
            assert "asyncio.run" not in cell.source, "a notebook has a running loop: await at the top level"


@pytest.mark.soak
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: str(path.stem))
async def test_nb_01_a_notebook_runs_in_a_fresh_kernel_without_a_broker(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("DETECTOR_")]:
        monkeypatch.delenv(name)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("import sys; print(sys.executable)"))
    client = NotebookClient(
        notebook, km=OwnKernel(), timeout=SECONDS, resources={"metadata": {"path": str(path.parent)}}
    )
    await client.async_execute()
    assert notebook.cells[-1].outputs[0].text.strip() == sys.executable
