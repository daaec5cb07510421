"""`task=explain`: draw heat maps of networks, measure them against true masks, and print the findings."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from filelock import FileLock

from fpcn_lightning import build
from fpcn_lightning.config import Config, ExplainConfig
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.preparation import image_limits
from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.explain.drawing import draw, save
from fpcn_lightning.explain.measurement import HeatMapStudy, spread
from fpcn_lightning.explain.methods import METHODS
from fpcn_lightning.explain.panels import Panel, PanelInput, panels_of
from fpcn_lightning.explain.selection import centre_views, labels_by_folder, readable
from fpcn_lightning.field.sources import find_pictures
from fpcn_lightning.modules.checkpoints import CheckpointRecord, Loaded, load
from fpcn_lightning.report.experiments import Experiment, read_experiments
from fpcn_lightning.report.explanation_page import (
    HEAT_COLOURS,
    panels_figure,
    prediction_verdict,
)
from fpcn_lightning.report.heat_findings import finding_notes, findings
from fpcn_lightning.report.localisation import Localisation, localisation_table, localise
from fpcn_lightning.report.page_figure import failures_as_warnings
from fpcn_lightning.report.summary_page import SummaryPage, write_summary_page
from fpcn_lightning.runs.folders import EXPLANATIONS, check_names, experiment_part, explanation_folder
from fpcn_lightning.runs.heat_maps import MEASURES_NAME, read_heat_maps, write_heat_maps
from fpcn_lightning.runs.invocation import Invocation
from fpcn_lightning.tasks.checkpoint_data import own_data
from fpcn_lightning.tasks.libraries import prepare_libraries
from fpcn_lightning.tasks.report import report_folder

logger = logging.getLogger(__name__)


def run(config: Config, invocation: Invocation) -> None:  # noqa: ARG001 - the signature of all tasks
    """Explain `checkpoint` and the networks to compare on `source` or on its own images, or all networks below `runs`.

    Raises:
        UserError: neither is given, a checkpoint or image cannot be used, or its own images are missing.
    """
    prepare_libraries()
    _check(config.explain)
    if config.checkpoint is None and config.runs is None:
        raise UserError(
            "neither checkpoint nor runs is set: pass checkpoint=RUN/checkpoints/best.ckpt, with source=PHOTOS to "
            "explain other images than its own test split, or runs=outputs/EXPERIMENT."
        )
    if config.checkpoint is None:
        _explain_runs(config, Path(str(config.runs)))
    elif config.source is None:
        _explain_own(config, Path(config.checkpoint))
    else:
        _explain_source(config, Path(config.checkpoint), Path(config.source))


def _check(options: ExplainConfig) -> None:
    check_choice("explain.method", options.method, METHODS)
    minima = (("pictures", options.pictures, 1), ("measured", options.measured, 1))
    for key, value, least in (*minima, ("curves", options.curves, 0), ("steps", options.steps, 1)):
        if value is not None and value < least:
            raise UserError(f"explain.{key}={value} must be at least {least}.")


def _explain_source(config: Config, checkpoint: Path, source: Path) -> None:
    """Panels of any images, `explain.pictures` rows per page."""
    networks = _compared(config, checkpoint)
    folder = _folder(config, networks) / source.resolve().stem
    limits = image_limits(config.data)
    paths, rows = readable(find_pictures(source), limits), config.explain.pictures
    classes = next(iter(networks.values())).record.classes
    drawn: list[Path] = []
    correct: dict[str, list[bool | None]] = {name: [] for name in networks}
    for start in range(0, len(paths), rows):
        page = paths[start : start + rows]
        inputs = {
            name: PanelInput(
                loaded.network,
                centre_views(page, build.datamodule(loaded.record.data, 0, trusted=False).augmentation, limits),
            )
            for name, loaded in networks.items()
        }
        name = "panels.png" if len(paths) <= rows else f"panels-{start // rows + 1:03}.png"
        drawn.append(folder / name)
        panels = _draw(config, inputs, labels_by_folder(page, classes), classes, drawn[-1])
        for row in panels:
            for network, panel in zip(networks, row[-len(networks) :], strict=True):  # the last ones are predictions
                correct[network].append(panel.correct)
    verdict = [prediction_verdict(name, known) for name, known in correct.items()]
    _leave_page(folder, f"{', '.join(networks)} on {source.name}", verdict, drawn, [])


def _explain_own(config: Config, checkpoint: Path) -> None:
    """Panels and measures of a network, and of those to compare, on images that none of them was trained on."""
    networks = _compared(config, checkpoint)
    for name, loaded in networks.items():
        if loaded.network.heat_layer is None:
            raise UserError(
                f"{name} has no feature map for heat maps, so nothing can be measured: set source=PHOTOS to draw its "
                "predictions only."
            )
    folder, measured = _folder(config, networks), []
    inputs, shown = {}, None
    for name, loaded in networks.items():
        data = own_data(config.data, loaded.record)
        place = folder if len(networks) == 1 else folder / name
        place.mkdir(parents=True, exist_ok=True)
        data.write_record(place)
        _measure(config, loaded, data, place)
        measured.append(localise(name, [(place, loaded.record.seed)]))
        shown = shown or (data, _chosen(config, data, config.explain.pictures))
        inputs[name] = _panel_input(loaded, data, shown[1])
    assert shown is not None
    _draw_own(config, inputs, *shown, folder / "panels.png")
    found = [each for each in measured if each is not None]
    for sentence in (*findings(found, []), *finding_notes(found, [])):
        print(f"- {sentence}")
    _leave_page(folder, f"Where {', '.join(networks)} looks", findings(found, []), [folder / "panels.png"], found)
    print(f"measures, one row per image: {', '.join(str(path) for path in sorted(folder.rglob(MEASURES_NAME)))}")


def _leave_page(
    folder: Path, title: str, verdict: Sequence[str], panels: Sequence[Path], found: Sequence[Localisation]
) -> None:
    """Write the page of an explanation; what goes wrong here becomes a warning, since the files are there."""
    with failures_as_warnings(f"the page of {folder}"):
        page = SummaryPage(
            title,
            verdict or ["Nothing could be measured: see the panels."],
            [localisation_table(found)] if found else [],
            [panels_figure(path) for path in panels],
            notes=[HEAT_COLOURS, *finding_notes(found, [])],
        )
        print(f"report: {write_summary_page(page, folder)}")


def _explain_runs(config: Config, folder: Path) -> None:
    """Panels and measures of every network of the experiments in a folder, and their report with both."""
    if config.explain.method == "score_cam":
        logger.warning("Score-CAM runs a network once for each channel of its map: expect minutes per image.")
    experiments = read_experiments(folder)
    for experiment in experiments:
        place = experiment_part(folder, EXPLANATIONS, experiment.name, several=len(experiments) > 1)
        _explain_experiment(config, experiment, place)
    report_folder(folder)


def _explain_experiment(config: Config, experiment: Experiment, folder: Path) -> None:
    first: dict[str, dict[str, tuple[Loaded, RockDataModule]]] = {}  # by data set, the networks by name
    for variant in experiment.variants:
        for place, result in variant.tested:
            if result["checkpoint"] is None:
                logger.warning("%s has no checkpoint and is skipped", place)
                continue
            loaded = load(place / result["checkpoint"])
            if loaded.network.heat_layer is None:
                logger.warning("%s has no feature map for heat maps and is skipped", variant.name)
                break
            data = own_data(config.data, loaded.record)
            logger.info("%s", place)
            _measure(config, loaded, data, place)
            first.setdefault(_identity(loaded), {}).setdefault(variant.name, (loaded, data))
    if not first:
        raise UserError(f"no network of {experiment.name} can be explained: finish a training of it first.")
    for number, networks in enumerate(first.values(), 1):
        data = next(iter(networks.values()))[1]
        positions = _chosen(config, data, config.explain.pictures)
        inputs = {name: _panel_input(loaded, own, positions) for name, (loaded, own) in networks.items()}
        name = "panels.png" if len(first) == 1 else f"panels-{number}.png"
        _draw_own(config, inputs, data, positions, folder / name)


def _identity(loaded: Loaded) -> str:
    """The same for networks that were trained on the same split of the same images."""
    data = loaded.record.data
    return json.dumps([loaded.record.split, data.root, None if data.synthetic is None else vars(data.synthetic)])


def _compared(config: Config, checkpoint: Path) -> dict[str, Loaded]:
    """The network of the checkpoint and those to compare, by the shortest names that distinguish them."""
    paths = [checkpoint, *map(Path, config.explain.compare_with)]
    loaded = [load(path) for path in paths]
    names = [_short_name(each.record, [other.record for other in loaded]) for each in loaded]
    if len(set(names)) < len(names):
        raise UserError(f"explain.compare_with has {checkpoint}, or one network twice: remove the duplicate.")
    for path, each in zip(paths, loaded, strict=True):
        if each.record.classes != loaded[0].record.classes:
            raise UserError(
                f"{path} has other classes than {checkpoint}, so they cannot be compared: remove it from "
                "explain.compare_with."
            )
    return dict(zip(names, loaded, strict=True))


def _short_name(record: CheckpointRecord, every: Sequence[CheckpointRecord]) -> str:
    """The shortest name that distinguishes a network from the others: its variant, then with seed, then experiment."""
    check_names(record.name, record.variant)
    seeded = f"{record.variant}-seed-{record.seed}"
    for name, keys in ((record.variant, ("variant",)), (seeded, ("variant", "seed"))):
        if sum(all(getattr(other, key) == getattr(record, key) for key in keys) for other in every) == 1:
            return str(name)
    return f"{record.name}-{seeded}"


def _folder(config: Config, networks: Mapping[str, Loaded]) -> Path:
    record = next(iter(networks.values())).record
    return explanation_folder(Path(config.output), record.name, record.variant, record.seed)


def _measure(config: Config, loaded: Loaded, data: RockDataModule, folder: Path) -> None:
    """Write the measures of a network's heat maps to a folder, unless they are there already."""
    options = config.explain
    chosen = {key: getattr(options, key) for key in ("method", "measured", "curves", "steps")}
    images = {"test": config.test, "split": data.split.fingerprint, "marked": _marked(data)}
    key = {**chosen, **images, "weights": _weights(loaded)}
    with FileLock(folder / ".heat_maps.lock"):  # two methods at the same time would mix their rows
        before = read_heat_maps(folder)
        if before is not None and before.options == key:
            logger.info("%s has been measured already", folder)
            return
        study = HeatMapStudy(loaded.network, data, options.method, options.curves, options.steps)
        write_heat_maps(folder, study.rows(_chosen(config, data, options.measured)), study.regions, key)


