"""`task=report`: tables, figures and one page about all runs in a folder, printed and written to that folder."""

from pathlib import Path

from fpcn_lightning.config import Config
from fpcn_lightning.errors import UserError
from fpcn_lightning.report.experiments import read_experiments
from fpcn_lightning.report.notes import notes
from fpcn_lightning.report.table import print_table
from fpcn_lightning.report.write import write_report
from fpcn_lightning.runs.invocation import Invocation
from fpcn_lightning.tracking.wandb_report import log_report


def run(config: Config, invocation: Invocation) -> None:  # noqa: ARG001 - the signature of all tasks
    """Write the report of the folder `runs`.

    Raises:
        UserError: no folder is given, it holds no readable runs, or its plan or a section `report` is invalid.
    """
    if config.runs is None:
        raise UserError("runs is not set: pass the folder of the runs, runs=outputs/EXPERIMENT.")
    report_folder(Path(config.runs))


def report_folder(folder: Path) -> None:
    """Write tables, figures and `index.html` about the runs below `folder` into it, and print the table.

    If the runs were logged to W&B, the table and the figures are logged there, too.

    Raises:
        UserError: the folder holds no readable runs, or its plan or a section `report` is invalid.
    """
    experiments = read_experiments(folder)
    page = write_report(experiments, folder)
    for experiment in experiments:
        if len(experiments) > 1:
            print(experiment.name)
        print_table(experiment.rows)
        for note in notes(experiment):
            print(f"- {note}")
    log_report(folder, [result for experiment in experiments for _, result in experiment.runs])
    print(f"report: {page}")
