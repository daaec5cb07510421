"""How fast, how small and how true `fpcn map` is, on a synthetic section whose grains are known.

    python experiments/mineral_map/benchmark.py BUNDLE [--size 10000] [--file model.int8.onnx] [--interrupt]

Draws a section that no network has seen (once; a minute for 10,000 x 10,000 px), maps it with the command `fpcn map` in
a process of its own, and compares the results with the truth:

- wall-clock seconds, and the highest resident memory of the process, shared and mapped pages included;
- areas by class, in percent points;
- the share of pixels whose class is right;
- grains as large as the distance of two windows or larger, against those of the true classes at the map's cells;
- lengths of contacts, against the true classes at full size. Both are estimated by Crofton's formula.

With --interrupt the map is made once more, killed half-way, and started again: its files must be identical, byte for
byte. The numbers are printed, and written to WORK/benchmark-SIZE.json.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from skimage.measure import label

from fpcn_lightning.data.synthetic.section_files import write_section
from fpcn_lightning.data.synthetic.sections import CLASSES
from fpcn_lightning.profiling.processor import processor

Classes = NDArray[np.uint8]
RESULTS = ("areas.csv", "grains.csv", "contacts.csv", "class_map.tif", "confidence_map.tif")
_BAND = 1000  # rows of the section that are compared together


class Run(NamedTuple):
    """One call of the command."""

    seconds: float
    gigabytes: float  # highest resident memory


def machine() -> str:
    """The processor, the cores that may be used, and their load before the measurement."""
    found = processor()
    return f"{found.name}, {found.cores} cores, load {os.getloadavg()[0]:.1f}"


def section(work: Path, size: int, seed: int, micrometres: float) -> tuple[Path, Path]:
    """The section and its true classes; drawn unless the files exist."""
    path, truth = work / f"section-{size}-{seed}.tif", work / f"classes-{size}-{seed}.tif"
    if not path.with_suffix(".json").exists():  # what is written last
        began = time.monotonic()
        write_section(path, size, size, seed=seed, micrometres_per_pixel=micrometres, truth=truth)
        print(f"drawn in {time.monotonic() - began:.0f} s, {path.stat().st_size / 1e6:.0f} MB", flush=True)
    return path, truth


def command(bundle: Path, path: Path, output: Path, options: argparse.Namespace) -> list[str]:
    """`fpcn map`, of this environment."""
    words = [str(Path(sys.executable).with_name("fpcn")), "map", str(bundle), str(path), "--output", str(output)]
    words += ["--file", options.file, "--threads", str(options.threads), "--overlap", str(options.overlap)]
    return words if options.batch_size is None else [*words, "--batch-size", str(options.batch_size)]


def timed(words: list[str]) -> Run:
    """Run a command to its end."""
    began = time.monotonic()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} exited with {process.returncode}")
    kibibytes = usage.ru_maxrss if sys.platform != "darwin" else usage.ru_maxrss / 1024
    return Run(time.monotonic() - began, kibibytes * 1024 / 1e9)


def killed(words: list[str], after: float) -> None:
    """Run a command for some seconds and kill it."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    time.sleep(after)
    if process.poll() is not None:
        raise SystemExit("the map was finished before it could be killed: give a larger --size")
    process.send_signal(signal.SIGKILL)
    process.wait()


def grains(codes: Classes, cell: int, least: float) -> list[int]:
    """Grains of each class whose equivalent diameter is `least` pixels or more; `codes` are at cells of `cell`."""
    labels = label(codes.astype(np.int16) + 1, background=0, connectivity=2)
    area = np.bincount(labels.ravel())[1:] * cell**2
    _, first = np.unique(labels, return_index=True)
    large = codes.ravel()[first][2 * np.sqrt(area / np.pi) >= least]
    return [int(count) for count in np.bincount(large, minlength=len(CLASSES))[: len(CLASSES)]]


def contacts(classes: Classes) -> NDArray[np.float64]:
    """True contact lengths [C, C] in pixels: lines along rows, columns and diagonals cross them so often."""
    count = len(CLASSES)
    crossings = np.zeros((count, count))
    for top in range(0, len(classes), _BAND):
        rows = np.asarray(classes[top : top + _BAND + 1]).astype(np.int64)
        upper, lower = rows[:-1], rows[1:]
        band = rows[: min(_BAND, len(rows))]
        pairs = ((band[:, :-1], band[:, 1:], 1), (upper, lower, 1))
        slanted = ((upper[:, :-1], lower[:, 1:], 2**-0.5), (upper[:, 1:], lower[:, :-1], 2**-0.5))
        for one, other, spacing in (*pairs, *slanted):
            met = np.bincount((one * count + other).ravel(), minlength=count**2)
            crossings += spacing * met.reshape(count, count)
    crossings += crossings.T
    np.fill_diagonal(crossings, 0)
    return np.pi / 8 * crossings


