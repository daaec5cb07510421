"""`task=report`: the table of all runs in a folder, on the screen and beside the runs."""

from pathlib import Path

from omegaconf import DictConfig

from fpcn_lightning.errors import UserError
from fpcn_lightning.report.results import find_results
from fpcn_lightning.report.table import print_table, summarise, to_csv, to_markdown


def run(cfg: DictConfig) -> None:
    """Write `table.md` and `table.csv` into the folder `runs`.

    Raises:
        UserError: no folder is given, it holds no runs, or runs that must not be averaged.
    """
    if cfg.runs is None:
        raise UserError("runs is not set: give the folder of the runs, runs=outputs/EXPERIMENT.")
    folder = Path(cfg.runs)
    results = find_results(folder)
    if not results:
        raise UserError(f"runs={folder} holds no result.json: train something first.")
    rows = summarise(results)
    (folder / "table.md").write_text(to_markdown(rows), encoding="utf-8")
    (folder / "table.csv").write_text(to_csv(rows), encoding="utf-8")
    print_table(rows)
    for place, _ in results:
        print(f"run folder: {place}")
