"""Draws the pictures that `benchmark.py` compares with photographs.

    python experiments/unknown/pictures.py WORK

Writes a folder of class folders for each kind: synthetic rocks, minerals and sections of three seeds, and pictures
without rocks, drawn or cut from the sample images that scikit-image and scikit-learn ship.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fpcn_lightning.data.synthetic.dataset import make_synthetic

Picture = NDArray[np.uint8]  # [S, S, 3]

SIDE = 320
# Images of scikit-image without rock, sand or walls of stone (`brick`, `gravel`), and without faces (`astronaut`).
SAMPLES: tuple[str, ...] = (
    "camera",
    "cell",
    "chelsea",
    "chessboard_RGB",
    "clock_motion",
    "coffee",
    "coins",
    "color",
    "grass",
    "horse",
    "hubble_deep_field",
    "ihc",
    "logo",
    "microaneurysms",
    "motorcycle_left",
    "page",
    "retina",
    "rocket",
    "text",
)
CROPS = 4  # of each sample image, besides the whole one
SEEDS = 3
SYNTHETIC = {"rocks": 224, "minerals": 320, "sections": 224}  # pixels
A_CLASS = 60  # synthetic pictures of each class
A_KIND = 60  # drawn pictures of each kind


def drawn(seed: int, count: int) -> dict[str, list[Picture]]:
    """`count` pictures of each drawn kind."""
    kinds: dict[str, Callable[[np.random.Generator], Picture]] = {
        "gradients": _gradient,
        "noise": _noise,
        "text pages": _text_page,
        "screenshots": _screenshot,
    }
    found = {}
    for number, (name, draw) in enumerate(kinds.items()):
        rng = np.random.default_rng([seed, number])
        found[name] = [draw(rng) for _ in range(count)]
    return found


def samples(seed: int) -> list[Picture]:
    """Photographs and drawings of scikit-image and scikit-learn: each whole and in `CROPS` crops."""
    rng = np.random.default_rng(seed)
    return [picture for path in _sample_files() for picture in _views(np.asarray(Image.open(path).convert("RGB")), rng)]


def _sample_files() -> Iterator[Path]:
    import skimage
    import sklearn

    folder = Path(skimage.__file__).parent / "data"
    yield from sorted(path for path in folder.glob("*.*") if path.stem in SAMPLES and path.suffix in (".png", ".jpg"))
    yield from sorted((Path(sklearn.__file__).parent / "datasets" / "images").glob("*.jpg"))


def _views(image: Picture, rng: np.random.Generator) -> Iterator[Picture]:
    yield image
    height, width = image.shape[:2]
    side = min(height, width) * 2 // 3
    for _ in range(CROPS):
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        yield image[top : top + side, left : left + side]


def _gradient(rng: np.random.Generator) -> Picture:
    """Between two colours, along a line or around a point; every fourth is of one colour."""
    ends = rng.uniform(0, 255, (2, 3))
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    if (kind := rng.integers(4)) == 0:
        position = np.zeros((SIDE, SIDE))
    elif kind == 1:
        centre = rng.uniform(0, 1, 2)
        position = np.hypot(y - centre[0], x - centre[1])
    else:
        angle = rng.uniform(0, 2 * np.pi)
        position = np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5) + 0.5
    mixed = ends[0] + np.clip(position, 0, 1)[..., None] * (ends[1] - ends[0])
    picture: Picture = mixed.round().astype(np.uint8)
    return picture


def _noise(rng: np.random.Generator) -> Picture:
    """Independent pixels, grey or coloured, of any contrast, in grains of 1 to 16 pixels."""
    grain, channels = 2 ** int(rng.integers(5)), int(rng.choice([1, 3]))
    mean, spread = rng.uniform(60, 196), rng.uniform(10, 100)
    values = rng.normal(mean, spread, (SIDE // grain, SIDE // grain, channels)).clip(0, 255).astype(np.uint8)
    picture: Picture = np.broadcast_to(values.repeat(grain, 0).repeat(grain, 1), (SIDE, SIDE, 3)).copy()
    return picture


def _text_page(rng: np.random.Generator) -> Picture:
    """Lines of random words on paper."""
    paper, ink = int(rng.integers(215, 256)), int(rng.integers(0, 90))
    image = Image.new("RGB", (SIDE, SIDE), (paper,) * 3)
    draw = ImageDraw.Draw(image)
    size = int(rng.integers(9, 22))
    for top in range(int(rng.integers(6, 24)), SIDE - size, int(size * 1.4)):
        draw.text((int(rng.integers(6, 18)), top), _words(rng, 12), fill=(ink,) * 3, font_size=size)
    return np.asarray(image)


def _screenshot(rng: np.random.Generator) -> Picture:
    """A window with a title bar, a menu, buttons, text and a table."""
    light = rng.random() < 0.6
    shade = 235 if light else 40
    background, front = tuple(rng.integers(shade - 20, shade + 20, 3).tolist()), (20,) * 3 if light else (225,) * 3
    image = Image.new("RGB", (SIDE, SIDE), background)
    draw = ImageDraw.Draw(image)
    accent = tuple(rng.integers(30, 220, 3).tolist())
    draw.rectangle((0, 0, SIDE, 24), fill=accent)
    draw.text((8, 5), _words(rng, 3), fill=(255,) * 3, font_size=12)
    menu = int(rng.integers(50, 110))
    draw.rectangle((0, 25, menu, SIDE), fill=tuple(max(0, value - 12) for value in background))
    for top in range(36, SIDE - 16, 22):
        draw.text((6, top), _words(rng, 1), fill=front, font_size=11)
        draw.text((menu + 12, top), _words(rng, 5), fill=front, font_size=11)
        if rng.random() < 0.3:
            left = int(rng.integers(menu + 10, SIDE - 70))
            draw.rounded_rectangle((left, top, left + 60, top + 17), 4, fill=accent)
    return np.asarray(image)


def _words(rng: np.random.Generator, count: int) -> str:
    lengths = rng.integers(2, 10, count)
    return " ".join("".join(rng.choice(list("abcdefghijklmnoprstuvw"), length)) for length in lengths)


def main() -> None:
    """Write all sets that do not exist."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    work = parser.parse_args().work
    for kind, size in SYNTHETIC.items():
        for seed in range(SEEDS):
            make_synthetic(work / f"{kind}-{seed}", kind=kind, images_per_class=A_CLASS, size=size, seed=seed)
    for kind, images in {**drawn(0, A_KIND), "sample images": samples(0)}.items():
        (work / kind / kind).mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(images):
            Image.fromarray(image).save(work / kind / kind / f"{number:03}.png")


if __name__ == "__main__":
    main()
