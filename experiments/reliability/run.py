"""Kills processes at random moments and damages pictures: nothing may be lost, and nothing may be read wrong.

    python experiments/reliability/run.py [--only kills|pictures] [--kinds train,map] [--count 5] [--seed 0]

Kills: each command of the program is killed with all its processes at a random moment after it has made its first file,
and started again with the same words. It must then end with exit code 0 and the same files. Logs are not compared, nor
files that differ between two unkilled ones, such as those with times; the results name these. `ranks`, a training on
four processes, is killed only where --kinds names it.

Pictures: small pictures of 16 variants of ten formats are damaged in five ways and read (`tests/fuzz_pictures.py`).

Everything lies below --folder, half of the trainings on the second file system where there is one, with TMPDIR on the
other. results.json is written after every kill: the same command goes on with those that are missing. The table is
written into README.md between the two marks.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SECOND = Path("/dev/shm")  # another file system than that of the disk, on Linux
LOGS = ("main.log", "output.log")  # what each start said: a finished run says that there is nothing to do
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
PICTURES = 5000
TOGETHER = 2  # commands at a time, each with one thread
PATIENCE = 600  # seconds for one command

PROGRAM = [sys.executable, "-m", "fpcn_lightning"]
FIELD = [sys.executable, "-c", "import sys; from fpcn_lightning.field.command import main; sys.exit(main())"]
TRAIN = [
    "trainer=smoke",
    "data.synthetic.images_per_class=20",
    "data.synthetic.size=64",
    "callbacks.summary=null",
    "trainer.max_epochs=4",
    "trainer.limit_train_batches=1.0",
    "data.epoch_length=5",
    "training.checkpoint_every=1steps",
]

Make = Callable[[Path, "Prepared"], list[str]]
"""The words of a command whose results go into a folder."""


@dataclass(frozen=True)
class Prepared:
    """What the commands work on: a teacher, its bundle, photographs, a section, and a finished sweep."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        """Of the teacher."""
        return self.folder / "outputs" / "teacher" / "plain" / "seed-0" / "checkpoints" / "best.ckpt"

    @property
    def bundle(self) -> Path:
        """Of the teacher."""
        return self.folder / "bundle"

    @property
    def photographs(self) -> Path:
        """A folder of images."""
        return next((self.folder / "data" / "synthetic").iterdir()) / "images"

    @property
    def section(self) -> Path:
        """An image that `fpcn map` takes."""
        return self.folder / "section.tif"

    @property
    def sweep(self) -> Path:
        """The folder of a finished sweep."""
        return self.folder / "outputs" / "sweep"


@dataclass(frozen=True)
class Kind:
    """A command that is killed `count` times; `begin` makes what the command needs in its folder."""

    count: int
    words: Make
    begin: Callable[[Path, Prepared], object] | None = None


def _train(folder: Path, prepared: Prepared) -> list[str]:  # noqa: ARG001 - the signature of `Make`
    return [*PROGRAM, *TRAIN, "model=fpcn", "training.ema=0.9", f"output={folder}"]


def _ranks(folder: Path, prepared: Prepared) -> list[str]:
    return [*_train(folder, prepared), "trainer.devices=4", "trainer.strategy=ddp_find_unused_parameters_true"]


def _predict(folder: Path, prepared: Prepared) -> list[str]:
    output = folder / "predictions.csv"
    return [*FIELD, "predict", str(prepared.bundle), str(prepared.photographs), "--output", str(output)]


def _map(folder: Path, prepared: Prepared) -> list[str]:
    words = ["--output", str(folder / "map"), "--threads", "1", "--um-per-px", "1"]
    return [*FIELD, "map", str(prepared.bundle), str(prepared.section), *words]


def _export(folder: Path, prepared: Prepared) -> list[str]:
    words = ["task=export", f"checkpoint={prepared.checkpoint}", f"export.bundle={folder}/bundle"]
    return [*PROGRAM, *words, f"output={folder}"]


def _store(folder: Path, prepared: Prepared) -> list[str]:
    words = ["model=plain", "distillation=kd", f"teacher={prepared.checkpoint}", f"distillation.store={folder}/store"]
    return [*PROGRAM, *TRAIN, *words, f"output={folder}"]


def _sweep(folder: Path, prepared: Prepared) -> list[str]:  # noqa: ARG001 - the signature of `Make`
    return [*PROGRAM, "-m", *TRAIN, "model=plain", "name=sweep", "seed=0,1", "slots=2", f"output={folder}"]


def _report(folder: Path, prepared: Prepared) -> list[str]:  # noqa: ARG001 - the signature of `Make`
    return [*PROGRAM, "task=report", f"runs={folder}/sweep", f"output={folder}/of-report"]


KINDS = {
    "train": Kind(50, _train),
    "ranks": Kind(5, _ranks),
    "predict": Kind(20, _predict),
    "map": Kind(10, _map),
    "export": Kind(10, _export),
    "store": Kind(10, _store),
    "sweep": Kind(10, _sweep),
    "report": Kind(10, _report, lambda folder, prepared: shutil.copytree(prepared.sweep, folder / "sweep")),
}
BY_DEFAULT = [name for name in KINDS if name != "ranks"]  # which takes ten minutes alone


@dataclass
class Baseline:
    """Two unkilled commands: how long they take, their files, and which of these differ between the two."""

    seconds: float
    writing: float  # seconds of these after the first file
    files: dict[str, str]
    varying: list[str]


@dataclass
class Kill:
    """One killed command and what came of starting it again; `differing` files are a failure."""

    second: float  # when it was killed, counted from its first file
    running: bool  # whether it was still running
    file_system: str
    exit_code: int
    differing: list[str] = field(default_factory=list)
    said: str = ""  # the last line of a command that failed

    @property
    def failed(self) -> bool:
        """Whether something was lost."""
        return self.exit_code != 0 or bool(self.differing)


def environment(folder: Path, temporary: Path) -> dict[str, str]:
    """One thread, a cache of its own, and no home of the user."""
    own = {"XDG_CACHE_HOME": str(folder / ".cache"), "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **own, "PYTHONPATH": str(ROOT)}


class Place:
    """A folder for one command, on the first or the second file system, with TMPDIR on the other."""

    def __init__(self, folder: Path, name: str, *, second: bool) -> None:
        other = SECOND / f"reliability-{os.getpid()}" / name
        inside = folder / "runs" / name
        self.folder, self.temporary = (
            (other, inside) if second else (inside, other if two_file_systems(folder) else inside)
        )
        self.temporary = self.temporary / ".tmp"
        self._made = {other, inside}
        self.file_system = "second" if second else "first"

    def __enter__(self) -> "Place":
        for path in (self.folder, self.temporary):
            path.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        for path in self._made:
            shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty while another command runs
            (SECOND / f"reliability-{os.getpid()}").rmdir()


def two_file_systems(folder: Path) -> bool:
    """Whether there is a second one that is writable."""
    folder.mkdir(parents=True, exist_ok=True)
    return os.access(SECOND, os.W_OK) and SECOND.stat().st_dev != folder.stat().st_dev


def start(words: Sequence[str], place: Place, cwd: Path) -> "subprocess.Popen[bytes]":
    """Start a command in `cwd`; what it prints goes into a file of the place."""
    with (place.temporary / "printed").open("wb") as printed:
        return subprocess.Popen(
            words,
            cwd=cwd,
            env=environment(place.folder, place.temporary),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finish(words: Sequence[str], place: Place, cwd: Path) -> tuple[int, str]:
    """Run a command to its end; its exit code and the last line that it printed."""
    return end_of(start(words, place, cwd), place)


def wait_for_a_file(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Return when a started command has made a file in `folder`, or has ended."""
    before = set(results_in(folder))
    while process.poll() is None and before.issuperset(results_in(folder)):
        time.sleep(0.02)


