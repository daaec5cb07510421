"""`task=explain`: show where networks look, measure it where the truth is known, and say what was found."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from fpcn_lightning import build
from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.library_warnings import quiet_libraries
from fpcn_lightning.runs.recording import check_names
from fpcn_lightning.tasks.own_pictures import own_pictures

if TYPE_CHECKING:
    from fpcn_lightning.data.datamodule import RockDataModule
    from fpcn_lightning.explain.panels import Seer
    from fpcn_lightning.modules.checkpoints import Loaded
    from fpcn_lightning.report.experiments import Experiment

logger = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Explain `checkpoint` and the networks beside it on `source` or on its own pictures, or all networks below `runs`.

    Raises:
        UserError: neither is given, a checkpoint or picture cannot be used, or its own pictures are gone.
    """
    quiet_libraries()
    section = build.plain(cfg)
    _check(section["explain"])
    if cfg.checkpoint is None and cfg.runs is None:
        raise UserError(
            "neither checkpoint nor runs is set: give checkpoint=RUN/checkpoints/best.ckpt, with source=PHOTOS if it "
            "is not its own test pictures that you want explained, or runs=outputs/EXPERIMENT."
        )
    if cfg.checkpoint is None:
        _explain_runs(section, Path(cfg.runs))
    elif cfg.source is None:
        _explain_own(section, Path(cfg.checkpoint))
    else:
        _explain_source(section, Path(cfg.checkpoint), Path(cfg.source))


def _check(options: Mapping[str, Any]) -> None:
    from fpcn_lightning.explain.methods import METHODS

    check_choice("explain.method", options["method"], METHODS)
    for key, least in (("pictures", 1), ("measured", 1), ("curves", 0), ("steps", 1)):
        if options[key] is not None and options[key] < least:
            raise UserError(f"explain.{key}={options[key]} must be at least {least}.")


def _explain_source(section: dict[str, Any], checkpoint: Path, source: Path) -> None:
    """Panels of pictures from anywhere, as many pages as it takes."""
    from fpcn_lightning.explain.panels import Seer
    from fpcn_lightning.explain.selection import labels_by_folder, middles, readable
    from fpcn_lightning.field.sources import find_pictures

    networks = _beside(section, checkpoint)
    folder = _folder(section, networks) / source.resolve().stem
    paths, rows = readable(find_pictures(source)), section["explain"]["pictures"]
    classes = next(iter(networks.values())).record["classes"]
    for start in range(0, len(paths), rows):
        page = paths[start : start + rows]
        seers = {
            name: Seer(loaded.network, middles(page, build.datamodule(loaded.record["data"], 0).augmentation))
            for name, loaded in networks.items()
        }
        name = "panels.png" if len(paths) <= rows else f"panels-{start // rows + 1:03}.png"
        _draw(section, seers, labels_by_folder(page, classes), classes, folder / name)


def _explain_own(section: dict[str, Any], checkpoint: Path) -> None:
    """Panels and measures of a network, and of those beside it, on the pictures that none of them has seen."""
    from fpcn_lightning.report.heat_findings import findings
    from fpcn_lightning.report.localisation import localise
    from fpcn_lightning.runs.heat_maps import MEASURES_NAME

    networks = _beside(section, checkpoint)
    for name, loaded in networks.items():
        if loaded.network.heat_layer is None:
            raise UserError(
                f"{name} has no map to draw heat of: nothing can be measured; show pictures, source=PHOTOS."
            )
    folder, found = _folder(section, networks), []
    seers, shown = {}, None
    for name, loaded in networks.items():
        data = own_pictures(section["data"], loaded.record)
        place = folder if len(networks) == 1 else folder / name
        place.mkdir(parents=True, exist_ok=True)
        data.write_record(place)
        _measure(section, loaded, data, place)
        found.append(localise(name, [(place, int(loaded.record["seed"]))]))
        shown = shown or (data, _chosen(section, data, section["explain"]["pictures"]))
        seers[name] = _seer(loaded, data, shown[1])
    assert shown is not None
    _draw_own(section, seers, *shown, folder / "panels.png")
    for sentence in findings([each for each in found if each is not None], []):
        print(f"- {sentence}")
    print(f"measures, a row a picture: {', '.join(str(path) for path in sorted(folder.rglob(MEASURES_NAME)))}")


def _explain_runs(section: dict[str, Any], folder: Path) -> None:
    """Panels and measures of every network of the experiments in a folder, and their report with both."""
    from fpcn_lightning.report.experiments import read_experiments
    from fpcn_lightning.runs.folders import EXPLANATIONS
    from fpcn_lightning.tasks.report import report_folder

    if section["explain"]["method"] == "score_cam":
        logger.warning("Score-CAM asks a network once for each channel of its map: minutes a picture, not less.")
    experiments = read_experiments(folder)
    for experiment in experiments:
        place = folder / EXPLANATIONS / (experiment.name if len(experiments) > 1 else "")
        _explain_experiment(section, experiment, place)
    report_folder(folder)


def _explain_experiment(section: dict[str, Any], experiment: "Experiment", folder: Path) -> None:
    first: dict[str, dict[str, tuple[Loaded, RockDataModule]]] = {}  # by the pictures, the networks by name
    for variant in experiment.variants:
        for place, result in variant.tested:
            if result["checkpoint"] is None:
                logger.warning("%s has left no checkpoint, and is not explained", place)
                continue
            loaded = _load(place / result["checkpoint"])
            if loaded.network.heat_layer is None:
                logger.warning("%s has no map to draw heat of, and is not explained", variant.name)
                break
            data = own_pictures(section["data"], loaded.record)
            logger.info("%s", place)
            _measure(section, loaded, data, place)
            first.setdefault(_identity(loaded), {}).setdefault(variant.name, (loaded, data))
    if not first:
        raise UserError(f"no network of {experiment.name} can be explained: train some to the end first.")
    for number, networks in enumerate(first.values(), 1):
        data = next(iter(networks.values()))[1]
        positions = _chosen(section, data, section["explain"]["pictures"])
        seers = {name: _seer(loaded, own, positions) for name, (loaded, own) in networks.items()}
        name = "panels.png" if len(first) == 1 else f"panels-{number}.png"
        _draw_own(section, seers, data, positions, folder / name)


