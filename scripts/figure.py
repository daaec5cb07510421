"""Makes the figure of the README, `docs/figure.png`: `make figure`.

Trains FPCN on synthetic rocks and a plain network on synthetic polished sections, exports both, and draws what the
bundles predict: for one test photograph the located object, the heat map and the probabilities; for a piece of a
section that is in no training image, the map of its minerals. Finished trainings are not repeated. On one machine the
same command makes the same file.
"""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import tifffile
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.data.images import ImageReader
from fpcn_lightning.data.synthetic.section_files import write_section
from fpcn_lightning.data.synthetic.sections import CLASSES as MINERALS
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.classify import Prediction, classify_file
from fpcn_lightning.field.heat_map import heat_map, object_area, outlined, overlaid
from fpcn_lightning.field.mapping.map_section import map_section
from fpcn_lightning.field.mapping.measure.palette import class_colours
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.plotting import new_figure, use_agg
from fpcn_lightning.runs.atomic_write import atomic_write

ROOT = Path(__file__).resolve().parents[1]
FIGURE = ROOT / "docs" / "figure.png"
WORK = ROOT / "outputs" / "figure"
DATA = ROOT / "data" / "synthetic"
PHOTOGRAPH = "images/granular/0172.jpg"  # of the test split, and one of those on which the located object fits best
SECTION = (1100, 800)  # height and width, pixels
SECTION_SEED = 3
SCALE_OF_GRAINS = 0.45  # smaller grains than in training, so that a small piece has many
MICROMETRES = 1.2  # width of a pixel of the sections
ROCKS = (
    "data=synthetic",
    "model=fpcn",
    "recipe=strong",
    "data.resize=144",
    "data.crop=112",
    "data.evaluation_crop=144",
    "training.frozen_share=0.75",
    "training.probe=off",
)
SECTIONS = (
    "data=sections",
    "data.synthetic.images_per_class=120",
    "model=plain",
    "recipe=small",
    "trainer.max_epochs=6",
    "data.epoch_length=longest_class",
    "data.samples_per_class=6",
)
_DOTS_PER_INCH = 110
_SIZE = (10.5, 4.7)  # inches
_COLOURS = 256  # of the file, which is half as large as with all


def main() -> None:
    """Train, export and draw."""
    use_agg()
    rocks = bundle("rocks", *ROCKS)
    sections = bundle("section", *SECTIONS, scale=MICROMETRES)
    draw(FIGURE, rocks, sections)
    print(f"{FIGURE}: {FIGURE.stat().st_size / 1000:.0f} kB")


def bundle(name: str, *words: str, scale: float | None = None) -> Path:
    """The bundle of a network that is trained with these overrides; made unless it exists.

    Args:
        name: of the network.
        words: overrides of the training.
        scale: micrometres of a pixel of the training images, where they have one scale.
    """
    folder = WORK / f"{name}-bundle"
    if not folder.exists():
        _run(*words, "name=figure", f"variant={name}", f"output={WORK}")
        checkpoint = WORK / "figure" / name / "seed-0" / "checkpoints" / "best.ckpt"
        export = ["task=export", f"checkpoint={checkpoint}", f"export.bundle={folder}", f"output={WORK}"]
        _run(*export, *([] if scale is None else [f"export.micrometres_per_pixel={scale}"]))
    return folder


