"""Photographs without a class: which are used, which form a step, and how they look."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.preparation import make_augmentation, make_data_config
from fpcn_lightning.data.sampler import BalancedBatches, Step
from fpcn_lightning.data.synthetic.dataset import make_synthetic
from fpcn_lightning.data.unlabelled import (
    LeftOut,
    UnlabelledImages,
    different,
    read_unlabelled,
    training_views,
)
from fpcn_lightning.errors import UserError

OPTIONS: dict[str, Any] = {"resize": 32, "crop": 24, "samples_per_class": 2, "batch_size": None}


@pytest.fixture(scope="module")
def further(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 18 photographs in folders whose names mean nothing."""
    return (
        make_synthetic(tmp_path_factory.mktemp("further") / "set", images_per_class=6, size=48, seed=5).parent
        / "images"
    )


def made(root: Path, place: Path, share: float = 0.5) -> tuple[RockDataModule, UnlabelledImages]:
    data = RockDataModule(root=root, **OPTIONS)
    data.setup()
    index, cache = read_unlabelled(str(place), data.config, data.augmentation)
    images, left_out = different(index, data.index.pictures)
    views = training_views(images, index, cache, data.config, data.augmentation, 0)
    return data, UnlabelledImages(images, views, left_out, share)


def test_their_share_of_a_batch_is_as_asked(rocks: Path, further: Path) -> None:
    for share, expected in ((0.5, 6), (0.25, 2), (0.75, 18), (0.01, 1)):
        assert made(rocks, further, share)[1].rows(6) == expected


def test_they_stand_behind_the_others_in_every_batch_and_look_as_in_their_own_views(rocks: Path, further: Path) -> None:
    data, unlabelled = made(rocks, further)
    data.unlabelled = unlabelled
    batches = list(data.train_dataloader())
    own: dict[int, Tensor] = {}
    for batch in unlabelled.views_of_epoch(0, 5, 0):
        own |= dict(zip(batch.positions.tolist(), batch.images, strict=True))
    first = len(data.index.pictures)
    for batch in batches:
        assert batch.labels[:6].tolist() == [0, 0, 1, 1, 2, 2]
        assert batch.labels[6:].tolist() == [-1] * 6
        for position, image in zip(batch.positions[6:].tolist(), batch.images[6:], strict=True):
            assert torch.equal(image, own[position - first])
    data.unlabelled = None
    for with_them, alone in zip(batches, data.train_dataloader(), strict=True):
        assert torch.equal(with_them.images[:6], alone.images)
        assert torch.equal(with_them.positions[:6], alone.positions)


def test_all_are_drawn_before_any_is_drawn_again(rocks: Path, further: Path) -> None:
    data, unlabelled = made(rocks, further)
    _, draw = unlabelled.joined(data.pictures, 6, 0, 0, 1)
    drawn = [image for step in range(3) for image in draw(step)]
    assert sorted(drawn) == list(range(len(data.pictures.pictures), len(data.pictures.pictures) + 18))


@pytest.mark.parametrize("ranks", [2, 4])
def test_processes_together_see_what_one_sees(rocks: Path, further: Path, ranks: int) -> None:
    data, unlabelled = made(rocks, further)
    _, whole = unlabelled.joined(data.pictures, 8, 3, 0, 1)
    parts = [unlabelled.joined(data.pictures, 8 // ranks, 3, rank, ranks)[1] for rank in range(ranks)]
    for step in range(7):
        assert [image for part in parts for image in part(step)] == list(whole(step))


def test_an_epoch_that_begins_with_a_later_step_draws_the_same() -> None:
    def drawn(first: int) -> list[Step]:
        sampler = BalancedBatches(
            [0, 0, 1, 1],
            range(4),
            classes=2,
            samples_per_class=1,
            epoch_length=5,
            seed=0,
            further=lambda step: [10 + step],
        )
        sampler.resumed = (1, first)
        sampler.set_epoch(1)
        return list(sampler)

    assert drawn(2) == drawn(0)[2:]
    assert [step.images[-1] for step in drawn(0)] == [15, 16, 17, 18, 19]


def test_equal_files_are_used_once_and_not_where_they_have_a_class(rocks: Path, tmp_path: Path) -> None:
    labelled = sorted((rocks.parent / "images").rglob("*.*"))[0]
    Image.new("RGB", (40, 40), "red").save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / f"known{labelled.suffix}").write_bytes(labelled.read_bytes())
    _, unlabelled = made(rocks, tmp_path)
    assert [image.name for image in unlabelled.images] == ["a.png"]
    reasons = {each.name: each.reason for each in unlabelled.left_out}
    assert reasons["b.png"] == "equal to a.png"
    assert reasons[f"known{labelled.suffix}"].startswith("equal to ")


def test_another_folder_of_the_same_photographs_is_the_same(rocks: Path, further: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(further.rglob("*.png")) or sorted(further.rglob("*.jpg"))):
        (tmp_path / f"{99 - number}{path.suffix}").write_bytes(path.read_bytes())
    assert made(rocks, tmp_path)[1].fingerprint == made(rocks, further)[1].fingerprint


def test_a_list_names_them_too(rocks: Path, further: Path, tmp_path: Path) -> None:
    paths = sorted(path for path in further.rglob("*.*") if path.suffix in (".png", ".jpg"))[:3]
    (tmp_path / "rest.csv").write_text("path\n" + "".join(f"{path}\n" for path in paths))
    assert len(made(rocks, tmp_path / "rest.csv")[1].images) == 3


def test_a_resumed_run_needs_the_same_ones(rocks: Path, further: Path, tmp_path: Path) -> None:
    _, unlabelled = made(rocks, further)
    unlabelled.write(tmp_path, resumed=False)
    unlabelled.write(tmp_path, resumed=True)
    fewer = UnlabelledImages(unlabelled.images[1:], unlabelled._pictures, [LeftOut("x.jpg", "why")], 0.5)
    with pytest.raises(UserError, match="have changed since"):
        fewer.write(tmp_path, resumed=True)
    fewer.write(tmp_path, resumed=False)
    assert "x.jpg,no,why" in (tmp_path / "unlabelled.csv").read_text()


@pytest.mark.parametrize(("place", "message"), [("missing", "does not exist"), ("empty", "holds no photographs")])
def test_a_place_without_photographs_is_an_error(place: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    config = make_data_config("unused", OPTIONS)
    with pytest.raises(UserError, match=message):
        read_unlabelled(str(tmp_path / place), config, make_augmentation(config))
