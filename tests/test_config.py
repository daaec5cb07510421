"""Every yaml file composes, says what it is meant to say, and cannot be misspelt."""

from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf

from fpcn_lightning import build, config
from fpcn_lightning.cli.config_errors import explain_config_error, first_error
from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.recording import config_hash, relative
from fpcn_lightning.runs.sameness import decisive
from tests.conftest import composed

GROUPS = sorted(
    f"{path.parent.name}={path.stem}"
    for path in config.CONF.glob("*/*.yaml")
    if path.parent.name not in ("experiment", "ablation", "background")
)
EXPERIMENTS = sorted(path.stem for path in (config.CONF / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("choice", GROUPS)
def test_every_choice_of_every_group_composes(choice: str) -> None:
    cfg = composed(choice)
    assert OmegaConf.is_dict(cfg.model)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_and_names_itself(experiment: str) -> None:
    cfg = composed(f"+experiment={experiment}")
    assert cfg.name == experiment


@pytest.mark.parametrize("background", sorted(path.stem for path in (config.CONF / "background").glob("*.yaml")))
@pytest.mark.parametrize("row", ["plain", "student"])
def test_the_rows_of_the_localisation_say_what_they_are(background: str, row: str) -> None:
    cfg = composed("+experiment=localisation", f"background={background}", f"ablation={row}")
    assert cfg.variant == f"{row}-{background}"
    assert cfg.data.synthetic.shortcut == (background == "shortcut")
    assert (cfg.distillation is not None) == (row == "student")
    assert cfg.teacher == f"outputs/localisation/full-{background}/seed-0/checkpoints/best.ckpt"


# What each row of the ablation switches off, and nothing else.
CONTRAST: dict[str, object] = {"model.contrast": False}
MASK: dict[str, object] = {"model.mask": False}
ALPHA: dict[str, object] = {"model.alpha": "off"}
CENTER: dict[str, object] = {"loss.center": 0.0}
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
    # A student is no part of FPCN that is switched off: it is a row of the experiments that explain.
    assert ABLATION.keys() | {"student"} == {path.stem for path in (config.CONF / "ablation").glob("*.yaml")}
    sweep = OmegaConf.load(config.CONF / "experiment" / "ablation.yaml")
    assert sorted(sweep.hydra.sweeper.params.ablation.split(",")) == sorted(ABLATION)


@pytest.mark.parametrize("row", ABLATION)
def test_a_row_of_the_ablation_differs_from_full_in_its_own_keys_only(row: str) -> None:
    full, other = (
        decisive(build.plain(composed("+experiment=ablation", f"ablation={name}"))) for name in ("full", row)
    )
    assert full.keys() == other.keys()
    assert {key: other[key] for key in full if full[key] != other[key]} == ABLATION[row]


# What the authors' codes say: rate, weight decay, schedule, frozen epochs, epochs, pictures of a class.
OWN_RECIPES = {
    "api_net_own": (0.01, 5e-4, "cosine", 8, 100, 4),
    "pca_net_own": (0.001, 1e-5, "every", 0, 300, 11),
    "mmal_net_own": (0.001, 1e-4, "milestones", 0, 200, 2),
    "bilinear_cnn_own": (0.01, 1e-5, "plateau", 55, 80, 21),
    "cin_own": (0.01, 5e-4, "cosine", 0, 100, 5),
    "plain_official": (0.01, 5e-4, "cosine", 8, 100, 14),
    "fpcn_official": (0.01, 5e-4, "cosine", 8, 100, 14),
}


@pytest.mark.parametrize("model", OWN_RECIPES)
def test_a_recipe_of_its_authors_has_their_numbers(model: str) -> None:
    cfg = composed(f"model={model}")
    rules = cfg.optimisation
    found = (rules.learning_rate, rules.weight_decay, rules.schedule, rules.freeze_epochs)
    assert (*found, cfg.trainer.max_epochs, cfg.data.samples_per_class) == OWN_RECIPES[model]


def test_a_short_recipe_cuts_every_training_short() -> None:
    for model in OWN_RECIPES:
        cfg = composed(f"model={model}", "recipe=small")
        assert (cfg.trainer.max_epochs, cfg.optimisation.freeze_epochs) == (8, 1)


def test_the_centre_loss_of_pca_net_counts_as_much_as_that_of_its_authors() -> None:
    # Theirs is the squared distance, ours half of it.
    assert 0.5 * composed("model=pca_net").loss.center == 1.0


def test_the_issue_s_words_are_one_word_each() -> None:
    words = {"model": ("plain", "fpcn", "fpcn_official"), "trainer": ("cpu", "gpu", "ddp", "smoke")}
    words |= {"logger": ("csv", "wandb", "tensorboard"), "data": ("synthetic", "minerals", "folder")}
    assert {f"{group}={name}" for group, names in words.items() for name in names} <= set(GROUPS)


def test_presets_differ_from_each_other_in_what_they_are_named_after() -> None:
    paper, official = composed("model=fpcn"), composed("model=fpcn_official")
    different = {key for key in paper.model if paper.model[key] != official.model[key]}
    assert different == {
        "strict_threshold",
        "largest_component",
        "previous_block",
        "gate",
        "fusion_activation",
        "inference",
        "pool_over",
        "open_gate",
    }
    assert (paper.loss.center, paper.loss.ranking) == (0.5, 0.0)
    assert (official.loss.center, official.loss.ranking, official.loss.ranking_margin) == (0.0, 1.0, 0.05)


@pytest.mark.parametrize(
    ("override", "says"),
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
def test_a_slip_of_the_pen_is_told_in_one_line(override: str, says: str) -> None:
    with pytest.raises(HydraException) as caught:
        composed(override)
    told = explain_config_error(caught.value)
    assert says in told
    assert "\n" not in told


def test_a_slip_beside_the_commas_of_a_sweep_is_what_is_told() -> None:
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
    with pytest.raises(UserError, match=r"model\.backbon is unknown .* did you mean backbone"):
        build.network(model, 3, 64)


@pytest.mark.parametrize(
    ("added", "says"),
    [
        ("+modell.x=1", "unknown key modell; did you mean model"),
        ("+loss.centre=1", "unknown key loss.centre; did you mean center"),
        ("+data.split.tset=1", "unknown key data.split.tset; did you mean test"),
    ],
)
def test_a_key_that_nothing_reads_cannot_be_added(added: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        build.plain(composed(added))
    assert says in str(caught.value)


def test_a_published_split_is_set_on_the_command_line() -> None:
    cfg = composed("data.split.published.train=Training_Set", "data.split.published.test=Testing_Set")
    published = build.plain(cfg)["data"]["split"]["published"]
    assert published == {"train": "Training_Set", "validation": None, "test": "Testing_Set"}


def test_a_value_that_needs_quotes_says_so() -> None:
    with pytest.raises(HydraException) as caught:
        composed("data.root=/my photos (new)")
    assert "quotes" in explain_config_error(caught.value)


def test_a_mandatory_key_is_named() -> None:
    with pytest.raises(UserError, match=r"data\.root is not set.*data\.root=VALUE"):
        build.plain(OmegaConf.create({"data": {"root": "???"}}))


def test_the_hash_sees_what_decides_and_nothing_else() -> None:
    def hashed(*overrides: str) -> str:
        return config_hash(build.plain(composed("~logger.csv", "~callbacks.best", "~callbacks.last", *overrides)))

    base = hashed()
    for neutral in ("data.workers=3", "data.cache.enabled=false", "name=other", "trainer.enable_progress_bar=false"):
        assert hashed(neutral) == base
    for changed in ("seed=1", "model.theta=0.25", "optimisation.learning_rate=0.1", "data.crop=64"):
        assert hashed(changed) != base


def test_a_moved_run_says_the_same() -> None:
    inside = {"a": "/runs/x/checkpoints", "b": ["/runs/x"], "c": 3, "d": "/elsewhere"}
    assert relative(inside, Path("/runs/x")) == {"a": "./checkpoints", "b": ["."], "c": 3, "d": "/elsewhere"}


def test_a_task_is_a_word() -> None:
    assert [composed(f"task={task}").task for task in ("train", "evaluate", "report")] == [
        "train",
        "evaluate",
        "report",
    ]
