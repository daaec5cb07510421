"""The views in a manifest: how photographs are prepared, and their scale."""

from pathlib import Path

import pytest

from fpcn_lightning.data.augment import Augmentation, Squashing
from fpcn_lightning.data.squares import Cropping, Letterboxing
from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.deploy.manifests import describe_views, scale_of_views
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import read_bundle
from tests.field.conftest import SIDE, write_bundle


@pytest.mark.parametrize(
    "views",
    [
        Squashing(crop=SIDE, resize=40, mirrored_views=True),
        Cropping(crop=SIDE, resize=40, mirrored_views=True),
        Letterboxing(crop=SIDE, resize=40, fill=(1, 2, 3)),
        Tiling(crop=SIDE, tile_scale=0.5, max_tiles=3),
    ],
    ids=lambda views: type(views).__name__,
)
def test_a_bundle_prepares_photographs_as_the_training_did(tmp_path: Path, views: Augmentation) -> None:
    assert read_bundle(write_bundle(tmp_path / "bundle", views=describe_views(views))).views == views


def test_the_scale_follows_from_the_preparation_of_photographs() -> None:
    assert scale_of_views(Squashing(crop=96, resize=100), [(400, 400)], 1.5) == pytest.approx(6)
    assert scale_of_views(Tiling(crop=96, tile_scale=0.5), [(400, 900), (800, 600)], 1.5) == pytest.approx(3)
    assert scale_of_views(Tiling(crop=96), [(400, 900)], None) is None
    assert scale_of_views(Cropping(crop=96, resize=100), [(400, 900), (800, 400)], 1.5) == pytest.approx(6)
    assert scale_of_views(Letterboxing(crop=96, resize=100), [(400, 800), (800, 300)], 1.5) == pytest.approx(
        12, rel=0.01
    )


@pytest.mark.parametrize(
    ("shapes", "views"),
    [
        ([(400, 600)], Squashing(crop=96, resize=100)),
        ([(400, 400), (500, 500)], Squashing(crop=96, resize=100)),
        ([(400, 400), (48, 48)], Tiling(crop=96)),
        ([(400, 600), (500, 600)], Cropping(crop=96, resize=100)),
    ],
)
def test_without_one_scale_none_is_written(shapes: list[tuple[int, int]], views: Augmentation) -> None:
    with pytest.raises(UserError, match=r"export\.micrometres_per_pixel=1\.5: .* no one scale"):
        scale_of_views(views, shapes, 1.5)
