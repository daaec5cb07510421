"""Compares scores that decide which pictures are unknown to a model.

    python experiments/unknown/pictures.py WORK
    python experiments/unknown/benchmark.py PHOTOS WORK [--near CLASS ...] [--run FOLDER ...]

PHOTOS is a folder of class folders. Known to a model are test pictures of its own classes; other are

- near: pictures of a class of PHOTOS that was left out of its training;
- far: synthetic rocks, minerals and sections or, for models of these, PHOTOS; drawn pictures without rocks, and sample
  images of scikit-image and scikit-learn.

Models are linear probes on the frozen EfficientNet-Lite0, made here with three seeds: of PHOTOS without a class of
--near, of synthetic rocks and of synthetic minerals; and those of the run folders of --run, whose variant ends with
`without-CLASS`. Features are kept in WORK. Prints tables, and writes WORK/results.csv.

Scores are higher for known pictures. Their definitions are those of the papers that the docstrings name; pytorch-ood
has them, too.
"""

import argparse
import csv
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import nn

from fpcn_lightning.data.augment import Squashing
from fpcn_lightning.data.images import ImageReader, UnreadableImage
from fpcn_lightning.deploy.calibration import threshold
from fpcn_lightning.deploy.map_distance import MapDistance
from fpcn_lightning.deploy.wrapper import DeployedNetwork
from fpcn_lightning.models.probe import Probe
from fpcn_lightning.modules import checkpoints

SIDE, BATCH = 224, 32
FEW, DRAWS = (20, 30, 50, 200), 100  # validation pictures, and how often so many are drawn
# Pictures of a class that are used.
NEAR, FAR_PHOTOS, FAR_SYNTHETIC = 100, 20, 30
COVERAGE = 0.95
SEEDS = 3
SYNTHETIC = ("rocks", "minerals", "sections")
DRAWN = ("gradients", "noise", "text pages", "screenshots", "sample images")
SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
STRENGTH = 1e-2  # C of the regression; `model=probe` chooses it, mostly this
logger = logging.getLogger(__name__)


Rows = NDArray[np.float64]


class Features(NamedTuple):
    """What a network computes for N pictures."""

    statistics: Rows  # [N, S], of its middle maps (`MapDistance.statistics`)
    pooled: Rows  # [N, D], what its head gets
    logits: Rows  # [N, C]

    def of(self, rows: NDArray[np.integer]) -> "Features":
        """Those of some pictures."""
        return Features(*(column[rows] for column in self))


class Training(NamedTuple):
    """What a score may be fitted to."""

    features: Features
    labels: NDArray[np.integer]  # [N]
    weight: Rows  # [C, D], of the head
    bias: Rows  # [C]
    distance: MapDistance


Score = Callable[[Features], Rows]
NEIGHBOURS = (1, 10)
PRINCIPAL = 256  # dimensions of ViM, of 1,280


def energy(_: Training) -> Score:
    """Liu et al., NeurIPS 2020."""
    return lambda features: np.logaddexp.reduce(features.logits, axis=1)


def probability(_: Training) -> Score:
    """The probability of the most likely class: Hendrycks, Gimpel, ICLR 2017."""
    return lambda features: np.exp(features.logits.max(1) - np.logaddexp.reduce(features.logits, axis=1))


def mahalanobis(training: Training) -> Score:
    """To the nearest class, shared covariance, shrinkage of Ledoit and Wolf: Lee et al., NeurIPS 2018."""
    means, within, _ = _covariances(training)
    return lambda features: -_nearest(features.pooled, means, within)


def relative_mahalanobis(training: Training) -> Score:
    """Minus the distance to one distribution of all classes: Ren et al. 2021."""
    means, within, all_classes = _covariances(training)
    centre = training.features.pooled.mean(axis=0, keepdims=True)
    return lambda features: _nearest(features.pooled, centre, all_classes) - _nearest(features.pooled, means, within)


