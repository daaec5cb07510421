"""Measures the figures of speed: writes `results.json` and the table of README.md, part by part.

    python experiments/speed/run.py                 every part that has no result yet
    python experiments/speed/run.py step loader     these parts anew
    python experiments/speed/run.py --all           all parts anew

On an idle machine this takes about half an hour. Each part is a command of its own, and its result is written as soon
as it is there, with commit, processor and load of the machine: a run that is stopped goes on where it was.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fpcn_lightning.profiling.processor import IDLE, load_of_core, processor
from fpcn_lightning.runs.atomic_write import write_text_atomically
from fpcn_lightning.runs.provenance import code_of_package

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS, README = HERE / "results.json", HERE / "README.md"
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
NOT_MEASURED = "not measured"
STEP_SIZES = ("data.resize=180", "data.crop=160")
LONGEST_WAIT = 120  # seconds; the load is a mean of the last minute

Rows = list[dict[str, Any]]


class Failed(Exception):  # noqa: N818 - a part without a result is no fault of the program
    """A part could not be measured; the message says why."""


def command(words: list[str], folder: Path) -> str:
    """The output of a command in a folder, in which it also keeps its cache."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise Failed(f"exit code {done.returncode}: {last}"[:300])
    return done.stdout


def benchmark(folder: Path, part: str, *words: str) -> Rows:
    """The rows of a part of `task=benchmark`."""
    task = ["-m", "fpcn_lightning", "task=benchmark", f"benchmark.parts=[{part}]", "output=out", *words]
    command(task, folder)
    found = next((folder / "out" / "benchmarks").glob("*/benchmark.json"))
    rows: Rows = json.loads(found.read_text(encoding="utf-8"))["rows"]
    return rows


def step(folder: Path) -> Rows:
    """The training step of EfficientNet-Lite0 at 160 px, 42 images."""
    return benchmark(folder, "step", *STEP_SIZES)


def variants(folder: Path) -> Rows:
    """The same step in bfloat16 and compiled."""
    return benchmark(folder, "step", *STEP_SIZES, "benchmark.variants=[bf16,compile]")


def loader(folder: Path) -> Rows:
    """The loader on photographs of 512 px, to a crop of 448."""
    sizes = ("data.synthetic.size=512", "data.synthetic.images_per_class=40", "data.resize=512", "data.crop=448")
    return benchmark(folder, "loader", *sizes)


def start(folder: Path) -> Rows:
    """How long commands take to start."""
    return benchmark(folder, "start", "data.synthetic.images_per_class=20")


def inference(folder: Path) -> Rows:
    """MobileNetV2 at 224 px."""
    rows = benchmark(folder, "inference", "model=mobilenetv2", "data.resize=256", "data.crop=224")
    for row in rows:
        if row["ratio"]:  # of times; the table says how many times as fast
            ends = {"low": 1 / row["ratio"]["high"], "high": 1 / row["ratio"]["low"]}
            row["ratio"] = {"median": 1 / row["ratio"]["median"], **ends}
    return rows


def numbers(text: str, pattern: str, what: str, unit: str) -> Rows:
    """The rows of a printed number, which `pattern` has as its first group."""
    found = re.search(pattern, text)
    if found is None:
        raise Failed(f"the output has no {what}")
    value = float(found[1].replace(",", ""))
    return [{"what": what, "unit": unit, "value": {"median": value, "low": value, "high": value}, "ratio": None}]


def slots(folder: Path) -> Rows:
    """Eight jobs on two slots."""
    text = command([str(ROOT / "experiments" / "slots" / "benchmark.py")], folder)
    return numbers(text, r"8 jobs on 2 slots: .* s, ([\d.]+) times the ideal", "8 jobs on 2 slots", "times the ideal")


def distillation(folder: Path) -> Rows:
    """A student with stored logits, over the same one alone."""
    text = command([str(ROOT / "experiments" / "distillation" / "benchmark.py")], folder)
    return numbers(
        text, r"stored: ([\d.]+) times a student alone", "distilled over undistilled, logits stored", "times"
    )


def section_map(folder: Path) -> Rows:
    """The map of a section of 10,000 x 10,000 px with the bundle in `SPEED_BUNDLE`."""
    bundle = os.environ.get("SPEED_BUNDLE")
    if bundle is None:
        raise Failed("SPEED_BUNDLE names no bundle of sections: see experiments/mineral_map")
    command([str(ROOT / "experiments" / "mineral_map" / "benchmark.py"), bundle, "--work", str(folder)], folder)
    found = json.loads(next(folder.rglob("benchmark-10000.json")).read_text(encoding="utf-8"))
    seconds, memory = float(found["seconds"]), float(found["gigabytes"])
    return [
        {"what": what, "unit": unit, "value": dict.fromkeys(("median", "low", "high"), value), "ratio": None}
        for what, unit, value in (("map", "s", seconds), ("memory of the map", "GB", memory))
    ]


