"""The command `fpcn`, for people who do not train models.

Nothing heavy is imported before it is needed, so that `--help` and mistakes in the command are answered at once.
"""

import argparse
import io
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fpcn_lightning.errors import explain
from fpcn_lightning.field.command_line import FurtherCommand, make_parser
from fpcn_lightning.plotting import use_agg
from fpcn_lightning.stopping import exit_code_of, signals_interrupt

if TYPE_CHECKING:
    from fpcn_lightning.data.images import ImageLimits

EXIT_NOTHING_READ = 1
STOPPED_MIDWAY = "\nStopped. The same command, without --overwrite, resumes where it stopped."
ALL = 100  # percent


def main(arguments: Sequence[str] | None = None, further: Sequence[FurtherCommand] = ()) -> int:
    """Run the command line; returns the exit code: 0, 1 if nothing could be read or written, 2 for wrong usage.

    Args:
        arguments: of the command line; None takes those of the process.
        further: subcommands besides those on bundles.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # the terminal's encoding may lack characters of a file name
    use_agg()
    warnings.filterwarnings("ignore", module="PIL")  # the result says what is wrong with a damaged file
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # likewise
    run = {
        "predict": _predict,
        "check": _check,
        "map": _map,
        "serve": _serve,
        "info": _info,
        "demo-photos": _demo_photos,
    }
    options = make_parser(run, further).parse_args(arguments)
    try:
        with signals_interrupt():
            code: int = options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt as error:
        return _stopped(error, "\nStopped.")
    except BrokenPipeError:  # of `| head`, which has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python prints an error when it exits
        return 0
    except Exception as error:
        if (explained := explain(error)) is None:
            raise
        print(f"fpcn: {explained.text}", file=sys.stderr)
        return explained.exit_code
    return code


def _stopped(error: KeyboardInterrupt, message: str) -> int:
    """Print that the user, or a signal, has stopped the command; returns the exit code of shells for that."""
    print(message, file=sys.stderr)
    return exit_code_of(error)


def _predict(options: argparse.Namespace) -> int:
    from fpcn_lightning.data.lists import is_list
    from fpcn_lightning.field.console_text import summary_text
    from fpcn_lightning.field.predict import DEFAULT_OUTPUT, predict

    if options.output is None and options.source.is_file() and not is_list(options.source):
        return _predict_one(options)
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
            limits=_limits(options),
        )
    except KeyboardInterrupt as error:
        return _stopped(error, STOPPED_MIDWAY)
    print(summary_text(summary))
    return EXIT_NOTHING_READ if summary.unreadable == summary.pictures else 0


def _predict_one(options: argparse.Namespace) -> int:
    """Print the prediction for one photograph."""
    from fpcn_lightning.field.bundle import read_bundle
    from fpcn_lightning.field.classify import classify_file
    from fpcn_lightning.field.console_text import prediction_text
    from fpcn_lightning.field.model import BundleModel
    from fpcn_lightning.field.results import PredictionTable

    model = BundleModel(read_bundle(options.bundle), options.file, options.threads)
    prediction = classify_file(model, options.source, coverage=options.sets, limits=_limits(options))
    print(prediction_text(prediction, PredictionTable(model.bundle.classes, options.top), model.bundle.usability))
    return EXIT_NOTHING_READ if prediction.error is not None else 0


def _limits(options: argparse.Namespace) -> "ImageLimits":
    from fpcn_lightning.data.images import ImageLimits

    return ImageLimits(options.max_megapixels, options.max_megabytes, options.max_seconds)


def _check(options: argparse.Namespace) -> int:
    from fpcn_lightning.field.checking.check import check
    from fpcn_lightning.field.checking.write import check_text

    summary, page = check(
        options.bundle,
        options.source,
        options.output,
        file=options.file,
        batch_size=options.batch_size,
        threads=options.threads,
        overwrite=options.overwrite,
        progress=True,
        limits=_limits(options),
    )
    print(check_text(summary, page))
    return EXIT_NOTHING_READ if len(summary.unreadable) == len(summary.pictures) else 0


def _map(options: argparse.Namespace) -> int:
    from fpcn_lightning.field.mapping.map_section import map_section
    from fpcn_lightning.field.mapping.write.summary import text_summary

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
            corrections=options.corrections,
            overwrite=options.overwrite,
            progress=True,
        )
    except KeyboardInterrupt as error:
        return _stopped(error, STOPPED_MIDWAY)
    print(text_summary(summary))
    if summary.percent_no_data < ALL:
        return 0
    print(f"fpcn: nothing of {options.section} could be read: it is damaged or transparent.", file=sys.stderr)
    return EXIT_NOTHING_READ


def _info(options: argparse.Namespace) -> int:
    from fpcn_lightning.field.bundle import read_bundle
    from fpcn_lightning.field.console_text import bundle_text

    print(bundle_text(read_bundle(options.bundle)))
    return 0


def _demo_photos(options: argparse.Namespace) -> int:
    from fpcn_lightning.field.demo import copy_photographs
    from fpcn_lightning.field.results import shown

    print(f"{copy_photographs(options.folder)} drawn photographs in {shown(options.folder)}")
    print(f"next: fpcn check demo {shlex.quote(str(options.folder))}")
    return 0


def _serve(options: argparse.Namespace) -> int:
    from fpcn_lightning.field.serving.serve import serve

    serve(
        options.bundle,
        host=options.host,
        port=options.port,
        open_browser=options.browser,
        max_megabytes=options.max_megabytes,
        file=options.file,
        api=options.api,
        allowed_hosts=options.allow_host,
    )
    return 0
