"""Every experiment of `conf/experiment` runs from end to end from its command line; new files are found."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fpcn_lightning.config import CONF
from fpcn_lightning.runs.results import find_results
from tests.conftest import composed

# Of a long grid, two values of each key are enough.
FEWER = {
    # The backbone that needs no weights: this tests the rows.
    "backbones": ["model.backbone=test_resnet"],
    # tests/models/test_every_network.py has all networks: here those whose training differs.
    "comparison": ["model=majority,mmal_net"],
    "authors_recipes": ["model=bilinear_cnn,mmal_net"],  # two steps of training, and another schedule
    "opaque_minerals": ["model=swin"],
    "distillation": ["model=mobilenetv2", "force_teacher=true"],
    "patience": ["model=plain", "training.budget=2steps,4steps"],
    "teachers": ["variant=mobilenetv2-alone,mobilenetv2-ensemble"],
    "unlabelled": ["model=plain"],
    "ablation": ["ablation=plain,full"],  # tests/test_config.py tests what each row switches off
    "localisation": ["ablation=plain,full", "background=shortcut", "hydra.sweeper.first=[]"],  # gradcam has students
    "pairs": ["model.pairs_per_image=2,4", "model=api_net"],
    "recipe": ["variant=probe,strong,interpolation,adamw,cutmix"],
    "search": ["search.trials=2"],
    "theta_alpha": ["model.theta=0.0,0.5", "model.alpha=soft"],
}
EXPLAINED = ("gradcam", "localisation")
# Sweeps over rows and seeds, as `ablation` or `distillation` are: with other rows, which tests/test_config.py composes.
FURTHER_SWEEPS = (
    "ablation",
    "authors_recipes",
    "backbones",
    "comparison",
    "leakage",
    "localisation",
    "object_ratio",
    "opaque_minerals",
    "pairs",
    "patience",
    "photographs",
    "recipe",
    "teachers",
    "theta_alpha",
)
# Students of which the taught rows would be refused where a teacher of two steps is worse.
FORCED = ("patience", "teachers", "unlabelled")
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def hold_back(photographs: Path, lists: Path) -> None:
    """Write the lists of the experiment `unlabelled`."""
    script = Path(__file__).parents[1] / "experiments" / "distillation" / "hold_back.py"
    subprocess.run([sys.executable, script, photographs, lists], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "experiment",
    [pytest.param(name, marks=pytest.mark.exhaustive if name in FURTHER_SWEEPS else ()) for name in EXPERIMENTS],
)
def test_an_experiment_runs_all_its_rows(experiment: str, rocks: Path, tmp_path: Path) -> None:
    cfg = composed(f"+experiment={experiment}")
    if experiment == "unlabelled":
        hold_back(rocks.parent / "images", tmp_path / "outputs" / "smoke" / "unlabelled" / "lists")
    words = [f"+experiment={experiment}", "trainer=smoke", "trainer.max_epochs=1"]
    words += FEWER.get(experiment, [])
    if experiment in FORCED:
        words.append("force_teacher=true")
    if experiment == "unlabelled":
        pass  # its rows name the lists
    elif cfg.data.synthetic is None:
        # Without the published splits, so that the experiment's own shares are used.
        photographs = tmp_path / "photographs"
        shutil.copytree(rocks.parent / "images", photographs)
        words.append(f"data.root={photographs}")
    else:
        words += ["data.synthetic.images_per_class=6", "data.synthetic.size=48"]
    # Without it, so that each slot gets its share of the cores.
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    line = [sys.executable, "-m", "fpcn_lightning", *words]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "outputs" / "smoke" / str(cfg.name)
    results = find_results(folder)
    if cfg.task == "search":
        assert len(results) == 2
        assert (folder / "trials.md").is_file()
    else:
        planned = {job["folder"] for job in json.loads((folder / "sweep.json").read_text())["jobs"]}
        assert {place.relative_to(folder).as_posix() for place, _ in results} == planned
        assert all((folder / name).is_file() for name in ("table.md", "table.csv", "table.tex", "index.html"))
        assert (folder / "localisation.md").is_file() == (experiment in EXPLAINED)
    assert all(result["status"] == "finished" for _, result in results)
    assert len({(result["variant"], result["seed"]) for _, result in results}) == len(results)