def gpu(folder: Path) -> Rows:
    """The rows of gpu.sh."""
    script = [str(HERE / "gpu.py"), "--output", str(folder)]
    command(script, folder)
    rows: Rows = json.loads((folder / "gpu.json").read_text(encoding="utf-8"))["rows"]
    if all(row["value"] is None for row in rows):
        raise Failed("no GPU")
    return rows


PARTS: dict[str, Callable[[Path], Rows]] = {
    "step": step,
    "variants": variants,
    "loader": loader,
    "inference": inference,
    "start": start,
    "slots": slots,
    "distillation": distillation,
    "map": section_map,
    "gpu": gpu,
}

# What the table shows: the figure, what was measured in November 2026, the part, and the names of its rows, to reach.
FIGURES: tuple[tuple[str, str, str, tuple[str, ...], str], ...] = (
    ("cached loading to a 448 crop, one core, over PIL", "4.7 times (torchvision v1)", "loader",
     ("this package, cached",), "20 times"),
    ("bare memory map over cached loading", "5 to 7 times", "loader", ("memory map, crop and flip",), "2 times"),
    ("first epoch over PIL", "0.5 to 0.7 times", "loader", ("this package, first time",), "2 times"),
    ("training step on CPU, EfficientNet-Lite0, 160 px", "53 ms an image, 34 with memory kept", "step",
     ("bare backbone", "plain", "fpcn", "fpcn, memory not kept"), "34 ms by default"),
    ("page faults of a step", "a third of the time", "step",
     ("fpcn: page faults", "fpcn, memory not kept: page faults"), "few"),
    ("FPCN step over plain, CPU", "1.02", "step", ("fpcn over plain",), "1.03"),
    ("memory of FPCN over plain", NOT_MEASURED, "step", ("fpcn over plain: peak memory",), "1.03"),
    ("early stages frozen", "a third of the time", "step", ("fpcn, frozen",), "-"),
    ("the step in bfloat16, and compiled", NOT_MEASURED, "variants", ("fpcn, bf16", "fpcn, compile"), "-"),
    ("int8 file over eager, MobileNetV2 224, one thread", "3.6 times without VNNI, 4.5 with it", "inference",
     ("mobilenetv2, model.int8.onnx, 1 thread",), "4; with VNNI 5"),
    ("float32 file over eager", "2.2 times", "inference", ("mobilenetv2, model.onnx, 1 thread",), "3 times"),
    ("--help", "0.16 s", "start", ("--help",), "keep"),
    ("--cfg job", "0.31 s", "start", ("--cfg job",), "keep"),
    ("start of a run until the first step", "10 to 15 s, imports 3 to 6", "start",
     ("a run until its first step", "of which imports"), "half"),
    ("a wrong path is refused", NOT_MEASURED, "start", ("a wrong data.root is refused",), "1 s"),
    ("distilled over undistilled, logits stored", "0.83 to 1.03", "distillation",
     ("distilled over undistilled, logits stored",), "1.05"),
    ("map of 10,000 x 10,000 px, two cores", "57 s, 1.03 GB", "map", ("map", "memory of the map"), "40 s"),
    ("8 jobs on 2 slots", "1.15 times the ideal", "slots", ("8 jobs on 2 slots",), "1.10"),
    ("GPU, ResNet-50: plain over timm's loop", NOT_MEASURED, "gpu", ("resnet50 plain: images/s",), "0.95"),
    ("GPU, ResNet-50: FPCN over timm's loop", NOT_MEASURED, "gpu", ("resnet50 fpcn: images/s",), "0.90"),
    ("GPU, ResNet-101: plain over timm's loop", NOT_MEASURED, "gpu", ("resnet101 plain: images/s",), "0.95"),
    ("GPU, ResNet-101: FPCN over timm's loop", NOT_MEASURED, "gpu", ("resnet101 fpcn: images/s",), "0.90"),
    ("GPU, ResNet-101: FPCN over plain", NOT_MEASURED, "gpu", ("resnet101 fpcn over plain: images/s",), "0.95"),
    ("GPU: synchronisations within a step", NOT_MEASURED, "gpu",
     ("resnet50 plain: synchronisations in training_step", "resnet50 fpcn: synchronisations in training_step"), "0"),
    ("GPU: loader over the fastest training", NOT_MEASURED, "gpu", ("loader over the fastest training",), "above 1"),
)  # fmt: skip


