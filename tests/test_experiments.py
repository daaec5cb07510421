"""Every experiment of `conf/experiment` runs from end to end as a person would start it; new files are found."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fpcn_lightning.config import CONF
from fpcn_lightning.report.results import find_results
from tests.conftest import composed

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_runs_all_its_rows(experiment: str, rocks: Path, tmp_path: Path) -> None:
    cfg = composed(f"+experiment={experiment}")
    words = [f"+experiment={experiment}", "trainer=smoke", "model.backbone=test_resnet", "data.samples_per_class=2"]
    words += ["data.resize=72", "data.crop=64", "data.evaluation_crop=72", "trainer.max_epochs=1"]
    if cfg.data.synthetic is None:
        # Without the published sides, so that the experiment's own shares are cut.
        photographs = tmp_path / "photographs"
        shutil.copytree(rocks.parent / "images", photographs)
        words.append(f"data.root={photographs}")
    else:
        words += ["data.synthetic.images_per_class=6", "data.synthetic.size=48"]
    done = subprocess.run(
        [sys.executable, "-m", "fpcn_lightning", *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    results = find_results(tmp_path / "outputs" / "smoke" / experiment)
    assert results
    assert all(result["status"] == "finished" for _, result in results)
    assert len({(result["variant"], result["seed"]) for _, result in results}) == len(results)