def _marked(data: RockDataModule) -> str:
    """A digest of the names and sizes of the files with the true regions."""
    files = [(kind, name, path.stat().st_size) for kind, paths in data.marked.items() for name, path in paths.items()]
    return hashlib.sha256(json.dumps(sorted(files)).encode(errors="surrogateescape")).hexdigest()[:16]


def _weights(loaded: Loaded) -> str:
    """A digest of the network's weights, which identifies its training."""
    digest = hashlib.sha256()
    for name, values in sorted(loaded.network.state_dict().items()):
        digest.update(name.encode() + values.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _chosen(config: Config, data: RockDataModule, count: int | None) -> Sequence[int]:
    """`count` images of the test split, evenly spread; of the validation split with test=false; all for None."""
    images = data.split.test if config.test else data.split.val
    if not images:
        raise UserError(f"there are no {'test' if config.test else 'validation'} images to explain: set source=PHOTOS.")
    return spread(images, len(images) if count is None else count)


def _panel_input(loaded: Loaded, data: RockDataModule, positions: Sequence[int]) -> PanelInput:
    return PanelInput(loaded.network, data.pictures.centres(positions).images)


def _draw_own(
    config: Config, inputs: Mapping[str, PanelInput], data: RockDataModule, positions: Sequence[int], path: Path
) -> None:
    labels = [data.pictures.pictures[position].label for position in positions]
    _draw(config, inputs, labels, data.classes, path)


def _draw(
    config: Config,
    inputs: Mapping[str, PanelInput],
    labels: Sequence[int | None],
    classes: Sequence[str],
    path: Path,
) -> list[list[Panel]]:
    panels = panels_of(inputs, labels, classes, config.explain.method)
    save(draw(panels), path)
    print(f"panels: {path}")
    return panels
