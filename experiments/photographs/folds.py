"""Lists of the folds of a cross-validation: `fold-0.csv` and so on, each with the split of every photograph.

    python experiments/photographs/folds.py PHOTOS FOLDER [--folds 5]
    python -m fpcn_lightning +experiment=photographs seeds=0,1,2,3,4 'data.root="FOLDER/fold-${seed}.csv"'

A test split of a few dozen photographs says little: here each is tested once, by the network of its fold, and the
report counts all of them together. Classes have the same share in all folds, and exact copies are in one fold. The
fold behind that of the test validates.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from fpcn_lightning.data.index import find
from fpcn_lightning.data.scan import scan


def main() -> None:
    """Write the lists."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, metavar="PHOTOS", help="folder of class folders")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of the lists")
    parser.add_argument("--folds", type=int, default=5)
    options = parser.parse_args()
    root = options.photographs.absolute()
    pictures = scan(find(root), root).pictures
    labels, copies = [picture.label for picture in pictures], [picture.digest for picture in pictures]
    drawn = StratifiedGroupKFold(options.folds, shuffle=True, random_state=0)
    fold_of = np.empty(len(pictures), int)
    for fold, (_, tested) in enumerate(drawn.split(labels, labels, copies)):
        fold_of[tested] = fold
    options.folder.mkdir(parents=True, exist_ok=True)
    for fold in range(options.folds):
        split = np.where(fold_of == fold, "test", np.where(fold_of == (fold + 1) % options.folds, "val", "train"))
        with (options.folder / f"fold-{fold}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "label", "split"))
            writer.writerows(
                (str(picture.path), picture.label, part) for picture, part in zip(pictures, split.tolist(), strict=True)
            )
    print(f"{options.folds} lists of {len(pictures)} photographs are in {options.folder}")


if __name__ == "__main__":
    main()
