"""The command `fpcn`, for people who never train.

Nothing heavy is imported before it is needed, so that `--help` and a mistake in the command are answered at once.
"""

import argparse
import io
import logging
import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from fpcn_lightning import __version__
from fpcn_lightning.errors import UserError

NOTHING_READ = 1
STOPPED = 130  # what a shell gives for a program that was stopped with Ctrl-C
STOPPED_MIDWAY = "\nStopped. The same command, without --overwrite, goes on where it stopped."
ALL = 100  # percent

DESCRIPTION = """\
Name the rocks on photographs, on this computer alone: no network, no graphics card.
You need a bundle: a folder with a trained model, which somebody gave you or `task=export` wrote.
"""

EXAMPLES = """\
examples:
  fpcn info rocks-bundle                     which rocks does the model know, and how well?
  fpcn predict rocks-bundle outcrop.jpg      one photograph, answered on the screen
  fpcn predict rocks-bundle photographs      a folder and all folders in it, answered in predictions.csv
  fpcn map rocks-bundle section.tif          a whole thin section or slab: which mineral is where, and how much of it
  fpcn serve rocks-bundle                    a page in your browser to drop photographs on
"""

PREDICT = """\
Name the rock on each photograph. Photographs that cannot be read are listed with the reason, and the others go on.

Each line of the results has the path, the likeliest classes with their probabilities, and
  unknown         true where the photograph does not look like those that the model was trained with: do not trust it
  score           what that is judged by: the lower, the stranger
  prediction_set  with --sets: all classes that cannot be ruled out at that coverage
  error           why a file could not be read
"""

PREDICT_EXAMPLES = """\
examples:
  fpcn predict rocks-bundle photographs --output answers.csv
  fpcn predict rocks-bundle list.csv --output answers.parquet     list.csv has a column path
  fpcn predict rocks-bundle photographs --sets 0.9 --top 5

If you stop it, or the power fails: start the same command again, and it goes on where it stopped.
"""

MAP = """\
Map a whole section: a mosaic of a thin section, a polished section or a slab, as a TIFF of any size (or JPEG, PNG).

A window moves over it, and the answers are blended into a map. What comes out, in a folder:
  summary.txt         what to read first, also shown on the screen
  overview.png        photograph, map and confidence in one picture, with a legend and a scale bar
  areas.csv           area and percent of each class with an interval, number and size of its grains
  grains.csv          a line for each grain: where it lies, how large, how long and how wide it is
  grain_sizes.csv     how many grains there are of which size, drawn in grain_sizes.png
  contacts.csv        how long which two classes touch
  class_map.tif       the map at full size, for QGIS or QuPath; confidence_map.tif likewise, in percent
  map.json            all of this for programs

Make what lies outside the section transparent: a white or black border that is opaque is taken for a mineral.
"""

MAP_EXAMPLES = """\
examples:
  fpcn map rocks-bundle section.tif --um-per-px 1.2          a pixel of the section is 1.2 micrometres wide
  fpcn map rocks-bundle section.tif --overlap 0.75           smoother edges, four times as slow
  fpcn map rocks-bundle section.tif --output maps/section-7

Say the scale: windows then show the model as many micrometres as it was trained with, and areas come in mm2.
If you stop it, or the power fails: start the same command again, and it goes on where it stopped.
"""

SERVE = """\
Open a page in your browser to drop photographs on. It works without a network; nothing leaves this computer.
"""

