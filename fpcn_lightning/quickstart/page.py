"""The page of a model, `index.html` in its folder: what it can do, and how it was made."""

import shlex
from pathlib import Path

from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.html_pages import templates
from fpcn_lightning.intervals import Interval, wilson_interval
from fpcn_lightning.quickstart.candidates import Candidate
from fpcn_lightning.quickstart.options import TrainOptions
from fpcn_lightning.quickstart.photographs import PhotographFacts
from fpcn_lightning.runs.atomic_write import write_text_atomically
from fpcn_lightning.runs.folders import PAGE_NAME

MAX_MATRIX = 40  # classes; a larger matrix of confusions cannot be read


def write_page(
    folder: Path, options: TrainOptions, facts: PhotographFacts, candidates: list[Candidate], chosen: Candidate
) -> Path:
    """Write the page.

    Args:
        folder: of the bundle, complete but for the page.
        options: of the command.
        facts: about the photographs.
        candidates: all networks that were tried.
        chosen: the one of the bundle.
    """
    test = chosen.metrics("test")
    report = Path("..") / options.work.name / options.name / PAGE_NAME
    page = templates("fpcn_lightning.quickstart", "fpcn_lightning.field.checking").get_template("page.html.jinja")
    text = page.render(
        options=options,
        quoted=shlex.quote(options.model.name),
        facts=facts,
        bundle=read_bundle(folder),
        accuracy=accuracy_text(chosen),
        test=test,
        candidates=candidates,
        chosen=chosen,
        interval=interval,
        matrix=test["confusion"] if len(facts.classes) <= MAX_MATRIX else None,
        report=report.as_posix() if options.compare else None,
    )
    return write_text_atomically(folder / PAGE_NAME, text, errors="replace")


def interval(candidate: Candidate, split: str) -> Interval:
    """The 95 % interval of the accuracy of a network on a split."""
    found = candidate.metrics(split)
    return wilson_interval(round(found["accuracy"] * found["images"]), found["images"])


def accuracy_text(candidate: Candidate) -> str:
    """The accuracy of a network on the test photographs, with its interval."""
    found, (low, high) = candidate.metrics("test"), interval(candidate, "test")
    return (
        f"{found['accuracy']:.1%} of {found['images']:,} test photographs right (95 % interval {low:.1%} to {high:.1%})"
    )