def _covariances(training: Training) -> tuple[Rows, Rows, Rows]:
    """The means [C, D], and the covariances [D, D] within the classes, shrunk, and of all, which adds that of means."""
    rows, (classes, labels) = training.features.pooled, np.unique(training.labels, return_inverse=True)
    means = np.stack([rows[labels == label].mean(axis=0) for label in range(len(classes))])
    within = ledoit_wolf(rows - means[labels], assume_centered=True)[0]
    between = means[labels] - rows.mean(axis=0)
    return means, within, within + between.T @ between / len(rows)


def _nearest(rows: Rows, means: Rows, covariance: Rows) -> Rows:
    """The squared distance to the nearest mean."""
    whitening = np.linalg.cholesky(np.linalg.inv(covariance))
    nearest: Rows = np.min([(((rows - mean) @ whitening) ** 2).sum(axis=1) for mean in means], axis=0)
    return nearest


def neighbours(training: Training, count: int) -> Score:
    """Distance to the `count`-th nearest training picture, features normalised: Sun et al., ICML 2022."""
    stored = _normalised(training.features.pooled)
    return lambda features: np.sort(_normalised(features.pooled) @ stored.T, axis=1)[:, -count]


def _normalised(rows: Rows) -> Rows:
    unit: Rows = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12)
    return unit


def vim(training: Training) -> Score:
    """Energy minus the scaled residual of the principal space: Wang et al., CVPR 2022."""
    origin = -np.linalg.pinv(training.weight) @ training.bias
    rows = training.features.pooled - origin
    residual = np.linalg.eigh(rows.T @ rows)[1][:, :-PRINCIPAL]
    scale = training.features.logits.max(1).mean() / np.linalg.norm(rows @ residual, axis=1).mean()
    known = energy(training)
    return lambda features: known(features) - scale * np.linalg.norm((features.pooled - origin) @ residual, axis=1)


def map_distance(training: Training) -> Score:
    """That of exported bundles: `fpcn_lightning.deploy.map_distance`."""
    training.distance.fit(torch.from_numpy(training.features.statistics))
    return lambda features: -training.distance.of(torch.from_numpy(features.statistics).float()).numpy()


SCORES: dict[str, Callable[[Training], Score]] = {
    "probability": probability,
    "energy": energy,
    "Mahalanobis": mahalanobis,
    "relative Mahalanobis": relative_mahalanobis,
    **{f"{count} nearest": partial(neighbours, count=count) for count in NEIGHBOURS},
    "ViM": vim,
    "map distance": map_distance,
}


class Pictures(NamedTuple):
    """Features of the pictures of a folder of class folders."""

    features: Features
    labels: NDArray[np.int64]
    names: list[str]  # CLASS/FILE


class Row(NamedTuple):
    """How one score of one model does on one set of other pictures."""

    model: str
    seed: int
    score: str
    other: str
    pictures: int
    unknown: float  # share at the threshold that keeps `COVERAGE` of the test pictures
    auroc: float
    kept: float  # share of test pictures above the threshold from the validation pictures


def folder_features(model: DeployedNetwork, folder: Path, store: Path, limit: int | None = None) -> Pictures:
    """The features of the pictures in a folder of class folders, at most `limit` of a class, kept in `store`."""
    if not store.exists():
        names, labels, rows = [], [], []
        for batch in _batches(folder, limit):
            names += [name for name, _, _ in batch]
            labels += [label for _, label, _ in batch]
            rows.append(_computed(model, np.stack([pixels for _, _, pixels in batch])))
        statistics, pooled, logits = map(np.concatenate, zip(*rows, strict=True))
        store.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            store, names=np.array(names), labels=np.array(labels), statistics=statistics, pooled=pooled, logits=logits
        )
        logger.info("%s: %d pictures", store.name, len(names))
    stored = np.load(store)
    features = Features(*(stored[name].astype(np.float64) for name in Features._fields))
    return Pictures(features, stored["labels"], stored["names"].tolist())