def end_of(process: "subprocess.Popen[bytes]", place: Place) -> tuple[int, str]:
    """Wait for a started command; its exit code and the last line that it printed."""
    try:
        code = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        kill(process)
        return -signal.SIGKILL, f"hangs for {PATIENCE} s"
    lines = (place.temporary / "printed").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return code, lines[-1] if lines else ""


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and all that it has started, jobs of a sweep in sessions of their own included."""
    family = [process.pid, *descendants(process.pid)]
    for number in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGSTOP)  # or a child could start another one meanwhile
    for number in {*family, *descendants(process.pid)}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    process.wait()


def descendants(number: int) -> list[int]:
    """The processes that a process has started, and those that these have started."""
    found = []
    for children in Path(f"/proc/{number}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, children.read_text().split()):
                found += [child, *descendants(child)]
    return found


def fingerprints(folder: Path) -> dict[str, str]:
    """A hash of each file below a folder but the logs; of a checkpoint the tensors, of a result its metrics."""
    compared = sorted(path for path in results_in(folder) if path.name not in LOGS)
    return {path.relative_to(folder).as_posix(): fingerprint(path) for path in compared}


def results_in(folder: Path) -> Iterator[Path]:
    """The files below a folder, but for locks, caches, and what is temporary; files may vanish meanwhile."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".cache", ".tmp"))]
        yield from (Path(place, name) for name in names if not name.startswith(".tmp") and not name.endswith(".lock"))


