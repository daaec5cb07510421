"""The loop of a sweep around any launcher: the plan before, the report and one error after."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from fpcn_lightning.errors import ANOTHER_CONFIG, OTHER_IMAGES, RunInUse, UserError
from fpcn_lightning.sweep.jobs import ComposedJob
from fpcn_lightning.sweep.run_sweep import ComposedSweep, run_sweep

FOLDER = Path("outputs/single")
Task = Callable[[ComposedJob], Exception | None]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def job(number: int, variant: str = "fpcn", seed: int = 0, **changes: Any) -> ComposedJob:
    folder = changes.pop("folder", FOLDER / variant / f"seed-{seed}")
    described = {"task": "train", "experiment": "single", "accelerator": "cpu", "identity": variant}
    name = folder.relative_to(FOLDER).as_posix()
    words = (f"variant={variant}", f"seed={seed}")
    return ComposedJob(number, name, folder, words, variant=variant, seed=seed, **(described | changes))


def seeds(number: int) -> list[ComposedJob]:
    return [job(seed, seed=seed) for seed in range(number)]


class Sweep:
    """Runs sweeps with a task of the test's own, and keeps the batches and the reports."""

    def __init__(self, report: Callable[[Path], object] = lambda _: None) -> None:
        self.batches: list[list[str]] = []
        self.reports: list[Path] = []
        self._report = report

    def __call__(
        self,
        *batches: Sequence[ComposedJob],
        task: Task = lambda _: None,
        first: Sequence[ComposedJob] = (),
        last: Sequence[ComposedJob] = (),
    ) -> None:
        def launch(jobs: Sequence[ComposedJob]) -> list[Exception | None]:
            self.batches.append([each.name for each in jobs])
            return [task(each) for each in jobs]

        def report(folder: Path) -> None:
            self.reports.append(folder)
            self._report(folder)

        run_sweep(ComposedSweep(FOLDER, first, batches, last), "the command", launch, report)


def planned() -> list[str]:
    plan = json.loads((FOLDER / "sweep.json").read_text(encoding="utf-8"))
    assert plan["commands"] == ["the command"]
    return [each["folder"] for each in plan["jobs"]]


def failing(**errors: Exception) -> Task:
    """A task that fails with these errors, by seed, as in seed_1=ValueError()."""
    return lambda each: errors.get(f"seed_{each.seed}")


def test_the_plan_is_there_before_the_first_job_and_the_report_is_made_after_the_last() -> None:
    sweep, seen = Sweep(), list[tuple[int, int]]()

    def task(_: ComposedJob) -> None:
        seen.append((len(planned()), len(sweep.reports)))

    sweep(seeds(2), task=task)
    assert seen == [(2, 0), (2, 0)]
    assert sweep.reports == [FOLDER]


@pytest.mark.parametrize("error", [UserError("the disk is full"), RunInUse("another process is training there")])
def test_no_student_starts_while_its_teacher_is_not_finished(error: UserError) -> None:
    sweep = Sweep()
    students = [job(1, "student", 0), job(2, "student", 1)]
    with pytest.raises(UserError, match=r"1 of 3 jobs failed.*\n.*teacher/seed-0: .*were not started"):
        sweep(students, task=lambda _: error, first=[job(0, "teacher")])
    assert sweep.batches == [["teacher/seed-0"]]


def test_what_comes_first_runs_once_and_what_comes_last_after_all() -> None:
    sweep = Sweep()
    rows = [job(1, "plain"), job(2, "full")]
    explain = job(3, "explained", task="explain")
    with pytest.raises(UserError, match="1 of 3 jobs failed"):
        sweep(
            rows,
            task=lambda each: UserError("the disk is full") if each.variant == "plain" else None,
            first=[job(0, "full")],
            last=[explain],
        )
    assert sweep.batches == [["full/seed-0"], ["plain/seed-0"], ["explained/seed-0"]]
    assert planned() == ["plain/seed-0", "full/seed-0"]  # in the order of the rows


def test_a_first_job_in_the_folder_of_a_row_with_another_config_is_refused() -> None:
    sweep = Sweep()
    with pytest.raises(UserError, match="two jobs of the sweep would land in full/seed-0"):
        sweep([job(1, "full")], first=[job(0, "full", identity="other")])
    assert (sweep.batches, sweep.reports) == ([], [])