def _identity(loaded: "Loaded") -> str:
    """The same for networks that were trained with the same pictures on the same sides."""
    data = loaded.record["data"]
    return json.dumps([loaded.record["split"], data["root"], data["synthetic"]], sort_keys=True)


def _load(checkpoint: Path) -> "Loaded":
    from fpcn_lightning.modules import checkpoints

    return checkpoints.load(checkpoint)


def _beside(section: dict[str, Any], checkpoint: Path) -> dict[str, "Loaded"]:
    """The network of the checkpoint, and those beside it, each by the names of its experiment, variant and seed."""
    paths = [checkpoint, *map(Path, section["explain"]["beside"])]
    loaded = [_load(path) for path in paths]
    names = [_short_name(each.record, [other.record for other in loaded]) for each in loaded]
    if len(set(names)) < len(names):
        raise UserError(f"explain.beside names {checkpoint}, or the same network twice: name others.")
    for path, each in zip(paths, loaded, strict=True):
        if each.record["classes"] != loaded[0].record["classes"]:
            raise UserError(f"{path} knows other classes than {checkpoint}: they cannot stand in one row.")
    return dict(zip(names, loaded, strict=True))


def _short_name(record: Mapping[str, Any], every: Sequence[Mapping[str, Any]]) -> str:
    """What tells a network from the others: its variant, with the seed or with the experiment where it must be."""
    check_names(record["name"], record["variant"])
    seeded = f"{record['variant']}-seed-{int(record['seed'])}"
    for name, keys in ((record["variant"], ("variant",)), (seeded, ("variant", "seed"))):
        if sum(all(other[key] == record[key] for key in keys) for other in every) == 1:
            return str(name)
    return f"{record['name']}-{seeded}"


def _folder(section: dict[str, Any], networks: Mapping[str, "Loaded"]) -> Path:
    from fpcn_lightning.runs.folders import EXPLANATIONS

    record = next(iter(networks.values())).record
    return Path(section["output"]) / EXPLANATIONS / f"{record['name']}-{record['variant']}-seed-{int(record['seed'])}"


def _measure(section: dict[str, Any], loaded: "Loaded", data: "RockDataModule", folder: Path) -> None:
    """Write what is measured of a network's heat maps into a folder, where the same does not lie there already."""
    from filelock import FileLock

    from fpcn_lightning.explain.study import Study
    from fpcn_lightning.runs.heat_maps import read_heat_maps, write_heat_maps

    options = section["explain"]
    asked = {key: options[key] for key in ("method", "measured", "curves", "steps")}
    seen = {"test": section["test"], "split": data.split.fingerprint, "marked": _marked(data)}
    key = {**asked, **seen, "weights": _weights(loaded)}
    with FileLock(folder / ".heat_maps.lock"):  # two methods at once would mix
        before = read_heat_maps(folder)
        if before is not None and before.options == key:
            logger.info("%s was measured before", folder)
            return
        study = Study(loaded.network, data, options["method"], options["curves"], options["steps"])
        write_heat_maps(folder, study.rows(_chosen(section, data, options["measured"])), study.regions, key)


def _marked(data: "RockDataModule") -> str:
    """A digest of the files that say where things truly are."""
    files = [(kind, name, path.stat().st_size) for kind, paths in data.marked.items() for name, path in paths.items()]
    return hashlib.sha256(json.dumps(sorted(files)).encode(errors="surrogateescape")).hexdigest()[:16]


def _weights(loaded: "Loaded") -> str:
    """A digest of the network: another training is another network."""
    digest = hashlib.sha256()
    for name, values in sorted(loaded.network.state_dict().items()):
        digest.update(name.encode() + values.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _chosen(section: dict[str, Any], data: "RockDataModule", count: int | None) -> Sequence[int]:
    """So many pictures of the test side, evenly spread; of the validation side with test=false; all for None."""
    from fpcn_lightning.explain.study import spread

    side = data.split.test if section["test"] else data.split.validation
    if not side:
        raise UserError(
            f"there are no {'test' if section['test'] else 'validation'} pictures to explain: give source=."
        )
    return spread(side, len(side) if count is None else count)


def _seer(loaded: "Loaded", data: "RockDataModule", positions: Sequence[int]) -> "Seer":
    from fpcn_lightning.explain.panels import Seer

    return Seer(loaded.network, data.pictures.centres(positions).images)


def _draw_own(
    section: dict[str, Any], seers: Mapping[str, "Seer"], data: "RockDataModule", positions: Sequence[int], path: Path
) -> None:
    labels = [data.pictures.pictures[position].label for position in positions]
    _draw(section, seers, labels, data.classes, path)


def _draw(
    section: dict[str, Any],
    seers: Mapping[str, "Seer"],
    labels: Sequence[int | None],
    classes: Sequence[str],
    path: Path,
) -> None:
    from fpcn_lightning.explain.drawing import draw, save
    from fpcn_lightning.explain.panels import panels_of

    save(draw(panels_of(seers, labels, classes, section["explain"]["method"])), path)
    print(f"panels: {path}")
