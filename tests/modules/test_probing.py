from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from fpcn_lightning import build
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.models.probe import Probe
from fpcn_lightning.modules import probing
from fpcn_lightning.modules.probing import ViewFeatures, features_of, fit_probe, fitted
from tests.conftest import config_of


def clusters(classes: int, images: int, views: int = 2, seed: int = 0) -> ViewFeatures:
    """Features around a centre for each class, `views` similar rows an image, one dimension almost constant."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(0, 1, (classes, 6))
    labels = np.repeat(np.arange(images) % classes, views)
    rows = centres[labels] + random.normal(0, 0.5, (len(labels), 6))
    rows[:, 5] = 3 + 1e-7 * random.normal(size=len(labels))
    positions = torch.arange(images).repeat_interleave(views)
    return ViewFeatures(rows.astype(np.float32), positions, torch.from_numpy(labels))


@pytest.mark.parametrize("classes", [2, 5])
def test_the_folded_head_computes_the_regression(classes: int) -> None:
    train, val = clusters(classes, 60), clusters(classes, 30, seed=1)
    probe = fitted(train, val, classes, [0.1])
    mean, scale = train.features.mean(0), (train.features - train.features.mean(0)).std()
    reference = LogisticRegression(C=0.1, max_iter=1000).fit((train.features - mean) / scale, train.labels)
    expected = reference.predict_proba((val.features - mean) / scale)
    head = nn.Linear(6, classes)
    probe.put_into(head)
    found = head(torch.from_numpy(val.features)).softmax(1)
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=2e-3)
    # One prediction an image: the mean of those of its views.
    means = expected.reshape(30, 2, classes).mean(1)
    assert probe.val.accuracy == pytest.approx(np.mean(means.argmax(1) == val.labels[::2].numpy()))


def test_the_strength_with_the_smallest_validation_loss_is_chosen() -> None:
    train, val = clusters(4, 40), clusters(4, 40, seed=1)
    each = {strength: fitted(train, val, 4, [strength]).val.loss for strength in probing.STRENGTHS}
    assert fitted(train, val, 4).strength == min(each, key=lambda strength: each[strength])
    assert len(set(each.values())) == len(each)


def test_a_class_without_training_images_is_not_predicted() -> None:
    train, val = clusters(3, 30), clusters(3, 30, seed=1)
    probe = fitted(train, val, 4)
    logits = torch.from_numpy(val.features) @ probe.weight.T + probe.bias
    assert 3 not in logits.argmax(1)


@pytest.fixture
def data(rocks: Path) -> RockDataModule:
    settings = config_of("data=folder", f"data.root={rocks}", "data.resize=64", "data.crop=48")
    made = build.datamodule(settings.data, 0)
    made.setup()
    return made


def test_features_are_those_of_both_mirror_images(data: RockDataModule) -> None:
    network = Probe(3, 48, "test_resnet", pretrained=False)
    found = features_of(network, data, "train")
    position = data.split.train[3]
    view = data.augmentation.evaluation_views((64, 64))[0]
    pixels = data.augmentation.cut(data.pictures.whole(position), view)
    mean, std = torch.tensor(network.mean).view(1, 3, 1, 1), torch.tensor(network.std).view(1, 3, 1, 1)
    both = torch.from_numpy(np.stack([pixels, pixels[:, ::-1]])).permute(0, 3, 1, 2).float() / 255
    expected = network.eval().features((both - mean) / std)
    torch.testing.assert_close(torch.from_numpy(found.features[6:8]), expected.detach(), atol=1e-4, rtol=1e-4)
    assert found.positions[6:8].tolist() == [position] * 2
    assert len(found.features) == 2 * len(data.split.train)


def test_features_are_computed_once_for_all_seeds(data: RockDataModule, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = Probe(3, 48, "test_resnet", pretrained=False)
    first = fit_probe(network, data)
    monkeypatch.setattr(probing, "_computed", lambda *_: pytest.fail("computed again"))
    again = fit_probe(network, data)
    assert torch.equal(first.weight, again.weight)
    monkeypatch.undo()
    other = Probe(3, 48, "test_resnet", pretrained=False)  # other random weights, other features
    assert not np.array_equal(features_of(other, data, "val").features, features_of(network, data, "val").features)


def test_what_changes_training_views_alone_needs_no_other_features(
    rocks: Path, data: RockDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = Probe(3, 48, "test_resnet", pretrained=False)
    expected = features_of(network, data, "train")
    words = ("data=folder", f"data.root={rocks}", "data.resize=64", "data.crop=48")
    varied = ("data.brightness=0.3", "data.horizontal_flip=0", "data.quarter_turns=true", "data.mirrored_views=true")
    other, smaller = (
        build.datamodule(config_of(*words, *more).data, 0) for more in (varied, ("data.evaluation_crop=40",))
    )
    other.setup()
    smaller.setup()
    assert not np.array_equal(features_of(network, smaller, "train").features, expected.features)
    monkeypatch.setattr(probing, "_computed", lambda *_: pytest.fail("computed again"))
    assert np.array_equal(features_of(network, other, "train").features, expected.features)


def test_a_damaged_file_of_features_is_computed_again(data: RockDataModule) -> None:
    network = Probe(3, 48, "test_resnet", pretrained=False)
    first = features_of(network, data, "val").features
    assert data.cache_directory is not None
    [stored] = data.cache_directory.glob("features-*.npy")
    stored.write_bytes(stored.read_bytes()[:-20])
    assert np.array_equal(features_of(network, data, "val").features, first)
    assert np.array_equal(np.load(stored), first)
