"""The command `fpcn`, for people who never train.

Nothing heavy is imported before it is needed, so that `--help` and a mistake in the command are answered at once.
"""

import argparse
import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from fpcn_lightning import __version__
from fpcn_lightning.errors import UserError

NOTHING_READ = 1
STOPPED = 130  # what a shell gives for a program that was stopped with Ctrl-C

DESCRIPTION = """\
Name the rocks on photographs, on this computer alone: no network, no graphics card.
You need a bundle: a folder with a trained model, which somebody gave you or `task=export` wrote.
"""

EXAMPLES = """\
examples:
  fpcn info rocks-bundle                     which rocks does the model know, and how well?
  fpcn predict rocks-bundle outcrop.jpg      one photograph, answered on the screen
  fpcn predict rocks-bundle photographs      a folder and all folders in it, answered in predictions.csv
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
        return _answer(options)
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
        print("\nStopped. The same command, without --overwrite, goes on where it stopped.", file=sys.stderr)
        return STOPPED
    print(summary_text(summary))
    return NOTHING_READ if summary.unreadable == summary.pictures else 0


def _answer(options: argparse.Namespace) -> int:
    """One photograph, answered on the screen."""
    from fpcn_lightning.field.bundle import read_bundle
    from fpcn_lightning.field.classify import classify_file
    from fpcn_lightning.field.model import BundleModel
    from fpcn_lightning.field.results import Table
    from fpcn_lightning.field.screen import answer_text

    model = BundleModel(read_bundle(options.bundle), options.file, options.threads)
    answer = classify_file(model, options.source, coverage=options.sets)
    print(answer_text(answer, Table(model.bundle.classes, options.top)))
    return NOTHING_READ if answer.error is not None else 0


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
    add(
        "--top",
        type=_positive,
        default=3,
        metavar="N",
        help="how many classes to name for each photograph (default: 3)",
    )
    add(
        "--sets", type=float, metavar="SHARE", help="add prediction sets that hold the truth in this share, such as 0.9"
    )
    add("--no-recursive", dest="recursive", action="store_false", help="leave out the folders in a folder")
    add("--overwrite", action="store_true", help="replace results that are there instead of going on")
    add("--file", metavar="NAME", help="another model file of the bundle, such as model.int8.onnx")
    add("--batch-size", type=_positive, default=8, metavar="N", help="views computed together (default: 8)")
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
