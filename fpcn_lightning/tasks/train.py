"""`task=train`: train on one side, choose the best epoch on another, look at the third once."""

import contextlib
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from fpcn_lightning import build
from fpcn_lightning.errors import ANOTHER_CONFIG, UserError
from fpcn_lightning.library_warnings import quiet_libraries
from fpcn_lightning.report.table import print_table, summarise
from fpcn_lightning.runs.recording import check_names, held, is_first_process, new_result, recorded, relative
from fpcn_lightning.runs.results import RESULT_NAME, Result, read_result
from fpcn_lightning.tasks.outcome import class_counts, describe, leave_predictions, time_network
from fpcn_lightning.tracking.wandb_run import RUN_FILE

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from fpcn_lightning.data.datamodule import RockDataModule
    from fpcn_lightning.models.network import Network
    from fpcn_lightning.modules.classifier import Classifier
    from fpcn_lightning.modules.distillation import Teaching

logger = logging.getLogger(__name__)

LAST = Path("checkpoints") / "last.ckpt"


def run(cfg: DictConfig) -> None:
    """Train one variant with one seed, unless its folder already holds the result.

    Raises:
        UserError: the folder holds the result of another config, or what any part of the run finds wrong.
    """
    from fpcn_lightning.runs.heat_maps import remove_heat_maps

    folder = Path(HydraConfig.get().runtime.output_dir)
    section = build.plain(cfg)
    _check(section)
    config = _with_teacher_by_hash(relative(section, folder))
    result = new_result(config, HydraConfig.get().overrides)
    if not is_first_process():
        _train(section, folder, result)
        return
    with held(folder):
        if _is_finished(folder, result, overwrite=section["overwrite"]):
            logger.info("%s is finished already: nothing to do (overwrite=true runs it again)", folder)
            return
        remove_heat_maps(folder)
        with recorded(folder, result):
            _train(section, folder, result)
    print_table(summarise([(folder, result)]))
    print(f"run folder: {folder}")


def _with_teacher_by_hash(config: dict[str, Any]) -> dict[str, Any]:
    """The config of the record, in which a teacher is the same wherever it lies, and another after new training."""
    if config["distillation"] is None:
        return config
    from fpcn_lightning.modules.teacher import file_hash

    if config["distillation"]["teacher"] is None:
        raise UserError("teacher is not set: give the checkpoint to learn from, teacher=RUN/checkpoints/best.ckpt.")
    digest = file_hash(Path(config["distillation"]["teacher"]))
    return {**config, "distillation": {**config["distillation"], "teacher": f"sha256:{digest}"}}


def _check(section: Mapping[str, Any]) -> None:
    """What no type can say about the config of a run."""
    check_names(section["name"], section["variant"])
    reach = section["report"]["reach"]
    if reach is not None and not 0 < reach <= 1:
        raise UserError(f"report.reach={reach} is an accuracy: above 0, at most 1.")
    options = section["trainer"]
    if not isinstance(options["max_epochs"], int) or options["max_epochs"] < 1:
        raise UserError(f"trainer.max_epochs={options['max_epochs']} must be a whole number of at least 1.")
    for key in ("limit_train_batches", "limit_val_batches", "limit_test_batches"):
        if not isinstance(options[key], int | float) or options[key] <= 0:
            raise UserError(f"trainer.{key}={options[key]} must be above 0: a number of batches, or a share up to 1.0.")
    several = options["devices"] not in (1, "1") or options["strategy"] not in ("auto", "ddp_spawn")
    if HydraConfig.get().mode == RunMode.MULTIRUN and several:
        # Every further process of a run is started with the command line of the first: it would start all jobs again.
        raise UserError(
            "the basic launcher runs all jobs in one process, which cannot start further ones: use "
            "hydra/launcher=slots, or set trainer.devices=1 trainer.strategy=auto."
        )


def _is_finished(folder: Path, result: Result, *, overwrite: bool) -> bool:
    """Whether this very run is done; an interrupted one leaves its checkpoint and its seconds to go on from."""
    if overwrite:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        for name in (RESULT_NAME, "metrics.csv", RUN_FILE):
            (folder / name).unlink(missing_ok=True)
    if not (folder / RESULT_NAME).exists():
        return False
    before = read_result(folder / RESULT_NAME)
    finished = before["status"] == "finished"
    if not finished and not (folder / LAST).exists():
        return False  # it failed before it had learned anything: nothing is lost
    if before["config_hash"] != result["config_hash"]:
        raise UserError(
            f"{folder} {ANOTHER_CONFIG}: name this run with variant=NAME, a whole sweep with name=NAME, or replace it "
            "with overwrite=true."
        )
    result["seconds"] = before["seconds"]
    return finished


