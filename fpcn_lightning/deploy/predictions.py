"""What a network, in any of its forms, says of the pictures of one side of the split."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.data.sampler import PADDING
from fpcn_lightning.deploy.wrapper import Deployed
from fpcn_lightning.modules.voting import averaged, first_rows

Ask = Callable[[NDArray[np.uint8]], Sequence[Any]]
"""Views, uint8 [B, S, S, 3], to `probabilities` [B, C], `score` [B] and whatever else a bundle's file gives."""


class Side(NamedTuple):
    """The answers to P whole pictures."""

    labels: Tensor  # long [P]
    probabilities: Tensor  # [P, C]
    score: Tensor  # [P]

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0..1."""
        return float((self.probabilities.argmax(1) == self.labels).double().mean())

    def agreement(self, other: "Side") -> float:
        """Share of pictures that both give the same class, 0..1."""
        return float((self.probabilities.argmax(1) == other.probabilities.argmax(1)).double().mean())

    def distance(self, other: "Side") -> float:
        """The largest difference in any probability, 0..1."""
        return float((self.probabilities - other.probabilities).abs().max())


class Both(NamedTuple):
    """What one form of the network says; the test side only where it is looked at."""

    validation: Side
    test: Side | None


class Rows(NamedTuple):
    """What PyTorch says of N views; those of one picture follow each other."""

    positions: Tensor  # long [N], of the picture in the index
    labels: Tensor  # long [N]
    logits: Tensor  # [N, C]

    def side(self, deployed: Deployed) -> Side:
        """The answers to whole pictures at the temperature of `deployed`."""
        return _voted(self.positions, self.labels, *deployed.predictions(self.logits))


def logits_of(deployed: Deployed, loader: Iterable[Batch], what: str) -> Rows:
    """Run PyTorch over a side of the split; `what` names it beside the progress bar."""
    kept = []
    with torch.inference_mode():
        for batch in tqdm(loader, desc=what, leave=False):
            views, positions, labels = _real(batch)
            kept.append(Rows(positions, labels, deployed.logits(views)))
    return Rows(*(torch.cat(column) for column in zip(*kept, strict=True)))


def side_of(ask: Ask, loader: Iterable[Batch], what: str) -> Side:
    """Run a file of a bundle over a side of the split; `what` names them beside the progress bar."""
    kept = []
    for batch in tqdm(loader, desc=what, leave=False):
        views, positions, labels = _real(batch)
        predictions = ask(views.numpy())
        kept.append((positions, labels, *map(torch.from_numpy, predictions[:2])))
    return _voted(*(torch.cat(column) for column in zip(*kept, strict=True)))


def _voted(positions: Tensor, labels: Tensor, probabilities: Tensor, score: Tensor) -> Side:
    """The answers to pictures out of those to their views, by which picture each view is of."""
    return Side(labels[first_rows(positions)], averaged(positions, probabilities), averaged(positions, score))


def _real(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Views [B, S, S, 3], positions and labels of a batch without its padding."""
    real = batch.positions != PADDING
    return batch.images[real].permute(0, 2, 3, 1).contiguous(), batch.positions[real], batch.labels[real]