def _batches(folder: Path, limit: int | None) -> Iterator[list[tuple[str, int, NDArray[np.uint8]]]]:
    views, batch = Squashing(crop=SIDE, resize=SIDE), []
    with ImageReader() as reader:
        for label, class_folder in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
            for path in sorted(class_folder.iterdir())[:limit]:
                try:
                    resized = reader.read(path, views.squashed).pixels
                except UnreadableImage:
                    continue
                view = views.evaluation_views((resized.shape[0], resized.shape[1]))[0]
                batch.append((f"{class_folder.name}/{path.name}", label, views.cut(resized, view)))
                if len(batch) == BATCH:
                    yield batch
                    batch = []
    if batch:
        yield batch


@torch.inference_mode()
def _computed(model: DeployedNetwork, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
    head, pooled = model.network.get_submodule("head"), []
    handle = head.register_forward_pre_hook(lambda _module, inputs: pooled.append(inputs[0]))
    normalised = model.normalised(torch.from_numpy(pixels)).contiguous(memory_format=torch.channels_last)
    with model.distance.watching(model.network) as maps:
        logits = model.network(normalised)
    handle.remove()
    statistics = model.distance.statistics(maps, normalised)
    return statistics.numpy(), pooled[0].numpy(), logits.numpy()


def measured(
    name: str, seed: int, parts: dict[str, Pictures], others: dict[str, Pictures], model: DeployedNetwork
) -> Iterator[Row]:
    """All scores of a model, fitted to `train` and `val` of `parts`, on `test` and other pictures."""
    head = model.network.get_submodule("head")
    assert isinstance(head, nn.Linear)
    weight, bias = (values.detach().double().numpy() for values in (head.weight, head.bias))
    training = Training(parts["train"].features, parts["train"].labels, weight, bias, model.distance)
    for title, fit in SCORES.items():
        score = fit(training)
        val, test = score(parts["val"].features), score(parts["test"].features)
        kept = float((test >= threshold(torch.from_numpy(val), COVERAGE)).mean())
        limit = np.quantile(test, 1 - COVERAGE)
        for kind, found in others.items():
            values = score(found.features)
            truth = np.concatenate([np.ones(len(test)), np.zeros(len(values))])
            auroc = float(roc_auc_score(truth, np.concatenate([test, values])))
            yield Row(name, seed, title, kind, len(values), float((values < limit).mean()), auroc, kept)


def probe_of(parts: dict[str, Pictures], frozen: DeployedNetwork) -> dict[str, Pictures]:
    """Put a logistic regression into the head of `frozen`; the parts with its logits."""
    rows, head = parts["train"].features.pooled, frozen.network.get_submodule("head")
    mean, scale = rows.mean(axis=0), (rows - rows.mean(axis=0)).std()
    fitted = LogisticRegression(C=STRENGTH, max_iter=500).fit((rows - mean) / scale, parts["train"].labels)
    weight = fitted.coef_ / scale
    assert isinstance(head, nn.Linear)
    head.weight = nn.Parameter(torch.from_numpy(weight).float())
    head.bias = nn.Parameter(torch.from_numpy(fitted.intercept_ - weight @ mean).float())
    return {part: with_head(found, head) for part, found in parts.items()}


def with_head(found: Pictures, head: nn.Linear) -> Pictures:
    """The pictures with the logits of `head`."""
    with torch.no_grad():
        logits = head(torch.from_numpy(found.features.pooled).float()).double().numpy()
    return found._replace(features=found.features._replace(logits=logits))


def chosen(found: Pictures, rows: Sequence[int] | NDArray[np.integer]) -> Pictures:
    """Some of the pictures."""
    places = np.asarray(rows, dtype=int)
    return Pictures(found.features.of(places), found.labels[places], [found.names[place] for place in places])


def random_parts(found: Pictures, seed: int, without: str | None = None) -> dict[str, Pictures]:
    """A stratified split at random, without one class."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list[int]] = {part: [] for part in SHARES}
    classes = np.array([name.split("/")[0] for name in found.names])
    for label in sorted(set(classes) - {without}):
        own = rng.permutation(np.flatnonzero(classes == label))
        ends = np.cumsum([round(share * len(own)) for share in list(SHARES.values())[:-1]])
        for part, places in zip(SHARES, np.split(own, ends), strict=True):
            rows[part] += places.tolist()
    return {part: chosen(found, places) for part, places in rows.items()}


def split_parts(found: Pictures, table: Path) -> dict[str, Pictures]:
    """The split in a table of images, by the last two parts of their paths."""
    with table.open(encoding="utf-8", newline="") as file:
        splits = {_last_parts(row.get("path") or row["name"]): row["split"] for row in csv.DictReader(file)}
    rows = {part: [n for n, name in enumerate(found.names) if splits.get(name) == part] for part in SHARES}
    return {part: chosen(found, places) for part, places in rows.items()}


def _last_parts(path: str) -> str:
    return "/".join(path.split("/")[-2:])


def other_features(model: DeployedNetwork, tag: str, work: Path) -> dict[str, Pictures]:
    """Features of synthetic pictures of seed 0, and of those without rocks."""
    folders: dict[str, tuple[Path, int | None]] = {}
    folders |= {f"synthetic {kind}": (work / f"{kind}-0" / "images", FAR_SYNTHETIC) for kind in SYNTHETIC}
    folders |= {kind: (work / kind, None) for kind in DRAWN}
    return {
        kind: folder_features(model, folder, work / "features" / f"{tag}-{kind}.npz", limit)
        for kind, (folder, limit) in folders.items()
    }


def frozen_rows(photos: Path, near: Sequence[str], work: Path) -> Iterator[Row]:
    """Probes on the frozen backbone."""
    model = DeployedNetwork(Probe(2, SIDE, "tf_efficientnet_lite0"), SIDE)
    head = model.network.get_submodule("head")
    everything = folder_features(model, photos, work / "features" / "frozen-photos.npz")
    far = other_features(model, "frozen", work)
    far["photographs"] = folder_features(model, photos, work / "features" / "frozen-far.npz", FAR_PHOTOS)
    for seed in range(SEEDS):
        without = near[seed % len(near)] if near else None
        sets = {"photographs": (everything, random_parts(everything, seed, without))}
        for kind in ("rocks", "minerals"):
            root, store = work / f"{kind}-{seed}", work / "features" / f"frozen-{kind}-{seed}.npz"
            found = folder_features(model, root / "images", store)
            sets[f"synthetic {kind}"] = found, split_parts(found, root / "index.csv")
        for name, (found, parts) in sets.items():
            fitted = probe_of(parts, model)
            assert isinstance(head, nn.Linear)
            others = {kind: with_head(each, head) for kind, each in far.items() if kind != name}
            if without and name == "photographs":
                rows = [n for n, each in enumerate(found.names) if each.startswith(f"{without}/")][:NEAR]
                others["near: class left out"] = with_head(chosen(found, rows), head)
            yield from measured(f"probe, {name}", seed, fitted, others, model)


def run_rows(run: Path, photos: Path, work: Path) -> Iterator[Row]:
    """A trained network."""
    loaded = checkpoints.load(run / "checkpoints" / "best.ckpt")
    model, record = DeployedNetwork(loaded.network, SIDE), loaded.record
    tag = f"{record.variant}-{record.seed}"
    without = record.variant.rpartition("without-")[2]
    root = Path(str(record.data.root))
    known = folder_features(model, root, work / "features" / f"{tag}-photos.npz")
    parts = split_parts(known, run / "split.csv")
    others = other_features(model, tag, work)
    left_out = work / "left-out" / without
    if not left_out.exists():
        left_out.mkdir(parents=True)
        (left_out / without).symlink_to((photos / without).resolve())
    store = work / "features" / f"{tag}-near.npz"
    others["near: class left out"] = folder_features(model, left_out, store, NEAR)
    yield from measured(record.variant.partition("-")[0], record.seed, parts, others, model)


def table(rows: Sequence[Row]) -> str:
    """Means and standard deviations over the seeds, one line a score."""
    lines = []
    for model in dict.fromkeys(row.model for row in rows):
        own = [row for row in rows if row.model == model]
        kinds = list(dict.fromkeys(row.other for row in own))
        lines += [
            f"\n{model}\n",
            f"| score | kept | {' | '.join(kinds)} | AUROC, far | near |",
            "|---" * (len(kinds) + 4) + "|",
        ]
        for score in SCORES:
            of_score = [row for row in own if row.score == score]
            cells = [_spread([100 * row.kept for row in of_score if row.other == kinds[0]])]
            cells += [_spread([100 * row.unknown for row in of_score if row.other == kind]) for kind in kinds]
            areas = {
                far: [row.auroc for row in of_score if row.other.startswith("near") != far] for far in (True, False)
            }
            cells += [f"{np.mean(values):.3f}" if values else "" for values in areas.values()]
            lines.append(f"| {score} | {' | '.join(cells)} |")
    return "\n".join(lines)


def few_pictures(photos: Path, work: Path) -> str:
    """The share of pictures that thresholds from few validation pictures keep, of the probe on photographs."""
    model = DeployedNetwork(Probe(2, SIDE, "tf_efficientnet_lite0"), SIDE)
    found = folder_features(model, photos, work / "features" / "frozen-photos.npz")
    kept: dict[tuple[int, str], list[float]] = {}
    for seed in range(SEEDS):
        parts, rng = random_parts(found, seed), np.random.default_rng(seed)
        rows = parts["train"].features.statistics
        others = np.concatenate([parts[part].features.statistics for part in ("val", "test")])
        scores = _fitted_scores(model.distance, rows, others)
        folds = np.array_split(rng.permutation(len(rows)), 5)
        held_out = [_fitted_scores(model.distance, np.delete(rows, fold, axis=0), rows[fold]) for fold in folds]
        for count, _ in itertools.product(FEW, range(DRAWS)):
            shuffled = rng.permutation(scores)
            own, rest = shuffled[:count], shuffled[count:]
            thresholds = {
                "95 % of these": np.sort(own)[int((1 - COVERAGE) * count + 1e-9)],
                "rank of P + 1": threshold(torch.from_numpy(own), COVERAGE),
                "training pictures, 5 folds": np.quantile(np.concatenate(held_out), 1 - COVERAGE),
            }
            for name, lowest in thresholds.items():
                kept.setdefault((count, name), []).append(100 * float((rest >= lowest).mean()))
    names = list(dict.fromkeys(name for _, name in kept))
    lines = [f"| validation pictures | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {count} | {' | '.join(_spread(kept[count, name]) for name in names)} |" for count in FEW]
    return "\n".join(lines)


def _fitted_scores(distance: MapDistance, rows: Rows, others: Rows) -> Rows:
    distance.fit(torch.from_numpy(rows))
    scores: Rows = -distance.of(torch.from_numpy(others).float()).numpy()
    return scores


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.0f} ± {np.std(values, ddof=1):.0f}" if len(values) > 1 else f"{values[0]:.0f}"


def main() -> None:
    """Measure all models and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--near", nargs="*", default=[], help="classes that are left out, one a seed")
    parser.add_argument("--run", nargs="*", type=Path, default=[], help="run folders")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    rows = list(frozen_rows(options.photos, options.near, options.work))
    for run in options.run:
        rows += run_rows(run, options.photos, options.work)
    with (options.work / "results.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows(rows)
    print(table(rows))
    print(few_pictures(options.photos, options.work))


if __name__ == "__main__":
    main()
