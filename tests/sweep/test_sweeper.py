"""What a sweep composes out of its config and the command line, and the errors of Hydra's own launchers."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from fpcn_lightning.cli.invocation import running_invocation, seeds_as_sweep, sweep_invocation
from fpcn_lightning.cli.main import main
from fpcn_lightning.cli.sweep_jobs import SweepSection, compose_sweep
from fpcn_lightning.errors import RunInUse, UserError
from fpcn_lightning.sweep.jobs import ComposedJob
from fpcn_lightning.sweep.run_sweep import ComposedSweep, run_sweep
from tests.conftest import composed
from tests.sweep.conftest import SweepHere, sweep_config, task_words

Reports = list[Path]


@pytest.fixture(autouse=True)
def reports(monkeypatch: pytest.MonkeyPatch) -> Reports:
    made: Reports = []
    monkeypatch.setattr("fpcn_lightning.tasks.report.report_folder", made.append)
    return made


def plan(folder: Path) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = json.loads((folder / "sweep.json").read_text("utf-8"))["jobs"]
    return jobs


def compose_command(context: HydraContext, *words: str, **section: Any) -> ComposedSweep:
    """The jobs of a command line; keys of `hydra.sweeper` are as the test says, else as the config has them."""
    cfg = sweep_config(context, *seeds_as_sweep([word for word in words if word != "-m"]))
    found = cast(dict[str, Any], OmegaConf.to_container(cfg.hydra.sweeper, resolve=True))
    known = {key: value for key, value in found.items() if not key.startswith("_")}
    return compose_sweep(context, cfg, SweepSection(**known | section), task_words(cfg))


def names(sweep: ComposedSweep) -> list[str]:
    return [job.name for job in sweep.jobs]


def config_of(context: HydraContext, job: ComposedJob) -> DictConfig:
    """The config of a job, as its process composes it."""
    return context.config_loader.load_sweep_config(sweep_config(context), list(job.overrides))


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


@pytest.mark.slow
def test_errors_of_a_launcher_of_hydra_itself_end_in_one_sentence(
    sweep_here: SweepHere, reports: Reports, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = {0: UserError("the disk is full"), 1: RunInUse("in use"), 2: ValueError("bad number\nand more of it")}
    ran: list[int] = []

    def task(cfg: DictConfig) -> None:
        ran.append(cfg.seed)
        if cfg.seed in errors:
            raise errors[cfg.seed]

    with pytest.raises(UserError) as caught:
        sweep_here(task, "seed=0,1,2,3", "hydra.sweeper.max_batch_size=3")
    assert ran == [0, 1, 2, 3]
    assert len(reports) == 1
    assert "fpcn/seed-1 is left to another process" in capsys.readouterr().out
    assert str(caught.value).splitlines() == [
        "2 of 4 jobs failed; the same command runs exactly these again:",
        "  fpcn/seed-0: the disk is full (outputs/single/fpcn/seed-0)",
        "  fpcn/seed-2: ValueError: bad number (outputs/single/fpcn/seed-2)",
    ]


@pytest.mark.parametrize(
    ("words", "folders"),
    [
        ((), {"probe/seed-0", "plain/seed-0", "fpcn/seed-0"}),
        (("model=plain",), {"plain/seed-0"}),
        (
            ("seed=1,2",),
            {f"{model}/seed-{seed}" for model in ("probe", "plain", "fpcn") for seed in (1, 2)},
        ),
        (("model=fpcn", "model.alpha=soft", "variant=soft", "seed=range(2)"), {"soft/seed-0", "soft/seed-1"}),
    ],
)
def test_the_command_line_narrows_and_widens_an_experiment(
    words: tuple[str, ...], folders: set[str], hydra_context: HydraContext
) -> None:
    assert set(names(compose_command(hydra_context, "+experiment=demo", *words))) == folders


@pytest.mark.parametrize(
    ("word", "seeds"),
    [("seeds=0,1,2", [0, 1, 2]), ("seeds=0,1", [0, 1]), ("seeds='0,1,2'", [0, 1, 2]), ("seeds=range(4,6)", [4, 5])],
)
@pytest.mark.parametrize("start", [["+experiment=photographs", "data.root=x", "model=plain"], ["-m", "model=plain"]])
def test_seeds_are_those_that_every_row_is_run_with(
    word: str, seeds: list[int], start: list[str], hydra_context: HydraContext
) -> None:
    assert names(compose_command(hydra_context, *start, word)) == [f"plain/seed-{seed}" for seed in seeds]


def test_the_real_command_line_takes_seeds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["fpcn_lightning", "seeds=4", "--cfg", "job"])
    main()
    assert "\nseed: 4\n" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["fpcn_lightning", "seeds=4", "seed=5"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "error: seeds=4 and seed=5 both set the seeds: keep one of them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed=0,1", "seed=2,3"], "seed=0,1 and seed=2,3 set the same key: keep one of them"),
        (["model=plain", "model=fpcn,cin"], r"model=plain and model=fpcn,cin set .*written as model=ONE,OTHER"),
        (["hydra.sweeper.max_batch_size=0"], "hydra.sweeper.max_batch_size=0 must be at least 1"),
    ],
)
def test_words_that_shadow_each_other_are_named(words: list[str], message: str, hydra_context: HydraContext) -> None:
    with pytest.raises(UserError, match=message):
        compose_command(hydra_context, *words)


# `variant` of a network is its name unless a row says otherwise.
ROWS = [
    ["model=plain"],
    ["model=resnet18"],
    ["model=resnet18", "start=scratch", "variant=resnet18_scratch"],
    ["model=plain", "data.crop=64,96", "variant='plain_${data.crop}'"],
]
PLAIN, RESNET, SCRATCH, CROPS = "plain", "resnet18", "resnet18_scratch", ["plain_64", "plain_96"]


@pytest.mark.parametrize(
    ("words", "variants"),
    [
        ([], [PLAIN, RESNET, SCRATCH, *CROPS]),
        (["model=resnet18"], [RESNET, SCRATCH]),
        (["model=resnet18,plain", "start=scratch"], [SCRATCH]),
        (["data.crop=96"], ["plain_96"]),
        (["start=fine_tuned", "model=resnet18"], [RESNET, SCRATCH]),
    ],
)
def test_rows_are_combined_with_params_and_narrowed_by_the_command_line(
    words: list[str], variants: list[str], hydra_context: HydraContext
) -> None:
    sweep = compose_command(hydra_context, *words, rows=ROWS, params={"seed": "0,1"})
    expected = [f"{variant}/seed-{seed}" for seed in (0, 1) for variant in variants]
    assert names(sweep) == expected
    starts = {job.variant: config_of(hydra_context, job).hydra.runtime.choices.start for job in sweep.jobs}
    assert all(start == ("scratch" if variant == SCRATCH else "fine_tuned") for variant, start in starts.items())


def test_rows_can_be_listed_in_a_config(hydra_context: HydraContext) -> None:
    rows = "hydra.sweeper.rows=[['model=plain'],['model=fpcn','model.theta=0.5']]"
    sweep = compose_command(hydra_context, "seeds=3,4", rows)
    assert names(sweep) == ["plain/seed-3", "fpcn/seed-3", "plain/seed-4", "fpcn/seed-4"]
    assert config_of(hydra_context, sweep.jobs[1]).model.theta == 0.5


@pytest.mark.parametrize(
    ("words", "params", "message"),
    [
        (["model=cin"], None, "no row of this sweep has model=cin: choose from model=plain, model=resnet18, or"),
        ([], {"model": "plain,fpcn"}, "model is in hydra.sweeper.params and in hydra.sweeper.rows: keep one of them"),
    ],
)
def test_what_cannot_be_combined_with_rows_is_named(
    words: list[str], params: dict[str, str] | None, message: str, hydra_context: HydraContext
) -> None:
    with pytest.raises(UserError, match=message):
        compose_command(hydra_context, *words, rows=ROWS, params=params)


def test_batches_have_at_most_max_batch_size_jobs(hydra_context: HydraContext) -> None:
    sweep = compose_command(hydra_context, "seed=range(5)", "hydra.sweeper.max_batch_size=2", last=[["task=explain"]])
    assert [[job.seed for job in batch] for batch in sweep.batches] == [[0, 1], [2, 3], [4]]
    assert [job.task for job in sweep.last] == ["explain"]
    assert [job.number for job in sweep.jobs] == list(range(6))


def test_the_plan_knows_variants_that_are_named_after_a_choice(hydra_context: HydraContext) -> None:
    words = ("model=plain,fpcn", "variant='${hydra:runtime.choices.model}-x'")
    assert [job.variant for job in compose_command(hydra_context, *words).jobs] == ["plain-x", "fpcn-x"]


@pytest.mark.slow
def test_a_teacher_has_ended_before_its_students_begin(sweep_here: SweepHere, tmp_path: Path) -> None:
    ran: list[tuple[str, int, bool]] = []

    def task(cfg: DictConfig) -> None:
        ran.append((cfg.variant, cfg.seed, cfg.distillation is not None))

    words = ("+experiment=distillation", "model=resnet18,mobilenetv2", "distillation=kd", "seed=1", "data.crop=96")
    sweep_here(task, *words)
    assert ran == [("teacher", 0, False), ("resnet18-kd", 1, True), ("mobilenetv2-kd", 1, True)]
    planned = plan(tmp_path / "outputs/distillation")
    assert planned[0]["folder"] == "teacher/seed-0"
    # What the command line does not sweep over holds for the teacher, too, unless the teacher sets it itself.
    assert {"data.crop=96", "model=fpcn", "seed=0", "distillation=plain"} <= set(planned[0]["overrides"])
    assert "seed=1" not in planned[0]["overrides"]


@pytest.mark.slow
def test_a_key_below_a_group_that_a_teacher_chooses_does_not_concern_it(hydra_context: HydraContext) -> None:
    words = ("model=resnet18", "seed=0", "distillation=kd", "distillation.temperature=4")
    sweep = compose_command(hydra_context, "+experiment=distillation", *words)
    distillations = {job.variant: config_of(hydra_context, job).distillation for job in sweep.jobs}
    assert distillations["teacher"] is None
    assert distillations["resnet18-kd"].temperature == 4
    assert len(distillations) == 2


@pytest.mark.slow
def test_what_comes_first_runs_once_and_what_comes_last_after_all(
    hydra_context: HydraContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran: list[str] = []

    def launch(jobs: Sequence[ComposedJob]) -> list[Exception | None]:
        ran.extend(config_of(hydra_context, job).runs if job.task == "explain" else job.variant for job in jobs)
        return [UserError("the disk is full") if job.variant.startswith("plain") else None for job in jobs]

    sweep = compose_command(hydra_context, "+experiment=localisation", "seed=0", "ablation=plain,full")
    with pytest.raises(UserError, match="2 of 5 jobs failed"):
        run_sweep(sweep, "the command", launch, lambda _: None)
    trained = ["full-varied", "full-shortcut", "plain-varied", "plain-shortcut"]
    assert ran == [*trained, "outputs/localisation"]
    planned = ["plain-varied", "full-varied", "plain-shortcut", "full-shortcut"]  # as the rows are written
    assert [job["variant"] for job in plan(tmp_path / "outputs/localisation")] == planned


def test_a_teacher_that_is_there_already_is_not_trained_again(hydra_context: HydraContext) -> None:
    words = ("+experiment=distillation", "model=resnet18", "seed=0", "teacher=t.ckpt", "hydra.sweeper.first=[]")
    configs = [config_of(hydra_context, job) for job in compose_command(hydra_context, *words).jobs]
    assert [cfg.distillation and cfg.distillation.teacher for cfg in configs] == [None, "t.ckpt"]


def test_jobs_that_would_share_a_folder_are_refused_before_any_runs(sweep_here: SweepHere) -> None:
    ran: list[DictConfig] = []
    with pytest.raises(UserError, match=r"would land in same/seed-0: .*theta=0.1.*theta=0.2"):
        sweep_here(ran.append, "model.theta=0.1,0.2", "variant=same")
    with pytest.raises(UserError, match="not in name="):
        sweep_here(ran.append, "name=one,other")
    assert not ran


@pytest.mark.parametrize(
    ("words", "variants"),
    [
        (["model.theta=0.1,0.2"], ["fpcn-theta=0.1", "fpcn-theta=0.2"]),
        (["model=plain", "backbone=resnet18,resnet50"], ["plain-backbone=resnet18", "plain-backbone=resnet50"]),
        (["model=plain,fpcn", "seed=0,1"], ["plain", "plain", "fpcn", "fpcn"]),
        (
            ["model=plain,fpcn", "optimizer.lr=0.1,0.2"],
            ["plain-lr=0.1", "plain-lr=0.2", "fpcn-lr=0.1", "fpcn-lr=0.2"],
        ),
        (["optimizer.lr=0.1", "optimizer=sgd,adamw"], ["fpcn-optimizer=sgd", "fpcn-optimizer=adamw"]),
        (["data.root=/a b/c,/d"], ["fpcn-root=a_b_c", "fpcn-root=d"]),
        (
            ["loss.center.weight=0,1", "loss.own.weight=0,1"],
            [f"fpcn-loss.center.weight={one}-loss.own.weight={other}" for one in (0, 1) for other in (0, 1)],
        ),
        (["model.theta=0.1,0.2", "variant=theta-${model.theta}"], ["theta-0.1", "theta-0.2"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_folders_are_named_after_the_overrides_that_differ(
    hydra_context: HydraContext, words: list[str], variants: list[str]
) -> None:
    sweep = compose_command(hydra_context, *words)
    assert [job.variant for job in sweep.jobs] == variants
    assert [job.name for job in sweep.jobs] == [f"{job.variant}/seed-{job.seed}" for job in sweep.jobs]
    for job in sweep.jobs:
        assert config_of(hydra_context, job).variant == job.variant


@pytest.mark.parametrize("experiment", ["gradcam", "localisation", "distillation"])
def test_jobs_that_use_others_look_in_the_folder_of_the_sweep(
    hydra_context: HydraContext, tmp_path: Path, experiment: str
) -> None:
    words = (f"+experiment={experiment}", "seeds=0", f"hydra.sweep.dir='{tmp_path}/my, sweep'")
    sweep = compose_command(hydra_context, *words)
    identities = [cast(dict[str, Any], job.identity) for job in [*sweep.jobs, *sweep.last]]
    teachers = {each["teacher"] for each in identities if each["distillation"]}
    trained = {str(job.folder / "checkpoints" / "best.ckpt") for job in sweep.jobs}
    assert teachers
    assert teachers <= trained
    assert {each["runs"] for each in identities if each["task"] == "explain"} <= {f"{tmp_path}/my, sweep"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["seed=0,1", "data.crop=64,96", "variant='x-${data.crop}'", "logger.csv=null", "++trainer.precision=32"],
        ["+experiment=distillation", "seeds=0,1", "model=resnet18", "hydra.launcher.slots=2"],
    ],
)
def test_a_copied_config_is_the_one_that_hydra_composes(words: list[str], hydra_context: HydraContext) -> None:
    sweep = sweep_config(hydra_context, *seeds_as_sweep(words))
    jobs = compose_command(hydra_context, *words).jobs
    assert len(jobs) >= 4
    for job in jobs:
        fresh = hydra_context.config_loader.load_sweep_config(sweep, list(job.overrides))
        with open_dict(fresh):
            fresh.hydra.job.id, fresh.hydra.job.num = str(job.number), job.number
        HydraConfig.instance().set_config(fresh)
        expected = OmegaConf.to_container(OmegaConf.masked_copy(fresh, [str(key) for key in fresh if key != "hydra"]))
        assert isinstance(expected, dict)
        assert isinstance(job.identity, dict)
        assert job.identity.keys() == expected.keys()
        for key in expected:
            if OmegaConf.is_missing(fresh, key):
                continue
            section = fresh[key]
            value = OmegaConf.to_container(section, resolve=True) if OmegaConf.is_config(section) else section
            assert job.identity[key] == value
        assert job.folder == Path(fresh.hydra.sweep.dir) / fresh.hydra.sweep.subdir


def test_jobs_that_differ_in_plain_values_are_composed_once(
    hydra_context: HydraContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = []
    loader = type(hydra_context.config_loader)
    compose = loader.load_sweep_config

    def counted(self: ConfigLoader, master: DictConfig, overrides: list[str]) -> DictConfig:
        composed.append(overrides)
        return compose(self, master, overrides)

    words = ("model=lenet,plain", "optimizer.lr=0.1,0.2", "seed=0,1,2", "variant='v-${optimizer.lr}-${hydra:job.num}'")
    monkeypatch.setattr(loader, "load_sweep_config", counted)
    jobs = compose_command(hydra_context, *words).jobs
    assert len(composed) == 2
    assert [job.variant for job in jobs][:4] == ["v-0.1-0", "v-0.1-1", "v-0.1-2", "v-0.2-3"]
    assert [job.seed for job in jobs][:4] == [0, 1, 2, 0]


def test_an_error_in_a_value_is_that_of_hydra(hydra_context: HydraContext) -> None:
    with pytest.raises(Exception, match="Error merging override seed=one"):
        compose_command(hydra_context, "seed=0,one")


def test_the_invocation_of_a_sweep_is_read_from_its_config(hydra_context: HydraContext) -> None:
    words = ("seed=0,1", "variant='${model.backbone}'", "output=there")
    hydra = ("hydra.launcher.slots=3", "hydra/launcher=slots")
    invocation = sweep_invocation(sweep_config(hydra_context, *words, *hydra))
    assert invocation.overrides == words
    assert invocation.hydra_overrides == (*hydra, "hydra.mode=MULTIRUN")
    assert (invocation.output_dir, invocation.multirun) == (Path("there/single"), True)
    launcher = {key: value for key, value in invocation.launcher.items() if key[0] != "_"}
    assert launcher == {"slots": 3, "gpus": None, "gpus_per_job": 1}
    assert invocation.choices["model"] == "fpcn"


def test_the_invocation_of_a_run_is_read_from_the_running_job(tmp_path: Path) -> None:
    composed("model=plain", "slots=2", folder=tmp_path)
    invocation = running_invocation()
    assert invocation.overrides == ("model=plain", "slots=2")
    assert (invocation.output_dir, invocation.multirun, invocation.config_dirs) == (tmp_path, False, ())
    assert invocation.launcher["slots"] == 2
    assert invocation.choices["model"] == "plain"
