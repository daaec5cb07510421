"""Images per second of a run, in training and at inference, on its own device."""

import time
from typing import Any

import lightning.pytorch as lightning
import torch

from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.data.sampler import PADDING
from fpcn_lightning.runs.results import ImagesPerSecond


class _Clock:
    """Images and seconds measured so far; the device is synchronised whenever the time is taken."""

    def __init__(self) -> None:
        self.pictures, self._seconds = 0, 0.0
        self._began = 0.0

    def start(self) -> None:
        self._began = _now()

    def stop(self, pictures: int) -> None:
        self._seconds += _now() - self._began
        self.pictures += pictures

    def rate(self, processes: int) -> float | None:
        return self.pictures * processes / self._seconds if self.pictures else None


class Throughput(lightning.Callback):
    """Measures the run with its precision, loader and device; a GPU is synchronised before and after each measurement.

    Training is timed from the end of the first batch of each epoch to the end of the last, waiting for images included.
    Inference is timed batch by batch in the test, without the loader. The first batch is excluded if there are others,
    because libraries choose their algorithms in it. Both are rates of all processes together.
    """

    def __init__(self) -> None:
        self._training, self._inference, self._first = _Clock(), _Clock(), _Clock()
        self._trained, self._processes = 0, 1
        self._within_epoch = False

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:  # noqa: ARG002 - Lightning's signature
        """Store the number of processes."""
        self._processes = trainer.world_size

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002 - Lightning's signature
        outputs: Any,  # noqa: ARG002
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Start the clock after the first batch of an epoch, or of what is left of it; stop it after the last."""
        first, self._within_epoch = batch_idx == 0 or not self._within_epoch, True
        if first:
            self._trained = 0
            self._training.start()
            return
        self._trained += len(batch.labels)
        if batch_idx + 1 == trainer.num_training_batches:
            self._training.stop(self._trained)

    def on_test_batch_start(
        self,
        trainer: lightning.Trainer,  # noqa: ARG002 - Lightning's signature
        pl_module: lightning.LightningModule,  # noqa: ARG002
        batch: Batch,  # noqa: ARG002
        batch_idx: int,
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Start the clock."""
        (self._inference if batch_idx else self._first).start()

    def on_test_batch_end(
        self,
        trainer: lightning.Trainer,  # noqa: ARG002 - Lightning's signature
        pl_module: lightning.LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ARG002
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Stop the clock; padding is not counted, and several tiles of one image count as one image."""
        pictures = len(set(batch.positions.tolist()) - {PADDING})
        (self._inference if batch_idx else self._first).stop(pictures)

    @property
    def images_per_second(self) -> ImagesPerSecond:
        """Both rates; None where nothing was measured."""
        inference = self._inference if self._inference.pictures else self._first
        return {"training": self._training.rate(self._processes), "inference": inference.rate(self._processes)}


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