def _run(*words: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # sums in the same order on every number of cores
    subprocess.run([sys.executable, "-m", "fpcn_lightning", *words], cwd=ROOT, env=environment, check=True)


def draw(path: Path, rocks: Path, sections: Path) -> None:
    """Draw the figure.

    Args:
        path: the PNG file.
        rocks: bundle of a network that locates an object and has activation maps.
        sections: bundle for sections.
    """
    figure = new_figure(*_SIZE, dpi=_DOTS_PER_INCH)
    halves = figure.subfigures(1, 2, width_ratios=(1.0, 1.3))
    assert isinstance(halves, np.ndarray)
    left, right = halves
    panels = left.subplots(2, 2)
    _draw_photograph(panels, rocks)
    left.suptitle("one photograph", fontsize="medium")
    places = right.subplots(1, 2)
    handles = _draw_section(places, sections)
    right.suptitle("a piece of a polished section", fontsize="medium")
    right.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    drawn = Image.fromarray(pixels).convert("RGB")
    with atomic_write(path) as temporary:
        few = drawn.quantize(palette=drawn.quantize(_COLOURS), dither=Image.Dither.FLOYDSTEINBERG)
        few.save(temporary, "PNG", optimize=True)


def _draw_photograph(panels: NDArray[np.object_], folder: Path) -> None:
    model = BundleModel(read_bundle(folder), threads=1)
    path = _test_photograph()
    prediction = classify_file(model, path)
    with ImageReader() as reader:
        picture = reader.read(path, model.bundle.views.shape).pixels
    best = int(np.argmax(_probabilities(prediction)))
    viewed = prediction.viewed
    assert viewed is not None
    assert viewed.activation_maps is not None
    assert viewed.object_masks is not None
    shape = picture.shape[0], picture.shape[1]
    heat = heat_map(viewed.activation_maps[:, best], viewed.views, viewed.shape, shape)
    inside = object_area(viewed.object_masks, viewed.views, viewed.shape, shape)
    _show(panels[0, 0], picture, "photograph (synthetic)")
    _show(panels[0, 1], outlined(picture, inside), "where FPCN locates the rock")
    _show(panels[1, 0], overlaid(picture, heat), f"heat map of {model.bundle.classes[best]}")
    _draw_probabilities(panels[1, 1], model.bundle.classes, _probabilities(prediction))


def _test_photograph() -> Path:
    folder = DATA / "200-a-class-224px-seed-0"
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        splits = {row["path"]: row["split"] for row in csv.DictReader(file)}
    assert splits[PHOTOGRAPH] == "test"
    return folder / PHOTOGRAPH


def _probabilities(prediction: Prediction) -> NDArray[np.float32]:
    assert prediction.probabilities is not None, prediction.error
    return prediction.probabilities


def _draw_probabilities(axes: Axes, classes: tuple[str, ...], probabilities: NDArray[np.float32]) -> None:
    places = np.arange(len(classes))
    best = int(np.argmax(probabilities))
    colours = ["#3f90da" if place == best else "#94a4a2" for place in places]
    axes.barh(places, probabilities, color=colours, height=0.55)
    for place, probability in zip(places, probabilities, strict=True):
        axes.text(float(probability) + 0.03, float(place), f"{probability:.0%}", va="center", fontsize="small")
    axes.set_yticks(places, classes, fontsize="small")
    axes.set_xlim(0, 1.25)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_box_aspect(1)
    axes.set_title("prediction, probability", fontsize="small")


def _draw_section(places: NDArray[np.object_], folder: Path) -> list[Patch]:
    path, output = WORK / "section.tif", WORK / "section-map"
    write_section(path, *SECTION, seed=SECTION_SEED, scale_of_grains=SCALE_OF_GRAINS, micrometres_per_pixel=MICROMETRES)
    map_section(folder, path, output, overlap=0.75, threads=1, overwrite=True)
    codes = tifffile.imread(output / "class_map.tif")
    colours = class_colours(len(MINERALS))
    smaller = Image.fromarray(tifffile.imread(path)).resize((SECTION[1] // 2, SECTION[0] // 2), Image.Resampling.BOX)
    _show(places[0], np.asarray(smaller), "reflected light (synthetic)")
    _show(places[1], colours[codes[::2, ::2]], "map of the minerals")
    shares = [float((codes == code).mean()) for code in range(len(MINERALS))]
    names = read_bundle(folder).classes
    return [
        Patch(color=colours[code] / 255, label=f"{name} {share:.0%}")
        for code, (name, share) in enumerate(zip(names, shares, strict=True))
    ]


def _show(axes: Axes, picture: NDArray[np.uint8], title: str) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_title(title, fontsize="small")
    axes.set_axis_off()


if __name__ == "__main__":
    main()
