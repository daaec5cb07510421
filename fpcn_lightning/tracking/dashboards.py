"""The W&B workspaces of the project, as code: what to look at for each kind of experiment.

Runs log by `modules/classifier.py` (curves) and `callbacks/wandb_outcome.py` (outcome), reports by
`callbacks/wandb_report.py`; every name below is one of theirs.
"""

from pathlib import Path
from typing import Any
from uuid import uuid4

import wandb_workspaces.reports.v2.interface as panels
import wandb_workspaces.workspaces as workspaces
from wandb_workspaces.workspaces import Section, Workspace

VARIANT = workspaces.Config("variant")
PARTS = ("loss_classification", "loss_center", "loss_ranking")


def project_workspaces(entity: str, project: str) -> dict[str, Workspace]:
    """The workspaces by name."""
    return {
        "ablation": _of_experiment(entity, project, "ablation", [_accuracy(), _found(), _learning(*PARTS), _runs()]),
        "pairs": _of_experiment(entity, project, "pairs", [_pairs(), _accuracy(), _learning(*PARTS), _runs()]),
        "distillation": _of_experiment(
            entity, project, "distillation", [_students(), _accuracy(), _learning(*PARTS, "loss_distillation"), _runs()]
        ),
        "data_audit": Workspace(entity=entity, project=project, name="data audit", sections=[_data(), _runs()]),
    }


def as_json(workspace: Workspace) -> str:
    """A workspace as W&B stores it."""
    view: str = workspace._to_model().model_dump_json(by_alias=True, exclude_none=True, indent=2)
    return view


def save(workspace: Workspace, remembered: Path) -> str:
    """Save online and return the address, which the file `remembered` keeps: the next call changes that workspace."""
    if remembered.exists():
        saved = Workspace.from_url(remembered.read_text(encoding="utf-8").strip())
        saved.sections, saved.runset_settings = workspace.sections, workspace.runset_settings
        workspace = saved
    else:
        # wandb-workspaces (0.4.13) does not find a workspace again whose random name ends in "nw"; no digit is an n.
        workspace._internal_name = f"nw-{uuid4().hex[:11]}-v"
    address: str = workspace.save().url  # type: ignore[no-untyped-call]
    remembered.write_text(f"{address}\n", encoding="utf-8")
    return address


def _of_experiment(entity: str, project: str, experiment: str, sections: list[Section]) -> Workspace:
    """All runs of one experiment; those of one variant, which differ in the seed, as one line."""
    # The group, not the config key `name`: W&B takes that name for the run's own.
    chosen = workspaces.RunsetSettings(
        filters=[workspaces.Metric("Group") == experiment],
        groupby=[VARIANT],
        pinned_columns=["summary:test/accuracy", "summary:val/best_accuracy", "summary:network/parameters"],
    )
    return Workspace(entity=entity, project=project, name=experiment, sections=sections, runset_settings=chosen)


def _accuracy() -> Section:
    bars = panels.BarPlot(
        title="Test accuracy by variant",
        metrics=["test/accuracy"],
        groupby=panels.Config("variant"),
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
    )
    shown: list[Any] = [
        _curve("Validation accuracy", "val/accuracy"),
        bars,
        panels.ScalarChart(title="Best test accuracy", metric="test/accuracy", groupby_aggfunc="max"),
        _confusion(),
        panels.WeavePanelSummaryTable(table_name="inference_modes"),
        panels.WeavePanelSummaryTable(table_name="table"),
    ]
    return Section(name="Accuracy", panels=shown, is_open=True)


def _found() -> Section:
    masks = panels.MediaBrowser(title="Where the object is", media_keys=["val/pictures"], num_columns=6)
    ratio = _curve("Share of the picture that is object", "train/object_ratio")
    looks = panels.MediaBrowser(title="Where it looks (callbacks=panels)", media_keys=["val/panels"], num_columns=2)
    return Section(name="Positioning", panels=[masks, looks, ratio], is_open=True)


def _learning(*terms: str) -> Section:
    curves = [_curve(name.replace("_", " "), f"train/{name}") for name in ("loss_epoch", *terms, "accuracy")]
    return Section(name="Training", panels=[*curves, _curve("Validation loss", "val/loss")])


def _runs() -> Section:
    return Section(name="Runs", panels=[panels.RunComparer(diff_only="split")])


def _pairs() -> Section:
    chart = panels.ScatterPlot(
        title="Test accuracy against pairs a picture",
        x=panels.Config("model.pairs_per_image"),
        y=panels.SummaryMetric("test/accuracy"),
    )
    return Section(name="Pairs", panels=[chart], is_open=True)


def _students() -> Section:
    sizes = [
        panels.ScatterPlot(
            title=f"Test accuracy against {words}",
            x=panels.SummaryMetric(f"network/{name}"),
            y=panels.SummaryMetric("test/accuracy"),
            log_x=True,
        )
        for name, words in (("parameters", "parameters"), ("macs", "multiply-accumulates"))
    ]
    teacher = panels.BarPlot(title="Teacher and student", metrics=["teacher/accuracy", "test/accuracy"])
    return Section(name="Teacher and students", panels=[teacher, *sizes], is_open=True)


def _data() -> Section:
    sides: list[Any] = [f"data/images_{side}" for side in ("train", "val", "test")]
    shown: list[Any] = [
        panels.WeavePanelSummaryTable(table_name="data/classes"),
        panels.BarPlot(title="Pictures on each side", metrics=sides),
        panels.BarPlot(title="Pictures left out", metrics=["data/refused"]),
        panels.MediaBrowser(title="Validation pictures", media_keys=["val/pictures"], num_columns=6),
        _confusion(),
    ]
    return Section(name="Data", panels=shown, is_open=True)


def _curve(title: str, metric: str) -> panels.LinePlot:
    return panels.LinePlot(title=title, x="epoch", y=[metric])


def _confusion() -> panels.CustomChart:
    """The chart that `wandb.plot.confusion_matrix` logs."""
    return panels.CustomChart(
        chart_name="wandb/confusion_matrix/v1",
        query={"summaryTable": {"tableKey": "test/confusion_matrix_table"}},
        chart_fields={name: name for name in ("Actual", "Predicted", "nPredictions")},
        chart_strings={"title": "Confusion matrix"},
    )
