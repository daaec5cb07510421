"""From the section `data` of the config to what all loaders share: augmentation, index, and cache of the images."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from fpcn_lightning.config import DataConfig, SyntheticConfig
from fpcn_lightning.data.augment import Augment, Augmentation, Squashing
from fpcn_lightning.data.cache import PictureCache, cache_key, default_directory
from fpcn_lightning.data.files import with_home
from fpcn_lightning.data.images import Fill, ImageLimits, Shape, SquareFit
from fpcn_lightning.data.index import Index, ListedFile, find
from fpcn_lightning.data.layout import published_folders
from fpcn_lightning.data.scan import read_digests, scan
from fpcn_lightning.data.squares import Cropping, Letterboxing
from fpcn_lightning.data.synthetic.dataset import folder_name, make_synthetic
from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.errors import UserError, check_choice, closest
from fpcn_lightning.plain_config import from_plain

logger = logging.getLogger(__name__)

SMALL: Mapping[str, object] = {"resize": 256, "crop": 224, "batch_size": 32}
"""What a data module without a config has instead of the sizes of the paper, which need a GPU."""

FITS = ("squash", "crop", "letterbox")
_WHOLE = "whole"  # instead of a size: images that do not become squares


def check_data_config(config: DataConfig, seed: int) -> None:
    """Check what no type can express about the section `data` and the seed of the run.

    Raises:
        UserError: names the key.
    """
    if config.root is not None and config.synthetic is not None:
        raise UserError(f"data.root={config.root} is given while data=synthetic draws its own images: add data=folder.")
    if config.root is None and config.synthetic is None:
        raise UserError("data.root is not set: give the folder of photographs, data.root=PHOTOS.")
    for key, number in (("seed", seed), ("data.workers", config.workers), ("data.view_seed", config.view_seed or 0)):
        if number < 0:
            raise UserError(f"{key}={number} must not be negative.")
    if len(config.crop_scale) != 2:
        raise UserError(f"data.crop_scale={config.crop_scale} must be two factors, such as [0.8,1.25].")
    if config.batch_size is not None and config.batch_size < 2:
        raise UserError(f"data.batch_size={config.batch_size} must be at least 2.")
    check_choice("data.fit", config.fit, FITS)
    check_choice("data.sampling", config.sampling, ("balanced", "shuffled"))
    check_choice("data.conflicting_labels", config.conflicting_labels, ("refuse", "keep"))


def make_data_config(root: str | os.PathLike[str] | None, options: Mapping[str, object]) -> DataConfig:
    """The section `data` from keywords; `SMALL` where nothing else is given.

    Args:
        root: folder or list of the images.
        options: keys of the section; sections in it are mappings.

    Raises:
        UserError: a key is unknown, or its value has another type.
    """
    keys = {field.name for field in fields(DataConfig)}
    for key in options:
        if key not in keys:
            raise UserError(f"data.{key} is unknown{closest(key, keys)}.")
    place = None if root is None else with_home(os.fspath(root))
    try:
        return from_plain(DataConfig, {**SMALL, **options, "root": place}, "data")
    except ValueError as error:
        raise UserError(f"{error}.") from error


def make_augmentation(config: DataConfig, further: Sequence[Augment] = ()) -> Augmentation:
    """How views are drawn.

    Args:
        config: the section `data`.
        further: functions that change a view in training: those of `data.augmentations`.

    Raises:
        UserError: what `Augmentation` raises.
    """
    views: dict[str, Any] = {
        "crop": config.crop,
        "evaluation_crop": config.evaluation_crop,
        "random_crop": config.random_crop,
        "horizontal_flip": config.horizontal_flip,
        "brightness": config.brightness,
        "contrast": config.contrast,
        "saturation": config.saturation,
        "crop_scale": tuple(config.crop_scale),
        "quarter_turns": config.quarter_turns,
        "mirrored_views": config.mirrored_views,
        "further": tuple(further),
    }
    if config.tiles:
        return Tiling(tile_scale=config.tile_scale, max_tiles=config.max_tiles, **views)
    if config.fit == "letterbox":
        return Letterboxing(resize=config.resize, fill=cast(Fill, tuple(config.fill)), **views)
    return (Cropping if config.fit == "crop" else Squashing)(resize=config.resize, **views)


def image_limits(config: DataConfig) -> ImageLimits:
    """What an image's file may cost to read.

    Raises:
        UserError: a limit is not above zero.
    """
    return ImageLimits(config.limits.megapixels, config.limits.megabytes, config.limits.seconds)


def cache_directory(config: DataConfig) -> Path | None:
    """The folder of decoded images and of everything else that is computed once; None where there is none."""
    return Path(config.cache.directory) if config.cache.directory else default_directory()


def location(config: DataConfig) -> Path:
    """The folder or CSV of the images; the example set is drawn where it is missing.

    Raises:
        UserError: the example set cannot be drawn.
    """
    if config.root is not None:
        return Path(config.root)
    options = asdict(config.synthetic or SyntheticConfig())
    return make_synthetic(Path("data") / "synthetic" / folder_name(**options), **options)


def published_split(config: DataConfig, root: Path) -> dict[str, str]:
    """The folders of `data.split.published`, or those below `root` that are recognised by their names, by split."""
    given = {split: place for split, place in asdict(config.split.published).items() if place is not None}
    return given or published_folders(root.absolute())


def list_images(config: DataConfig) -> list[ListedFile]:
    """The files of the data set of a training, without reading them.

    Raises:
        UserError: what `fpcn_lightning.data.index.find` raises.
    """
    root = location(config)
    return find(root, published_split(config, root), 2)


def known_digests(config: DataConfig, found: Sequence[ListedFile]) -> dict[str, str]:
    """The hashes of images by name, as far as a scan of exactly these files has stored them."""
    path = _cache_path(config, found, _form(make_augmentation(config).square))
    return {} if path is None else read_digests(_memo(path), found)


@cache
def _warn_of_no_folder() -> None:
    logger.warning(
        "this user has no home folder, so pictures are not cached and are decoded each time: set data.cache.directory"
    )


def prepare(
    config: DataConfig, augmentation: Augmentation, found: Sequence[ListedFile], root: Path, minimum_classes: int
) -> tuple[Index, PictureCache | None]:
    """Scan the files and open their cache.

    The scan fills the cache of images that become squares. The sizes of the others are known only after it: their
    cache is filled when they are first used.

    Returns:
        The index, and the cache by position in `found`; None where it is disabled.

    Raises:
        UserError: what `scan` and `PictureCache` raise.
    """
    square = augmentation.square
    if square is not None:
        pixels = _cache(config, found, [(square.side, square.side)] * len(found), _form(square))
        # Without rows the folder of the cache may not be writable.
        memo = _memo(pixels.path) if pixels and pixels.rows else None
        on_pixels = pixels.put if pixels else None
        return _scanned(config, found, root, minimum_classes, on_pixels=on_pixels, shape=square, memo=memo), pixels
    whole = _cache_path(config, found, _form(None))
    memo = None if whole is None else _memo(whole)
    index = _scanned(config, found, root, minimum_classes, memo=memo)
    known = {item.name: augmentation.shape(item.height, item.width) for item in index.pictures}
    shapes = [known.get(file.name, (0, 0)) for file in found]  # refused files need no space
    return index, _cache(config, found, shapes, shapes)


def _scanned(
    config: DataConfig, found: Sequence[ListedFile], root: Path, minimum_classes: int, **options: Any
) -> Index:
    return scan(
        found,
        root,
        max_unreadable_share=config.max_unreadable_share,
        conflicting_labels=cast(Literal["refuse", "keep"], config.conflicting_labels),  # checked
        minimum_classes=minimum_classes,
        limits=image_limits(config),
        **options,
    )


def _cache(
    config: DataConfig, found: Sequence[ListedFile], shapes: Sequence[Shape], form: object
) -> PictureCache | None:
    path = _cache_path(config, found, form)
    return None if path is None else PictureCache(path, shapes, config.cache.max_gigabytes)


def _form(square: SquareFit | None) -> object:
    """What distinguishes the caches of the same files."""
    return _WHOLE if square is None else square.key


def _memo(cache_path: Path) -> Path:
    """The memo of the scan of the images of a cache."""
    return cache_path.with_suffix(".json")


def _cache_path(config: DataConfig, found: Sequence[ListedFile], form: object) -> Path | None:
    """The file of the cache of these files at these sizes; None without a cache."""
    if not config.cache.enabled:
        return None
    directory = cache_directory(config)
    if directory is None:
        _warn_of_no_folder()
        return None
    key = cache_key([(str(file.path), file.size, file.mtime_ns) for file in found], form)
    return directory / f"pictures-{key}-{config.cache.max_gigabytes:g}gb.uint8"