def wait_until_idle() -> None:
    """Wait until the work of the part before does not count as load any more, at most `LONGEST_WAIT` seconds."""
    end = time.monotonic() + LONGEST_WAIT
    while (load_of_core() or 0.0) > IDLE and time.monotonic() < end:
        time.sleep(1)


def measure(name: str) -> dict[str, Any]:
    """The result of a part, with where it was measured."""
    wait_until_idle()
    load, code = load_of_core() or 0.0, code_of_package()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            rows, reason = PARTS[name](Path(folder)), None
        except Failed as error:
            rows, reason = [], str(error)
    return {
        "rows": rows,
        "reason": reason,
        "commit": code["commit"],
        "dirty": code["dirty"],
        "processor": processor().text,
        "load": load,
        "seconds": round(time.monotonic() - began),
        "date": datetime.now(UTC).date().isoformat(),
    }


def cell(row: dict[str, Any], *, of_several: bool = False) -> str:
    """The value of a row and its ratio, with quartiles; in a cell of several rows also what it is compared with."""
    value = None if row["unit"] == "ratio" else row["value"]  # such a row has the same ratio once more
    times = f"times {row['reference']}" if of_several and row.get("reference") else "times"
    shown = ((value, row["unit"]), (row["ratio"], times))
    known = [f"{quartiles(each)} {unit}" for each, unit in shown if each is not None]
    return ", ".join(known) or f"{NOT_MEASURED} ({row['note']})"


def quartiles(value: dict[str, float]) -> str:
    """A median, and the quartiles where there are several values."""
    text = "{:.3g}".format if max(map(abs, value.values())) < 1000 else "{:,.0f}".format
    spread = "" if value["low"] == value["high"] else f" ({text(value['low'])} to {text(value['high'])})"
    return f"**{text(value['median'])}**{spread}"


def named(rows: Rows) -> dict[str, dict[str, Any]]:
    """The rows of a part by name, those of a GPU with their backbone, and FPCN over plain."""
    known = {}
    for row in rows:
        known[row["what"]] = known[f"{row.get('part')} {row['what']}"] = row
        if row.get("reference") == "plain":
            known[row["what"].replace("fpcn", "fpcn over plain")] = {**row, "unit": "ratio"}
    return known


def table(results: dict[str, Any]) -> str:
    """The table in Markdown, and below it where each part was measured."""
    lines = ["| what | measured first | measured now | to reach |", "|---|---|---|---|"]
    for what, before, part, names, goal in FIGURES:
        result = results.get(part)
        found = named(result["rows"]) if result else {}
        cells = [
            f"{name}: {cell(found[name], of_several=True)}" if len(names) > 1 else cell(found[name])
            for name in names
            if name in found
        ]
        reason = result["reason"] if result and result["reason"] else None
        now = "; ".join(cells) or (f"{NOT_MEASURED}: {reason}" if reason else NOT_MEASURED)
        lines.append(f"| {what} | {before} | {now} | {goal} |")
    lines += ["", "| part | commit | processor | load of a core | seconds | date |", "|---|---|---|---|---|---|"]
    for part, result in results.items():
        commit = (result["commit"] or "no commit")[:10] + (" with changes" if result["dirty"] else "")
        loaded = f"{result['load']}, **measured under load**" if result["load"] > IDLE else f"{result['load']}"
        place = f"{result['processor']} | {loaded} | {result['seconds']:,} | {result['date']}"
        lines.append(f"| {part} | {commit} | {place} |")
    return "\n".join(lines)


def write(results: dict[str, Any]) -> None:
    """Write the results, and the table into the page."""
    write_text_atomically(RESULTS, json.dumps(results, indent=1) + "\n")
    page = README.read_text(encoding="utf-8")
    head, tail = page.split(BEGIN)[0], page.split(END)[1]
    write_text_atomically(README, f"{head}{BEGIN}\n\n{table(results)}\n\n{END}{tail}")


def main() -> None:
    """Measure what is missing or named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"to measure anew: {', '.join(PARTS)}")
    parser.add_argument("--all", action="store_true", help="measure all parts anew")
    parser.add_argument("--table", action="store_true", help="write the table from the results that are there, only")
    chosen = parser.parse_args()
    if unknown := sorted(set(chosen.parts) - PARTS.keys()):
        parser.error(f"no part is called {unknown[0]}: there are {', '.join(PARTS)}")
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    wanted = chosen.parts or [part for part in PARTS if chosen.all or part not in results]
    for part in [] if chosen.table else wanted:
        print(f"measuring {part} ...", flush=True)
        results[part] = measure(part)
        results = {name: results[name] for name in PARTS if name in results}
        write(results)
    write(results)
    print(table(results))


if __name__ == "__main__":
    main()
