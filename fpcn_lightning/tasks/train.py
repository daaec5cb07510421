"""`task=train`: train on one side, choose the best epoch on another, look at the third once."""

import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fpcn_lightning import build
from fpcn_lightning.errors import UserError
from fpcn_lightning.quiet import quiet_libraries
from fpcn_lightning.record import config_hash, device_name, is_first_process, new_result, recorded, relative
from fpcn_lightning.report.results import RESULT_NAME, ImageCounts, Result, read_result
from fpcn_lightning.report.table import print_table, summarise

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from fpcn_lightning.data.datamodule import RockDataModule
    from fpcn_lightning.models.network import Network
    from fpcn_lightning.modules.classifier import Classifier

logger = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Train one variant with one seed, unless its folder already holds the result.

    Raises:
        UserError: the folder holds the result of another config, or what any part of the run finds wrong.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    section = build.plain(cfg)
    config = relative(section, folder)
    first_process = is_first_process()
    if first_process and _is_finished(folder, config):
        logger.info("%s is finished already: nothing to do (overwrite=true runs it again)", folder)
        return
    with recorded(folder, new_result(config), write=first_process) as result:
        _train(section, config, folder, result)
    if first_process:
        print_table(summarise([(folder, result)]))
        print(f"run folder: {folder}")


def _is_finished(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether this very run is done; an interrupted one leaves its checkpoint to go on from."""
    if config["overwrite"]:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        for name in (RESULT_NAME, "metrics.csv"):
            (folder / name).unlink(missing_ok=True)
    if not (folder / RESULT_NAME).exists():
        return False
    before = read_result(folder / RESULT_NAME)
    if before["config_hash"] != config_hash(config):
        raise UserError(
            f"{folder} holds a run of another config: name this one with variant=NAME, or replace it with "
            "overwrite=true."
        )
    return before["status"] == "finished"


def _train(section: Mapping[str, Any], config: dict[str, Any], folder: Path, result: Result) -> None:
    from lightning.pytorch import seed_everything

    from fpcn_lightning.callbacks.loggers import closed_afterwards
    from fpcn_lightning.checkpoints import make_record
    from fpcn_lightning.modules.classifier import Classifier

    quiet_libraries()
    seed = config["seed"]
    data = build.datamodule(config["data"], seed)
    data.prepare_data()
    data.write_record(folder)
    seed_everything(seed, verbose=False)
    network = build.network(config["model"], len(data.classes), config["data"]["crop"])
    describe(result, data, network)
    module = Classifier(
        network,
        loss=config["loss"],
        optimisation=config["optimisation"],
        classes=len(data.classes),
        seed=seed,
        image_size=config["data"]["crop"],
        record=make_record(config, data.classes, data.split.fingerprint),
    )
    with closed_afterwards():
        loggers = build.loggers(section["logger"])
        for each in loggers:
            each.log_hyperparams(config)
        trainer = build.trainer(
            section["trainer"],
            logger=loggers,
            callbacks=build.callbacks(section["callbacks"], progress_bar=section["trainer"]["enable_progress_bar"]),
            default_root_dir=str(folder),
        )
        _fit(trainer, module, data, folder, result)
        _look_once(trainer, module, data, folder, result)


def describe(result: Result, data: "RockDataModule", network: "Network") -> None:
    """Fill in what a result says about its data, its network and its device."""
    from fpcn_lightning import cost

    sides = ImageCounts(train=len(data.split.train), validation=len(data.split.validation), test=len(data.split.test))
    result["data"] = {
        "classes": list(data.classes),
        "fingerprint": data.split.fingerprint,
        "images": sides,
        "refused": len(data.index.refused),
    }
    result["network"] = {
        "parameters": cost.parameters(network),
        "macs": cost.macs(network, data.augmentation.evaluation_side),
        "input_size": data.augmentation.evaluation_side,
        "weights": network.weights_source,
    }
    result["device"] = device_name()
    result["reading"] = network.inference


def _fit(trainer: "Trainer", module: "Classifier", data: "RockDataModule", folder: Path, result: Result) -> None:
    interrupted = folder / "checkpoints" / "last.ckpt"
    began = time.monotonic()
    trainer.fit(module, data, ckpt_path=str(interrupted) if interrupted.exists() else None, weights_only=True)
    result["seconds"]["fit"] = round(time.monotonic() - began, 1)
    result["epochs"] = trainer.current_epoch


def _look_once(trainer: "Trainer", module: "Classifier", data: "RockDataModule", folder: Path, result: Result) -> None:
    """Measure the best epoch on validation and on test, and leave the answers and the pictures of it."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    from fpcn_lightning.report.figures import confusion_matrix, learning_curves

    checkpoint = trainer.checkpoint_callback
    best = checkpoint.best_model_path if isinstance(checkpoint, ModelCheckpoint) else ""
    began = time.monotonic()
    trainer.validate(module, data, ckpt_path=best or None, verbose=False, weights_only=True)
    trainer.test(module, data, ckpt_path=best or None, verbose=False, weights_only=True)
    result["seconds"]["test"] = round(time.monotonic() - began, 1)
    result["metrics"] = {"validation": module.measured["validation"], "test": module.measured["test"]}
    if not trainer.is_global_zero:
        return
    result["checkpoint"] = Path(best).relative_to(folder).as_posix() if best else None
    positions, probabilities = module.answered["test"]
    data.write_predictions(folder / "test_predictions.csv", positions.tolist(), probabilities.numpy())
    measured = module.measured["test"][module.network.inference]
    confusion_matrix(measured["confusion"], data.classes, folder / "confusion_matrix.png")
    if (folder / "metrics.csv").exists():
        learning_curves(folder / "metrics.csv", folder / "learning_curves.png")
