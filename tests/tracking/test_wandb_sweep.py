"""`experiments/wandb_sweep.yaml`: W&B's agent starts valid runs."""

from pathlib import Path
from typing import Any, cast

import pytest
from omegaconf import OmegaConf
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from fpcn_lightning import build
from tests.conftest import composed
from tests.tasks.conftest import Train
from tests.wandb_record import offline_runs

PATH = Path(__file__).parents[2] / "experiments" / "wandb_sweep.yaml"


def sweep() -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(PATH)))


@pytest.mark.parametrize("end", ["min", "max"])
def test_every_trial_composes_and_has_its_own_folder(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {
        name: {"value": options.get("value", options.get(end))} for name, options in sweep()["parameters"].items()
    }
    words = create_sweep_command_args({"args": chosen})["args_no_hyphens"]
    (variant,) = [word for word in sweep()["command"] if word.startswith("variant=")]
    assert sweep()["command"][-1] == "${args_no_hyphens}"
    monkeypatch.setenv("WANDB_RUN_ID", "trial1")
    config = build.as_record(build.config(composed(variant, *words)))
    assert config["variant"] == "trial1"
    assert config["test"] is False
    assert config["logger"]["wandb"]["project"] == sweep()["project"]
    for name, option in chosen.items():
        if "." in name:
            assert OmegaConf.select(OmegaConf.create(config), name) == option["value"]


@pytest.mark.slow
def test_a_trial_logs_the_searched_metric_and_no_test_metrics(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "trial1")
    folder, _ = train("model=plain", "logger=wandb", "test=false")
    (recorded,) = offline_runs(folder)
    assert recorded.run["run_id"] == "trial1"
    assert sweep()["metric"]["name"] in recorded.history[-1]
    assert [row["split"] for row in recorded.table("inference_modes")] == ["val"]
    assert not [key for key in recorded.keys if key.startswith("test/")]
