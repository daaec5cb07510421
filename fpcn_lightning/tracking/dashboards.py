"""The W&B workspaces of the project, as code: the panels for each kind of experiment.

Metrics are logged by `modules/classifier.py` (curves), `tracking/wandb_outcome.py` (outcome of a run) and
`tracking/wandb_report.py` (reports); every metric name below is one of theirs.
"""

from pathlib import Path
from typing import Any
from uuid import uuid4

import wandb_workspaces.reports.v2.interface as panels
import wandb_workspaces.workspaces as workspaces
from wandb_workspaces.workspaces import Section, Workspace

from fpcn_lightning.runs.atomic_write import write_text_atomically

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
    """Save online and return the URL, which is stored in the file `remembered`; the next call updates the workspace."""
    if remembered.exists():
        saved = Workspace.from_url(remembered.read_text(encoding="utf-8").strip())
        saved.sections, saved.runset_settings = workspace.sections, workspace.runset_settings
        workspace = saved
    else:
        # wandb-workspaces (0.4.13) does not find a workspace again whose random name ends in "nw"; no digit is an n.
        workspace._internal_name = f"nw-{uuid4().hex[:11]}-v"
    address: str = workspace.save().url  # type: ignore[no-untyped-call]
    write_text_atomically(remembered, f"{address}\n")
    return address


def _of_experiment(entity: str, project: str, experiment: str, sections: list[Section]) -> Workspace:
    """All runs of one experiment; the runs of one variant, which differ in the seed, are grouped."""
    # Filter by the group, not by the config key `name`: W&B uses that for the name of a run.
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
    ratio = _curve("Share of the image that is object", "train/object_ratio")
    heat_maps = panels.MediaBrowser(title="Heat maps (callbacks=panels)", media_keys=["val/panels"], num_columns=2)
    return Section(name="Positioning", panels=[masks, heat_maps, ratio], is_open=True)


def _learning(*terms: str) -> Section:
    curves = [_curve(name.replace("_", " "), f"train/{name}") for name in ("loss_epoch", *terms, "accuracy")]
    return Section(name="Training", panels=[*curves, _curve("Validation loss", "val/loss")])


def _runs() -> Section:
    return Section(name="Runs", panels=[panels.RunComparer(diff_only="split")])


def _pairs() -> Section:
    chart = panels.ScatterPlot(
        title="Test accuracy against pairs per image",
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
    splits: list[Any] = [f"data/images_{split}" for split in ("train", "val", "test")]
    shown: list[Any] = [
        panels.WeavePanelSummaryTable(table_name="data/classes"),
        panels.BarPlot(title="Images in each split", metrics=splits),
        panels.BarPlot(title="Unreadable files", metrics=["data/refused"]),
        panels.MediaBrowser(title="Validation images", media_keys=["val/pictures"], num_columns=6),
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