def test_a_sweep_stays_below_its_output_folder() -> None:
    sweep = Sweep()
    with pytest.raises(UserError, match=r"name=\.\./x names a folder"):
        sweep([job(0, experiment="../x")])
    assert (sweep.batches, sweep.reports) == ([], [])
    assert not list(Path().rglob("sweep.json"))


def test_all_jobs_run_before_one_sentence_names_those_that_failed() -> None:
    sweep = Sweep()
    task = failing(seed_0=UserError("the disk is full"), seed_2=ValueError("bad number\nand more of it"))
    with pytest.raises(UserError) as caught:
        sweep(seeds(4)[:2], seeds(4)[2:], task=task)
    assert sweep.batches == [["fpcn/seed-0", "fpcn/seed-1"], ["fpcn/seed-2", "fpcn/seed-3"]]
    assert len(sweep.reports) == 1
    assert str(caught.value).splitlines() == [
        "2 of 4 jobs failed; the same command runs exactly these again:",
        "  fpcn/seed-0: the disk is full (outputs/single/fpcn/seed-0)",
        "  fpcn/seed-2: ValueError: bad number (outputs/single/fpcn/seed-2)",
    ]


def test_a_failed_job_is_named_with_its_log() -> None:
    (FOLDER / "fpcn" / "seed-0").mkdir(parents=True)
    (FOLDER / "fpcn" / "seed-0" / "output.log").touch()
    with pytest.raises(UserError, match=r"\(outputs/single/fpcn/seed-0/output\.log\)"):
        Sweep()(seeds(1), task=failing(seed_0=UserError("the disk is full")))


@pytest.mark.parametrize(("part", "named"), [(ANOTHER_CONFIG, "another config"), (OTHER_IMAGES, "other images")])
def test_other_numbers_are_not_reported_as_those_of_this_one(part: str, named: str) -> None:
    sweep = Sweep()
    with pytest.raises(UserError, match=rf"(?s)no report is made.*{named}.*1 of 2 jobs failed:") as caught:
        sweep(seeds(2), task=failing(seed_1=UserError(f"outputs/seed-1 {part}: name this run")))
    assert "the same command" not in str(caught.value)  # it would fail again
    assert not sweep.reports


def test_a_run_of_another_process_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    Sweep()(seeds(2), task=failing(seed_1=RunInUse("another process is training here")))
    assert "fpcn/seed-1 is left to another process" in capsys.readouterr().out


def test_an_interrupted_sweep_still_makes_its_report() -> None:
    def task(_: ComposedJob) -> None:
        raise KeyboardInterrupt

    sweep = Sweep()
    with pytest.raises(KeyboardInterrupt):
        sweep(seeds(2), task=task)
    assert len(sweep.reports) == 1


def test_a_report_that_fails_hides_no_failed_job() -> None:
    def refuse(_: Path) -> None:
        raise UserError("a damaged file")

    sweep = Sweep(refuse)
    with pytest.raises(UserError, match=r"(?s)a damaged file.*1 of 2 jobs failed.*the disk is full"):
        sweep(seeds(2), task=failing(seed_1=UserError("the disk is full")))
    with pytest.raises(UserError, match=r"^a damaged file$"):
        sweep(seeds(1))


def test_a_launcher_that_breaks_still_leaves_a_report() -> None:
    def break_down(_: ComposedJob) -> None:
        raise error

    sweep = Sweep()
    error: Exception = OSError("a worker died")
    with pytest.raises(OSError, match="a worker died"):
        sweep(seeds(3), task=break_down)
    assert len(sweep.reports) == 1

    error = UserError("there are not so many slots")  # then nothing has run that could be reported
    with pytest.raises(UserError, match="so many slots"):
        sweep(seeds(3), task=break_down)
    assert len(sweep.reports) == 1


def test_jobs_of_one_folder_are_refused_before_any_runs() -> None:
    sweep = Sweep()
    with pytest.raises(UserError, match=r"would land in fpcn/seed-0"):
        sweep([job(0), job(1)])
    assert (sweep.batches, sweep.reports) == ([], [])


def test_a_sweep_that_does_not_train_makes_no_plan_and_no_report() -> None:
    sweep = Sweep()
    sweep([job(0, task="evaluate")])
    assert (sweep.batches, sweep.reports) == ([["fpcn/seed-0"]], [])
    assert not (FOLDER / "sweep.json").exists()
