"""`data.fit`: what training, validation, figures and masks see of images that are no squares."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fpcn_lightning.data.augment import Squashing
from fpcn_lightning.data.images import SquareFit, read_resized
from fpcn_lightning.data.masks import read_mask
from fpcn_lightning.data.sampler import PADDING
from fpcn_lightning.data.squares import Cropping, Letterboxing
from fpcn_lightning.errors import UserError
from fpcn_lightning.models.probe import Probe
from fpcn_lightning.modules.probing import features_of
from tests.data.test_datamodule import RESIZE, batches, noise, prepared, rows

FITS = ("squash", "crop", "letterbox")
STILL = {"random_crop": False, "horizontal_flip": 0.0}
KINDS = {"squash": Squashing, "crop": Cropping, "letterbox": Letterboxing}


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """Two classes of images of 60 x 30 pixels."""
    for number in range(12):
        noise(tmp_path / "wide" / ("basalt", "tuff")[number % 2] / f"{number:02}.png", number, (60, 30))
    return tmp_path / "wide"


@pytest.mark.parametrize("fit", FITS)
def test_training_and_validation_see_the_same_pixels(wide: Path, fit: str) -> None:
    data = prepared(wide, fit=fit, crop=RESIZE, **STILL)
    assert type(data.augmentation) is KINDS[fit]
    expected = [
        torch.from_numpy(read_resized(picture.path, SquareFit(RESIZE, fit))).permute(2, 0, 1)  # type: ignore[arg-type]
        for picture in data.index.pictures
    ]
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        seen = [row for batch in batches(loader) for row in rows(batch) if row[2] != PADDING]
        assert seen
        for image, _, position in seen:
            assert torch.equal(image, expected[position])


def test_each_fit_has_a_cache_of_its_own(wide: Path) -> None:
    """All use the cache of one folder, one after another."""
    seen = [prepared(wide, fit=fit, **further).pictures.whole(0) for fit, further in [
        ("squash", {}), ("crop", {}), ("letterbox", {}), ("letterbox", {"fill": [0, 0, 0]}),
    ]]  # fmt: skip
    assert all((one != other).any() for at, one in enumerate(seen) for other in seen[:at])


def test_crops_of_training_come_from_the_square(wide: Path) -> None:
    data = prepared(wide, fit="letterbox", fill=[255, 0, 255], horizontal_flip=0.0)
    for epoch in range(3):
        for batch in batches(data.train_dataloader(), epoch):
            for image, _, position in rows(batch):
                square = torch.from_numpy(data.pictures.whole(position).copy()).permute(2, 0, 1)
                windows = square.unfold(1, 16, 1).unfold(2, 16, 1)  # [3, y, x, 16, 16]
                assert (windows == image[:, None, None]).flatten(3).all(3).all(0).any()


@pytest.mark.parametrize(("fit", "size"), [("squash", (64, 32)), ("crop", (64, 64)), ("letterbox", (64, 32))])
def test_a_thumbnail_shows_what_views_show_in_its_own_proportions(wide: Path, fit: str, size: tuple[int, int]) -> None:
    coarse = np.random.default_rng(4).integers(0, 256, (3, 6, 3), np.uint8)
    smooth = Image.fromarray(coarse).resize((60, 30), Image.Resampling.BICUBIC)
    smooth.save(wide / "basalt" / "00.png")
    thumbnail = prepared(wide, fit=fit, fill=[255, 0, 255]).thumbnail(0, 64)
    assert thumbnail.size == size
    shown = smooth.crop((15, 0, 45, 30)) if fit == "crop" else smooth
    expected = np.asarray(shown.resize(size, Image.Resampling.BILINEAR), float)
    assert np.abs(np.asarray(thumbnail, float) - expected).mean() < 8


def test_a_mask_is_resized_as_its_image(tmp_path: Path) -> None:
    mask = np.zeros((30, 60), np.uint8)
    mask[:, 45:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png", SquareFit(24)).sum() == 24 * 6
    assert not read_mask(tmp_path / "mask.png", SquareFit(24, "crop")).any()
    in_letterbox = read_mask(tmp_path / "mask.png", SquareFit(24, "letterbox", (255, 255, 255)))
    expected = np.zeros((24, 24), bool)
    expected[6:18, 18:] = True
    np.testing.assert_array_equal(in_letterbox, expected)


def test_stored_features_of_another_fit_are_not_used(wide: Path) -> None:
    torch.manual_seed(0)
    network = Probe(2, 32, "test_resnet", pretrained=False).eval()
    found = [features_of(network, prepared(wide, fit=fit, resize=32, crop=32), "train").features for fit in FITS]
    assert all(np.abs(one - other).max() > 1e-6 for at, one in enumerate(found) for other in found[:at])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fit": "stretch"}, r"data\.fit=stretch is unknown: choose one of squash, crop, letterbox"),
        ({"fit": "letterbox", "fill": [0, 0]}, r"data\.fill=\[0, 0\] must be a colour"),
        ({"fit": "letterbox", "fill": [0, 0, 256]}, r"data\.fill=\[0, 0, 256\] must be a colour"),
        ({"fit": "crop", "crop": RESIZE + 1}, r"data\.crop=25 must be in 1\.\.data\.resize=24"),
    ],
)
def test_a_wrong_fit_is_one_sentence(wide: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepared(wide, **changes)
