"""The steps of `fpcn train`: check, probe, train, choose, export, and one page."""

import contextlib
import logging
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fpcn_lightning.data.index import ListedFile
from fpcn_lightning.field.usability import Usability
from fpcn_lightning.quickstart import configs, state
from fpcn_lightning.quickstart.candidates import Candidate, best
from fpcn_lightning.quickstart.expected_time import ExpectedTime, duration_text, expected_time, seconds_of_reading
from fpcn_lightning.quickstart.options import TrainOptions
from fpcn_lightning.quickstart.photographs import PhotographFacts, check_photographs, facts_text
from fpcn_lightning.runs.lock import hold_lock
from fpcn_lightning.runs.results import RESULT_NAME, read_result

LONG = 30.0  # seconds of reading that are announced


@dataclass(frozen=True)
class MadeModel:
    """What a finished command leaves.

    Attributes:
        bundle: folder of the model.
        chosen: the network that it holds.
        usability: whether it may be used.
    """

    bundle: Path
    chosen: Candidate
    usability: Usability


def make_model(options: TrainOptions, listed: Sequence[ListedFile]) -> MadeModel | None:
    """Make the model from the photographs that `list_photographs` has found; returns None for a dry run.

    Raises:
        RunInUse: another process is making this model.
        UserError: the photographs, the folder of the model or the pretrained weights cannot be used.
    """
    began = time.monotonic()
    state.check_free(options)
    validation = configs.validation_share(len(listed), len({file.label for file in listed}))
    first = configs.training(options, configs.PROBE, validation, gpu=False)
    with _level("fpcn_lightning.data.scan", logging.ERROR):  # `facts_text` says which files are not used
        if (reading := seconds_of_reading(listed, first.config.data)) >= LONG:
            print(f"Reading {len(listed):,} photographs: about {duration_text(reading)}.", flush=True)
        facts = check_photographs(first.config.data)
        print(facts_text(options, facts), flush=True)
        expected = expected_time(options, facts, validation, time.monotonic() - began)
        print(expected.text, flush=True)
        return None if options.dry_run else _made(options, facts, validation, expected, began)


def _made(
    options: TrainOptions, facts: PhotographFacts, validation: float, expected: ExpectedTime, began: float
) -> MadeModel:
    """Train, choose, export; `began` is the time.monotonic() at which the command began."""
    with hold_lock(options.work, "choose another --out"), _logging_to_terminal():
        resumed = state.begin(options, state.Settings.of(options, facts.fingerprint))
        candidates = _trained(options, validation)
        chosen = best(candidates)
        usability = _exported(options, facts, candidates, chosen)
        state.finish(options)
    took = duration_text(time.monotonic() - began)
    print(f"\nIt took {took} since it was resumed." if resumed else f"\n{_compared(expected, took)}")
    print(_last_words(options, chosen, usability))
    return MadeModel(options.model, chosen, usability)


def _compared(expected: ExpectedTime, took: str) -> str:
    return f"It took {took}; expected were {duration_text(expected.seconds)}."


def _trained(options: TrainOptions, validation: float) -> list[Candidate]:
    import torch

    from fpcn_lightning.tasks import train

    gpu = torch.cuda.is_available()
    networks = configs.networks(options)
    candidates = []
    for number, network in enumerate(networks, 1):
        print(f"\n{number} of {len(networks) + 1}: {network.title}", flush=True)
        step = configs.training(options, network, validation, gpu=gpu)
        train.run(step.config, step.invocation)
        folder = step.invocation.output_dir
        candidates.append(Candidate(network, folder, read_result(folder / RESULT_NAME)))
    if options.compare:
        from fpcn_lightning.tasks.report import report_folder

        report_folder(options.work / options.name)
    return candidates


def _exported(
    options: TrainOptions, facts: PhotographFacts, candidates: list[Candidate], chosen: Candidate
) -> Usability:
    from fpcn_lightning.field.bundle import read_bundle
    from fpcn_lightning.quickstart.page import write_page
    from fpcn_lightning.tasks.export import export

    print(f"\n{len(candidates) + 1} of {len(candidates) + 1}: the model", flush=True)
    checkpoint = chosen.result["checkpoint"]
    assert checkpoint is not None  # every network here saves its best epoch
    step = configs.exporting(options, chosen.folder / checkpoint, facts.counts.test)
    export(step.config, lambda folder: write_page(folder, options, facts, candidates, chosen))
    return read_bundle(options.model).usability


def _last_words(options: TrainOptions, chosen: Candidate, usability: Usability) -> str:
    from fpcn_lightning.quickstart.page import accuracy_text

    lines = ["", f"The {chosen.network.title} is the best on the validation photographs: {accuracy_text(chosen)}."]
    if not usability.usable:
        lines.append(f"The model is {usability.sentence}. Add photographs, and run the command again with --overwrite.")
    if options.compare:
        lines.append(f"report: {options.work / options.name / 'index.html'}")
    lines += [f"page: {options.model / 'index.html'}", f"next: fpcn serve {shlex.quote(_short(options.model))}"]
    return "\n".join(lines)


def _short(path: Path) -> str:
    """The path relative to the current folder, where it is below it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


@contextlib.contextmanager
def _level(name: str, level: int) -> Iterator[None]:
    """Log only messages of this level or above."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def _logging_to_terminal() -> Iterator[None]:
    """Print what the trainings log to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    ours = logging.getLogger("fpcn_lightning")
    before = ours.level, ours.propagate
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False  # libraries add a handler of their own to the root
    try:
        yield
    finally:
        ours.removeHandler(handler)
        ours.setLevel(before[0])
        ours.propagate = before[1]