def fingerprint(path: Path) -> str:
    """A hash of what must not change when a command is killed and started again."""
    if path.suffix == ".ckpt":
        import torch

        content = torch.load(path, map_location="cpu", weights_only=True)
        digest = hashlib.sha256()
        for part in ("state_dict", "current_model_state", "optimizer_states"):
            for name, tensor in tensors(content.get(part), part):
                digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()
    if path.name == "result.json":
        result = json.loads(path.read_text(encoding="utf-8"))
        return json.dumps([result["status"], result["metrics"], result["epochs"]])
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tensors(content: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The tensors in nested mappings and lists, each with its place."""
    if isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in items:
            yield from tensors(value, f"{name}.{key}")
    elif hasattr(content, "contiguous"):
        yield name, content


def prepare(folder: Path) -> Prepared:
    """Make what the commands work on, unless an earlier call has."""
    prepared, done = Prepared(folder / "prepared"), folder / "prepared" / "done"
    if done.exists():
        return prepared
    prepared.folder.mkdir(parents=True, exist_ok=True)
    place = Place(folder, "prepare", second=False)
    with place:
        small = ["model=plain", f"output={prepared.folder}/outputs"]
        steps = [
            [*PROGRAM, *TRAIN, *small, "name=teacher"],
            [*PROGRAM, "task=export", f"checkpoint={prepared.checkpoint}", f"export.bundle={prepared.bundle}"],
            [*PROGRAM, "-m", *TRAIN, *small, "name=sweep", "seed=0,1", "slots=2"],
        ]
        for words in steps:
            code, said = finish(words, place, prepared.folder)
            if code:
                sys.exit(f"{' '.join(words)}\nexited with {code}: {said}")
    from fpcn_lightning.data.synthetic.section_files import write_section

    write_section(prepared.section, 600, 600, seed=0, micrometres_per_pixel=1.0)
    done.touch()
    return prepared


def baseline(name: str, kind: Kind, folder: Path, prepared: Prepared) -> Baseline:
    """Run a command twice without killing it."""
    found, seconds, writing = [], [], []
    for number in range(2):
        with Place(folder, f"{name}-whole-{number}", second=False) as place:
            if kind.begin is not None:
                kind.begin(place.folder, prepared)
            began = time.monotonic()
            process = start(kind.words(place.folder, prepared), place, prepared.folder)
            wait_for_a_file(process, place.folder)
            first = time.monotonic()
            code, said = end_of(process, place)
            seconds.append(time.monotonic() - began)
            writing.append(time.monotonic() - first)
            if code:
                sys.exit(f"{name} exited with {code}: {said}")
            found.append(fingerprints(place.folder))
    one, other = found
    varying = sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))
    return Baseline(min(seconds), min(writing), one, varying)


def killed(name: str, number: int, whole: Baseline, options: argparse.Namespace, prepared: Prepared) -> Kill:
    """Kill a command, start it again, and compare its files with those of an unkilled one."""
    kind, second = KINDS[name], number % 2 == 1 and two_file_systems(options.folder)
    moment = random.Random(f"{options.seed} {name} {number}").uniform(0, whole.writing)
    with Place(options.folder, f"{name}-{number}", second=second and name in ("train", "ranks")) as place:
        if kind.begin is not None:
            kind.begin(place.folder, prepared)
        words = kind.words(place.folder, prepared)
        process = start(words, place, prepared.folder)
        wait_for_a_file(process, place.folder)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        running = process.poll() is None
        kill(process)
        code, said = finish(words, place, prepared.folder)
        ended = Kill(round(moment, 2), running, place.file_system, code, said="" if code == 0 else said)
        if code == 0:
            found = fingerprints(place.folder)
            names = (found.keys() | whole.files.keys()) - set(whole.varying)
            ended.differing = sorted(path for path in names if found.get(path) != whole.files.get(path))
        return ended


class Results:
    """What is known so far, in results.json."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self._lock = path, threading.Lock()
        self.content: dict[str, Any] = {"seed": seed, "kills": {}, "pictures": None}
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["seed"] == seed:
                self.content = found

    def kills(self, name: str) -> dict[str, Any]:
        """Of one command: its kills by number, seconds, and the files that are not compared."""
        entry: dict[str, Any] = self.content["kills"].setdefault(name, {"kills": {}})
        return entry

    def save(self) -> None:
        """Write the file in one step."""
        from fpcn_lightning.runs.atomic_write import write_text_atomically

        with self._lock:
            write_text_atomically(self.path, json.dumps(self.content, indent=1) + "\n")


def run_kills(options: argparse.Namespace, results: Results) -> None:
    """Kill every kind of command as often as it says, or `--count` times."""
    prepared = prepare(options.folder)
    for name in options.kinds:
        kind, entry = KINDS[name], results.kills(name)
        missing = [each for each in range(options.count or kind.count) if str(each) not in entry["kills"]]
        if not missing:
            continue
        whole = baseline(name, kind, options.folder, prepared)
        entry |= {"seconds": round(whole.seconds, 1), "not_compared": whole.varying}

        def one(number: int, name: str = name, whole: Baseline = whole, entry: dict[str, Any] = entry) -> None:
            ended = killed(name, number, whole, options, prepared)
            entry["kills"][str(number)] = {**asdict(ended), "failed": ended.failed}
            results.save()
            print(
                f"{name} {number}: {'FAILED ' + ended.said if ended.failed else 'same'}", *ended.differing, flush=True
            )

        with ThreadPoolExecutor(TOGETHER) as pool:
            list(pool.map(one, missing))


def run_pictures(options: argparse.Namespace, results: Results) -> None:
    """Damage pictures and read them."""
    sys.path.insert(0, str(ROOT))
    from tests.fuzz_pictures import outcomes

    wanted, counts, failures = options.count or PICTURES, Counter[str](), list[str]()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for _, outcome in zip(range(wanted), outcomes(options.seed, Path(folder)), strict=False):
            counts[f"{outcome.name} {outcome.result}"] += 1
            if outcome.failed:
                failures.append(f"{outcome.name} {outcome.mutation} {outcome.result}")
    results.content["pictures"] = {
        "files": wanted,
        "counts": dict(sorted(counts.items())),
        "failures": failures,
        "seconds": round(time.monotonic() - began, 1),
    }
    results.save()


def table(content: dict[str, Any]) -> str:
    """The results in Markdown."""
    lines = [
        "| command | killed | of them running | went on | same files | seconds unkilled | files not compared |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, entry in content["kills"].items():
        kills = list(entry["kills"].values())
        running = sum(each["running"] for each in kills)
        went_on = sum(each["exit_code"] == 0 for each in kills)
        same = sum(not each["failed"] for each in kills)
        lines.append(
            f"| {name} | {len(kills)} | {running} | {went_on} | {same} | {entry.get('seconds', '')} | "
            f"{', '.join(f'`{path}`' for path in entry.get('not_compared', [])) or 'none'} |"
        )
    pictures = content["pictures"]
    if pictures:
        results = Counter[str]()
        for key, count in pictures["counts"].items():
            results[key.rpartition(" ")[2]] += count
        said = ", ".join(f"{count} {result}" for result, count in sorted(results.items()))
        lines += [
            "",
            f"{pictures['files']} damaged pictures: {said}; {len(pictures['failures'])} failures (a crash, a hang, or "
            "read with damage that the format can tell). Wrong are pictures with damage that it cannot tell.",
        ]
    return "\n".join(lines)


def write_table(path: Path, content: dict[str, Any]) -> None:
    """Replace what is between the marks."""
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    path.write_text(f"{before}{BEGIN}\n{table(content)}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing; returns 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("kills", "pictures"))
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=BY_DEFAULT, help="commands to kill")
    parser.add_argument("--count", type=int, help="of kills of each kind, and of pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=ROOT / "outputs" / "reliability", help="for the work")
    parser.add_argument("--results", type=Path, default=HERE, help="folder of results.json and README.md")
    options = parser.parse_args(arguments)
    options.folder = options.folder.resolve()
    results = Results(options.results / "results.json", options.seed)
    if options.only != "pictures":
        run_kills(options, results)
    if options.only != "kills":
        run_pictures(options, results)
    write_table(options.results / "README.md", results.content)
    print(table(results.content))
    kills = [each for entry in results.content["kills"].values() for each in entry["kills"].values()]
    pictures = results.content["pictures"]
    return int(any(each["failed"] for each in kills) or bool(pictures and pictures["failures"]))


if __name__ == "__main__":
    sys.exit(main())
