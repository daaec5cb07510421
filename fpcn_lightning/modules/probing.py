"""Fits a linear probe: logistic regression on the features of a frozen backbone, its strength chosen on validation."""

import hashlib
import logging
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from tqdm import tqdm

from fpcn_lightning.data.augment import Augmentation
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.feature_store import Features, stored_features
from fpcn_lightning.data.sampler import PADDING
from fpcn_lightning.models.network import average
from fpcn_lightning.models.normalisation import Normalisation
from fpcn_lightning.models.on_backbone import OnBackbone
from fpcn_lightning.modules.voting import first_rows, voted

logger = logging.getLogger(__name__)

STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)  # C of the regression, the inverse of its penalty
ITERATIONS = 200  # of the solver from one strength to the next; weak penalties need not converge to be compared


@dataclass(frozen=True)
class LinearProbe:
    """A linear classifier of pooled features.

    Attributes:
        weight: [C, D].
        bias: [C].
        strength: C of the logistic regression that was chosen, the inverse of its penalty.
        val: on the validation images.
    """

    weight: Tensor
    bias: Tensor
    strength: float
    val: "ProbeMetrics"

    def measured(self, images: "ViewFeatures") -> "ProbeMetrics":
        """The metrics on other images."""
        return _metrics(self.weight, self.bias, images)

    def put_into(self, head: nn.Linear) -> None:
        """Make `head` compute this classifier."""
        with torch.no_grad():
            head.weight.copy_(self.weight)
            head.bias.copy_(self.bias)


class ProbeMetrics(NamedTuple):
    """Mean cross entropy in nats, and share of correct predictions in 0..1."""

    loss: float
    accuracy: float


class ViewFeatures(NamedTuple):
    """The pooled features of N views; those of one image follow each other."""

    features: Features  # [N, D]
    positions: Tensor  # long [N], of the image in the index
    labels: Tensor  # long [N]


def fit_probe(network: OnBackbone, data: RockDataModule) -> LinearProbe:
    """Fit a probe to the backbone of a network, as it is now.

    Features are those of the views of validation and test and of their mirrored copies, and are stored in the cache
    for other runs. Of the strengths, that with the smallest validation loss is chosen: validation splits are often
    small, and the loss of a prediction says more than whether it is right.

    Args:
        network: a network on a backbone.
        data: after `setup`.
    """
    probe = fitted(features_of(network, data, "train"), features_of(network, data, "val"), len(data.classes))
    logger.info("linear probe: %.1f %% of the validation images are right", 100 * probe.val.accuracy)
    return probe


def fitted(train: ViewFeatures, val: ViewFeatures, classes: int, strengths: Iterable[float] = STRENGTHS) -> LinearProbe:
    """The best of the logistic regressions with these strengths on the loss of validation.

    Features are shifted by their mean and divided by one number, their common standard deviation: dividing each feature
    by its own lets those explode that hardly vary. Both are part of the returned weights.
    """
    mean = train.features.mean(axis=0)
    centred = train.features - mean
    scale = float(centred.std()) or 1.0
    scaled, labels, probes = centred / scale, train.labels.numpy(), []
    regression = LogisticRegression(max_iter=ITERATIONS, warm_start=True)  # from the weights of the stronger penalty
    for strength in strengths:
        regression.set_params(C=strength)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            regression.fit(scaled, labels)
        weight, bias = _of_all_classes(regression, classes)
        weight = weight / scale
        kept = torch.from_numpy(weight).float(), torch.from_numpy(bias - weight @ mean).float()
        probes.append(LinearProbe(*kept, strength, _metrics(*kept, val)))
    return min(probes, key=lambda probe: probe.val.loss)


def _of_all_classes(regression: LogisticRegression, classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights [C, D] and biases [C]; a regression of two classes has one row, which is their difference."""
    weight, bias = regression.coef_, regression.intercept_
    if len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    whole = np.zeros((classes, weight.shape[1])), np.full(classes, bias.min() - 10)  # a class without training images
    whole[0][regression.classes_], whole[1][regression.classes_] = weight, bias
    return whole


def _metrics(weight: Tensor, bias: Tensor, images: ViewFeatures) -> ProbeMetrics:
    rows = nn.functional.linear(torch.from_numpy(images.features), weight, bias)
    logits, labels = voted(images.positions, rows), images.labels[first_rows(images.positions)]
    loss = float(nn.functional.cross_entropy(logits, labels))
    return ProbeMetrics(loss, float((logits.argmax(1) == labels).float().mean()))


def features_of(network: OnBackbone, data: RockDataModule, split: Literal["train", "val", "test"]) -> ViewFeatures:
    """The features of a split, read from the cache if a run has stored them."""
    images = getattr(data.split, split)
    mirrored = split == "train" or data.augmentation.mirrored_views
    augmentation = replace(data.augmentation, mirrored_views=mirrored)
    key = {
        "backbone": weights_hash(network.backbone),
        "normalisation": [network.mean, network.std],
        "data": data.split.fingerprint,
        "split": split,
        **evaluation_cuts(data, images, augmentation),
    }
    features = stored_features(data.cache_directory, key, lambda: _computed(network, data, images, augmentation))
    positions = data.view_positions(images, augmentation)
    labels = torch.tensor([data.pictures.pictures[position].label for position in positions.tolist()])
    return ViewFeatures(features, positions, labels)


def evaluation_cuts(data: RockDataModule, images: Sequence[int], augmentation: Augmentation) -> dict[str, object]:
    """The sizes of images and the views cut from them: what changes views in training alone changes no feature."""
    shapes = [data.pictures.pictures[position].shape for position in images]
    square = augmentation.square
    # Stores of squashed images are named as before there were other fits.
    fit = {} if square is None or square.how == "squash" else {"fit": square.key}
    return {"shapes": shapes, "views": {str(shape): augmentation.evaluation_views(shape) for shape in shapes}, **fit}


def weights_hash(module: nn.Module) -> str:
    """SHA-256 of all parameters and buffers, by name."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@torch.inference_mode()
def _computed(network: OnBackbone, data: RockDataModule, images: Sequence[int], augmentation: Augmentation) -> Features:
    """Features [N, D] of the views of images, in evaluation mode."""
    training = network.training
    network.eval()
    device = next(network.parameters()).device
    normalise = Normalisation(network).to(device)
    found = []
    for batch in tqdm(data.every_view(images, augmentation), desc="features", disable=None, leave=False):
        views = batch.images[batch.positions != PADDING].to(device)
        maps = network.backbone(normalise(views).contiguous(memory_format=torch.channels_last)).last
        found.append(average(maps).float().cpu())
    network.train(training)
    return torch.cat(found).numpy()
