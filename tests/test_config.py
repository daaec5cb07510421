"""Every yaml file composes and has the intended values; misspelt keys are errors."""

from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf

from fpcn_lightning import build, config
from fpcn_lightning.cli.config_errors import explain_config_error, first_error, known_keys
from fpcn_lightning.cli.renamed import CHOICES, HINTS, renamed
from fpcn_lightning.cli.shortcuts import check_shortcuts
from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.invocation import Invocation
from fpcn_lightning.runs.recording import config_hash, relative
from fpcn_lightning.runs.sameness import decisive, flatten
from fpcn_lightning.runs.upgrade import RENAMED_CONFIG_KEYS
from tests.conftest import composed, config_of

GROUPS = sorted(
    f"{path.parent.name}={path.stem}"
    for path in config.CONF.glob("*/*.yaml")
    if path.parent.name not in ("experiment", "ablation", "background", "report")
)
EXPERIMENTS = sorted(path.stem for path in (config.CONF / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("choice", GROUPS)
def test_every_choice_of_every_group_composes(choice: str) -> None:
    cfg = composed(choice)
    assert OmegaConf.is_dict(cfg.model)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_and_names_itself(experiment: str) -> None:
    cfg = composed(f"+experiment={experiment}")
    # The recipes of the authors are rows of the table that the comparison makes.
    assert cfg.name == {"authors_recipes": "comparison"}.get(experiment, experiment)


@pytest.mark.parametrize("background", sorted(path.stem for path in (config.CONF / "background").glob("*.yaml")))
@pytest.mark.parametrize("row", ["plain", "student"])
def test_the_rows_of_the_localisation_have_names(background: str, row: str) -> None:
    cfg = composed("+experiment=localisation", f"background={background}", f"ablation={row}")
    assert cfg.variant == f"{row}-{background}"
    assert cfg.data.synthetic.shortcut == (background == "shortcut")
    assert (cfg.distillation is not None) == (row == "student")
    assert cfg.teacher == f"outputs/localisation/full-{background}/seed-0/checkpoints/best.ckpt"


# The keys that each row of the ablation switches off.
CONTRAST: dict[str, object] = {"model.contrast": False}
MASK: dict[str, object] = {"model.mask": False}
ALPHA: dict[str, object] = {"model.alpha": "off"}
CENTER: dict[str, object] = {"loss.center.weight": 0.0}
ABLATION: dict[str, dict[str, object]] = {
    "full": {},
    "no_contrast": CONTRAST,
    "mask_center": ALPHA,
    "mask_alpha": CENTER,
    "mask": ALPHA | CENTER,
    "center": MASK | ALPHA,
    "contrast": MASK | ALPHA | CENTER,
    "plain": CONTRAST | MASK | ALPHA | CENTER,
}


def test_the_ablation_sweeps_every_row() -> None:
    # `student` does not switch off a part of FPCN: it is a row of the experiments with heat maps.
    assert ABLATION.keys() | {"student"} == {path.stem for path in (config.CONF / "ablation").glob("*.yaml")}
    sweep = OmegaConf.load(config.CONF / "experiment" / "ablation.yaml")
    assert sorted(sweep.hydra.sweeper.params.ablation.split(",")) == sorted(ABLATION)


@pytest.mark.parametrize("row", ABLATION)
def test_a_row_of_the_ablation_differs_from_full_in_its_own_keys_only(row: str) -> None:
    full, other = (
        decisive(build.as_record(config_of("+experiment=ablation", f"ablation={name}"))) for name in ("full", row)
    )
    assert full.keys() == other.keys()
    assert {key: other[key] for key in full if full[key] != other[key]} == ABLATION[row]


# From the authors' code: learning rate, weight decay, schedule, frozen epochs, epochs, images of a class.
AUTHORS_RECIPES = {
    "api_net": (0.01, 5e-4, "CosineAnnealingLR", 8, 100, 4),
    "pca_net": (0.001, 1e-5, "StepLR", 0, 300, 11),
    "mmal_net": (0.001, 1e-4, "MultiStepLR", 0, 200, 2),
    "bilinear_cnn": (0.01, 1e-5, "ReduceLROnPlateau", 55, 80, 21),
    "cin": (0.01, 5e-4, "CosineAnnealingLR", 0, 100, 5),
    "fpcn": (0.01, 5e-4, "CosineAnnealingLR", 8, 100, 14),
}


@pytest.mark.parametrize("name", AUTHORS_RECIPES)
def test_a_recipe_of_the_authors_has_their_numbers_and_names_the_run(name: str) -> None:
    config = config_of(f"model={name}", f"recipe={name}_authors")
    scheduler = str((config.lr_scheduler.scheduler or {})["_target_"]).rpartition(".")[2]
    found = (config.optimizer["lr"], config.optimizer["weight_decay"], scheduler, config.training.freeze_epochs)
    numbers = (*found, config.trainer["max_epochs"], config.data.samples_per_class)
    assert numbers == AUTHORS_RECIPES[name]
    assert config.variant == f"{name}-{name}_authors"
    assert config.model == config_of(f"model={name}").model


def test_the_recipes_of_the_authors_are_rows_of_the_table_of_the_comparison() -> None:
    one, other = (config_of(f"+experiment={name}") for name in ("comparison", "authors_recipes"))
    assert one.report == other.report
    assert one.report.paper["fpcn_gated"] == 93.1


def test_every_recipe_has_an_experiment_or_is_of_general_use() -> None:
    sweep = OmegaConf.load(config.CONF / "experiment" / "authors_recipes.yaml")
    used = {word.removeprefix("recipe=") for row in sweep.hydra.sweeper.rows for word in row if "recipe=" in word}
    there = {path.stem for path in (config.CONF / "recipe").glob("*.yaml")}
    assert there - used == {"paper", "small", "small_photographs", "strong"}


OWNERS = {
    "model": {"variant", "model", "loss"},
    "optimizer": {"optimizer"},
    "lr_scheduler": {"lr_scheduler"},
    "loss": {"loss"},
    "data": {"data"},
    "recipe": {"backbone", "variant", "trainer.max_epochs", "training", "data", "optimizer", "lr_scheduler"},
    "start": {"pretrained", "training"},
}


@pytest.mark.parametrize("group", OWNERS)
def test_a_group_sets_its_own_keys_only(group: str) -> None:
    for path in (config.CONF / group).glob("*.yaml"):
        node = OmegaConf.to_container(OmegaConf.load(path))
        assert isinstance(node, dict)
        keys = flatten({key: value for key, value in node.items() if key != "defaults"})
        if not path.read_text(encoding="utf-8").startswith("# @package _global_"):
            keys = {f"{group}.{key}": value for key, value in keys.items()}
        strangers = [key for key in keys if not any(f"{key}.".startswith(f"{owned}.") for owned in OWNERS[group])]
        assert strangers == [], path


@pytest.mark.slow
def test_the_shared_recipes_own_epochs_and_frozen_epochs_of_every_network() -> None:
    for path in (config.CONF / "model").glob("*.yaml"):
        cfg = config_of(f"model={path.stem}", "recipe=small")
        assert (cfg.trainer["max_epochs"], cfg.training.freeze_epochs, cfg.variant) == (8, 1, path.stem)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("model=resnet50", "backbone=resnet18"), "backbone=resnet18 has no effect: this model has its own backbone"),
        (("model=lenet", "pretrained=false"), "pretrained=false has no effect"),
        (("teacher=x.ckpt",), "teacher=x.ckpt has no effect: .*distillation=kd"),
        (("slots=2",), "slots=2 has no effect"),
    ],
)
def test_a_shortcut_without_effect_is_an_error(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_shortcuts(composed(*words), Invocation(words, (), Path("run")), words)


def test_a_shortcut_is_meant_for_the_jobs_of_a_sweep_that_can_use_it() -> None:
    words = ("model=resnet50", "backbone=resnet18")
    job = (*words, "hydra.mode=RUN")
    check_shortcuts(composed(*words), Invocation(words, (), Path("run")), job)
    words = ("model=plain", "backbone=resnet18")
    check_shortcuts(composed(*words), Invocation(words, (), Path("run")), words)
    assert config_of("model=plain", "backbone=resnet18").model["backbone"] == "resnet18"
    assert config_of("model=plain").model["backbone"] == "resnet101"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("optimisation.learning_rate=0.1", "optimisation.learning_rate is called optimizer.lr now: optimizer.lr=0.1."),
        ("+optimisation.thaw_from_best=true", "training.unfreeze_from_best"),
        ("loss.center=0.1", "loss.center.weight=0.1"),
        ("hydra.launcher.cards=[0,2]", "hydra.launcher.gpus"),
        ("model=mmal_net_own", "model=mmal_net recipe=mmal_net_authors"),
        ("model=plain_official", "model=plain recipe=fpcn_authors"),
        ("data.split.validation=0.1", "data.split.val"),
    ],
)
def test_an_old_key_names_the_new_one(word: str, message: str) -> None:
    assert message in str(renamed(word))


