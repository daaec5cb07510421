"""The linear probe as the floor of a training: its first epoch, and the result where no later one is better.

With 25 classes of 20 images, or a learning rate that is too high, fine-tuning may end below a logistic regression on
the features of the frozen backbone. A training with a floor never does on the validation split.
"""

import logging
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from fpcn_lightning.config import TrainingConfig
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.models.network import Network
from fpcn_lightning.models.on_backbone import OnBackbone
from fpcn_lightning.models.probe import Probe
from fpcn_lightning.modules.checkpoints import PREFIX
from fpcn_lightning.modules.classifier import Classifier
from fpcn_lightning.modules.probing import LinearProbe, features_of, fit_probe
from fpcn_lightning.runs.atomic_write import atomic_write
from fpcn_lightning.runs.results import ProbeFacts

logger = logging.getLogger(__name__)

MODES = ("off", "floor", "start")
METRICS = ("val/accuracy", "val/loss")  # that a probe has, too
SHARES = (0.25, 0.5, 0.75)  # of the trained weights, that are tried between those of the probe and of the best epoch
OF_AVERAGES = (
    "current_model_state",
    "averaging_state",
)  # entries of a checkpoint that an averaged training resumes from


class Floor:
    """A linear probe of the backbone that a network starts from.

    Args:
        network: not yet trained, on a backbone.
        data: after `setup`.
        training: the section of the config.
        test: measure the probe on the test split, too.

    Attributes:
        facts: of the probe, for the record of the run.
    """

    def __init__(self, network: OnBackbone, data: RockDataModule, training: TrainingConfig, *, test: bool) -> None:
        probe = fit_probe(network, data)
        tested = probe.measured(features_of(network, data, "test")).accuracy if test else None
        is_probe = isinstance(network, Probe)
        self.facts = ProbeFacts(
            strength=probe.strength, val=probe.val.accuracy, val_loss=probe.val.loss, test=tested, chosen=is_probe
        )
        head, self.training = network.linear_head, training
        self.weights = None if head is None or is_probe else _with(network, head, probe)
        if head is not None and (training.probe == "start" or is_probe):
            probe.put_into(head)

    def choose(self, trainer: Trainer, module: Classifier, data: RockDataModule) -> None:
        """Replace the weights of the best epoch by those of the probe, or between both, where these are better.

        Better means by what the best epoch was chosen by, on the validation split. Nothing is replaced where the
        logits of the network are not linear in the mean of the backbone's map, so that a probe is no weights of it.
        """
        checkpoint = trainer.checkpoint_callback
        if self.weights is None or not isinstance(checkpoint, ModelCheckpoint) or not checkpoint.best_model_path:
            return
        best, metric = Path(checkpoint.best_model_path), _Metric(checkpoint)
        values = {1.0: metric.best, 0.0: metric.of(self.facts["val"], self.facts["val_loss"])}
        trained = torch.load(best, map_location="cpu", weights_only=True)
        for share in SHARES if self.training.interpolate else ():
            module.load_state_dict(_between(trained["state_dict"], self.weights, share))
            trainer.validate(module, data, verbose=False)
            found = module.measured["val"][module.network.inference_mode]
            values[share] = metric.of(found["accuracy"], found["loss"])
        # Of equally good ones, the trained weights, then those nearest to them: on a small split many are equal.
        chosen = max(sorted(values, reverse=True), key=lambda share: values[share])
        self.facts["chosen"] = chosen == 0.0
        if self.training.interpolate:
            self.facts["interpolation"] = chosen
        if chosen < 1.0:
            logger.info("%s: no epoch is better on the validation split", _name(chosen))
            if trainer.is_global_zero:
                _replace(best, trained, _between(trained["state_dict"], self.weights, chosen))
            trainer.strategy.barrier()


def make_floor(
    network: Network, data: RockDataModule, training: TrainingConfig, monitor: str | None, *, test: bool
) -> Floor | None:
    """The floor of a training.

    Args:
        network: not yet trained.
        data: after `setup`.
        training: the section of the config.
        monitor: the metric that the best epoch is chosen by; None where no best epoch is saved.
        test: measure the probe on the test split, too.

    Returns:
        None where it is off, or the network has no backbone with pretrained weights.

    Raises:
        UserError: a value is unknown, the probe has no such metric, or the training shall start from a probe that the
            network has no layer for.
    """
    check_choice("training.probe", training.probe, MODES)
    if training.probe != "off" and monitor not in (None, *METRICS):
        raise UserError(
            f"callbacks.best.monitor={monitor}: with training.probe the best epoch is chosen by "
            f"{' or '.join(METRICS)}: set one of these, or training.probe=off."
        )
    if training.interpolate and training.probe == "off":
        raise UserError("training.interpolate needs a linear probe: set training.probe=floor, or interpolate=false.")
    if isinstance(network, Probe):
        return Floor(network, data, training, test=test)
    if training.probe == "off" or not isinstance(network, OnBackbone) or network.weights_source == "random":
        return None
    if training.probe == "start" and network.linear_head is None:
        raise UserError(
            f"training.probe=start: {type(network).__name__} with this inference mode has no linear layer on the mean "
            "of the last map, which a probe could be put into: set training.probe=floor."
        )
    return Floor(network, data, training, test=test)


class _Metric:
    """The metric that the best epoch is chosen by, as a number that is larger for a better epoch."""

    def __init__(self, checkpoint: ModelCheckpoint) -> None:
        self.key, self.sign = checkpoint.monitor, 1.0 if checkpoint.mode == "max" else -1.0
        assert checkpoint.best_model_score is not None
        self.best = self.sign * float(checkpoint.best_model_score)

    def of(self, accuracy: float, loss: float | None) -> float:
        value = accuracy if self.key == "val/accuracy" else loss
        return -float("inf") if value is None else self.sign * value


def _with(network: Network, head: nn.Linear, probe: LinearProbe) -> dict[str, Tensor]:
    """The weights of a network, by their names in a checkpoint, as if a probe were its head."""
    before = {name: value.clone() for name, value in head.state_dict().items()}
    probe.put_into(head)
    weights = {f"{PREFIX}{name}": value.detach().cpu().clone() for name, value in network.state_dict().items()}
    head.load_state_dict(before)
    return weights


def _between(trained: dict[str, Tensor], probe: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """`share` of the trained weights and 1 - `share` of those of the probe; what is no weight of the network stays."""

    def mixed(name: str, value: Tensor) -> Tensor:
        if name not in probe or share == 1.0:
            return value
        if share == 0.0 or not value.is_floating_point():
            return probe[name]
        return share * value + (1 - share) * probe[name]

    return {name: mixed(name, value) for name, value in trained.items()}


def _replace(path: Path, content: dict[str, Any], state: dict[str, Tensor]) -> None:
    kept = {key: value for key, value in content.items() if key not in OF_AVERAGES}
    with atomic_write(path) as temporary:
        torch.save({**kept, "state_dict": state}, temporary)


def _name(share: float) -> str:
    return "the linear probe is the result" if share == 0 else f"{share:.0%} of the trained weights are the result"
