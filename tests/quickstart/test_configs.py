"""Any path reaches the config unchanged, and each network is the one that was asked for."""

from pathlib import Path

import pytest
from hydra.errors import ConfigCompositionException

from fpcn_lightning.quickstart import configs
from fpcn_lightning.quickstart.command import main
from fpcn_lightning.quickstart.options import TrainOptions
from fpcn_lightning.tasks.budget_text import Budget
from tests.conftest import composed
from tests.quickstart.conftest import NAME

NAMES = [
    *(
        "with space",
        "a,b",
        "[x]",
        "{x: 1}",
        "a=b",
        "é ü 岩石",
        "it's",
        'say "x"',
        "back\\slash",
        "ends\\",
        "\\'",
        "x'y\\'",
    ),
    *("null", "1", "true", "#x", "a: b", "50%", "(a)", "$HOME", "*?", "-x", "@file", NAME),
]


def options(folder: Path, **values: object) -> TrainOptions:
    given = {"photographs": folder, "model": folder.parent / "model", "budget": Budget(20, "min")} | values
    return TrainOptions(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_any_path_reaches_the_config_unchanged(tmp_path: Path, name: str) -> None:
    asked = options(tmp_path / name, model=tmp_path / f"{name}-model")
    step = configs.training(asked, configs.PROBE, 0.1, gpu=False)
    assert step.config.data.root == str(tmp_path / name)
    assert step.config.output == str(tmp_path / f"{name}-model-training")
    # The words that are recorded give the same paths on a command line.
    again = composed(*step.invocation.overrides)
    assert (again.data.root, again.output) == (step.config.data.root, step.config.output)
    exported = configs.exporting(asked, tmp_path / name / "best.ckpt", 100).config
    assert (exported.checkpoint, exported.export.bundle) == (str(tmp_path / name / "best.ckpt"), str(asked.model))


def test_a_path_that_a_config_would_resolve_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "${oc.env:HOME}" / "a").mkdir(parents=True)
    assert main(["train", str(tmp_path / "${oc.env:HOME}"), "--dry-run"]) == 2
    assert "rename the folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, ["probe", "plain"]),
        ({"quick": True}, ["probe"]),
        ({"compare": True}, ["probe", "plain", "fpcn"]),
        ({"paper": True, "budget": None}, ["probe", "fpcn_paper"]),
        ({"paper": True, "compare": True}, ["probe", "plain", "fpcn_paper"]),
    ],
)
def test_the_networks_of_each_option(tmp_path: Path, flags: dict[str, object], expected: list[str]) -> None:
    asked = options(tmp_path / "rocks", **flags)
    tried = configs.networks(asked)
    assert [network.variant for network in tried] == expected
    for network in tried:
        config = configs.training(asked, network, 0.15, gpu=False).config
        assert (config.name, config.variant, config.data.split.val) == ("rocks", network.variant, 0.15)


def test_all_trainings_share_the_budget(tmp_path: Path) -> None:
    def budget(network: configs.TriedNetwork, **flags: object) -> str | None:
        return configs.training(options(tmp_path, **flags), network, 0.1, gpu=False).config.training.budget

    assert budget(configs.PLAIN) == "20min"
    assert budget(configs.PLAIN, compare=True) == "10min"
    assert budget(configs.FPCN, compare=True, budget=Budget(25, "min")) == "12.5min"
    assert budget(configs.FPCN, compare=True, budget=Budget(600, "steps")) == "600steps"
    assert budget(configs.PROBE) is None
    assert budget(configs.PAPER, paper=True, budget=None) is None
    config = configs.training(options(tmp_path), configs.PLAIN, 0.1, gpu=False).config
    assert config.training.min_steps == 0  # the budget decides alone


def test_the_paper_is_trained_as_the_paper_trains(tmp_path: Path) -> None:
    config = configs.training(options(tmp_path, paper=True, budget=None), configs.PAPER, 0.1, gpu=True).config
    assert config.trainer["max_epochs"] == 100
    assert config.data.crop == 448
    assert config.training.frozen_share == 0
    assert config.model["_target_"] == "fpcn_lightning.models.fpcn.FPCN"


def test_early_stages_are_frozen_without_a_gpu_only(tmp_path: Path) -> None:
    asked = options(tmp_path)
    assert configs.training(asked, configs.PLAIN, 0.1, gpu=False).config.training.frozen_share == 0.75
    on_gpu = configs.training(asked, configs.PLAIN, 0.1, gpu=True).config
    assert on_gpu.training.frozen_share == 0
    assert on_gpu.trainer["accelerator"] == "gpu"


@pytest.mark.parametrize(("pictures", "share"), [(30, 0.25), (100, 0.23), (200, 0.12), (2000, 0.1)])
def test_few_photographs_validate_with_a_larger_share(pictures: int, share: float) -> None:
    assert configs.validation_share(pictures, 3) == share


def test_an_unknown_key_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigCompositionException, match="nonsense"):
        configs.composed({}, {"data.nonsense": 1}, tmp_path)


@pytest.mark.parametrize(("pictures", "points"), [(10, 25.0), (100, 2.5), (1000, 1.0)])
def test_a_test_photograph_or_two_may_differ_in_int8(tmp_path: Path, pictures: int, points: float) -> None:
    config = configs.exporting(options(tmp_path), tmp_path / "best.ckpt", pictures).config
    assert config.export.max_drop == points
