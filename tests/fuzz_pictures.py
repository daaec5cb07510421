"""Damages pictures and reads them, for as long as wanted: `python -m tests.fuzz_pictures --seconds 3600`.

Prints how many files of each format were refused, read right, and read wrong where the format cannot tell. Exits with 1
after saving the files, if one was read wrong in a format that can tell, or hung or crashed the process that reads it.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fpcn_lightning.data.images import ImageLimits, ImageReader, UnreadableImage
from tests.data.images.mutations import MUTATIONS, Subject, is_damaged, subjects

LIMITS = ImageLimits(megapixels=10, seconds=20)
ENDED = ("the decoder ", "took longer than")  # in the reason: a process that crashed or hung


class Outcome(NamedTuple):
    """What came of one damaged file.

    Attributes:
        name: of its format.
        mutation: how it was damaged.
        result: refused, right, wrong, crashed.
        failed: this must not happen.
        data: the damaged file.
    """

    name: str
    mutation: str
    result: str
    failed: bool
    data: bytes


def outcomes(seed: int, folder: Path) -> Iterator[Outcome]:
    """Endless; the files are written into a folder, one at a time."""
    rng = np.random.default_rng(seed)
    files, path = subjects(), folder / "damaged"
    with ImageReader(LIMITS) as reader:
        while True:
            for name, subject in files.items():
                for mutation, damage in MUTATIONS.items():
                    data = damage(subject.data, rng)
                    path.write_bytes(data)
                    result = _result(reader, path, subject)
                    unnoticed = result == "wrong" and mutation in subject.safe
                    yield Outcome(name, mutation, result, unnoticed or result == "crashed", data)


def _result(reader: ImageReader, path: Path, subject: Subject) -> str:
    try:
        pixels = reader.read(path).pixels
    except UnreadableImage as error:
        return "crashed" if any(text in str(error) for text in ENDED) else "refused"
    return "wrong" if is_damaged(pixels, subject) else "right"


def main() -> int:
    """Run for the given time; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("fuzz-failures"), help="folder for files that failed")
    options = parser.parse_args()
    counts: Counter[tuple[str, str, str]] = Counter()
    failures, end = 0, time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory() as folder:
        for outcome in outcomes(options.seed, Path(folder)):
            counts[outcome.name, outcome.mutation, outcome.result] += 1
            if outcome.failed:
                failures += 1
                options.output.mkdir(parents=True, exist_ok=True)
                (options.output / f"{failures:04}-{outcome.mutation}.{outcome.name}").write_bytes(outcome.data)
            if time.monotonic() > end:
                break
    for (name, mutation, result), count in sorted(counts.items()):
        print(f"{name:16} {mutation:16} {result:8} {count:7}")
    print(f"{counts.total()} files, {failures} failures" + (f" in {options.output}" if failures else ""))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
