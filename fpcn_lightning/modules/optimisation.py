"""The optimiser, how its learning rate falls, and what happens while the backbone is frozen."""

from collections.abc import Iterable, Mapping
from typing import Any

from lightning.pytorch.utilities.types import LRSchedulerConfigType
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, ReduceLROnPlateau, StepLR

from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.models.network import Network

SCHEDULES = ("cosine", "constant", "every", "milestones", "plateau")
WITHOUT_COURSE = ("constant", "plateau")  # schedules that do not depend on the number of the epoch
RATES = ("learning_rate", "head_learning_rate_factor", "frozen_learning_rate")
NEVER_NEGATIVE = (*RATES, "momentum", "weight_decay", "frozen_weight_decay", "freeze_epochs", "patience")
FROZEN = ("frozen_learning_rate", "frozen_weight_decay", "unfreeze_from_best")  # mean nothing where nothing is frozen


def check(options: Mapping[str, Any]) -> None:
    """Refuse what no type can say about the section `optimisation`.

    Raises:
        UserError: a number out of range, an unknown word, or two keys that do not go together.
    """
    check_choice("optimisation.schedule", options["schedule"], SCHEDULES)
    check_choice("optimisation.frozen_batch_norm", options["frozen_batch_norm"], ("fixed", "update"))
    for key in NEVER_NEGATIVE:
        if options[key] is not None and options[key] < 0:
            raise UserError(f"optimisation.{key}={options[key]} must not be negative.")
    if options["every"] < 1:
        raise UserError(f"optimisation.every={options['every']} must be at least 1 epoch.")
    if not 0 < options["factor"] < 1:
        raise UserError(f"optimisation.factor={options['factor']} must lie between 0 and 1.")
    if options["schedule"] == "milestones" and not options["milestones"]:
        raise UserError("optimisation.schedule=milestones needs optimisation.milestones, such as [60,100].")
    unused = [key for key in FROZEN if options[key] not in (None, False)]
    if unused and not options["freeze_epochs"]:
        raise UserError(
            f"optimisation.{unused[0]} is of the frozen epochs: set optimisation.freeze_epochs, or {unused[0]}="
            f"{'false' if unused[0] == 'unfreeze_from_best' else 'null'}."
        )
    has_frozen_rates = options["frozen_learning_rate"] is not None or options["frozen_weight_decay"] is not None
    if has_frozen_rates and options["schedule"] not in WITHOUT_COURSE:
        raise UserError(
            f"optimisation.frozen_learning_rate and frozen_weight_decay go with schedule=constant or plateau, not with "
            f"{options['schedule']}: choose one of these, or set both to null."
        )


def optimiser(network: Network, options: Mapping[str, Any], beside: Iterable[nn.Parameter] = ()) -> SGD:
    """SGD over trunk and head, told apart by identity: the authors' code of FPCN went by name and forgot nine
    convolutions.

    Args:
        network: what is trained.
        options: the section `optimisation`.
        beside: parameters of the training alone, which learn like the head.
    """
    trunk = list(network.trunk.parameters())
    known = {id(parameter) for parameter in trunk}
    head = [parameter for parameter in network.parameters() if id(parameter) not in known]
    head += beside
    groups = [{"name": "trunk", "params": trunk}, {"name": "head", "params": head}]
    made = SGD(groups, options["learning_rate"], options["momentum"], weight_decay=options["weight_decay"])
    set_rates(made, options, frozen=options["freeze_epochs"] > 0)
    return made


def set_rates(optimiser: Optimizer, options: Mapping[str, Any], *, frozen: bool) -> None:
    """Give both groups the learning rate and the weight decay that they begin with, frozen or not."""
    for group in optimiser.param_groups:
        rate, decay = options["learning_rate"], options["weight_decay"]
        if group["name"] == "head":
            rate *= options["head_learning_rate_factor"]
            if frozen:
                rate = rate if options["frozen_learning_rate"] is None else options["frozen_learning_rate"]
                decay = decay if options["frozen_weight_decay"] is None else options["frozen_weight_decay"]
        group["lr"] = group["initial_lr"] = rate
        group["weight_decay"] = decay


def schedule(optimiser: Optimizer, options: Mapping[str, Any], steps: int) -> LRSchedulerConfigType | None:
    """How the learning rate falls, as Lightning wants to be told; None where it stays.

    Args:
        optimiser: whose learning rate it is.
        options: the section `optimisation`.
        steps: of the whole training, for the cosine.
    """
    course: LRScheduler | ReduceLROnPlateau
    if options["schedule"] == "constant":
        return None
    if options["schedule"] == "cosine":
        return {"scheduler": CosineAnnealingLR(optimiser, T_max=max(1, steps)), "interval": "step"}
    if options["schedule"] == "plateau":
        return {"scheduler": plateau(optimiser, options), "monitor": "val/accuracy"}
    if options["schedule"] == "every":
        course = StepLR(optimiser, options["every"], gamma=options["factor"])
    else:
        course = MultiStepLR(optimiser, list(options["milestones"]), gamma=options["factor"])
    return {"scheduler": course, "interval": "epoch"}


def plateau(optimiser: Optimizer, options: Mapping[str, Any]) -> ReduceLROnPlateau:
    """The learning rate falls after `patience` epochs without a better validation accuracy."""
    return ReduceLROnPlateau(optimiser, mode="max", factor=options["factor"], patience=options["patience"])
