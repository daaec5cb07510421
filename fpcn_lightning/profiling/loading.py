"""How many images a second one core loads: this package, PIL with torchvision, and a bare memory map."""

import csv
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fpcn_lightning.config import CacheConfig, DataConfig, SplitConfig
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.scan import reading_processes
from fpcn_lightning.models.backbones import IMAGENET_MEAN, IMAGENET_STD
from fpcn_lightning.profiling.results import BenchmarkRow, rates
from fpcn_lightning.profiling.rounds import interleaved, threads

PART = "loader"
UNIT = "images/s of one core"
COLD, CACHED = "this package, first time", "this package, cached"
_FEW = 4  # images of a class, of which each split needs one
_LEAST_SHARE = 0.01  # of validation and test, which are not loaded
PIL, MAP = "PIL, torchvision v2 transforms", "memory map, crop and flip"


@dataclass(frozen=True)
class SampledFile:
    """A file and its class."""

    path: Path
    label: str


def sampled(data: RockDataModule, count: int) -> list[SampledFile]:
    """So many of the training images of a data module, evenly chosen, at least two of each class where it has them."""
    chosen: list[SampledFile] = []
    known = [data.index.pictures[position] for position in data.split.train]
    labels = sorted({item.label for item in known})
    for label in labels:
        own = [item for item in known if item.label == label]
        wanted = min(len(own), max(2, count // len(labels)))
        places = np.linspace(0, len(own) - 1, wanted).round().astype(int)
        chosen += [SampledFile(own[place].path, label) for place in places]
    return chosen


def measure_loading(config: DataConfig, photographs: Sequence[SampledFile], rounds: int) -> Iterator[BenchmarkRow]:
    """Images per second of one core, first time and cached, next to PIL and to a memory map.

    Batches of this package are bytes: normalisation is part of the training step, on its device. Those of PIL and
    torchvision are normalised, as their users do it.

    Args:
        config: the section of the data; sizes and augmentation are used.
        photographs: that are loaded.
        rounds: each loads all of them in each form.
    """
    with tempfile.TemporaryDirectory() as name, threads(1):
        folder = Path(name)
        numbers = iter(range(1_000_000))
        count = len(photographs)

        few = [each for label in sorted(_labels(photographs)) for each in _of(photographs, label)[:_FEW]]

        def first_time(read: Sequence[SampledFile]) -> None:
            _ready(config, read, folder / str(next(numbers)))

        forms: dict[str, Callable[[], object]] = {
            PIL: partial(_by_pil, config, photographs),
            COLD: partial(first_time, photographs),
            "start": partial(first_time, few),
        }
        cold = interleaved(forms, rounds, warm_up=0)
        # Without what a few images of each class cost, too: the start of the process that decodes.
        share = reading_processes(count) * count / max(1, count - len(few))
        cold[COLD] = [max(1e-9, share * (all_ - start)) for all_, start in zip(cold[COLD], cold["start"], strict=True)]
        yield from rates(PART, {PIL: cold[PIL], COLD: cold[COLD]}, count, UNIT, PIL)

        data = _ready(config, photographs, folder / "cached")
        whole = np.memmap(folder / "map", np.uint8, "w+", shape=(count, config.resize, config.resize, 3))
        forms = {
            PIL: partial(_by_pil, config, photographs),
            CACHED: lambda: list(data.views_of_epoch(next(numbers))),
            MAP: partial(_by_map, whole, config, data.config.evaluation_batch_size),
        }
        warm = interleaved(forms, rounds)
        warm[CACHED] = [seconds * count / len(data.split.train) for seconds in warm[CACHED]]
        yield from rates(PART, {PIL: warm[PIL], CACHED: warm[CACHED]}, count, UNIT, PIL)[1:]
        yield from rates(PART, {CACHED: warm[CACHED], MAP: warm[MAP]}, count, UNIT, CACHED)[1:]


def _labels(photographs: Sequence[SampledFile]) -> set[str]:
    return {each.label for each in photographs}


def _of(photographs: Sequence[SampledFile], label: str) -> list[SampledFile]:
    return [each for each in photographs if each.label == label]


def _ready(config: DataConfig, photographs: Sequence[SampledFile], folder: Path) -> RockDataModule:
    """A data module of these images alone, decoded into a new cache in the folder."""
    folder.mkdir(parents=True)
    listed = folder / "photographs.csv"
    with listed.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "label"], *([str(each.path), each.label] for each in photographs)])
    own = replace(
        config,
        root=str(listed),
        synthetic=None,
        workers=0,
        split=SplitConfig(val=_LEAST_SHARE, test=_LEAST_SHARE, grouped=False),
        cache=CacheConfig(directory=str(folder)),
        augmentations=[],
    )
    data = RockDataModule(own)
    data.setup()
    return data


def _by_pil(config: DataConfig, photographs: Sequence[SampledFile]) -> None:
    """One image after the other, as torchvision's ImageFolder reads them, in batches."""
    from torchvision.datasets.folder import pil_loader
    from torchvision.transforms import v2

    resized = v2.Resize((config.resize, config.resize), antialias=True)
    crop: Any = v2.RandomCrop(config.crop) if config.random_crop else v2.CenterCrop(config.crop)
    finish = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    view = v2.Compose([resized, crop, v2.RandomHorizontalFlip(config.horizontal_flip), *finish])
    size = max(1, config.evaluation_batch_size)
    for start in range(0, len(photographs), size):
        torch.stack([view(pil_loader(str(each.path))) for each in photographs[start : start + size]])


def _by_map(whole: NDArray[np.uint8], config: DataConfig, size: int) -> None:
    """Crops of a memory map of squares, every second one mirrored."""
    random, room = np.random.default_rng(0), config.resize - config.crop + 1
    for start in range(0, len(whole), max(1, size)):
        _stacked(whole[start : start + max(1, size)], config.crop, random.integers(0, room, (size, 2)))


def _stacked(squares: NDArray[np.uint8], crop: int, corners: NDArray[np.int64]) -> Tensor:
    views = []
    for number, (square, (top, left)) in enumerate(zip(squares, corners, strict=False)):
        view = square[top : top + crop, left : left + crop]
        views.append(view[:, ::-1] if number % 2 else view)
    return torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)
