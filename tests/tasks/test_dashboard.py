"""`task=dashboard`: workspaces whose panels show metrics that runs log."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fpcn_lightning.cli.main import run_task
from fpcn_lightning.errors import UserError
from tests.conftest import composed
from tests.tasks.conftest import Train
from tests.tracking.conftest import offline
from tests.wandb_record import offline_runs

__all__ = ["offline"]
NAMES = ("ablation", "data_audit", "distillation", "pairs")


def strings(value: Any, *keys: str) -> Iterator[str]:
    """Every string below one of `keys`, at any depth."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in keys:
                yield from [item] if isinstance(item, str) else [one for one in item if isinstance(one, str)]
            yield from strings(item, *keys)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item, *keys)


def panels(view: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for part in view["spec"]["section"]["panelBankConfig"]["sections"] for panel in part["panels"]]


def shown(view: dict[str, Any]) -> set[str]:
    """The names in the panels of a workspace: metrics, media, tables, and `config:` keys."""
    names = set(strings(panels(view), "metrics", "mediaKeys", "xAxis", "yAxis"))
    for panel in panels(view):
        if panel["viewType"] == "Vega2":
            fields = panel["config"]["userQuery"]["queryFields"][0]["fields"]
            names |= {argument["value"] for field in fields for argument in field.get("args", [])}
        if panel["viewType"] == "Weave":
            names |= {panel["config"]["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"]}
    runs = view["spec"]["section"]["runSets"][0]["runFeed"]["columnPinned"]
    names |= {name for name in runs if name != "run:displayName"}
    return {name.removeprefix("summary:") for name in names}


def written(tmp_path: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in (tmp_path / "dashboards").glob("*.json")}


def test_without_an_api_key_the_workspaces_are_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_task(composed("task=dashboard", f"output={tmp_path}", "logger.wandb.project=rocks"))
    views = written(tmp_path)
    assert tuple(sorted(views)) == NAMES
    assert {view["project"] for view in views.values()} == {"rocks"}
    kinds = {panel["viewType"] for panel in panels(views["ablation"])}
    assert kinds >= {"Run History Line Plot", "Bar Chart", "Scalar Chart", "Media Browser", "Run Comparer", "Vega2"}
    (chosen,) = views["pairs"]["spec"]["section"]["runSets"][0]["filters"]["filters"]
    assert (chosen["key"], chosen["value"]) == ({"section": "run", "name": "group"}, "pairs")
    assert "config:model.value.pairs_per_image" in shown(views["pairs"])
    output = capsys.readouterr().out
    assert all(f"{name}: {tmp_path}/dashboards/{name}.json" in output for name in NAMES)
    assert "wandb login" in output


@pytest.mark.slow
def test_every_metric_of_the_panels_is_logged(train: Train, tmp_path: Path) -> None:
    from fpcn_lightning.tracking.wandb_report import log_report

    folder, result = train("model=fpcn_official", "loss.center.weight=0.5", "logger=wandb", "callbacks=panels")
    teacher = folder / "checkpoints" / "best.ckpt"
    student, _ = train("model=plain", "distillation=kd", f"teacher={teacher}", "logger=wandb", folder="student")
    (folder / "table.csv").write_text("variant,accuracy\nfpcn_official,0.5\n")
    log_report(folder, [result])
    runs = offline_runs(folder)
    logged = {key for recorded in [*runs, *offline_runs(student)] for key in recorded.keys}
    config = {f"config:model.value.{key}" for key in runs[0].config["model"]}
    run_task(composed("task=dashboard", f"output={tmp_path}"))
    for view in written(tmp_path).values():
        assert shown(view) - {"epoch"} <= logged | config
    assert {"train/loss_distillation", "teacher/accuracy"} <= shown(written(tmp_path)["distillation"])


def test_with_an_api_key_a_workspace_is_saved_once_and_updated_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import wandb
    from wandb_workspaces.workspaces import interface, internal

    stored: dict[str, dict[str, Any]] = {}

    def server(api: object, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "mutation" in query:
            stored[variables["name"]] = {"id": variables["name"], **variables}
            return {"upsertView": {"view": {"id": variables["name"], "name": variables["name"]}}}
        view = stored[variables["viewName"]]
        return {"project": {"allViews": {"edges": [{"node": view}]}}}

    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setattr(wandb, "Api", lambda: SimpleNamespace(default_entity="geologists"))
    monkeypatch.setattr(internal, "execute_graphql", server)
    monkeypatch.setattr(interface, "get_app_url", lambda _: "https://wandb.example")
    monkeypatch.setattr(internal, "_generate_view_name", lambda: "nw-bcdefghijnw-v")
    for _ in range(2):
        run_task(composed("task=dashboard", f"output={tmp_path}", "logger.wandb.project=rocks"))
    assert sorted(view["displayName"] for view in stored.values()) == [
        "ablation",
        "data audit",
        "distillation",
        "pairs",
    ]
    assert {(view["entityName"], view["projectName"]) for view in stored.values()} == {("geologists", "rocks")}
    assert "ablation: https://wandb.example/geologists/rocks?nw=" in capsys.readouterr().out


def test_an_error_of_w_and_b_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    def refuse() -> None:
        raise wandb.errors.AuthenticationError("key revoked")

    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setattr(wandb, "Api", refuse)
    with pytest.raises(UserError, match=r"rejected the dashboards \(key revoked\)"):
        run_task(composed("task=dashboard", f"output={tmp_path}"))


def test_without_the_logger_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="use it with logger=wandb"):
        run_task(composed("task=dashboard", "~logger.wandb", f"output={tmp_path}"))


def test_error_of_a_missing_package_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(UserError, match=r"pip install 'fpcn-lightning\[dashboards\]'"):
        run_task(composed("task=dashboard", f"output={tmp_path}"))
