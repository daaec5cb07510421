"""Writes the lists of `+experiment=unlabelled`: half of the labels of the training photographs are held back.

    python experiments/distillation/hold_back.py PHOTOS outputs/unlabelled/lists

PHOTOS is split as a training without options would split it. `half.csv` has every second training photograph of each
class, `all.csv` has all, both with the same validation and test photographs; `rest.csv` has the paths of the others
alone. Groups and copies of photographs stay on one side.
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path

from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.index import IndexedImage


def write(path: Path, columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """Write a list."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


def every_second(pictures: list[IndexedImage]) -> set[str]:
    """The names of about half of the pictures of each class; those of a group, and copies, together."""
    chosen: set[str] = set()
    by_class: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for picture in pictures:
        by_class[picture.label][picture.group or picture.digest].append(picture.name)
    for groups in by_class.values():
        for names in [groups[key] for key in sorted(groups, key=lambda key: min(groups[key]))][::2]:
            chosen.update(names)
    return chosen


def main() -> None:
    """Write the three lists."""
    data = RockDataModule(root=sys.argv[1])
    data.setup()
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    pictures = data.index.pictures
    train = [pictures[position] for position in data.split.train]
    kept = every_second(train)

    def rows(images: list[IndexedImage], split: str) -> list[tuple[object, ...]]:
        return [(image.path, image.label, image.group or "", split) for image in images]

    columns = ("path", "label", "group", "split")
    val, test = ([pictures[position] for position in positions] for positions in (data.split.val, data.split.test))
    evaluated = [*rows(val, "val"), *rows(test, "test")]
    write(folder / "all.csv", columns, [*rows(train, "train"), *evaluated])
    write(folder / "half.csv", columns, [*rows([each for each in train if each.name in kept], "train"), *evaluated])
    write(folder / "rest.csv", ("path",), [(each.path,) for each in train if each.name not in kept])
    print(f"{len(kept)} of {len(train)} training photographs keep their label; lists in {folder}")


if __name__ == "__main__":
    main()
