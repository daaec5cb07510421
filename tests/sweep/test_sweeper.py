"""What the sweeper does around a launcher: the plan before, the report and one sentence after."""

import json
from pathlib import Path
from typing import Any

import pytest
from hydra.core.plugins import Plugins
from omegaconf import DictConfig

from fpcn_lightning.errors import ANOTHER_CONFIG, RunInUse, UserError
from tests.sweep.conftest import SweepHere

Reports = list[Path]


@pytest.fixture(autouse=True)
def reports(monkeypatch: pytest.MonkeyPatch) -> Reports:
    made: Reports = []
    monkeypatch.setattr("fpcn_lightning.tasks.report.report_folder", made.append)
    return made


def plan(folder: Path) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = json.loads((folder / "sweep.json").read_text("utf-8"))["jobs"]
    return jobs


def test_the_plan_is_there_before_the_first_job_and_the_report_is_made_after_the_last(
    sweep_here: SweepHere, reports: Reports, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []

    def task(cfg: DictConfig) -> None:
        seen.append((len(plan(tmp_path / "outputs/single")), len(reports)))

    sweep_here(task, "seed=3,1", "model=plain")
    assert seen == [(2, 0), (2, 0)]
    assert reports == [Path("outputs/single")]
    first = {"variant": "plain", "seed": 3, "folder": "plain/seed-3", "overrides": ["seed=3", "model=plain"]}
    assert plan(tmp_path / "outputs/single")[0] == first


@pytest.mark.parametrize(
    ("words", "folders"),
    [
        ((), {"plain/seed-0", "fpcn/seed-0"}),
        (("model=plain",), {"plain/seed-0"}),
        (("seed=1,2",), {"plain/seed-1", "plain/seed-2", "fpcn/seed-1", "fpcn/seed-2"}),
        (("model=fpcn", "model.alpha=soft", "variant=soft", "seed=range(2)"), {"soft/seed-0", "soft/seed-1"}),
    ],
)
def test_the_command_line_narrows_and_widens_an_experiment(
    words: tuple[str, ...], folders: set[str], sweep_here: SweepHere, tmp_path: Path
) -> None:
    sweep_here(lambda _: None, "+experiment=demo", *words)
    assert {job["folder"] for job in plan(tmp_path / "outputs/demo")} == folders


def test_the_plan_knows_variants_that_are_named_after_a_choice(sweep_here: SweepHere, tmp_path: Path) -> None:
    words = ("model=plain,fpcn", "variant='${hydra:runtime.choices.model}-x'")
    sweep_here(lambda _: None, *words)
    assert [job["variant"] for job in plan(tmp_path / "outputs/single")] == ["plain-x", "fpcn-x"]


def test_a_teacher_has_ended_before_its_students_begin(sweep_here: SweepHere, tmp_path: Path) -> None:
    ran: list[tuple[str, int, bool]] = []

    def task(cfg: DictConfig) -> None:
        ran.append((cfg.variant, cfg.seed, cfg.distillation is not None))

    words = ("+experiment=distillation", "model=resnet18,mobilenetv2", "distillation=kd", "seed=1", "data.crop=96")
    sweep_here(task, *words)
    assert ran == [("teacher", 0, False), ("resnet18-kd", 1, True), ("mobilenetv2-kd", 1, True)]
    planned = plan(tmp_path / "outputs/distillation")
    assert planned[0]["folder"] == "teacher/seed-0"
    # What the command line does not sweep over holds for the teacher, too; what it says otherwise itself does not.
    assert {"data.crop=96", "model=fpcn", "seed=0", "distillation=plain"} <= set(planned[0]["overrides"])
    assert "seed=1" not in planned[0]["overrides"]


@pytest.mark.parametrize("error", [UserError("the rocks are gone"), RunInUse("another process is training there")])
def test_no_student_begins_while_its_teacher_is_not_finished(sweep_here: SweepHere, error: UserError) -> None:
    ran: list[str] = []

    def task(cfg: DictConfig) -> None:
        ran.append(cfg.variant)
        raise error

    with pytest.raises(UserError, match=r"1 of 3 jobs failed.*\n.*teacher/seed-0: .*were not started"):
        sweep_here(task, "+experiment=distillation", "model=resnet18", "seed=0")
    assert ran == ["teacher"]


def test_what_a_student_is_told_does_not_concern_its_teacher(sweep_here: SweepHere) -> None:
    told: list[tuple[str, float]] = []

    def task(cfg: DictConfig) -> None:
        told.append((cfg.variant, cfg.distillation.temperature if cfg.distillation else 0))

    words = ("model=resnet18", "seed=0", "distillation=kd", "distillation.temperature=4")
    sweep_here(task, "+experiment=distillation", *words)
    assert told == [("teacher", 0), ("resnet18-kd", 4)]


def test_what_comes_first_runs_once_and_what_comes_last_after_all(sweep_here: SweepHere, tmp_path: Path) -> None:
    ran: list[str] = []

    def task(cfg: DictConfig) -> None:
        ran.append(cfg.runs if cfg.task == "explain" else cfg.variant)
        if cfg.variant.startswith("plain"):
            raise UserError("the rocks are gone")

    with pytest.raises(UserError, match="2 of 5 jobs failed"):
        sweep_here(task, "+experiment=localisation", "seed=0", "ablation=plain,full")
    trained = ["full-varied", "full-shortcut", "plain-varied", "plain-shortcut"]
    assert ran == [*trained, "outputs/localisation"]
    planned = ["plain-varied", "full-varied", "plain-shortcut", "full-shortcut"]  # as the rows are written
    assert [job["variant"] for job in plan(tmp_path / "outputs/localisation")] == planned


def test_a_teacher_that_is_there_already_is_not_trained_again(sweep_here: SweepHere) -> None:
    ran: list[str] = []
    words = ("+experiment=distillation", "model=resnet18", "seed=0", "teacher=t.ckpt", "hydra.sweeper.first=[]")
    sweep_here(lambda cfg: ran.append(cfg.distillation and cfg.distillation.teacher), *words)
    assert ran == [None, "t.ckpt"]


def test_a_sweep_stays_below_its_output_folder(sweep_here: SweepHere, reports: Reports, tmp_path: Path) -> None:
    ran: list[int] = []
    with pytest.raises(UserError, match=r"name=\.\./x names a folder"):
        sweep_here(lambda cfg: ran.append(cfg.seed), "seed=0,1", "name=../x")
    assert (ran, reports) == ([], [])
    assert not list(tmp_path.rglob("sweep.json"))


def test_all_jobs_run_before_one_sentence_names_those_that_failed(
    sweep_here: SweepHere, reports: Reports, tmp_path: Path
) -> None:
    ran: list[int] = []

    def task(cfg: DictConfig) -> None:
        ran.append(cfg.seed)
        if cfg.seed == 0:
            raise UserError("the rocks are gone")
        if cfg.seed == 2:
            raise ValueError("bad number\nand more of it")

    with pytest.raises(UserError) as caught:
        sweep_here(task, "seed=0,1,2,3", "hydra.sweeper.max_batch_size=2")
    assert ran == [0, 1, 2, 3]
    assert len(reports) == 1
    assert str(caught.value).splitlines() == [
        "2 of 4 jobs failed; the same command runs exactly these again:",
        "  fpcn/seed-0: the rocks are gone (outputs/single/fpcn/seed-0)",
        "  fpcn/seed-2: ValueError: bad number (outputs/single/fpcn/seed-2)",
    ]


def test_the_numbers_of_another_config_are_not_reported_as_those_of_this_one(
    sweep_here: SweepHere, reports: Reports
) -> None:
    def task(cfg: DictConfig) -> None:
        if cfg.seed == 1:
            raise UserError(f"outputs/seed-1 {ANOTHER_CONFIG}: name this run")

    with pytest.raises(UserError, match=r"(?s)no report is made.*1 of 2 jobs failed"):
        sweep_here(task, "seed=0,1")
    assert not reports


def test_a_run_in_other_hands_is_no_failure(sweep_here: SweepHere, capsys: pytest.CaptureFixture[str]) -> None:
    def task(cfg: DictConfig) -> None:
        if cfg.seed == 1:
            raise RunInUse("another process is training here")

    sweep_here(task, "seed=0,1")
    assert "fpcn/seed-1 is left to another process" in capsys.readouterr().out


def test_an_interrupted_sweep_still_makes_its_report(sweep_here: SweepHere, reports: Reports) -> None:
    def task(cfg: DictConfig) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep_here(task, "seed=0,1")
    assert len(reports) == 1


def test_a_report_that_fails_hides_no_failed_job(sweep_here: SweepHere, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise UserError("a damaged file")

    def task(cfg: DictConfig) -> None:
        if cfg.seed == 1:
            raise UserError("the rocks are gone")

    monkeypatch.setattr("fpcn_lightning.tasks.report.report_folder", refuse)
    with pytest.raises(UserError, match=r"(?s)a damaged file.*1 of 2 jobs failed.*the rocks are gone"):
        sweep_here(task, "seed=0,1")
    with pytest.raises(UserError, match=r"^a damaged file$"):
        sweep_here(task, "seed=0")


def test_a_launcher_that_breaks_still_leaves_a_report(
    sweep_here: SweepHere, monkeypatch: pytest.MonkeyPatch, reports: Reports
) -> None:
    def launch(self: object, job_overrides: object, initial_job_idx: int) -> None:
        raise error

    error: Exception = OSError("a worker died")
    basic = Plugins.instance().class_name_to_class["hydra._internal.core_plugins.basic_launcher.BasicLauncher"]
    monkeypatch.setattr(basic, "launch", launch)
    with pytest.raises(OSError, match="a worker died"):
        sweep_here(print, "seed=0,1,2")
    assert len(reports) == 1

    error = UserError("so many slots there are not")  # then nothing has run that could be reported
    with pytest.raises(UserError, match="so many"):
        sweep_here(print, "seed=0,1,2")
    assert len(reports) == 1


def test_jobs_that_would_share_a_folder_are_refused_before_any_runs(sweep_here: SweepHere, reports: Reports) -> None:
    ran: list[DictConfig] = []
    with pytest.raises(UserError, match=r"would land in fpcn/seed-0: .*theta=0.1.*theta=0.2"):
        sweep_here(ran.append, "model.theta=0.1,0.2")
    with pytest.raises(UserError, match="not in name="):
        sweep_here(ran.append, "name=one,other")
    assert not ran
    sweep_here(ran.append, "model.theta=0.1,0.2", "variant=theta-${model.theta}")
    assert [cfg.variant for cfg in ran] == ["theta-0.1", "theta-0.2"]
