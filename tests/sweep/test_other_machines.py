"""The launchers for more than one machine, tested on one; each needs its extra."""

from pathlib import Path

import pytest

from fpcn_lightning.sweep.jobs import Job
from tests.sweep.conftest import Command
from tests.sweep.test_processes import PROGRAM, silent
from tests.sweep.test_sweeps import attempts, results

pytestmark = pytest.mark.slow


def check_a_sweep_of_which_one_job_raises_and_one_is_killed(command: Command, place: Path, *launcher: str) -> None:
    done = command(*launcher, "seed=0,1,2", failures="seed-0:raise seed-1:kill")
    folder = place / "outputs" / "smoke" / "single"
    assert done.returncode == 2, done.stderr
    sentence = done.stderr.rpartition("error: ")[2]
    assert "2 of 3 jobs failed" in sentence
    assert "plain/seed-0: RuntimeError: planned failure" in sentence
    assert "plain/seed-1: ended by signal 9" in sentence
    status = {name: result["status"] for name, result in results(folder).items()}
    assert status == {"plain/seed-0": "failed", "plain/seed-1": "running", "plain/seed-2": "finished"}
    assert [attempts(folder, name) for name in status] == [1, 1, 1]
    assert (place / "marks").read_text() == "xx"  # by default, Ray would run the killed one four times
    assert "report:" in done.stdout


def test_ray_finishes_the_others_and_runs_no_job_twice(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    here = ("hydra/launcher=ray", "hydra.launcher.num_gpus=0", "hydra.launcher.init.num_cpus=2")
    check_a_sweep_of_which_one_job_raises_and_one_is_killed(command, tmp_path, *here)


@pytest.mark.exhaustive  # as on Ray; submitit itself is in the test below
def test_submitit_finishes_the_others(command: Command, tmp_path: Path) -> None:
    """Its local executor stands for Slurm."""
    pytest.importorskip("submitit")
    here = ("hydra/launcher=slurm", "hydra.launcher.cluster=local", "hydra.launcher.parameters.gpus_per_node=null")
    check_a_sweep_of_which_one_job_raises_and_one_is_killed(command, tmp_path, *here)


def test_a_job_at_its_time_limit_is_interrupted_and_submitted_again(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    import submitit

    from fpcn_lightning.sweep.on_slurm import SlurmTask

    # Like a run: it leaves a file when it is interrupted, and then resumes from there.
    code = (
        "import pathlib, time\n"
        "if pathlib.Path('interrupted').exists(): raise SystemExit\n"
        "try: time.sleep(100)\n"
        "except KeyboardInterrupt: pathlib.Path('interrupted').touch()"
    )
    # The warning comes ten seconds after the start, ten before the end.
    executor = submitit.LocalExecutor(tmp_path / "scripts", max_num_timeout=1)
    executor.update_parameters(timeout_min=20 / 60, signal_delay_s=10)
    submitted = executor.submit(SlurmTask(Job("job", tmp_path / "job", (code,), PROGRAM), tmp_path))
    assert submitted.result().outcome == "finished"
    assert (tmp_path / "interrupted").exists()
    assert attempts(tmp_path, "job") == 2


def test_ray_gives_every_job_gpus_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two GPUs are simulated."""
    pytest.importorskip("ray")
    from fpcn_lightning.sweep.on_ray import run_on_ray

    monkeypatch.setenv("HOME", str(tmp_path))  # Ray keeps a secret there
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # make sets it

    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['OMP_NUM_THREADS'], os.getcwd())"
    jobs = [Job(f"job-{number}", tmp_path / f"job-{number}", (code,), PROGRAM) for number in range(3)]
    init = {"num_cpus": 2, "num_gpus": 2, "include_dashboard": False}
    ended = run_on_ray(jobs, silent(), init, num_cpus=1, num_gpus=1)
    said = [each.job.log.read_text().splitlines()[-1].split(" ", 2) for each in ended]
    assert {gpus for gpus, _, _ in said} <= {"0", "1"}
    assert {threads for _, threads, _ in said} == {"1"}
    assert {place for _, _, place in said} == {str(Path.cwd())}
