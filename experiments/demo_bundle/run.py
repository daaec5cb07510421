"""Makes the bundle and the photographs that the wheel ships as `demo`: a small network on drawn rocks, seed 0.

    python experiments/demo_bundle/run.py [--output outputs/demo_bundle] [--threads 1]

About seven minutes of one core. The training is kept in --output: started again, the command only exports it again. The
network begins with random weights, so that nothing in the bundle is under the terms of somebody else's photographs. On
one kind of processor and with one number of threads the result is the same, bit for bit.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from fpcn_lightning.data.synthetic import rocks
from fpcn_lightning.field.demo import BUNDLE, PHOTOGRAPHS
from fpcn_lightning.runs.atomic_write import atomic_folder

ROOT = Path(__file__).resolve().parents[2]
SEED = 0
SIZE = 192  # pixels of the drawn rocks
VIEW = 96  # pixels: a network from random weights learns from small views in minutes
NAME, VARIANT = "demo", "synthetic_rocks"
TRAINING = (
    "model=plain",
    "backbone=test_resnet",  # 0.4 million parameters
    "start=scratch",
    "recipe=strong",
    "optimizer=adamw",
    "optimizer.lr=0.002",
    f"seed={SEED}",
    f"name={NAME}",
    f"variant={VARIANT}",
    f"data.synthetic.size={SIZE}",
    "data.synthetic.images_per_class=1000",
    f"data.resize={VIEW}",
    "data.crop=80",
    f"data.evaluation_crop={VIEW}",
    "data.quarter_turns=true",
    "data.samples_per_class=8",
    "data.epoch_length=200",
    "training.probe=off",
    "training.budget=2400steps",
    "trainer.max_epochs=12",
)
NOTICE = "A demonstration, trained on drawn (synthetic) rocks: not for real photographs."
MAX_DROP = 3.0  # points of accuracy that int8 may lose: so small a network loses more than others
PHOTOGRAPH_SEED = 1  # other rocks than those of the training
PHOTOGRAPHS_A_CLASS = 4


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "outputs" / "demo_bundle", help="folder of the training")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: 1)")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="folder of the bundle (default: in the package)")
    parser.add_argument("--photographs", type=Path, default=PHOTOGRAPHS, help="folder of the photographs")
    parser.add_argument("overrides", nargs="*", help="of the training, such as trainer=smoke")
    options = parser.parse_args(words)
    output = options.output.absolute()
    _run(options.threads, *TRAINING, *options.overrides, f"output={output}")
    (checkpoint,) = output.glob(f"**/{VARIANT}/seed-{SEED}/checkpoints/best.ckpt")
    exported = (
        f"checkpoint={checkpoint}",
        f"export.bundle={options.bundle.absolute()}",
        f"export.max_drop={MAX_DROP}",
        "overwrite=true",
    )
    _run(options.threads, "task=export", *exported, f'export.notice="{NOTICE}"', f"output={output}")
    draw_photographs(options.photographs)
    print(f"photographs: {options.photographs}")


def draw_photographs(folder: Path) -> None:
    """Draw the photographs that are shipped with the bundle, in a folder for each class."""
    with atomic_folder(folder) as new:
        for label in rocks.CLASSES:
            (new / label).mkdir()
            for number in range(PHOTOGRAPHS_A_CLASS):
                # Two numbers share a specimen: every other one is drawn.
                pixels, _, _ = rocks.draw(label, 2 * number, size=SIZE, seed=PHOTOGRAPH_SEED)
                Image.fromarray(pixels).save(new / label / f"{label}-{number + 1}.jpg", quality=88)


def _run(threads: int, *words: str) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    subprocess.run([sys.executable, "-m", "fpcn_lightning", *words], check=True, cwd=ROOT, env=environment)


if __name__ == "__main__":
    main()
