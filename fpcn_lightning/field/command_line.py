"""The subcommands and options of `fpcn`, with their help."""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fpcn_lightning import __version__
from fpcn_lightning.data.files import with_home

DESCRIPTION = """\
Name the rocks on photographs, on this computer alone: no network, no GPU.
You need a bundle: a folder with a trained model, which you received, or which `fpcn train` or `task=export` wrote.
The bundle `demo` is installed: it knows three kinds of drawn rocks, to try the commands.
"""

EXAMPLES = """\
examples:
  fpcn info rocks-bundle                     which rocks does the model know, and how well?
  fpcn predict rocks-bundle outcrop.jpg      one photograph; prints the prediction
  fpcn predict rocks-bundle photographs      a folder and all folders in it; writes predictions.csv
  fpcn check rocks-bundle labelled           how good is it on photographs whose classes you know?
  fpcn map rocks-bundle section.tif          a whole thin section or slab: which mineral is where, and how much of it
  fpcn serve rocks-bundle                    a page in your browser to drop photographs on
  fpcn demo-photos photographs               drawn photographs to try the bundle demo: fpcn check demo photographs
"""

PREDICT = """\
Name the rock on each photograph. Photographs that cannot be read are listed with the reason.

Each line of the results has the path, the most likely classes with their probabilities, and
  unknown         true if the photograph does not look like those that the model was trained with: do not trust it
  score           what `unknown` is derived from: the lower, the less familiar
  prediction_set  with --sets: all classes that cannot be ruled out at that coverage
  error           why a file could not be read
The other columns of a list are kept; one whose name is used already gets the prefix list_.
"""

PREDICT_EXAMPLES = """\
examples:
  fpcn predict rocks-bundle photographs --output predictions.csv
  fpcn predict rocks-bundle list.csv --output predictions.parquet     list.csv has a column path
  fpcn predict rocks-bundle photographs --sets 0.9 --top 5

If it is interrupted, run the same command again: it resumes where it stopped.
"""

CHECK = """\
Compare the predictions for photographs with your own labels: a folder with a folder for each class, or a .csv or .xlsx
with the columns path and label. The result is a folder with:
  index.html    accuracy, calibration, confusions, and the worst photographs
  check.csv     a line for each photograph

Photographs of classes that the model does not know are counted as well: it should call them unknown.
Photographs that the model was trained with give too good an impression: use others.
"""

MAP = """\
Map a whole section: a mosaic of a thin section, a polished section or a slab, as a TIFF of any size (or JPEG, PNG).

A window is moved over it, and the predictions are combined into a map. The result is a folder with:
  summary.txt         what to read first, also printed
  overview.png        photograph, map and confidence in one picture, with a legend and a scale bar
  areas.csv           area and percent of each class with an interval, number and size of its grains
  grains.csv          a line for each grain: where it is, how large, how long and how wide
  grain_sizes.csv     how many grains there are of each size, drawn in grain_sizes.png
  contacts.csv        the length of contact between each two classes
  class_map.tif       the map at full size, for QGIS or QuPath; confidence_map.tif likewise, in percent
  map.json            all numbers for programs

Make everything outside the section transparent: an opaque white or black border is taken for a mineral.
"""

MAP_EXAMPLES = """\
examples:
  fpcn map rocks-bundle section.tif --um-per-px 1.2          a pixel of the section is 1.2 micrometres wide
  fpcn map rocks-bundle section.tif --overlap 0.75           smoother edges, four times as slow
  fpcn map rocks-bundle section.tif --output maps/section-7

Pass the scale: the windows then show as many micrometres as in training, and areas are in mm2.
If it is interrupted, run the same command again: it resumes where it stopped.
"""

SERVE = """\
Open a page in your browser to drop photographs on. It works without a network; nothing leaves this computer.
"""

INFO = "Print what a bundle knows, and how well."

DEMO_PHOTOS = """\
Copy drawn photographs of three kinds of rocks to a folder, with a folder for each class. The bundle demo knows them:
  fpcn predict demo FOLDER
  fpcn check demo FOLDER
"""

_LIMITS = (  # as `fpcn_lightning.data.images.ImageLimits`, which is too heavy to import here
    ("megapixels", 120, "with more millions of pixels"),
    ("megabytes", 1000, "with larger files"),
    ("seconds", 60, "that take longer to decode"),
)
_FORMATTER = argparse.RawDescriptionHelpFormatter  # keeps the lines of the texts above
Run = Callable[[argparse.Namespace], int]
AddArgument = Callable[..., argparse.Action]  # a parser's `add_argument`


@dataclass(frozen=True)
class FurtherCommand:
    """A subcommand of a higher layer, which takes no bundle.

    Attributes:
        name: of the subcommand.
        help: one line.
        description: its help.
        epilog: examples.
        add_options: adds its options to a parser.
        run: called with the parsed options; returns the exit code.
    """

    name: str
    help: str
    description: str
    epilog: str
    add_options: Callable[[AddArgument], None]
    run: Run


