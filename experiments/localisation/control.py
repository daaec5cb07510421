"""Do the images explain the difference? Networks of one background, measured on the images of the other.

    python experiments/localisation/control.py outputs/localisation [--variant plain] [--images 120]

After `+experiment=localisation`, from the folder that it ran in. Prints the energy inside, and the share of predictions
that change without the background, of every network on its own images and on the others', mean and SD over seeds.
"""

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from fpcn_lightning import build
from fpcn_lightning.explain.measurement import HeatMapStudy, spread
from fpcn_lightning.modules import checkpoints

MEASURES = ("energy_inside", "changed_background")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--variant", default="plain")
    parser.add_argument("--images", type=int, default=120)
    options = parser.parse_args()
    found: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    backgrounds = ("varied", "shortcut")
    for path in sorted(options.runs.glob(f"{options.variant}-*/seed-*/checkpoints/best.ckpt")):
        loaded = checkpoints.load(path)
        trained, section = loaded.record.variant.rpartition("-")[2], loaded.record.data
        if section.synthetic is None:
            raise SystemExit(f"{path} was not trained on the synthetic rocks: they alone have two backgrounds.")
        for seen in backgrounds:
            synthetic = replace(section.synthetic, shortcut=seen == "shortcut")
            data = build.datamodule(replace(section, synthetic=synthetic), 0, trusted=False)
            data.prepare_data()
            rows = HeatMapStudy(loaded.network, data, "grad_cam", 0, 1).rows(spread(data.split.test, options.images))
            found[trained, seen].append([float(np.mean([row[measure] for row in rows])) for measure in MEASURES])
    print("trained with  measured on  " + "  ".join(MEASURES))
    for (trained, seen), of_seeds in found.items():
        means, deviations = np.mean(of_seeds, axis=0), np.std(of_seeds, axis=0, ddof=1)
        cells = "  ".join(
            f"{100 * mean:.1f} +- {100 * spread_:.1f}" for mean, spread_ in zip(means, deviations, strict=True)
        )
        print(f"{trained:12s}  {seen:11s}  {cells}")


if __name__ == "__main__":
    main()