def _train(section: Mapping[str, Any], folder: Path, result: Result) -> None:
    from lightning.pytorch import seed_everything

    from fpcn_lightning.modules.checkpoints import make_record
    from fpcn_lightning.modules.classifier import Classifier
    from fpcn_lightning.modules.distillation import Teaching
    from fpcn_lightning.profiling.throughput import Speed
    from fpcn_lightning.tracking.loggers import closed_afterwards

    quiet_libraries()
    seed, size = section["seed"], section["data"]["crop"]
    data = build.datamodule(section["data"], seed)
    data.prepare_data()
    interrupted = _interrupted(folder, data)
    if is_first_process():
        data.write_record(folder)
    teaching = None if section["distillation"] is None else Teaching(section, data)
    result["teacher"] = None if teaching is None else teaching.lineage
    seed_everything(seed, verbose=False)  # only now, so that a student begins with the same weights with and without
    module = (Classifier if teaching is None else teaching.student)(
        _network(section, data, result),
        loss=section["loss"],
        optimisation=section["optimisation"],
        classes=len(data.classes),
        seed=seed,
        image_size=size,
        record=make_record(result["config"], data.classes, data.split.fingerprint, result["teacher"]),
    )
    speed = Speed()
    with closed_afterwards():
        loggers = build.loggers(section["logger"])
        for each in loggers:
            each.log_hyperparams(dict(result["config"]))
        trainer = build.trainer(
            section["trainer"],
            logger=loggers,
            callbacks=[
                *build.callbacks(section["callbacks"], progress_bar=section["trainer"]["enable_progress_bar"]),
                speed,
            ],
            default_root_dir=str(folder),
        )
        if teaching is not None:
            _fill(teaching, section["trainer"]["max_epochs"], trainer, result)
        _fit(trainer, module, data, interrupted, result)
        _measure(trainer, module, data, folder, result)
    result["images_per_second"] = speed.images_per_second


def _network(section: Mapping[str, Any], data: "RockDataModule", result: Result) -> "Network":
    """The network, not yet trained, and what it costs in the record."""
    from fpcn_lightning.profiling.cost import training_macs

    size, classes = section["data"]["crop"], len(data.classes)
    network = build.network(section["model"], classes, size)
    network.see_class_counts(class_counts(data))
    if network.fixed_size and data.augmentation.evaluation_side != size:
        raise UserError(f"this backbone takes pictures of one size: set data.evaluation_crop to data.crop={size}.")
    describe(result, data, network)
    if result["network"]:
        result["network"]["training_macs"] = training_macs(network, size, classes)
    return network


def _interrupted(folder: Path, data: "RockDataModule") -> str | None:
    """The checkpoint to go on from, or None.

    Raises:
        UserError: it is damaged, or the pictures or their sides are not those that it was trained with.
    """
    from fpcn_lightning.modules.checkpoints import read

    path = folder / LAST
    if not path.exists():
        return None
    if read(path).record["split"] != data.split.fingerprint:
        raise UserError(
            f"the pictures or their sides have changed since {folder} was interrupted: start anew with overwrite=true, "
            "or name the new run with variant=NAME."
        )
    return str(path)


@contextlib.contextmanager
def _timed(stage: Literal["teacher", "fit"], result: Result) -> Iterator[None]:
    """Add the seconds of the block, however it ends, to those that the stage took before an interruption."""
    began, before = time.monotonic(), result["seconds"].get(stage) or 0.0
    try:
        yield
    finally:
        result["seconds"][stage] = round(before + time.monotonic() - began, 1)


def _fill(teaching: "Teaching", epochs: int, trainer: "Trainer", result: Result) -> None:
    with _timed("teacher", result):
        teaching.fill(epochs, trainer.strategy.root_device)


def _fit(
    trainer: "Trainer", module: "Classifier", data: "RockDataModule", interrupted: str | None, result: Result
) -> None:
    with _timed("fit", result):
        trainer.fit(module, data, ckpt_path=interrupted, weights_only=True)
    result["epochs"] = trainer.current_epoch


def _measure(trainer: "Trainer", module: "Classifier", data: "RockDataModule", folder: Path, result: Result) -> None:
    """Measure the best epoch on validation and, once, on test; leave the answers and the pictures of it."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    from fpcn_lightning.report.figures import learning_curves
    from fpcn_lightning.tracking.wandb_outcome import log_outcome

    checkpoint = trainer.checkpoint_callback
    best = checkpoint.best_model_path if isinstance(checkpoint, ModelCheckpoint) else ""
    began = time.monotonic()
    trainer.validate(module, data, ckpt_path=best or None, verbose=False, weights_only=True)
    looks_at_test = result["config"]["test"]
    if looks_at_test:
        trainer.test(module, data, ckpt_path=best or None, verbose=False, weights_only=True)
    result["seconds"]["test"] = round(time.monotonic() - began, 1)
    if not all(predicted.probabilities.isfinite().all() for predicted in module.predictions.values()):
        raise UserError("the network answers with what is no number: it has diverged; lower the learning rate.")
    result["metrics"] = {"val": module.measured["validation"], "test": module.measured["test"]}
    if not trainer.is_global_zero:
        return
    time_network(result, data, module.network, trainer.strategy.root_device)
    result["checkpoint"] = Path(best).relative_to(folder).as_posix() if best else None
    if looks_at_test:
        leave_predictions(module, data, folder)
    log_outcome(trainer.loggers, module, data, result)
    if (folder / "metrics.csv").exists():
        learning_curves(folder / "metrics.csv", folder / "learning_curves.png")
