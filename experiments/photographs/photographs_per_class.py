"""How many photographs of each class are needed? The accuracy of a linear probe on parts of the training split.

    python experiments/photographs/photographs_per_class.py PHOTOS [--counts 5,10,20,40,80,160] [--draws 5]

Of each class as many training images are drawn at random as a count says, or all where there are fewer, and
`model=probe` is fitted to them. Validation and test images are the same for all: those of `+experiment=photographs`.
Prints a table: mean and standard deviation over the draws. Features are stored in the cache, so that only the first
call needs minutes.
"""

import argparse
import logging
import statistics
from collections.abc import Sequence

import torch
from tqdm import tqdm

from fpcn_lightning import RockDataModule
from fpcn_lightning.models.on_backbone import OnBackbone
from fpcn_lightning.models.probe import Probe
from fpcn_lightning.modules.probing import ViewFeatures, features_of, fitted

BACKBONE = "tf_efficientnet_lite0"
VALIDATION_SHARE = 0.1  # as `recipe=strong` has it


def drawn(images: ViewFeatures, count: int, seed: int) -> ViewFeatures:
    """`count` images of each class, with all their views."""
    random = torch.Generator().manual_seed(seed)
    kept: list[int] = []
    for label in images.labels.unique().tolist():
        positions = images.positions[images.labels == label].unique()
        kept += positions[torch.randperm(len(positions), generator=random)[:count]].tolist()
    rows = torch.isin(images.positions, torch.tensor(kept))
    return ViewFeatures(images.features[rows.numpy()], images.positions[rows], images.labels[rows])


def accuracies(network: OnBackbone, data: RockDataModule, count: int, draws: int) -> list[float]:
    """Test accuracy in percent of each draw."""
    train, val, test = (features_of(network, data, split) for split in ("train", "val", "test"))
    found = []
    for seed in tqdm(range(draws), desc=f"{count} of each class", disable=None, leave=False):
        probe = fitted(drawn(train, count, seed), val, len(data.classes))
        found.append(100 * probe.measured(test).accuracy)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", help="folder of class folders, or a list")
    counts = [5, 10, 20, 40, 80, 160]
    parser.add_argument("--counts", type=lambda text: [int(each) for each in text.split(",")], default=counts)
    parser.add_argument("--draws", type=int, default=5)
    options = parser.parse_args(arguments)
    logging.disable(logging.INFO)
    data = RockDataModule(
        root=options.photos,
        resize=224,
        crop=160,
        evaluation_crop=224,
        mirrored_views=True,
        split={"val": VALIDATION_SHARE},
    )
    data.setup()
    network = Probe(len(data.classes), 224, BACKBONE)
    print("| photographs of each class | accuracy, mean ± SD over draws |\n|---|---|")
    for count in options.counts:
        found = accuracies(network, data, count, options.draws)
        print(f"| {count} | {statistics.mean(found):.1f} ± {statistics.stdev(found):.1f} |", flush=True)


if __name__ == "__main__":
    main()
