"""The optimiser, its learning-rate schedule, and the learning rates while the backbone is frozen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lightning.pytorch.utilities.types import LRSchedulerConfigType
from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from fpcn_lightning.config import TrainingConfig
from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.models.backbones import Backbone
from fpcn_lightning.models.network import Network

if TYPE_CHECKING:
    from fpcn_lightning.build import MakeOptimizer, MakeScheduler

NEVER_NEGATIVE = ("freeze_epochs", "frozen_lr", "frozen_weight_decay", "head_lr_factor")
SCALE = "lr_scale"  # entry of a parameter group: its learning rate relative to optimizer.lr
OF_FROZEN_EPOCHS = {"frozen_lr": "null", "frozen_weight_decay": "null", "unfreeze_from_best": "false"}


@dataclass(frozen=True)
class Optimisation:
    """How a network is trained.

    Attributes:
        optimizer: makes the optimiser of parameter groups; its defaults are those of all groups.
        scheduler: makes the learning-rate schedule; None: the learning rate is constant.
        interval: of the schedule, `step` or `epoch`.
        monitor: the metric that the schedule depends on, if it does.
        training: the section `training` of the config.

    Raises:
        UserError: a number is out of range, a value is unknown, or two keys exclude each other.
    """

    optimizer: "MakeOptimizer"
    scheduler: "MakeScheduler | None" = None
    interval: str = "epoch"
    monitor: str | None = None
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        check_choice("lr_scheduler.interval", self.interval, ("step", "epoch"))
        check_choice("training.frozen_batch_norm", self.training.frozen_batch_norm, ("fixed", "update"))
        if not 0 < self.training.layer_decay <= 1:
            raise UserError(f"training.layer_decay={self.training.layer_decay} must be above 0 and at most 1.")
        if not 0 <= self.training.frozen_share < 1:
            raise UserError(
                f"training.frozen_share={self.training.frozen_share} must be at least 0 and below 1: "
                "training.freeze_epochs freezes the whole backbone."
            )
        for key in NEVER_NEGATIVE:
            value = getattr(self.training, key)
            if value is not None and value < 0:
                raise UserError(f"training.{key}={value} must not be negative.")
        for key, unset in OF_FROZEN_EPOCHS.items():
            if getattr(self.training, key) not in (None, False) and not self.training.freeze_epochs:
                raise UserError(
                    f"training.{key} applies to the frozen epochs: set training.freeze_epochs, or {key}={unset}."
                )
        if self._has_frozen_rates and self.scheduler is not None and self.monitor is None:
            raise UserError(
                "training.frozen_lr and frozen_weight_decay work with lr_scheduler=constant or plateau, not with a "
                "schedule that depends on the number of the epoch: choose one of these, or set both to null."
            )

    @property
    def _has_frozen_rates(self) -> bool:
        return self.training.frozen_lr is not None or self.training.frozen_weight_decay is not None

    @property
    def restarts_when_unfrozen(self) -> bool:
        """Whether rates and schedule start again after unfreezing: not if they depend on the number of the epoch."""
        return self.scheduler is None or self.monitor is not None

    def make_optimizer(self, network: Network, further: Iterable[nn.Parameter] = ()) -> Optimizer:
        """The optimiser over trunk and head. Their parameters are separated by identity: FPCN's official code separates
        them by name, and misses nine convolutions.

        Args:
            network: the network to train.
            further: parameters of the training alone, such as those of loss terms; they are trained like the head.
        """
        trunk = list(network.trunk.parameters())
        known = {id(parameter) for parameter in trunk}
        head = [parameter for parameter in network.parameters() if id(parameter) not in known]
        head += further
        made = self.optimizer([*self._trunk_groups(network.trunk, trunk), {"name": "head", "params": head}])
        self.set_rates(made, network, frozen=self.training.freeze_epochs > 0)
        return made

    def _trunk_groups(self, trunk: nn.Module, parameters: list[nn.Parameter]) -> list[dict[str, Any]]:
        """One group, or with `layer_decay` one for each layer and the scale of its learning rate."""
        decay = self.training.layer_decay
        if decay == 1:
            return [{"name": "trunk", "params": parameters}]
        model = trunk.model if isinstance(trunk, Backbone) else trunk
        groups = param_groups_layer_decay(model, layer_decay=decay, weight_decay_exclude_1d=False)
        return [
            {"name": f"trunk_{number}", "params": group["params"], SCALE: group["lr_scale"]}
            for number, group in enumerate(groups)
        ]

    def set_rates(self, optimizer: Optimizer, network: Network, *, frozen: bool) -> None:
        """Set the initial learning rate and weight decay of both groups, for a frozen or an unfrozen backbone."""
        factor = self.training.head_lr_factor
        factor = network.head_lr_factor if factor is None else factor
        for group in optimizer.param_groups:
            rate, decay = optimizer.defaults["lr"] * group.get(SCALE, 1.0), optimizer.defaults.get("weight_decay")
            if group["name"] == "head":
                rate *= factor
                if frozen:
                    rate = rate if self.training.frozen_lr is None else self.training.frozen_lr
                    decay = decay if self.training.frozen_weight_decay is None else self.training.frozen_weight_decay
            group["lr"] = group["initial_lr"] = rate
            if decay is not None:
                group["weight_decay"] = decay

    def make_scheduler(self, optimizer: Optimizer, steps: int, epochs: int) -> LRSchedulerConfigType | None:
        """The schedule as Lightning expects it; None where the learning rate is constant.

        Args:
            optimizer: whose learning rate changes.
            steps: of the whole training.
            epochs: likewise.
        """
        if self.scheduler is None:
            return None
        made: LRSchedulerConfigType = {
            "scheduler": self.scheduler(optimizer, max(1, steps if self.interval == "step" else epochs)),
            "interval": self.interval,
        }
        if self.monitor is not None:
            made["monitor"] = self.monitor
        return made

    def restart(self, scheduler: object, optimizer: Optimizer) -> None:
        """Reset a schedule that depends on a metric to its initial state."""
        if self.scheduler is None or not isinstance(scheduler, ReduceLROnPlateau):
            return
        fresh: Mapping[str, Any] = self.scheduler(optimizer, 1).state_dict()
        scheduler.load_state_dict({key: value for key, value in fresh.items() if key != "optimizer"})
