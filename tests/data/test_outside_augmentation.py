"""An augmentation from outside the package: one function, named in the config."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fpcn_lightning import build
from fpcn_lightning.config import DistillationConfig
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.logits_store import KEY_NAME
from fpcn_lightning.errors import UserError
from fpcn_lightning.modules.distillation import Distillation
from fpcn_lightning.modules.teacher import Ensemble
from fpcn_lightning.modules.teacher_logits import TeacherMember
from tests.conftest import composed
from tests.data.test_datamodule import batches, section

MODULE = """
def speckled(pixels, random, amount, channels=(0, 1, 2)):
    noise = random.normal(scale=amount, size=pixels.shape)
    noise[..., [channel for channel in range(3) if channel not in channels]] = 0
    return (pixels + noise).clip(0, 255).astype("uint8")


def without_generator(pixels):
    return pixels
"""
OPTIONS = ("crop", "random_crop", "horizontal_flip", "evaluation_crop", "brightness", "contrast", "resize")
SPECKLED = {"_target_": "augmentations_of_a_user.speckled", "amount": 9.0}


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "augmentations_of_a_user.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("augmentations_of_a_user", None)


def data_of(rocks: Path, *augmentations: dict[str, Any], trusted: bool = True) -> RockDataModule:
    config = section(rocks, augmentations=list(augmentations), brightness=0.2)
    data = build.datamodule(config, 0, trusted=trusted)
    data.setup()
    return data


def test_the_command_line_takes_a_list_of_them() -> None:
    words = ("data=folder", "data.root=PHOTOS", "backbone=resnet18")
    named = "data.augmentations=[{_target_: augmentations_of_a_user.speckled, amount: 9.0}]"
    assert build.config(composed(*words)).data.augmentations == []
    assert build.config(composed(*words, named)).data.augmentations == [SPECKLED]


def test_it_changes_the_views_of_training_after_ours(rocks: Path) -> None:
    plain, changed = data_of(rocks), data_of(rocks, SPECKLED)
    for epoch in range(2):
        pairs = zip(*(batches(data.train_dataloader(), epoch) for data in (plain, changed)), strict=True)
        for one, other in pairs:
            assert torch.equal(one.positions, other.positions)
            difference = other.images.int() - one.images.int()
            inside = (one.images > 40) & (one.images < 215)
            assert difference[inside].float().std() == pytest.approx(9, rel=0.05)
    for make in ("val_dataloader", "test_dataloader"):
        for one, other in zip(batches(getattr(plain, make)()), batches(getattr(changed, make)()), strict=True):
            assert torch.equal(one.images, other.images)


def test_its_draws_depend_on_seed_epoch_and_image_alone(rocks: Path) -> None:
    data, again = data_of(rocks, SPECKLED), data_of(rocks, SPECKLED)
    (first, *_), (same, *_), (next_epoch, *_) = (
        batches(loader, epoch)
        for loader, epoch in ((data.train_dataloader(), 1), (again.train_dataloader(), 1), (data.train_dataloader(), 2))
    )
    assert torch.equal(first.images, same.images)
    assert not torch.equal(first.images, next_epoch.images)


def test_two_of_them_are_applied_in_order(rocks: Path) -> None:
    red = {**SPECKLED, "channels": [0]}
    both, one = data_of(rocks, red, {**SPECKLED, "channels": [1]}), data_of(rocks, red)
    two, single, plain = (batches(data.train_dataloader())[0].images for data in (both, one, data_of(rocks)))
    assert torch.equal(two[:, 0], single[:, 0])
    assert not torch.equal(two[:, 1], plain[:, 1])
    assert torch.equal(two[:, 2], plain[:, 2])


def test_a_section_of_a_file_runs_no_code(rocks: Path, tmp_path: Path) -> None:
    """A checkpoint's section is data; only training needs its augmentations."""
    (tmp_path / "augmentations_of_a_user.py").write_text("raise AssertionError('imported')")
    plain, untrusted = data_of(rocks), data_of(rocks, SPECKLED, trusted=False)
    one, other = (batches(data.train_dataloader())[0].images for data in (plain, untrusted))
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"amount": 9.0}, r"data\.augmentations\.0\._target_ is not set"),
        ({**SPECKLED, "amuont": 1}, r"data\.augmentations\.0\.amuont is not an argument .*did you mean amount"),
        ({"_target_": "augmentations_of_a_user.speckled"}, r"data\.augmentations\.0: .*speckled .*'amount'"),
        ({"_target_": "augmentations_of_a_user.without_generator"}, r"data\.augmentations\.0: .*\(pixels, random\)"),
        (
            {"_target_": "augmentations_of_a_user.absent"},
            r"data\.augmentations\.0\._target_=.* cannot be imported",
        ),
    ],
)
def test_one_that_cannot_be_built_is_named(rocks: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        data_of(rocks, wrong)


def test_stores_of_logits_do_not_mix(rocks: Path) -> None:
    def store(*augmentations: dict[str, Any]) -> Path:
        distillation = object.__new__(Distillation)  # without a teacher, which the name does not need
        distillation.data = data_of(rocks, *augmentations)
        distillation.members = [TeacherMember(Ensemble([]), "a" * 64, {})]
        distillation.options = DistillationConfig()
        made = distillation.logits
        assert made is not None
        return made.folders[0]

    stores = [store(), store(SPECKLED), store({**SPECKLED, "amount": 8.0}), store(SPECKLED, SPECKLED)]
    assert len(set(stores)) == len(stores)
    assert store(SPECKLED) == stores[1]
    views = [json.loads((each / KEY_NAME).read_text())["views"] for each in stores]
    # Without further augmentations the key, and so the name, is that of earlier versions.
    assert views[0].keys() == views[1].keys() - {"augmentations"}
    assert views[1]["augmentations"] == [SPECKLED]
    assert views[0].keys() == {"rule", "seed", *OPTIONS}
