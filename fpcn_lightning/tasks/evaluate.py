"""`task=evaluate`: test a checkpoint on another folder, or on the test split of its own data."""

import logging
from dataclasses import replace
from pathlib import Path

from fpcn_lightning import build
from fpcn_lightning.config import Config, DataConfig
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.split import read_split_rows
from fpcn_lightning.errors import UserError
from fpcn_lightning.modules import checkpoints
from fpcn_lightning.modules.checkpoints import CheckpointRecord, Loaded
from fpcn_lightning.modules.classifier import Classifier
from fpcn_lightning.report.table import print_table, summarise
from fpcn_lightning.report.verdict import run_verdict
from fpcn_lightning.runs.folders import PAGE_NAME, data_name, evaluation_folder, variant_name
from fpcn_lightning.runs.invocation import Invocation
from fpcn_lightning.runs.predictions import PREDICTIONS_NAME
from fpcn_lightning.runs.recording import RunRecord
from fpcn_lightning.tasks.checkpoint_data import other_data, own_data
from fpcn_lightning.tasks.leave_page import leave_page
from fpcn_lightning.tasks.libraries import prepare_libraries
from fpcn_lightning.tasks.outcome import describe, save_predictions

logger = logging.getLogger(__name__)


def run(config: Config, invocation: Invocation) -> None:
    """Test `checkpoint`; images are preprocessed as in its training: of `data` only root, cache and workers are used.

    Raises:
        UserError: no checkpoint is given, it cannot be used, or the folder has classes that it was not trained on.
    """
    if config.checkpoint is None:
        raise UserError("checkpoint is not set: pass the file to test, checkpoint=RUN/checkpoints/best.ckpt.")
    prepare_libraries()
    path = Path(config.checkpoint)
    loaded = checkpoints.load(path)
    record = _record(config, invocation, loaded.record)
    data = None
    try:
        with record.recorded():
            data = _data(config.data, loaded.record)
            describe(record, data, loaded.network, training=False)
            evaluate(config, loaded, data, record)
            record.add(seen_in_training=_seen_in_training(path, data))
    finally:
        leave_page(record, data)
    if record.writes:
        for sentence in run_verdict((record.folder, record.result)):
            print(sentence)
        print_table(summarise([(record.folder, record.result)]))
        print(f"predictions, the worst first: {record.folder / PREDICTIONS_NAME}")
        print(f"report: {record.folder / PAGE_NAME}")


def evaluate(config: Config, loaded: Loaded, data: RockDataModule, record: RunRecord) -> None:
    """Test a network on the test split of `data`; record its metrics and write its predictions."""
    module = Classifier(
        loaded.network,
        seed=loaded.record.seed,
        image_size=data.augmentation.evaluation_size,
        record=loaded.record,
        channels_last=loaded.record.training.channels_last,
    )
    trainer = build.trainer(config.trainer, logger=False, enable_checkpointing=False)
    with record.timed("test"):
        trainer.test(module, data, verbose=False)
    record.add(metrics={"val": {}, "test": module.measured["test"]})
    if trainer.is_global_zero:
        data.write_record(record.folder)
        save_predictions(module, data, record.folder)


def _record(config: Config, invocation: Invocation, trained: CheckpointRecord) -> RunRecord:
    """The record of the evaluation, with the network, the images and the teacher of the training."""
    root = None if config.data.root is None else Path(config.data.root)
    folder = evaluation_folder(Path(config.output), trained.name, trained.variant, trained.seed, root)
    tested = replace(
        config,
        variant=f"{variant_name(trained.name, trained.variant)} on {data_name(root)}",
        seed=trained.seed,
        model=trained.model,
        training=trained.training,
        data=replace(trained.data, root=config.data.root),
    )
    record = RunRecord(folder, build.as_record(tested), invocation)
    record.add(teacher=trained.teacher)
    return record


def _data(config: DataConfig, trained: CheckpointRecord) -> RockDataModule:
    return own_data(config, trained) if config.root is None else other_data(config, trained)


def _seen_in_training(checkpoint: Path, data: RockDataModule) -> int | None:
    """Number of tested images that were in the training or validation split; None where the split is not known."""
    split = checkpoint.parent.parent / "split.csv"
    if not split.is_file():
        return None
    known = {row["digest"] for row in read_split_rows(split) if row["split"] in ("train", "val")}
    seen = sum(data.index.pictures[position].digest in known for position in data.split.test)
    if seen:
        logger.warning(
            "%d of %d tested images were used in training: the metrics are optimistic", seen, len(data.split.test)
        )
    return seen
