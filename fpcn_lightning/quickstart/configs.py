"""The configs of the steps of `fpcn train`, composed by Hydra from `conf/` as from words on a command line."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from fpcn_lightning import build
from fpcn_lightning.config import CONF, Config
from fpcn_lightning.field.usability import MIN_VALIDATION_PICTURES
from fpcn_lightning.quickstart.options import TrainOptions
from fpcn_lightning.runs.folders import run_folder
from fpcn_lightning.runs.invocation import Invocation
from fpcn_lightning.sweep.command import assignment

SEED = 0
TEST_SHARE = 0.2
VALIDATION_SHARES = (0.1, 0.25)  # the least and the most: few photographs must calibrate the model, too
FROZEN_ON_CPU = 0.75  # of the stages of the backbone: three times as many steps in the same time
MAX_DROP = 1.0  # points of test accuracy that the int8 file may lose
LOST_PICTURES = 2.5  # or as many photographs, where a point is less: losing two is chance
Values = Mapping[str, bool | int | float | str | None]


@dataclass(frozen=True)
class TriedNetwork:
    """A network that is tried.

    Attributes:
        variant: its folder.
        title: for people.
        choices: of the groups in `conf/`.
        trained: in steps, so that it takes a part of the budget.
    """

    variant: str
    title: str
    choices: Mapping[str, str]
    trained: bool = True


PROBE = TriedNetwork("probe", "linear probe", {"model": "probe", "recipe": "strong"}, trained=False)
PLAIN = TriedNetwork("plain", "fine-tuned plain network", {"model": "plain", "recipe": "strong"})
FPCN = TriedNetwork("fpcn", "FPCN", {"model": "fpcn", "recipe": "strong"})
PAPER = TriedNetwork("fpcn_paper", "FPCN as in the paper", {"model": "fpcn_paper", "recipe": "fpcn_paper"})


@dataclass(frozen=True)
class ComposedStep:
    """A composed config, and how it was asked for."""

    config: Config
    invocation: Invocation


def networks(options: TrainOptions) -> list[TriedNetwork]:
    """The networks that are tried, in the order in which they are trained."""
    if options.quick:
        return [PROBE]
    last = [PAPER] if options.paper else [FPCN] if options.compare else []
    return [PROBE, *([] if options.paper and not options.compare else [PLAIN]), *last]


def validation_share(pictures: int, classes: int) -> float:
    """The share of the photographs that validate: enough for a usable model where there are enough of them."""
    least, most = VALIDATION_SHARES
    wanted = (MIN_VALIDATION_PICTURES + classes) / max(pictures, 1)  # a split may lack a picture of each class
    return min(most, max(least, math.ceil(100 * wanted) / 100))


def training(options: TrainOptions, network: TriedNetwork, validation: float, *, gpu: bool) -> ComposedStep:
    """The training of a network.

    Args:
        options: of the command.
        network: to train.
        validation: share of the photographs.
        gpu: train on a GPU.
    """
    values: dict[str, bool | int | float | str | None] = {
        "data.root": str(options.photographs),
        "data.split.val": validation,
        "data.split.test": TEST_SHARE,
        "name": options.name,
        "variant": network.variant,
        "output": str(options.work),
        "seed": SEED,
    }
    if network.trained and options.budget is not None:
        trained = [each for each in networks(options) if each.trained]
        share = options.budget.amount / (len(trained) if options.budget.seconds is not None else 1)
        values |= {"training.budget": f"{_number(share)}{options.budget.unit}", "training.min_steps": 0}
    if network in (PLAIN, FPCN) and not gpu:
        values["training.frozen_share"] = FROZEN_ON_CPU
    choices = {"data": "folder", **network.choices, "trainer": "gpu" if gpu else "cpu"}
    return composed(choices, values, run_folder(options.work, options.name, network.variant, SEED))


def _number(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")


def exporting(options: TrainOptions, checkpoint: Path, test_pictures: int) -> ComposedStep:
    """The export of a checkpoint, tested on a number of photographs, to the folder of the model."""
    values: Values = {
        "data.root": str(options.photographs),
        "checkpoint": str(checkpoint),
        "export.bundle": str(options.model),
        "export.max_drop": max(MAX_DROP, 100 * LOST_PICTURES / max(test_pictures, 1)),
        "overwrite": True,
    }
    return composed({"data": "folder", "task": "export"}, values, options.work)


def composed(choices: Mapping[str, str], values: Values, folder: Path) -> ComposedStep:
    """Compose a config.

    Args:
        choices: a file of each of these groups.
        values: of keys; any text, which is quoted here.
        folder: of the run.

    Raises:
        UserError: as `fpcn_lightning.build.config`.
    """
    words = overrides(choices, values)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        whole = compose("config", overrides=words, return_hydra_config=True)
    hydra = HydraConfig.instance()
    before = hydra.cfg
    try:
        with open_dict(whole):
            whole.hydra.runtime.output_dir = str(folder)
            hydra.set_config(whole)  # yaml files refer to the choices of others
            picked = {group: str(name) for group, name in whole.hydra.runtime.choices.items() if name is not None}
            del whole["hydra"]
        config = build.config(whole)
    finally:
        hydra.cfg = before  # that of the caller, such as a notebook, which composes configs of its own
    return ComposedStep(config, Invocation(tuple(words), (), output_dir=folder, choices=picked))


def overrides(choices: Mapping[str, str], values: Values) -> list[str]:
    """The words of a command line for these choices and values."""
    chosen: Sequence[str] = [f"{group}={name}" for group, name in choices.items()]
    return [*chosen, *(assignment(key, value) for key, value in values.items())]