AS_WRITTEN = argparse.RawDescriptionHelpFormatter  # keeps the lines of the texts above
Add = Callable[..., argparse.Action]  # a parser's `add_argument`


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 where no picture could be read, 2 for wrong use."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name need not fit the terminal's alphabet
    warnings.filterwarnings("ignore", module="PIL")  # what matters of a damaged file stands in its answer
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # likewise
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except UserError as error:
        print(f"fpcn: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # of `| head`, which has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
        return 0
    return code


def _predict(options: argparse.Namespace) -> int:
    from fpcn_lightning.field.predict import DEFAULT_OUTPUT, predict
    from fpcn_lightning.field.screen import summary_text
    from fpcn_lightning.field.sources import is_list

    if options.output is None and options.source.is_file() and not is_list(options.source):
        return _prediction(options)
    try:
        summary = predict(
            options.bundle,
            options.source,
            options.output or DEFAULT_OUTPUT,
            file=options.file,
            top=options.top,
            coverage=options.sets,
            batch_size=options.batch_size,
            threads=options.threads,
            recursive=options.recursive,
            overwrite=options.overwrite,
            progress=True,
        )
    except KeyboardInterrupt:
        print(STOPPED_MIDWAY, file=sys.stderr)
        return STOPPED
    print(summary_text(summary))
    return NOTHING_READ if summary.unreadable == summary.pictures else 0


def _prediction(options: argparse.Namespace) -> int:
    """One photograph, answered on the screen."""
    from fpcn_lightning.field.bundle import read_bundle
    from fpcn_lightning.field.classify import classify_file
    from fpcn_lightning.field.model import BundleModel
    from fpcn_lightning.field.results import Table
    from fpcn_lightning.field.screen import predict_text

    model = BundleModel(read_bundle(options.bundle), options.file, options.threads)
    prediction = classify_file(model, options.source, coverage=options.sets)
    print(predict_text(prediction, Table(model.bundle.classes, options.top)))
    return NOTHING_READ if prediction.error is not None else 0


def _map(options: argparse.Namespace) -> int:
    from fpcn_lightning.field.mapping.map_section import map_section
    from fpcn_lightning.field.mapping.words import map_text

    try:
        summary = map_section(
            options.bundle,
            options.section,
            options.output,
            micrometres_per_pixel=options.micrometres_per_pixel,
            overlap=options.overlap,
            window=options.window,
            bits=options.bits,
            file=options.file,
            batch_size=options.batch_size,
            threads=options.threads,
            overwrite=options.overwrite,
            progress=True,
        )
    except KeyboardInterrupt:
        print(STOPPED_MIDWAY, file=sys.stderr)
        return STOPPED
    print(map_text(summary))
    if summary.percent_no_data < ALL:
        return 0
    print(f"fpcn: nothing of {options.section} could be read: it is damaged or transparent.", file=sys.stderr)
    return NOTHING_READ


def _info(options: argparse.Namespace) -> int:
    from fpcn_lightning.field.bundle import read_bundle
    from fpcn_lightning.field.screen import bundle_text

    print(bundle_text(read_bundle(options.bundle)))
    return 0


def _serve(options: argparse.Namespace) -> int:
    from fpcn_lightning.field.serve import serve

    serve(
        options.bundle,
        host=options.host,
        port=options.port,
        open_browser=options.browser,
        max_megabytes=options.max_megabytes,
        file=options.file,
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("fpcn", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=AS_WRITTEN)
    parser.add_argument("--version", action="version", version=f"fpcn {__version__}")
    verbs = parser.add_subparsers(title="what to do", metavar="VERB", required=True)

    def verb(name: str, run: Callable[[argparse.Namespace], int], help: str, description: str, epilog: str = "") -> Add:
        added = verbs.add_parser(name, help=help, description=description, epilog=epilog, formatter_class=AS_WRITTEN)
        added.set_defaults(run=run)
        added.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of the bundle")
        return added.add_argument

    _predict_options(verb("predict", _predict, "name the rocks on photographs", PREDICT, PREDICT_EXAMPLES))
    _map_options(verb("map", _map, "map a whole section: areas, grains, contacts", MAP, MAP_EXAMPLES))
    _serve_options(verb("serve", _serve, "open a page to drop photographs on", SERVE))
    verb("info", _info, "say what a bundle knows, and how well", "Say what a bundle knows, and how well.")
    return parser


def _predict_options(add: Add) -> None:
    add("source", type=Path, metavar="SOURCE", help="a photograph, a folder of them, or a .csv with a column path")
    add(
        "--output",
        type=Path,
        metavar="FILE",
        help="results as .csv, .jsonl, .json or .parquet (default: predictions.csv; the screen for one photograph)",
    )
    add("--top", type=_positive, default=3, metavar="N", help="classes that each answer names (default: 3)")
    add(
        "--sets", type=float, metavar="SHARE", help="add prediction sets that hold the truth in this share, such as 0.9"
    )
    add("--no-recursive", dest="recursive", action="store_false", help="leave out the folders in a folder")
    add("--overwrite", action="store_true", help="replace results that are there instead of going on")
    add("--file", metavar="NAME", help="another model file of the bundle, such as model.int8.onnx")
    add("--batch-size", type=_positive, default=8, metavar="N", help="views computed together (default: 8)")
    add("--threads", type=_positive, metavar="N", help="processor cores for the network (default: all)")


def _map_options(add: Add) -> None:
    add("section", type=Path, metavar="SECTION", help="the picture of the section: a TIFF of any size, JPEG or PNG")
    add(
        "--um-per-px",
        type=_above_zero,
        dest="micrometres_per_pixel",
        metavar="X",
        help="width of a pixel of the section in micrometres (default: what the file says, if it does)",
    )
    add(
        "--overlap",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="how much of a window the next one sees again: more is smoother and slower (default: 0.5)",
    )
    add(
        "--window-px",
        type=_positive,
        dest="window",
        metavar="N",
        help="width of a window in pixels of the section (default: what the model was trained with)",
    )
    add("--bits", type=_positive, metavar="N", help="bits that the camera used of a 16-bit file, such as 12")
    add("--output", type=Path, metavar="FOLDER", help="where the results go (default: SECTION's name with -map)")
    add("--overwrite", action="store_true", help="replace a map that is there instead of going on")
    add("--file", metavar="NAME", help="another model file of the bundle, such as model.int8.onnx")
    add("--batch-size", type=_positive, default=8, metavar="N", help="windows computed together (default: 8)")
    add("--threads", type=_positive, metavar="N", help="processor cores for the network (default: all)")


def _serve_options(add: Add) -> None:
    add("--port", type=int, default=7860, help="where the page is found (default: 7860)")
    add("--host", default="127.0.0.1", help="who may open it (default: 127.0.0.1, this computer alone)")
    add("--no-browser", dest="browser", action="store_false", help="do not open a browser")
    add("--max-megabytes", type=_positive, default=20, metavar="N", help="largest photograph (default: 20)")
    add("--file", metavar="NAME", help="another model file of the bundle, such as model.int8.onnx")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be a whole number from 1 on")
    return int(text)


def _above_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} must be a number above 0")
    return number
