"""The Lightning module: which terms are summed with which weights, the optimiser, and what is measured."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import lightning.pytorch as lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional

from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.data.sampler import PADDING
from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.center import CenterLoss
from fpcn_lightning.losses.contrastive import contrastive_loss
from fpcn_lightning.losses.ranking import score_ranking
from fpcn_lightning.models.network import Network, NetworkOutput, Views
from fpcn_lightning.modules import optimisation as optimisation_rules
from fpcn_lightning.modules.metrics import summarise
from fpcn_lightning.modules.voting import averaged, first_rows, voted
from fpcn_lightning.runs.results import Metrics

STEP_STREAM = 3  # keeps dropout's draws apart from those of sampler and augmentation under the same seed
RECORD = "fpcn_lightning"  # the checkpoint's key for what describes the network


class SplitPredictions(NamedTuple):
    """The answers to one side of the split in the configured reading; N pictures, C classes, on the CPU."""

    positions: Tensor  # long [N], of the pictures in the index
    probabilities: Tensor  # [N, C]
    object_ratio: Tensor | None  # [N] share of the picture that is object, 0..1, where the network positions it


class Classifier(lightning.LightningModule):
    """Trains any network that keeps the contract of `fpcn_lightning.models.network`.

    Args:
        network: what is trained.
        loss: the `loss` section of the config.
        optimisation: the `optimisation` section.
        classes: number of classes C.
        seed: of the run; with epoch, batch and rank it decides every dropout mask, so that a resumed run draws the
            same ones.
        image_size: side of the pictures in pixels.
        record: plain data that goes into every checkpoint: what is needed to build the network again.

    Raises:
        UserError: a section `optimisation` that `fpcn_lightning.modules.optimisation` refuses.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: Network,
        *,
        loss: Mapping[str, Any],
        optimisation: Mapping[str, Any],
        classes: int,
        seed: int,
        image_size: int,
        record: Mapping[str, Any],
    ) -> None:
        super().__init__()
        optimisation_rules.check(optimisation)
        self.network = network
        self.loss, self.optimisation, self.seed = dict(loss), dict(optimisation), seed
        self.record = dict(record)
        self.center_loss = _center_loss(self.loss, classes, network.feature_dim)
        self.register_buffer("mean", torch.tensor(network.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(network.std).view(1, 3, 1, 1), persistent=False)
        self.example_input_array = torch.zeros(1, 3, image_size, image_size, dtype=torch.uint8)  # for the summary
        # Some backbones keep parameters that never learn, such as fixed position embeddings.
        self._trunk = [parameter for parameter in network.trunk.parameters() if parameter.requires_grad]
        self.measured: dict[str, dict[str, Metrics]] = {"validation": {}, "test": {}}
        self.predictions: dict[str, SplitPredictions] = {}
        self._kept: list[tuple[Tensor, Tensor, NetworkOutput]] = []

    def normalised(self, images: Tensor) -> Tensor:
        """Pictures [B, 3, S, S], values 0..255, as the network expects them."""
        layout = torch.channels_last if self.optimisation["channels_last"] else torch.contiguous_format
        scaled: Tensor = (images.float() / 255 - self.mean) / self.std
        return scaled.contiguous(memory_format=layout)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C] of uint8 pictures [B, 3, S, S]."""
        logits: Tensor = self.network(self.normalised(images))
        return logits

    def setup(self, stage: str) -> None:  # noqa: ARG002 - Lightning's signature
        """Put the weights into the memory layout that convolutions are fastest in."""
        if self.optimisation["channels_last"]:
            self.network.to(memory_format=torch.channels_last)

    def on_train_epoch_start(self) -> None:
        """Freeze the trunk in the first epochs, release it afterwards."""
        frozen = self.current_epoch < self.optimisation["freeze_epochs"]
        for parameter in self._trunk:
            parameter.requires_grad_(not frozen)
        self.network.begin_epoch(self.current_epoch)
        if self.current_epoch == self.optimisation["freeze_epochs"] > 0:
            self._unfreeze()
        self.network.trunk.train()  # Lightning brings back after validation what was frozen before it
        if frozen and self.optimisation["frozen_batch_norm"] == "fixed":
            for module in self.network.trunk.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Dropout is a function of (seed, epoch, batch, rank), not of what was drawn before."""
        key = np.random.SeedSequence([STEP_STREAM, self.seed, self.current_epoch, batch_idx, self.global_rank])
        torch.manual_seed(int(key.generate_state(1, np.uint64)[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        """The weighted sum of the terms of the total loss."""
        images = self.training_images(batch)
        views = self.network.views(self.normalised(images), batch.labels)
        terms = {**self.loss_terms(views, batch.labels), **self.further_terms(views, batch, images)}
        total = torch.stack([self.loss[name] * term for name, term in terms.items()]).sum()
        size = len(batch.labels)
        accuracy = (views.own_logits.argmax(1) == batch.labels).float().mean()
        self.log("train/loss", total, prog_bar=True, on_step=True, on_epoch=True, batch_size=size)
        self.log("train/accuracy", accuracy, prog_bar=True, on_step=False, on_epoch=True, batch_size=size)
        parts = {f"train/loss_{name}": term for name, term in terms.items()}
        if views.object_ratio is not None:
            parts["train/object_ratio"] = views.object_ratio.mean()
        self.log_dict(parts, on_step=False, on_epoch=True, batch_size=size)
        return total

    def training_images(self, batch: Batch) -> Tensor:
        """The pictures [B, 3, S, S] of a training step, values 0..255."""
        return batch.images

    def further_terms(self, views: Views, batch: Batch, images: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """Terms by name that need more than views and labels, unweighted; their weights are `loss`'s of that name."""
        return {}

    def loss_terms(self, views: Views, labels: Tensor) -> dict[str, Tensor]:
        """The terms by name, unweighted; one whose weight is 0 is not computed.

        Raises:
            UserError: ranking or contrast has a weight, but the network gives nothing for it.
        """
        terms = {"classification": _classification(views)}
        if self.loss["ranking"]:
            if views.better is None or views.worse is None:
                raise UserError("this network ranks no scores: set loss.ranking=0, or model.gate=residual for FPCN.")
            terms["ranking"] = score_ranking(views.better, views.worse, self.loss["ranking_margin"])
        if self.loss["contrastive"]:
            if views.contrasted is None:
                raise UserError("this network embeds no pairs: set loss.contrastive=0.")
            terms["contrastive"] = contrastive_loss(*views.contrasted, self.loss["contrastive_margin"])
        if self.center_loss is not None:
            terms["center"] = self.center_loss(views.features, labels)
        return terms

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Keep the answers until the epoch's end."""
        self._keep(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Keep the answers until the epoch's end."""
        self._keep(batch)

    def on_validation_epoch_start(self) -> None:
        """Forget what a validation that broke off has left."""
        self._kept.clear()

    def on_validation_epoch_end(self) -> None:
        """Measure, and log the configured reading."""
        self._measure("validation", "val")

    def on_test_epoch_end(self) -> None:
        """Measure, and log the configured reading."""
        self._measure("test", "test")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """SGD over trunk and head, and how the learning rate falls."""
        optimiser = optimisation_rules.optimiser(self.network, self.optimisation, self.parameters_beside())
        course = optimisation_rules.schedule(optimiser, self.optimisation, int(self.trainer.estimated_stepping_batches))
        return optimiser if course is None else {"optimizer": optimiser, "lr_scheduler": course}

    def parameters_beside(self) -> Iterable[nn.Parameter]:
        """What learns in training beside the network."""
        return ()

    def _unfreeze(self) -> None:
        """The second step of a training in two steps begins: its rates, and the best epoch of the first if wanted."""
        optimiser = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimiser, torch.optim.Optimizer)
        if self.optimisation["unfreeze_from_best"]:
            self._load_best()
            optimiser.state.clear()
        if self.optimisation["schedule"] not in optimisation_rules.WITHOUT_COURSE:
            return
        optimisation_rules.set_rates(optimiser, self.optimisation, frozen=False)
        course = self.lr_schedulers()
        if isinstance(course, torch.optim.lr_scheduler.ReduceLROnPlateau):
            fresh = optimisation_rules.plateau(optimiser, self.optimisation).state_dict()
            course.load_state_dict({key: value for key, value in fresh.items() if key != "optimizer"})

    def _load_best(self) -> None:
        checkpoint = self.trainer.checkpoint_callback
        path = checkpoint.best_model_path if isinstance(checkpoint, ModelCheckpoint) else ""
        if not path:
            raise UserError("optimisation.thaw_from_best needs the callback that keeps the best epoch: callbacks.best.")
        self.load_state_dict(torch.load(path, map_location=self.device, weights_only=True)["state_dict"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say in the checkpoint what network these weights belong to, as plain data."""
        checkpoint[RECORD] = self.record

    def _keep(self, batch: Batch) -> None:
        predictions = self.network.predict(self.normalised(batch.images))
        logits = {name: values.float() for name, values in predictions.logits.items()}
        self._kept.append((batch.positions, batch.labels, NetworkOutput(logits, object_ratio=predictions.object_ratio)))

    def _measure(self, side: str, prefix: str) -> None:
        kept, self._kept = self._kept, []
        positions = self._gathered(torch.cat([item[0] for item in kept]))
        labels = self._gathered(torch.cat([item[1] for item in kept]))
        real = positions != PADDING
        positions, labels = positions[real], labels[real]
        first = first_rows(positions)
        for inference_mode in self.network.inference_modes:
            rows = self._gathered(torch.cat([item[2].logits[inference_mode] for item in kept]))[real]
            logits = voted(positions, rows)
            self.measured[side][inference_mode] = summarise(logits, labels[first])
            if inference_mode == self.network.inference:
                ratios = self._object_ratios([item[2] for item in kept], real, positions)
                self.predictions[side] = SplitPredictions(positions[first].cpu(), logits.softmax(1).cpu(), ratios)
        if side == "validation" and self.trainer.state.fn != TrainerFn.FITTING:
            return  # a second look at the best epoch is no point of the learning curve
        chosen = self.measured[side][self.network.inference]
        values = {f"{prefix}/{name}": _number(chosen[name]) for name in ("accuracy", "macro_f1", "loss")}
        self.log_dict(values, prog_bar=side == "validation")

    def _object_ratios(self, kept: list[NetworkOutput], real: Tensor, positions: Tensor) -> Tensor | None:
        """What the network found to be object in the pictures at `positions` of `real` rows, if it positions at all."""
        ratios = [predictions.object_ratio for predictions in kept if predictions.object_ratio is not None]
        return averaged(positions, self._gathered(torch.cat(ratios))[real].float()).cpu() if ratios else None

    def _gathered(self, values: Tensor) -> Tensor:
        """The rows of all processes; every process has equally many."""
        if self.trainer.world_size == 1:
            return values
        together: Tensor = self.all_gather(values)  # type: ignore[assignment]
        return together.flatten(0, 1)


def _classification(views: Views) -> Tensor:
    """Cross-entropy of every view, weighed as the network wants it."""
    if views.weights is None:
        return functional.cross_entropy(views.logits.float(), views.targets)
    losses = functional.cross_entropy(views.logits.float(), views.targets, reduction="none")
    return (views.weights * losses).sum()


def _number(value: float | None) -> float:
    """A figure of a record, where null stands for one that is not finite."""
    return math.nan if value is None else value


def _center_loss(loss: Mapping[str, Any], classes: int, dim: int) -> CenterLoss | None:
    if not loss["center"]:
        return None
    options = {key.removeprefix("center_"): value for key, value in loss.items() if key.startswith("center_")}
    return CenterLoss(classes, dim, **options)
