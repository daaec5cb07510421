"""The Lightning module: the terms of the loss and their weights, the optimiser, and the metrics."""

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

from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.data.sampler import PADDING
from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.term import LossTerm
from fpcn_lightning.losses.views import Views
from fpcn_lightning.models.network import Network, NetworkOutput
from fpcn_lightning.models.normalisation import Normalisation
from fpcn_lightning.modules.checkpoints import RECORD, CheckpointRecord
from fpcn_lightning.modules.freezing import Freezing
from fpcn_lightning.modules.metrics import summarise
from fpcn_lightning.modules.mixing import Mixing
from fpcn_lightning.modules.optimisation import Optimisation
from fpcn_lightning.modules.voting import averaged, first_rows, voted
from fpcn_lightning.runs.results import Metrics

STEP_STREAM = 3  # keeps dropout's draws apart from those of sampler and augmentation under the same seed


class SplitPredictions(NamedTuple):
    """The predictions of one split in the configured inference mode; N images, C classes, on the CPU."""

    positions: Tensor  # long [N], of the images in the index
    probabilities: Tensor  # [N, C]
    object_ratio: Tensor | None  # [N] share of the image that is object, 0..1, where the network locates it


class Classifier(lightning.LightningModule):
    """Trains any network that implements `fpcn_lightning.models.network.Network`.

    Args:
        network: the network to train or to evaluate.
        terms: the terms of the loss by name; none are needed for evaluation.
        optimisation: how it is trained; None for evaluation.
        seed: of the run; with epoch, batch and rank it determines every dropout mask, so that a resumed run draws the
            same ones.
        image_size: height and width of the images, pixels.
        record: saved in every checkpoint: what is needed to build the network again.
        channels_last: use the memory layout in which convolutions are fastest.
        mixing: mixes the images of a training step; None does not.
    """

    def __init__(
        self,
        network: Network,
        *,
        terms: Mapping[str, LossTerm] | None = None,
        optimisation: Optimisation | None = None,
        seed: int,
        image_size: int,
        record: CheckpointRecord,
        channels_last: bool = True,
        mixing: Mixing | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self._mixing = mixing
        self.terms = nn.ModuleDict(dict(terms or {}))
        self.weights = {name: term.weight for name, term in (terms or {}).items()}
        self._optimisation, self.seed, self.channels_last = optimisation, seed, channels_last
        self.record = record
        self._normalise = Normalisation(network)
        self.example_input_array = torch.zeros(1, 3, image_size, image_size, dtype=torch.uint8)  # for the summary
        self._freezing = None if optimisation is None else Freezing(network, optimisation.training)
        self.measured: dict[str, dict[str, Metrics]] = {"val": {}, "test": {}}
        self.predictions: dict[str, SplitPredictions] = {}
        self._kept: list[tuple[Tensor, Tensor, NetworkOutput]] = []

    def normalised(self, images: Tensor) -> Tensor:
        """Images [B, 3, S, S], values 0..255, as the network expects them."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        scaled: Tensor = self._normalise(images)
        return scaled.contiguous(memory_format=layout)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C] of uint8 images [B, 3, S, S]."""
        logits: Tensor = self.network(self.normalised(images))
        return logits

    def setup(self, stage: str) -> None:  # noqa: ARG002 - Lightning's signature
        """Convert the weights to the memory layout in which convolutions are fastest."""
        if self.channels_last:
            self.network.to(memory_format=torch.channels_last)

    def on_train_epoch_start(self) -> None:
        """Freeze the trunk in the first epochs; when it is unfrozen, restart the learning rates."""
        self.prepare_epoch()
        if self.current_epoch == self.optimisation.training.freeze_epochs > 0:
            self._restart()

    def prepare_epoch(self) -> None:
        """Set what an epoch needs and no checkpoint holds: which parameters are frozen, and the modes of modules."""
        assert self._freezing is not None
        self._freezing.begin_epoch(self.current_epoch)
        self.network.begin_epoch(self.current_epoch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Dropout is a function of (seed, epoch, batch, rank), not of what was drawn before."""
        key = np.random.SeedSequence([STEP_STREAM, self.seed, self.current_epoch, batch_idx, self.global_rank])
        torch.manual_seed(int(key.generate_state(1, np.uint64)[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        """The weighted sum of the terms of the total loss."""
        if self._mixing is not None:
            batch = _shuffled(batch)  # it is sorted by class: an image would mostly be mixed with one of its own
        images = self.training_images(batch)
        views = self._views(images, batch.labels)
        labelled, labels = self.labelled(views, batch.labels)
        terms = {**self.loss_terms(labelled, labels), **self.further_terms(views, batch, images)}
        total = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        size = len(labels)
        accuracy = (labelled.own_logits.argmax(1) == labels).float().mean()
        self.log("train/loss", total, prog_bar=True, on_step=True, on_epoch=True, batch_size=size)
        self.log("train/accuracy", accuracy, prog_bar=True, on_step=False, on_epoch=True, batch_size=size)
        parts = {f"train/loss_{name}": term for name, term in terms.items()}
        if views.object_ratio is not None:
            parts["train/object_ratio"] = views.object_ratio.mean()
        self.log_dict(parts, on_step=False, on_epoch=True, batch_size=size)
        return total

    def _views(self, images: Tensor, labels: Tensor) -> Views:
        """The views of images [B, 3, S, S], values 0..255, mixed if the training mixes images."""
        normalised = self.normalised(images)
        if self._mixing is None:
            return self.network.views(normalised, labels)
        mixed, targets = self._mixing(normalised, labels)
        return self.network.views(mixed, labels)._replace(targets=targets)

    def labelled(self, views: Views, labels: Tensor) -> tuple[Views, Tensor]:
        """The views and labels of the images that have a class: here of all of them."""
        return views, labels

    def training_images(self, batch: Batch) -> Tensor:
        """The images [B, 3, S, S] of a training step, values 0..255."""
        return batch.images

    def further_terms(self, views: Views, batch: Batch, images: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """Terms by name that need more than views and labels, unweighted; their weights are in `weights`."""
        return {}

    def loss_terms(self, views: Views, labels: Tensor) -> dict[str, Tensor]:
        """The terms by name, unweighted.

        Raises:
            UserError: the network does not return the input of a term, such as scores to rank.
        """
        return {name: term(views, labels) for name, term in self.terms.items()}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Keep the outputs until the end of the epoch."""
        self._keep(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Keep the outputs until the end of the epoch."""
        self._keep(batch)

    def on_validation_epoch_start(self) -> None:
        """Drop the outputs of an interrupted validation."""
        self._kept.clear()

    def on_validation_epoch_end(self) -> None:
        """Measure, and log the metrics of the configured inference mode."""
        self._measure("val")

    def on_test_epoch_end(self) -> None:
        """Measure, and log the metrics of the configured inference mode."""
        self._measure("test")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser over trunk and head, and its learning-rate schedule."""
        optimizer = self.optimisation.make_optimizer(self.network, self.further_parameters())
        steps, epochs = int(self.trainer.estimated_stepping_batches), self.trainer.max_epochs or 1
        scheduler = self.optimisation.make_scheduler(optimizer, steps, epochs)
        return optimizer if scheduler is None else {"optimizer": optimizer, "lr_scheduler": scheduler}

    def further_parameters(self) -> Iterable[nn.Parameter]:
        """What is trained besides the network."""
        return self.terms.parameters()

    @property
    def optimisation(self) -> Optimisation:
        """How the network is trained."""
        if self._optimisation is None:
            raise RuntimeError("this module was made for evaluation: give it an optimisation to train it")
        return self._optimisation

    def _restart(self) -> None:
        """After unfreezing: set the learning rates of the second step; load the best epoch if configured."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        if self.optimisation.training.unfreeze_from_best:
            self._load_best()
            optimizer.state.clear()
        if self.optimisation.restarts_when_unfrozen:
            self.optimisation.set_rates(optimizer, self.network, frozen=False)
            self.optimisation.restart(self.lr_schedulers(), optimizer)

    def _load_best(self) -> None:
        checkpoint = self.trainer.checkpoint_callback
        path = checkpoint.best_model_path if isinstance(checkpoint, ModelCheckpoint) else ""
        if not path:
            raise UserError(
                "training.unfreeze_from_best needs callbacks.best, the callback that saves the best epoch: keep it, or "
                "set training.unfreeze_from_best=false."
            )
        self.load_state_dict(torch.load(path, map_location=self.device, weights_only=True)["state_dict"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the record of the network with its weights, as plain data."""
        checkpoint[RECORD] = self.record.plain()

    def _keep(self, batch: Batch) -> None:
        predictions = self.network.predict(self.normalised(batch.images))
        logits = {name: values.float() for name, values in predictions.logits.items()}
        self._kept.append((batch.positions, batch.labels, NetworkOutput(logits, object_ratio=predictions.object_ratio)))

    def _measure(self, split: str) -> None:
        kept, self._kept = self._kept, []
        positions = self._gathered(torch.cat([item[0] for item in kept]))
        labels = self._gathered(torch.cat([item[1] for item in kept]))
        real = positions != PADDING
        positions, labels = positions[real], labels[real]
        first = first_rows(positions)
        for inference_mode in self.network.inference_modes:
            rows = self._gathered(torch.cat([item[2].logits[inference_mode] for item in kept]))[real]
            logits = voted(positions, rows)
            self.measured[split][inference_mode] = summarise(logits, labels[first])
            if inference_mode == self.network.inference_mode:
                ratios = self._object_ratios([item[2] for item in kept], real, positions)
                self.predictions[split] = SplitPredictions(positions[first].cpu(), logits.softmax(1).cpu(), ratios)
        if split == "val" and self.trainer.state.fn != TrainerFn.FITTING:
            return  # the best epoch is validated once more after training; the learning curve has it already
        chosen = self.measured[split][self.network.inference_mode]
        values = {f"{split}/{name}": _number(chosen[name]) for name in ("accuracy", "macro_f1", "loss")}
        self.log_dict(values, prog_bar=split == "val")

    def _object_ratios(self, kept: list[NetworkOutput], real: Tensor, positions: Tensor) -> Tensor | None:
        """The share of object located in the images at `positions` of the `real` rows, if the network locates it."""
        ratios = [predictions.object_ratio for predictions in kept if predictions.object_ratio is not None]
        return averaged(positions, self._gathered(torch.cat(ratios))[real].float()).cpu() if ratios else None

    def _gathered(self, values: Tensor) -> Tensor:
        """The rows of all processes; every process has equally many."""
        if self.trainer.world_size == 1:
            return values
        together: Tensor = self.all_gather(values)  # type: ignore[assignment]
        return together.flatten(0, 1)


def _shuffled(batch: Batch) -> Batch:
    """The rows of a batch in an order drawn from torch's generator."""
    order = torch.randperm(len(batch.labels)).to(batch.labels.device, non_blocking=True)
    return Batch(batch.images[order], batch.labels[order], batch.positions[order])


def _number(value: float | None) -> float:
    """A metric of a record, in which None stands for NaN or infinite."""
    return math.nan if value is None else value
