"""`task=evaluate`: test a checkpoint on another folder, or again on the test side of its own data."""

import hashlib
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fpcn_lightning import build
from fpcn_lightning.errors import UserError
from fpcn_lightning.library_warnings import quiet_libraries
from fpcn_lightning.report.table import print_table, summarise
from fpcn_lightning.runs.recording import check_names, is_first_process, new_result, recorded
from fpcn_lightning.runs.results import Result
from fpcn_lightning.tasks.outcome import describe, leave_predictions

if TYPE_CHECKING:
    from fpcn_lightning.data.datamodule import RockDataModule
    from fpcn_lightning.modules.checkpoints import Loaded

logger = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Test `checkpoint`; pictures are prepared as its training prepared them, whatever `data` says beside `root`.

    Raises:
        UserError: no checkpoint is given, it cannot be used, or the folder has classes that it does not know.
    """
    from fpcn_lightning.modules import checkpoints

    if cfg.checkpoint is None:
        raise UserError("checkpoint is not set: give the file to test, checkpoint=RUN/checkpoints/best.ckpt.")
    path = Path(cfg.checkpoint)
    loaded = checkpoints.load(path)
    section = build.plain(cfg)
    data = _data(section["data"], loaded.record)
    check_names(loaded.record["name"], loaded.record["variant"])
    name = f"{loaded.record['name']}-{loaded.record['variant']}"
    place = "own" if cfg.data.root is None else _name_of(Path(cfg.data.root))
    folder = Path(cfg.output) / "evaluations" / name / f"seed-{int(loaded.record['seed'])}" / place
    config = {**section, **{key: loaded.record[key] for key in ("model", "loss", "optimisation", "seed")}}
    config |= {"variant": f"{name} on {place}", "data": {**loaded.record["data"], "root": cfg.data.root}}
    result = new_result(config, HydraConfig.get().overrides)
    result["teacher"] = loaded.record.get("teacher")
    if not is_first_process():
        _evaluate(section["trainer"], loaded, data, folder, result)
        return
    with recorded(folder, result):
        _evaluate(section["trainer"], loaded, data, folder, result)
        result["seen_in_training"] = _seen_in_training(path, data)
    print_table(summarise([(folder, result)]))
    print(f"answers, worst first: {folder / 'test_predictions.csv'}")


def _name_of(root: Path) -> str:
    """The name of a folder or CSV, with a few digits of its whole path: many folders are called `test`."""
    whole = root.resolve()
    return f"{whole.stem}-{hashlib.sha256(str(whole).encode(errors='surrogateescape')).hexdigest()[:6]}"


def _data(section: dict[str, Any], record: dict[str, Any]) -> "RockDataModule":
    """The pictures below `root` as a test side, or those of the training; all else is as it was trained."""
    root = section["root"]
    options = {**record["data"], "cache": section["cache"], "workers": section["workers"]}
    if root is not None:
        options |= {"root": root, "synthetic": None, "split": {**options["split"], "published": {}}}
    return build.datamodule({**options, "classes": record["classes"], "only_test": root is not None}, record["seed"])


def _evaluate(
    trainer_section: dict[str, Any], loaded: "Loaded", data: "RockDataModule", folder: Path, result: Result
) -> None:
    from fpcn_lightning.modules.classifier import Classifier

    quiet_libraries()
    data.prepare_data()
    describe(result, data, loaded.network)
    parts = {key: loaded.record[key] for key in ("loss", "optimisation", "seed")}
    size = data.augmentation.evaluation_side
    module = Classifier(loaded.network, classes=len(data.classes), image_size=size, record=loaded.record, **parts)
    trainer = build.trainer(trainer_section, logger=False, enable_checkpointing=False)
    began = time.monotonic()
    trainer.test(module, data, verbose=False)
    result["seconds"]["test"] = round(time.monotonic() - began, 1)
    result["metrics"] = {"val": {}, "test": module.measured["test"]}
    if not trainer.is_global_zero:
        return
    data.write_record(folder)
    leave_predictions(module, data, folder)


def _seen_in_training(checkpoint: Path, data: "RockDataModule") -> int | None:
    """How many of the tested pictures the network was trained or chosen on; None where its split is not at hand."""
    from fpcn_lightning.data.index import FOREIGN_NAMES, read_rows

    split = checkpoint.parent.parent / "split.csv"
    if not split.is_file():
        return None
    rows = read_rows(split, ("digest", "side"), FOREIGN_NAMES)
    known = {row["digest"] for row in rows if row["side"] in ("train", "validation")}
    seen = sum(data.index.pictures[position].digest in known for position in data.split.test)
    if seen:
        logger.warning(
            "%d of %d tested pictures were used in training: the figures flatter", seen, len(data.split.test)
        )
    return seen
