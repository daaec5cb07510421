"""`task=report`: tables, figures and one page about all runs in a folder, printed and written to that folder."""

from pathlib import Path

from fpcn_lightning.config import Config
from fpcn_lightning.errors import UserError
from fpcn_lightning.report.experiments import read_experiments
from fpcn_lightning.report.notes import notes
from fpcn_lightning.report.run_page import write_run_page
from fpcn_lightning.report.table import print_table
from fpcn_lightning.report.verdict import experiment_verdict, run_verdict
from fpcn_lightning.report.write import write_report
from fpcn_lightning.runs.invocation import Invocation
from fpcn_lightning.runs.results import RESULT_NAME, read_result
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
    """Write tables, figures and `index.html` about the runs below `folder` into it, and print verdict and table.

    Of a folder that is itself a run, only its page is made again.

    If the runs were logged to W&B, the table and the figures are logged there, too.

    Raises:
        UserError: the folder holds no readable runs, or its plan or a section `report` is invalid.
    """
    if (folder / RESULT_NAME).is_file():
        run = (folder, read_result(folder / RESULT_NAME))
        for sentence in run_verdict(run):
            print(sentence)
        print(f"report: {write_run_page(run)}")
        return
    experiments = read_experiments(folder)
    page = write_report(experiments, folder)
    for experiment in experiments:
        if len(experiments) > 1:
            print(experiment.name)
        for sentence in experiment_verdict(experiment):
            print(sentence)
        print_table(experiment.rows)
        for note in notes(experiment):
            print(f"- {note}")
    log_report(folder, [result for experiment in experiments for _, result in experiment.runs])
    print(f"report: {page}")