def test_every_new_name_of_an_old_key_exists() -> None:
    known = set(known_keys())
    for old, new in RENAMED_CONFIG_KEYS.items():
        assert new in known, new
        assert new.startswith(f"{old}.") or old not in known, old
    assert not HINTS.keys() & known
    for old, new in CHOICES.items():
        assert composed(*new.split()).variant != old.partition("=")[2]


def test_the_centre_loss_of_pca_net_has_the_weight_of_its_authors() -> None:
    # Theirs is the squared distance, ours half of it.
    assert 0.5 * composed("model=pca_net").loss.center.weight == 1.0


def test_common_choices_exist() -> None:
    words: dict[str, tuple[str, ...]] = {
        "model": ("plain", "fpcn", "fpcn_gated", "fpcn_paper", "fpcn_official", "probe"),
        "trainer": ("cpu", "gpu", "ddp", "smoke"),
    }
    words |= {"logger": ("csv", "wandb", "tensorboard"), "data": ("synthetic", "minerals", "folder")}
    assert {f"{group}={name}" for group, names in words.items() for name in names} <= set(GROUPS)


# What a preset of FPCN sets otherwise than `fpcn_gated`, in `model` and in `loss`.
OTHER_PRESETS: dict[str, dict[str, object]] = {
    "fpcn": {
        "model.contrast": False,
        "model.inference_mode": "unmasked",
        "loss.classification.weight": 0.0,
        "loss.own.weight": 1.0,
        "loss.supervised_contrastive.weight": 1.0,
        "loss.center.weight": 0.0,
    },
    "fpcn_official": {
        "model.alpha": "area",
        "model.strict_threshold": True,
        "model.largest_component": True,
        "model.previous_block": True,
        "model.pool_over": "map",
        "model.gate": "residual",
        "model.fusion_activation": "none",
        "model.open_gate": False,
        "model.inference_mode": "unmasked",
        "loss.ranking.weight": 1.0,
        "loss.center.weight": 0.0,
    },
    "fpcn_paper": {
        "model.alpha": "area",
        "model.pool_over": "map",
        "model.pairs": "all",
        "model.open_gate": False,
        "model.dropout": 0.0,
        "loss.center.normalise": False,
        "loss.center.reduction": "sum",
    },
}


