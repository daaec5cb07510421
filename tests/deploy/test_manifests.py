"""The scale of the views in a manifest."""

import pytest

from fpcn_lightning.data.augment import Squashing
from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.deploy.manifests import scale_of_views
from fpcn_lightning.errors import UserError


def test_the_scale_follows_from_the_preparation_of_photographs() -> None:
    assert scale_of_views(Squashing(crop=96, resize=100), [(400, 400)], 1.5) == pytest.approx(6)
    assert scale_of_views(Tiling(crop=96, tile_scale=0.5), [(400, 900), (800, 600)], 1.5) == pytest.approx(3)
    assert scale_of_views(Tiling(crop=96), [(400, 900)], None) is None


@pytest.mark.parametrize(
    ("shapes", "views"),
    [
        ([(400, 600)], Squashing(crop=96, resize=100)),
        ([(400, 400), (500, 500)], Squashing(crop=96, resize=100)),
        ([(400, 400), (48, 48)], Tiling(crop=96)),
    ],
)
def test_without_one_scale_none_is_written(shapes: list[tuple[int, int]], views: Squashing | Tiling) -> None:
    with pytest.raises(UserError, match=r"export\.micrometres_per_pixel=1\.5: .* no one scale"):
        scale_of_views(views, shapes, 1.5)
