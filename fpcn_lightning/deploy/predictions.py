"""The predictions of a network, in any of its forms, for the pictures of one split."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.data.sampler import PADDING
from fpcn_lightning.deploy.wrapper import DeployedNetwork
from fpcn_lightning.modules.voting import averaged, first_rows

PredictViews = Callable[[NDArray[np.uint8]], Sequence[Any]]
"""Views, uint8 [B, S, S, 3], to `probabilities` [B, C], `score` [B] and any other outputs of a bundle's file."""


class PicturePredictions(NamedTuple):
    """The predictions for P whole pictures."""

    labels: Tensor  # long [P]
    probabilities: Tensor  # [P, C]
    score: Tensor  # [P]
    window_confusion: Tensor  # [C, C], of single views by true and predicted class; those of one picture weigh 1

    @property
    def accuracy(self) -> float:
        """Share of correct predictions, 0..1."""
        return float((self.probabilities.argmax(1) == self.labels).double().mean())

    def agreement(self, other: "PicturePredictions") -> float:
        """Share of pictures for which both predict the same class, 0..1."""
        return float((self.probabilities.argmax(1) == other.probabilities.argmax(1)).double().mean())

    def distance(self, other: "PicturePredictions") -> float:
        """The largest difference in any probability, 0..1."""
        return float((self.probabilities - other.probabilities).abs().max())

    def score_difference(self, other: "PicturePredictions") -> float:
        """The largest difference in a score as a share of the larger one, 0..1."""
        larger = torch.maximum(self.score.abs(), other.score.abs()).clamp_min(1e-6)
        return float(((self.score - other.score).abs() / larger).max())


class DeployedPredictions(NamedTuple):
    """The predictions of one form of the network; those for the test pictures only if they are evaluated."""

    val: PicturePredictions
    test: PicturePredictions | None


class ViewLogits(NamedTuple):
    """The logits and scores of PyTorch for N views; those of one picture follow each other."""

    positions: Tensor  # long [N], of the picture in the index
    labels: Tensor  # long [N]
    logits: Tensor  # [N, C]
    score: Tensor  # [N]

    def predictions(self, deployed: DeployedNetwork) -> PicturePredictions:
        """The predictions for whole pictures at the temperature of `deployed`."""
        return _by_picture(self.positions, self.labels, deployed.probabilities(self.logits), self.score)


def view_logits(deployed: DeployedNetwork, loader: Iterable[Batch], description: str) -> ViewLogits:
    """Run PyTorch over a split; `description` is shown next to the progress bar."""
    batches = []
    with torch.inference_mode():
        for batch in tqdm(loader, desc=description, disable=None, leave=False):
            views, positions, labels = _without_padding(batch)
            batches.append(ViewLogits(positions, labels, *deployed.logits_and_score(views)))
    return ViewLogits(*(torch.cat(column) for column in zip(*batches, strict=True)))


def picture_predictions(predict: PredictViews, loader: Iterable[Batch], description: str) -> PicturePredictions:
    """Run a file of a bundle over a split; `description` is shown next to the progress bar."""
    batches = []
    for batch in tqdm(loader, desc=description, disable=None, leave=False):
        views, positions, labels = _without_padding(batch)
        outputs = predict(views.numpy())
        batches.append((positions, labels, *map(torch.from_numpy, outputs[:2])))
    return _by_picture(*(torch.cat(column) for column in zip(*batches, strict=True)))


def view_statistics(deployed: DeployedNetwork, loader: Iterable[Batch], description: str) -> Tensor:
    """What the distance of `deployed` is fitted to, [N, D], of all views; `description` as above."""
    with torch.inference_mode():
        batches = tqdm(loader, desc=description, disable=None, leave=False)
        return torch.cat([deployed.statistics(_without_padding(batch)[0]) for batch in batches])


def _by_picture(positions: Tensor, labels: Tensor, probabilities: Tensor, score: Tensor) -> PicturePredictions:
    """The predictions for pictures from those for their views, given the picture of each view."""
    return PicturePredictions(
        labels[first_rows(positions)],
        averaged(positions, probabilities),
        averaged(positions, score),
        _window_confusion(positions, labels, probabilities),
    )


def _window_confusion(positions: Tensor, labels: Tensor, probabilities: Tensor) -> Tensor:
    classes = probabilities.shape[1]
    predicted = averaged(positions, functional.one_hot(probabilities.argmax(1), classes).double())
    confusion = torch.zeros(classes, classes, dtype=torch.float64)
    return confusion.index_add_(0, labels[first_rows(positions)], predicted)


def _without_padding(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Views [B, S, S, 3], positions and labels of a batch without its padding."""
    real = batch.positions != PADDING
    return batch.images[real].permute(0, 2, 3, 1).contiguous(), batch.positions[real], batch.labels[real]