@pytest.mark.parametrize("name", OTHER_PRESETS)
def test_the_presets_of_fpcn_differ_in_these_keys(name: str) -> None:
    ours, other = (config_of(f"model={preset}") for preset in ("fpcn_gated", name))
    flat = [flatten({"model": each.model, "loss": each.loss}) for each in (ours, other)]
    assert {key: flat[1][key] for key in flat[0] if flat[0][key] != flat[1][key]} == OTHER_PRESETS[name]
    assert ours.loss["center"]["weight"] == 0.5
    assert other.loss["ranking"]["margin"] == 0.05


@pytest.mark.parametrize("name", ["fpcn_paper", "fpcn_official"])
def test_what_is_ours_is_off_in_the_faithful_presets(name: str) -> None:
    config = config_of(f"model={name}")
    ours = {key: config.model[key] for key in ("mask_kind", "mask_from_epoch", "mask_view")}
    assert ours == {"mask_kind": "hard", "mask_from_epoch": 1, "mask_view": "none"}
    for term in ("own", "mask_view", "supervised_contrastive"):
        assert config.loss[term]["weight"] == 0


def test_the_papers_recipe_of_fpcn_has_what_the_paper_says() -> None:
    config = config_of("model=fpcn_paper", "recipe=fpcn_paper")
    data = config.data
    assert (data.resize, data.crop, data.evaluation_crop, data.horizontal_flip) == (448, 448, None, 0.0)
    assert (data.brightness, data.contrast, data.augmentations, data.samples_per_class) == (0.0, 0.0, [], 14)
    optimizer = config.optimizer
    assert (optimizer["_target_"], optimizer["lr"], optimizer["momentum"]) == ("torch.optim.SGD", 0.01, 0.9)
    assert (optimizer["weight_decay"], config.lr_scheduler.scheduler) == (0.0, None)
    assert (config.trainer["max_epochs"], config.training.freeze_epochs) == (100, 0)
    assert config.model["backbone"] == "resnet101"
    assert config.variant == "fpcn_paper-fpcn_paper"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.rooot=x", "unknown key data.rooot; did you mean data.root"),
        ("model.thetta=0.3", "unknown key model.thetta; did you mean model.theta"),
        ("trainer.max_epoch=3", "unknown key trainer.max_epoch; did you mean trainer.max_epochs"),
        ("sed=3", "unknown key sed; did you mean seed"),
        ("seed=one", "seed=one"),
        ("data.crop=big", "crop"),
        ("model=fpnc", "Could not find 'model/fpnc'"),
    ],
)
def test_an_invalid_key_is_one_sentence(override: str, message: str) -> None:
    with pytest.raises(HydraException) as caught:
        composed(override)
    explained = explain_config_error(caught.value)
    assert message in explained
    assert "\n" not in explained


