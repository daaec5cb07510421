"""What a teacher costs a student: trained alone, with stored logits, and with the teacher running in every step.

    python experiments/distillation/benchmark.py [ROUNDS]

The three take turns, each as a process with one thread; the result is the ratio to the run alone of the same round. The
first pass, which fills the store, is timed once, by the run that needs it first.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, median
from typing import Any

SIZES = ("data.resize=128", "data.crop=112", "data.synthetic.images_per_class=100", "data.synthetic.size=128")
COMMON = (*SIZES, "recipe=small", "trainer.max_epochs=3", "trainer.enable_progress_bar=false", "callbacks.summary=null")
STUDENT = (*COMMON, "model=mobilenetv2", "start=scratch", "data.view_seed=0", "overwrite=true")
TAUGHT = (*STUDENT, "distillation=kd", "teacher=outputs/single/teacher/seed-0/checkpoints/best.ckpt")
WAYS = {
    "alone": (*STUDENT, "variant=alone"),
    "stored": (*TAUGHT, "variant=stored"),
    "live": (*TAUGHT, "distillation.stored=false", "variant=live"),
}


def run(folder: Path, *words: str) -> dict[str, Any]:
    """Train in `folder` with one thread, and return the record."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "fpcn_lightning", *words],
        cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(words)} exited with {done.returncode}")
    variant = next(word.removeprefix("variant=") for word in words if word.startswith("variant="))
    path = folder / "outputs" / "single" / variant / "seed-0" / "result.json"
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder, *COMMON, "model=fpcn", "variant=teacher")
        first = run(folder, *WAYS["stored"])["seconds"]["teacher"]
        for number in range(rounds):
            order = list(WAYS)[number % 3 :] + list(WAYS)[: number % 3]
            for way in order:
                record = run(folder, *WAYS[way])["seconds"]
                seconds[way].append(record["fit"] + (record.get("teacher") or 0))
            print({way: values[-1] for way, values in seconds.items()}, flush=True)
    for way in ("stored", "live"):
        ratios = [taken / alone for taken, alone in zip(seconds[way], seconds["alone"], strict=True)]
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
        print(f"{way}: {median(ratios):.3f} times a student alone (median of {rounds}, {spread})")
    saved = mean(seconds["live"]) - mean(seconds["stored"])
    print(f"first pass {first:.1f} s; a live run costs {saved:.1f} s more than a stored one:")
    print(f"the store pays off after {first / saved:.1f} runs" if saved > 0 else "the store does not pay off here")


if __name__ == "__main__":
    main()
