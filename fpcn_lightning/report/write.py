"""A report on disk: tables, figures and one page, all made from the run folders below a folder and nothing else."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from fpcn_lightning.report.canvas import Drawing, save_figure
from fpcn_lightning.report.columns import results_table, to_csv
from fpcn_lightning.report.experiments import Experiment
from fpcn_lightning.report.forest import draw_differences
from fpcn_lightning.report.groups import group_notes, groups_csv, groups_of, groups_table
from fpcn_lightning.report.heat_section import figures_of, heat_section, write_heat_sections
from fpcn_lightning.report.notes import notes
from fpcn_lightning.report.object_ratio import BinRow, by_object_ratio, draw_object_ratio, object_ratio_csv
from fpcn_lightning.report.page import PageContent, make_page
from fpcn_lightning.report.page_figure import failures_as_warnings
from fpcn_lightning.report.rows import footnotes
from fpcn_lightning.report.sweep_figures import draw_curve, draw_learning_curves
from fpcn_lightning.report.teaching import class_gains, lessons_of, teaching_csv, teaching_notes, teaching_table
from fpcn_lightning.report.text_table import markdown_text, to_latex, to_markdown
from fpcn_lightning.report.within import draw_within
from fpcn_lightning.runs.atomic_write import write_text_atomically
from fpcn_lightning.runs.folders import FIGURES, PAGE_NAME, experiment_part


def write_report(experiments: Sequence[Experiment], folder: Path) -> Path:
    """Write table.*, within.* (.md, .csv, .tex), teaching.*, localisation.* (.md, .csv), object_ratio.csv, figures/ and
    the page.

    The figures of each of several experiments are in a folder of their own. Files of an earlier report that this one
    has no numbers for are removed.

    Returns:
        The path of the page.
    """
    rows = [row for experiment in experiments for row in experiment.rows]
    bins = [by_object_ratio(experiment) for experiment in experiments]
    several = len(experiments) > 1
    figures = [
        _write_figures(experiment, own, experiment_part(folder, FIGURES, experiment.name, several=several))
        for experiment, own in zip(experiments, bins, strict=True)
    ]
    _write(folder / "table.md", "\n".join(_markdown(experiment, several=several) for experiment in experiments))
    _write(folder / "table.csv", to_csv(rows))
    _write(folder / "table.tex", to_latex(results_table(rows), footnotes(rows)))
    _write_groups(experiments, folder)
    _write_teaching(experiments, folder)
    heat = [heat_section(experiment) for experiment in experiments]
    write_heat_sections([each for each in heat if each is not None], folder)
    named = [(experiment.name, own) for experiment, own in zip(experiments, bins, strict=True) if own]
    if named:
        _write(folder / "object_ratio.csv", object_ratio_csv(named))
    else:
        (folder / "object_ratio.csv").unlink(missing_ok=True)
    shown = [figures_of(experiment.name, folder, several=several) for experiment in experiments]
    page = make_page(list(map(PageContent, experiments, figures, bins, heat, shown)), folder)
    return _write(folder / PAGE_NAME, page)


def _write(path: Path, text: str) -> Path:
    # An error message may contain a file name that is not UTF-8.
    return write_text_atomically(path, text, errors="replace")


def _markdown(experiment: Experiment, *, several: bool) -> str:
    heading = f"## {markdown_text(experiment.name)}\n\n" if several else ""
    below = "".join(f"- {markdown_text(note)}\n" for note in notes(experiment))
    return f"{heading}{to_markdown(results_table(experiment.rows))}\n{below}"


def _write_groups(experiments: Sequence[Experiment], folder: Path) -> None:
    """Tables with a line a group, where rows are compared within groups; else earlier ones are removed."""
    found = [(experiment, groups) for experiment in experiments if (groups := groups_of(experiment))]
    if not found:
        for suffix in ("md", "csv", "tex"):
            (folder / f"within.{suffix}").unlink(missing_ok=True)
        return
    markdown, latex = [], []
    for experiment, groups in found:
        table, below = groups_table(groups), group_notes(experiment, groups)
        heading = f"## {markdown_text(experiment.name)}\n\n" if len(experiments) > 1 else ""
        markdown.append(f"{heading}{to_markdown(table)}\n" + "".join(f"- {markdown_text(note)}\n" for note in below))
        latex.append(to_latex(table, below))
    _write(folder / "within.md", "\n".join(markdown))
    _write(folder / "within.tex", "\n".join(latex))
    _write(folder / "within.csv", groups_csv([(experiment.name, groups) for experiment, groups in found]))


def _write_teaching(experiments: Sequence[Experiment], folder: Path) -> None:
    """Tables of teachers and students, where there are any; else earlier ones are removed."""
    found = [(experiment.name, lessons) for experiment in experiments if (lessons := lessons_of(experiment))]
    if not found:
        for suffix in ("md", "csv"):
            (folder / f"teaching.{suffix}").unlink(missing_ok=True)
        return
    parts = []
    for name, lessons in found:
        heading = f"## {markdown_text(name)}\n\n" if len(experiments) > 1 else ""
        below = "".join(f"- {markdown_text(note)}\n" for note in teaching_notes(lessons))
        parts.append(f"{heading}{to_markdown(teaching_table(lessons))}\n{below}\n{to_markdown(class_gains(lessons))}")
    _write(folder / "teaching.md", "\n".join(parts))
    _write(folder / "teaching.csv", teaching_csv(found))


def _write_figures(experiment: Experiment, bins: Sequence[BinRow], folder: Path) -> Mapping[Path, str]:
    """Write what can be drawn (of the rest there is a warning), and return the SVG files with their captions."""
    drawings: dict[str, Callable[[], Drawing | None]] = {
        "differences": partial(draw_differences, experiment),
        "within": partial(draw_within, experiment.rows),
        "curve": partial(draw_curve, experiment),
        "object_ratio": partial(draw_object_ratio, bins),
        "learning_curves": partial(draw_learning_curves, experiment),
    }
    written = {}
    for name, draw in drawings.items():
        for suffix in ("png", "svg"):
            (folder / f"{name}.{suffix}").unlink(missing_ok=True)
        with failures_as_warnings(f"the figure {name}"):
            drawing = draw()
            if drawing is not None:
                save_figure(drawing.figure, folder, name)
                written[folder / f"{name}.svg"] = drawing.caption
    return written
