"""Logs the table and the figures of a report as a separate W&B run."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpcn_lightning.report.columns import text_columns
from fpcn_lightning.runs.results import Result
from fpcn_lightning.tracking.wandb_run import errors_as_warnings, wandb_mode, wandb_run_id

if TYPE_CHECKING:
    from wandb import Table

REPORT_FILE = "wandb_report.txt"  # in the folder of the report: the id of its W&B run


def log_report(folder: Path, results: Iterable[Result]) -> None:
    """Log FOLDER/table.csv and FOLDER/figures/*.png if one of the runs was logged to W&B.

    The next report of the same folder replaces this one; an error of W&B becomes a warning.
    """
    logged = [result for result in results if _section(result)]
    if not logged:
        return
    section = _section(logged[0])
    experiments = {result["experiment"] for result in logged}
    with errors_as_warnings(f"the table of {folder}"):
        mode = wandb_mode()
        import wandb

        with wandb.init(
            dir=folder,
            id=wandb_run_id(folder / REPORT_FILE),
            resume="allow",
            mode=mode,  # type: ignore[arg-type] # from WANDB_MODE, which W&B checks itself
            entity=section.get("entity"),
            project=section["project"],
            group=experiments.pop() if len(experiments) == 1 else None,
            job_type="report",
            name="table",
        ) as run:
            figures = {
                f"figures/{path.stem}": wandb.Image(str(path)) for path in sorted((folder / "figures").glob("*.png"))
            }
            run.log({"table": _table(folder / "table.csv"), **figures})


def _section(result: Result) -> dict[str, Any]:
    """The `logger.wandb` section of a run's config, empty where it was not logged to W&B."""
    logger: Any = result["config"]["logger"]
    return logger.get("wandb") or {}


def _table(path: Path) -> "Table":
    import wandb

    with path.open(newline="", encoding="utf-8") as file:
        columns, *rows = csv.reader(file)
    text = text_columns()
    data: list[Any] = [
        [cell or None if column in text or not cell else float(cell) for column, cell in zip(columns, row, strict=True)]
        for row in rows
    ]
    return wandb.Table(columns=list(columns), data=data, allow_mixed_types=True)