def right(classes: Classes, mapped: Path, codes: list[int]) -> float:
    """Share of pixels whose class is right; `codes` stand for the classes in the map."""
    found, code = tifffile.imread(mapped), np.array(codes, np.uint8)
    bands = (slice(top, top + _BAND) for top in range(0, len(classes), _BAND))
    return sum(int((found[rows] == code[classes[rows]]).sum()) for rows in bands) / classes.size


def compared(truth: Path, output: Path) -> dict[str, Any]:
    """Each of the map's results with the truth."""
    facts = json.loads((output / "map.json").read_text(encoding="utf-8"))
    classes = tifffile.memmap(truth, mode="r")
    bands = (classes[top : top + _BAND].ravel() for top in range(0, len(classes), _BAND))
    counts = np.sum([np.bincount(band, minlength=len(CLASSES)) for band in bands], axis=0)
    cell = facts["cell"]
    true_grains = grains(np.asarray(classes[cell // 2 :: cell, cell // 2 :: cell]), cell, facts["resolution"])
    rows = {row["class"]: row for row in facts["areas"]}
    table = [
        {
            "class": name,
            "percent": rows[name]["percent"],
            "corrected": rows[name]["percent_corrected"],
            "low": rows[name]["corrected_low"],
            "high": rows[name]["corrected_high"],
            "true_percent": float(100 * count / classes.size),
            "grains": rows[name]["grains_resolved"],
            "true_grains": number,
        }
        for name, count, number in zip(CLASSES, counts, true_grains, strict=True)
    ]
    lengths = contacts(classes)
    found = np.zeros_like(lengths)
    for row in facts["contacts"]:
        pair = CLASSES.index(row["class_1"]), CLASSES.index(row["class_2"])
        found[pair] = found[pair[::-1]] = row["length_px"]
    touching = np.triu(lengths) > 0
    return {
        "pixels_right": right(classes, output / "class_map.tif", [rows[name]["code"] for name in CLASSES]),
        "largest_error_of_area": max(abs(row["percent"] - row["true_percent"]) for row in table),
        "classes": table,
        "contacts_px": float(np.triu(found).sum()),
        "true_contacts_px": float(np.triu(lengths).sum()),
        "contacts_mean_error": float(np.abs(found - lengths)[touching].sum() / lengths[touching].sum()),
        **{key: facts[key] for key in ("windows", "window", "stride", "cell", "percent_no_data") if key in facts},
    }


def resumed(again: list[str], first: Path, second: Path, after: float) -> bool:
    """Whether a map that was killed and resumed is the same as one without an interruption."""
    killed(again, after)
    timed(again)
    different = [name for name in RESULTS if (first / name).read_bytes() != (second / name).read_bytes()]
    print(f"killed after {after:.0f} s and resumed: {', '.join(different) or 'nothing'} differs")
    return not different


def shown(run: Run, result: dict[str, Any], options: argparse.Namespace) -> None:
    """Print the tables."""
    print(f"{options.size} x {options.size} px, {options.file}, {options.threads} threads")
    print(f"{run.seconds:.0f} s, {run.gigabytes:.2f} GB, {result['windows'] / run.seconds:.0f} windows a second")
    headings = ("percent", "corrected", "truth", "low", "high", "grains", "truth")
    print(f"{'class':14s} " + " ".join(f"{heading:>9s}" for heading in headings))
    for row in result["classes"]:
        areas = "".join(f" {row[key]:9.2f}" for key in ("percent", "corrected", "true_percent", "low", "high"))
        print(f"{row['class']:14s}{areas} {row['grains']:9d} {row['true_grains']:9d}")
    print(f"pixels right: {100 * result['pixels_right']:.2f} %")
    ratio = result["contacts_px"] / result["true_contacts_px"]
    print(f"contacts: {ratio:.3f} of the true length; by pairs {100 * result['contacts_mean_error']:.1f} % off")


def main() -> None:
    """Draw, map, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--work", type=Path, default=Path("outputs/mineral_map"), help="folder of sections and maps")
    parser.add_argument("--size", type=int, default=10_000, help="of the section, pixels")
    parser.add_argument("--seed", type=int, default=1, help="of the section")
    parser.add_argument("--file", default="model.int8.onnx")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, help="windows computed together; default: that of `fpcn map`")
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--um-per-px", type=float, default=1.2, help="scale that the file of the section gives")
    parser.add_argument("--interrupt", action="store_true", help="kill a second run, resume it, compare")
    options = parser.parse_args()
    before = machine()
    print(before, flush=True)
    options.work.mkdir(parents=True, exist_ok=True)
    path, truth = section(options.work, options.size, options.seed, options.um_per_px)
    output = options.work / f"map-{options.size}-{options.seed}"
    words = [*command(options.bundle, path, output, options), "--overwrite"]
    run = timed(words)
    result = compared(truth, output)
    shown(run, result, options)
    if options.interrupt:
        second = output.with_name(f"{output.name}-interrupted")
        shutil.rmtree(second, ignore_errors=True)
        again = command(options.bundle, path, second, options)
        result["same_when_resumed"] = resumed(again, output, second, run.seconds / 2)
    chosen = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    record = {"options": chosen, "machine": before, **run._asdict(), **result}
    (options.work / f"benchmark-{options.size}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
