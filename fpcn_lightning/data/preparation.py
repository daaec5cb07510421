"""From the section `data` of the config to what all loaders share: augmentation, index, and cache of the images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

from fpcn_lightning.config import DataConfig
from fpcn_lightning.data.augment import Augment, Augmentation, Squashing
from fpcn_lightning.data.cache import PictureCache, cache_key, default_directory
from fpcn_lightning.data.images import ImageLimits, Shape
from fpcn_lightning.data.index import Index, ListedFile
from fpcn_lightning.data.scan import scan
from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.errors import UserError, check_choice


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
    check_choice("data.sampling", config.sampling, ("balanced", "shuffled"))
    check_choice("data.conflicting_labels", config.conflicting_labels, ("refuse", "keep"))


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
    return Squashing(resize=config.resize, **views)


def image_limits(config: DataConfig) -> ImageLimits:
    """What an image's file may cost to read.

    Raises:
        UserError: a limit is not above zero.
    """
    return ImageLimits(config.limits.megapixels, config.limits.megabytes, config.limits.seconds)


def cache_directory(config: DataConfig) -> Path:
    """The folder of decoded images and of everything else that is computed once."""
    return Path(config.cache.directory) if config.cache.directory else default_directory()


def prepare(
    config: DataConfig, augmentation: Augmentation, found: Sequence[ListedFile], root: Path, minimum_classes: int
) -> tuple[Index, PictureCache | None]:
    """Scan the files and open their cache.

    The scan fills the cache of images that are resized to a square. The sizes of the others are known only after it:
    their cache is filled when they are first used.

    Returns:
        The index, and the cache by position in `found`; None where it is disabled.

    Raises:
        UserError: what `scan` and `PictureCache` raise.
    """
    squashed = augmentation.squashed
    if squashed is not None:
        cache = _cache(config, found, [squashed] * len(found), squashed[0])
        # Without rows the folder of the cache may not be writable.
        memo = cache.path.with_suffix(".json") if cache and cache.rows else None
        on_pixels = cache.put if cache else None
        return _scanned(config, found, root, minimum_classes, on_pixels=on_pixels, shape=squashed, memo=memo), cache
    memo = _cache_path(config, found, "whole").with_suffix(".json") if config.cache.enabled else None
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
    if not config.cache.enabled:
        return None
    return PictureCache(_cache_path(config, found, form), shapes, config.cache.max_gigabytes)


def _cache_path(config: DataConfig, found: Sequence[ListedFile], form: object) -> Path:
    """The file of the cache of these files at these sizes."""
    key = cache_key([(str(file.path), file.size, file.mtime_ns) for file in found], form)
    return cache_directory(config) / f"pictures-{key}-{config.cache.max_gigabytes:g}gb.uint8"
