"""The data module and the networks for a `Trainer` of one's own, without a run folder and a command line."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from fpcn_lightning.cli.config_errors import explain_config_error, first_error
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.errors import UserError
from fpcn_lightning.modules.assembly import make_module as assemble
from fpcn_lightning.modules.assembly import make_network
from fpcn_lightning.modules.classifier import Classifier
from fpcn_lightning.quickstart.configs import composed, overrides

__all__ = ["RockDataModule", "make_module"]

GROUPS = ("optimizer", "lr_scheduler", "loss", "start")


def make_module(data: RockDataModule, model: str = "fpcn", *, recipe: str = "small", **keys: Any) -> Classifier:
    """A network with its loss, optimiser and schedule, as the config composes them, for the images of a data module.

    What a recipe sets for the images, the trainer and its callbacks is not used: these are those of the caller.

    Args:
        data: its classes, sizes and seed are used; it is set up if it is not yet.
        model: a name of the group `model`, such as `fpcn`, `plain` or `mmal_net`: a file in `conf/model`.
        recipe: a name of the group `recipe`. `small` takes a small pretrained backbone and freezes it for one epoch.
        **keys: of the config, with `__` for the dot: `backbone="resnet50"`, `pretrained=False`, `optimizer__lr=0.001`,
            `model__theta=0.1`, `loss__center__weight=0.5`. A group is chosen by its name: `optimizer="adamw"`.

    Raises:
        UserError: the images cannot be used, there is no such key or file, or a part cannot be built.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> from fpcn_lightning import RockDataModule, make_module
        >>> data = RockDataModule(root="photographs")
        >>> Trainer(max_epochs=5).fit(make_module(data, "fpcn"), datamodule=data)
    """
    data.setup()
    words = {key.replace("__", "."): value for key, value in keys.items()}
    groups = {"data": "folder", "model": model, "recipe": recipe}
    groups |= {key: str(words.pop(key)) for key in list(words) if key in GROUPS}
    try:
        config = composed(groups, words, Path("outputs")).config
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain_config_error(first_error(error, overrides(groups, words)))) from error
    config = replace(config, data=data.config, seed=data.seed)
    return assemble(config, make_network(config, data), data)