def test_an_invalid_key_is_reported_before_the_commas_of_a_sweep() -> None:
    words = ["+experiment=ablation", "ablation=plain,full", "sed=1"]
    with pytest.raises(HydraException, match="Ambiguous") as caught:
        composed("model=plain,fpcn")
    assert "did you mean seed" in explain_config_error(first_error(caught.value, words))
    # Where nothing else is wrong, the commas are.
    assert first_error(caught.value, ["model=plain,fpcn"]) is caught.value


def test_a_misspelt_key_in_a_yaml_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "typo.yaml").write_text("# @package _global_\ndata:\n  samples_per_clas: 3\n")
    with pytest.raises(HydraException) as caught:
        composed(f"hydra.searchpath=[file://{tmp_path}]", "+experiment=typo")
    assert "samples_per_clas" in explain_config_error(caught.value)


def test_a_key_unknown_to_a_built_class_is_an_error() -> None:
    model = {"_target_": "fpcn_lightning.models.plain.Plain", "backbon": "test_resnet"}
    with pytest.raises(UserError, match=r"model\.backbon is not an argument of .* did you mean backbone"):
        build.network(model, 3, 64)


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("+modell.x=1", "unknown key modell; did you mean model"),
        ("+data.split.tset=1", "unknown key data.split.tset; did you mean test"),
    ],
)
def test_an_unknown_key_cannot_be_added(added: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        build.config(composed(added))
    assert message in str(caught.value)


def test_a_published_split_is_set_on_the_command_line() -> None:
    cfg = composed("data.split.published.train=Training_Set", "data.split.published.test=Testing_Set")
    assert build.config(cfg).data.split.published == config.PublishedSplit("Training_Set", None, "Testing_Set")


def test_error_of_a_value_that_needs_quotes_says_so() -> None:
    with pytest.raises(HydraException) as caught:
        composed("data.root=/my photos (new)")
    assert "quotes" in explain_config_error(caught.value)


def test_error_of_a_missing_key_names_it() -> None:
    with pytest.raises(UserError, match=r"variant is not set.*variant=VALUE"):
        build.config(composed("variant=???"))


def test_the_hash_depends_on_decisive_keys_only() -> None:
    def hashed(*overrides: str) -> str:
        return config_hash(build.as_record(config_of("~logger.csv", "~callbacks.best", "~callbacks.last", *overrides)))

    base = hashed()
    for neutral in ("data.workers=3", "data.cache.enabled=false", "name=other", "trainer.enable_progress_bar=false"):
        assert hashed(neutral) == base
    for changed in ("seed=1", "model.theta=0.25", "optimizer.lr=0.1", "data.crop=64"):
        assert hashed(changed) != base


def test_a_moved_run_has_the_same_config() -> None:
    inside = {"a": "/runs/x/checkpoints", "b": ["/runs/x"], "c": 3, "d": "/elsewhere"}
    assert relative(inside, Path("/runs/x")) == {"a": "./checkpoints", "b": ["."], "c": 3, "d": "/elsewhere"}


def test_a_task_is_one_override() -> None:
    assert [composed(f"task={task}").task for task in ("train", "evaluate", "report")] == [
        "train",
        "evaluate",
        "report",
    ]