def make_parser(run: Mapping[str, Run], further: Sequence[FurtherCommand] = ()) -> argparse.ArgumentParser:
    """The parser of the command line; the option `run` of its result is the entry of `run` for the subcommand."""
    parser = argparse.ArgumentParser("fpcn", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=_FORMATTER)
    parser.add_argument("--version", action="version", version=f"fpcn {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add_parser(name: str, run: Run, help: str, description: str, epilog: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=description, epilog=epilog, formatter_class=_FORMATTER)
        added.set_defaults(run=run)
        return added

    def add_command(name: str, help: str, description: str, epilog: str = "") -> AddArgument:
        added = add_parser(name, run[name], help, description, epilog)
        added.add_argument("bundle", type=_path, metavar="BUNDLE", help="folder of the bundle, or demo")
        return added.add_argument

    for each in further:
        each.add_options(add_parser(each.name, each.run, each.help, each.description, each.epilog).add_argument)
    _add_predict_options(add_command("predict", "name the rocks on photographs", PREDICT, PREDICT_EXAMPLES))
    _add_check_options(add_command("check", "compare predictions with your own labels", CHECK))
    _add_map_options(add_command("map", "map a whole section: areas, grains, contacts", MAP, MAP_EXAMPLES))
    _add_serve_options(add_command("serve", "open a page to drop photographs on", SERVE))
    add_command("info", "print what a bundle knows, and how well", INFO)
    photographs = add_parser(
        "demo-photos", run["demo-photos"], "copy drawn photographs for the bundle demo", DEMO_PHOTOS, ""
    )
    photographs.add_argument("folder", type=_path, metavar="FOLDER", help="a new folder")
    return parser


def _add_predict_options(add: AddArgument) -> None:
    add(
        "source",
        type=_path,
        metavar="SOURCE",
        help="a photograph, a folder of them, or a .csv or .xlsx with a column path",
    )
    add(
        "--output",
        type=_path,
        metavar="FILE",
        help="results as .csv, .jsonl, .json or .parquet (default: predictions.csv; printed for one photograph)",
    )
    add("--top", type=_positive, default=3, metavar="N", help="classes named for each photograph (default: 3)")
    add(
        "--sets",
        type=float,
        metavar="SHARE",
        help="add prediction sets that include the true class in this share of photographs, such as 0.9",
    )
    add("--no-recursive", dest="recursive", action="store_false", help="skip the folders in a folder")
    add("--overwrite", action="store_true", help="replace existing results instead of resuming")
    _add_network_options(add)
    _add_limit_options(add)


def _add_check_options(add: AddArgument) -> None:
    add("source", type=_path, metavar="LABELLED", help="a folder with a folder for each class, or a list with labels")
    add("--output", type=_path, metavar="FOLDER", help="folder of the results (default: BUNDLE's name with -check)")
    add("--overwrite", action="store_true", help="replace existing results")
    _add_network_options(add)
    _add_limit_options(add)


def _add_network_options(add: AddArgument) -> None:
    add("--file", metavar="NAME", help="another model file of the bundle, such as model.int8.onnx")
    add("--batch-size", type=_positive, default=8, metavar="N", help="views computed together (default: 8)")
    add("--threads", type=_positive, metavar="N", help="processor cores for the network (default: all)")


def _add_limit_options(add: AddArgument) -> None:
    for name, default, what in _LIMITS:
        help = f"refuse photographs {what} (default: {default})"
        add(f"--max-{name}", type=_above_zero, default=default, metavar="N", help=help)


def _add_map_options(add: AddArgument) -> None:
    add("section", type=_path, metavar="SECTION", help="the picture of the section: a TIFF of any size, JPEG or PNG")
    add(
        "--um-per-px",
        type=_above_zero,
        dest="micrometres_per_pixel",
        metavar="X",
        help="width of a pixel of the section in micrometres (default: from the file, if it has a scale)",
    )
    add(
        "--overlap",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="share of a window that the next one sees again: more is smoother and slower (default: 0.5)",
    )
    add(
        "--window-px",
        type=_positive,
        dest="window",
        metavar="N",
        help="width of a window in pixels of the section (default: as in training)",
    )
    add("--bits", type=_positive, metavar="N", help="bits that the camera used of a 16-bit file, such as 12")
    add("--output", type=_path, metavar="FOLDER", help="folder of the results (default: SECTION's name with -map)")
    add(
        "--corrections",
        type=_path,
        metavar="FILE",
        help="grains.geojson of an earlier map with classes that you have corrected in QuPath or QGIS",
    )
    add("--overwrite", action="store_true", help="replace an existing map instead of resuming")
    add("--file", metavar="NAME", help="another model file of the bundle, such as model.int8.onnx")
    add("--batch-size", type=_positive, metavar="N", help="windows computed together (default: by their size)")
    add("--threads", type=_positive, metavar="N", help="processor cores for the network (default: all)")


def _add_serve_options(add: AddArgument) -> None:
    add("--port", type=int, default=7860, help="port of the page (default: 7860)")
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this computer alone)")
    add("--no-browser", dest="browser", action="store_false", help="do not open a browser")
    add("--max-megabytes", type=_positive, default=20, metavar="N", help="largest photograph (default: 20)")
    add("--api", action="store_true", help="also offer POST /predict for programs, described by /openapi.json")
    add(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="another host name that the page is reached by, such as that of a reverse proxy; may be repeated",
    )
    add("--file", metavar="NAME", help="another model file of the bundle, such as model.int8.onnx")


def _path(text: str) -> Path:
    return Path(with_home(text))  # the shell leaves --output=~/x as it is


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be an integer from 1 on")
    return int(text)


def _above_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} must be a number above 0")
    return number
