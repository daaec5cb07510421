"""Every launcher of `conf/hydra/launcher`, and the command line of a job."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import compose
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode

from fpcn_lightning.cli.invocation import sweep_invocation
from fpcn_lightning.cli.renamed import renamed
from fpcn_lightning.cli.sweep_jobs import SweepSection, compose_sweep
from fpcn_lightning.config import CONF
from fpcn_lightning.errors import RunInUse, UserError
from fpcn_lightning.sweep import processes
from fpcn_lightning.sweep.command import job_arguments, quoted
from fpcn_lightning.sweep.jobs import Ended, Job
from fpcn_lightning.sweep.slots import Slot
from hydra_plugins.fpcn_lightning.launchers import SlotsLauncher
from tests.sweep.conftest import SweepHere, sweep_config, task_words

LAUNCHERS = sorted(path.stem for path in (CONF / "hydra" / "launcher").glob("*.yaml"))
AWKWARD = "my rocks, 1=2 é 'x' \"y\" [z] #1"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Job, Slot]]:
    """Jobs are recorded instead of run, with the slot that each would get if all started at once."""
    recorded: list[tuple[Job, Slot]] = []

    def record(jobs: Iterable[Job], slots: Sequence[Slot], overview: object, total: int | None) -> list[Ended]:
        waiting = list(jobs)
        recorded.extend((job, slots[number % len(slots)]) for number, job in enumerate(waiting))
        return [Ended(job, 0, 1.0) for job in waiting]

    monkeypatch.setattr(processes, "run_jobs", record)
    monkeypatch.setattr("fpcn_lightning.tasks.report.report_folder", lambda _: None)
    return recorded


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_can_be_built_from_its_file(launcher: str, hydra_context: HydraContext) -> None:
    cfg = sweep_config(hydra_context, f"hydra/launcher={launcher}")
    built = Plugins.instance().instantiate_launcher(hydra_context=hydra_context, task_function=print, config=cfg)
    assert type(built).__module__.startswith("hydra_plugins.")


@pytest.mark.parametrize(("launcher", "module"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_launcher_whose_extra_is_missing_names_it(
    launcher: str, module: str, sweep_here: SweepHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"pip install 'fpcn-lightning\[{launcher}\]'"):
        sweep_here(print, launcher=launcher)


def test_submitit_gets_what_the_config_says(hydra_context: HydraContext, monkeypatch: pytest.MonkeyPatch) -> None:
    on_slurm = pytest.importorskip("fpcn_lightning.sweep.on_slurm")
    asked: list[Any] = []
    monkeypatch.setattr(on_slurm, "make_executor", lambda *arguments: asked.extend(arguments))
    monkeypatch.setattr(on_slurm, "run_on_slurm", lambda *_: [])
    words = ("+experiment=demo", "hydra/launcher=slurm", "hydra.launcher.parameters.slurm_partition=gpu")
    cfg = sweep_config(hydra_context, *words, "hydra.launcher.parameters.slurm_additional_parameters={mail-type:END}")
    Plugins.instance().instantiate_launcher(hydra_context, print, cfg).launch([], 0)

    cluster, folder, max_num_timeout, parameters = asked
    assert (cluster, folder, max_num_timeout) == ("slurm", "outputs/demo/.submitit/%j", 10)
    assert parameters["name"] == "demo"
    assert parameters["slurm_partition"] == "gpu"
    assert parameters["slurm_additional_parameters"] == {"mail-type": "END"}
    assert type(parameters["slurm_additional_parameters"]) is dict


def test_a_machine_without_slurm_gets_a_message(sweep_here: SweepHere, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="slurm from this machine"):
        sweep_here(print, launcher="slurm")


def test_a_parameter_unknown_to_submitit_is_named(sweep_here: SweepHere) -> None:
    pytest.importorskip("submitit")
    with pytest.raises(UserError, match="slurm_particle"):
        sweep_here(
            print, "hydra.launcher.cluster=local", "+hydra.launcher.parameters.slurm_particle=x", launcher="slurm"
        )


def test_awkward_names_survive_the_command_line(hydra_context: HydraContext) -> None:
    """Sweep -> job -> command line -> config: values arrive unchanged."""
    words = [f"output={quoted(AWKWARD)}", f"data.root={quoted('/' + AWKWARD)}", "data=folder", "seed=1,2"]
    words += ["logger.csv=null", "variant='${model.backbone} ${seed}'", "model.backbone=resnet18"]
    words += ["hydra.sweep.subdir='${variant}'"]
    cfg = sweep_config(hydra_context, *words)
    jobs = compose_sweep(hydra_context, cfg, SweepSection(), task_words(cfg)).jobs
    assert [job.name for job in jobs] == ["resnet18 1", "resnet18 2"]

    line = job_arguments(sweep_invocation(cfg), jobs[1].overrides, jobs[1].folder)
    arrived = compose("config", list(line), return_hydra_config=True)
    assert arrived.hydra.run.dir == f"{AWKWARD}/single/resnet18 2"
    assert arrived.data.root == f"/{AWKWARD}"
    assert arrived.variant == "resnet18 2"
    assert arrived.logger.csv is None
    assert arrived.hydra.mode == RunMode.RUN


def test_a_job_of_an_experiment_that_says_multirun_is_a_single_run(
    sweep_here: SweepHere, ran: list[tuple[Job, Slot]]
) -> None:
    sweep_here(print, "+experiment=demo", launcher="slots")
    assert [job.name for job, _ in ran] == ["probe/seed-0", "plain/seed-0", "fpcn/seed-0"]
    arrived = compose("config", list(ran[2][0].arguments), return_hydra_config=True)
    assert arrived.hydra.mode == RunMode.RUN
    assert arrived.variant == "fpcn"


def test_simulated_gpus_reach_the_jobs(sweep_here: SweepHere, ran: list[tuple[Job, Slot]]) -> None:
    sweep_here(print, "seed=0,1,2", "hydra.launcher.gpus=[0,1]", launcher="slots")
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for _, slot in ran] == ["0", "1", "0"]
    ran.clear()
    sweep_here(print, "seed=0,1", "hydra.launcher.gpus=[0,1,2,3]", "hydra.launcher.gpus_per_job=2", launcher="slots")
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for _, slot in ran] == ["0,1", "2,3"]


@pytest.mark.parametrize(("old", "new"), [("cards=[0]", "gpus"), ("cards_per_slot=2", "gpus_per_job")])
def test_an_old_key_names_the_new_one(old: str, new: str, hydra_context: HydraContext) -> None:
    with pytest.raises(HydraException):
        sweep_config(hydra_context, f"hydra.launcher.{old}")
    name = old.partition("=")[0]
    assert renamed(f"hydra.launcher.{old}") == f"hydra.launcher.{name} is called hydra.launcher.{new} now."


def test_failed_and_taken_jobs_come_back_as_such(
    hydra_context: HydraContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    codes = {"fpcn/seed-0": 0, "fpcn/seed-1": -9, "fpcn/seed-2": 75}

    def end(jobs: Iterable[Job], slots: object, overview: object, total: int | None) -> list[Ended]:
        return [Ended(job, codes[job.name], 1.0, reason="out of memory") for job in reversed(list(jobs))]

    monkeypatch.setattr(processes, "run_jobs", end)
    launcher = SlotsLauncher(None, None, 1)
    launcher.setup(hydra_context=hydra_context, task_function=print, config=sweep_config(hydra_context))
    fine, killed, taken = launcher.launch([["seed=0"], ["seed=1"], ["seed=2"]], 0)
    assert fine.return_value is None
    with pytest.raises(UserError, match="out of memory"):
        _ = killed.return_value
    with pytest.raises(RunInUse):
        _ = taken.return_value
    assert fine.cfg is not None
    assert fine.cfg.seed == 0
