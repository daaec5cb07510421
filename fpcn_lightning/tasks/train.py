"""`task=train`: train on the training split, choose the best epoch on validation, test once on the test split."""

import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpcn_lightning import build
from fpcn_lightning.config import Config
from fpcn_lightning.data.index import check_root
from fpcn_lightning.errors import UserError
from fpcn_lightning.report.table import print_table, summarise
from fpcn_lightning.report.verdict import run_verdict
from fpcn_lightning.runs.folders import PAGE_NAME, check_names
from fpcn_lightning.runs.heat_maps import remove_heat_maps
from fpcn_lightning.runs.invocation import Invocation
from fpcn_lightning.runs.recording import LAST, RunRecord, relative
from fpcn_lightning.stopping import StopRequest
from fpcn_lightning.tasks.budget_text import Budget
from fpcn_lightning.tasks.changed_images import check_images
from fpcn_lightning.tasks.libraries import prepare_libraries

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from fpcn_lightning.data.datamodule import RockDataModule
    from fpcn_lightning.profiling.throughput import Throughput
    from fpcn_lightning.tasks.budget import TrainingPlan

logger = logging.getLogger(__name__)


def run(config: Config, invocation: Invocation) -> None:
    """Train one variant with one seed, unless its folder already has the result.

    Raises:
        UserError: the folder has the result of another config or of other images, or a part of the run raises it.
    """
    _check(config, invocation)
    folder = invocation.output_dir
    record = RunRecord(folder, _recorded(config, folder), invocation)
    with record.locked():
        if record.is_finished(overwrite=config.overwrite):
            check_images(config.data, folder)
            logger.info("%s is finished already: nothing to do (pass overwrite=true to run it again)", folder)
            return
        if record.writes:
            remove_heat_maps(folder)
            record.mark_checkpoints()
        data = None
        try:
            with record.recorded():
                data = train(config, record)
        finally:
            _leave_page(record, data)
    if record.writes:
        for sentence in run_verdict((folder, record.result)):
            print(sentence)
        print_table(summarise([(folder, record.result)]))
        print(f"run folder: {folder}")
        print(f"report: {folder / PAGE_NAME}")


def _leave_page(record: RunRecord, data: "RockDataModule | None") -> None:
    from fpcn_lightning.tasks.leave_page import leave_page

    leave_page(record, data)


def train(config: Config, record: RunRecord) -> "RockDataModule":
    """Train, validate and test one network, write the results to the folder of the record, and return its images."""
    if config.data.root is not None:
        check_root(Path(config.data.root))  # before the imports below, which take seconds
    from lightning.pytorch import seed_everything

    from fpcn_lightning.models.probe import Probe
    from fpcn_lightning.modules.assembly import make_distillation, make_module, make_network
    from fpcn_lightning.modules.floor import make_floor
    from fpcn_lightning.profiling.throughput import Throughput
    from fpcn_lightning.tasks import outcome
    from fpcn_lightning.tasks.budget import plan_training
    from fpcn_lightning.tasks.memory_check import check_memory
    from fpcn_lightning.tasks.teacher_check import check_teacher
    from fpcn_lightning.tracking.loggers import closing_loggers

    prepare_libraries()
    data = build.datamodule(config.data, config.seed)
    data.prepare_data()
    resumed = _checkpoint_to_resume(record, data)
    if record.writes:
        data.write_record(record.folder)
    distillation = make_distillation(config, data)
    seed_everything(config.seed, verbose=False)  # after loading the teacher: a student starts with the same weights
    network = make_network(config, data)
    with contextlib.nullcontext() if config.training.probe == "off" else record.timed("probe"):
        best = config.callbacks.get("best") or {}
        floor = make_floor(network, data, config.training, best.get("monitor"), test=config.test)
    if distillation is not None and (unlabelled := distillation.add_unlabelled(network)) is not None:
        record.add(unlabelled=unlabelled.facts)
        if record.writes:
            unlabelled.write(record.folder, resumed=resumed is not None)
    module = make_module(config, network, data, distillation)
    check_memory(config, network, data)
    plan = plan_training(config, module, data, record.folder)
    data.set_epoch_length(plan.steps)
    record.add(teacher=None if distillation is None else distillation.lineage)
    outcome.describe(record, data, network, training=True)
    throughput, stop = Throughput(), StopRequest()
    with closing_loggers():
        trainer = _make_trainer(config, record, plan, throughput, stop)
        device, teaching = trainer.strategy.root_device, None
        if distillation is not None:
            teaching = check_teacher(config, record, distillation, floor, device)
            with record.timed("teacher"):
                distillation.fill(plan.epochs, device)
            teaching["runs_to_pay"] = distillation.runs_to_pay(plan.steps * trainer.world_size)
            record.add(teaching=teaching)
        if isinstance(network, Probe):
            outcome.save_fitted(trainer, module, data)
        else:
            with record.timed("fit"), stop.obeyed():
                trainer.fit(module, data, ckpt_path=resumed, weights_only=True)
        if floor is not None:
            floor.choose(trainer, module, data)
            record.add(probe=floor.facts)
        if distillation is not None and teaching is not None and config.test:
            record.add(teaching={**teaching, "test": distillation.measured("test", device)})
        outcome.evaluate_best(trainer, module, data, record, test=config.test)
        record.add(epochs=trainer.current_epoch, images_per_second=throughput.images_per_second)
        if trainer.is_global_zero:
            outcome.save(trainer, module, data, record)
    return data


def _make_trainer(
    config: Config, record: RunRecord, plan: "TrainingPlan", throughput: "Throughput", stop: StopRequest
) -> "Trainer":
    """The trainer of a run, with its loggers and callbacks."""
    from fpcn_lightning.callbacks.finite_training import FiniteTraining
    from fpcn_lightning.callbacks.quantised_end import make_quantised_end
    from fpcn_lightning.callbacks.step_checkpoint import StepCheckpoint
    from fpcn_lightning.callbacks.weight_average import make_weight_average
    from fpcn_lightning.modules.checkpoint_io import AtomicCheckpointIO

    callbacks = build.callbacks(config.callbacks, progress_bar=_has_progress_bar(config))
    further = [make_weight_average(config.training), make_quantised_end(config.training)]
    every = _checkpoint_interval(config)
    steps = StepCheckpoint(
        record.folder / LAST,
        steps=None if every is None or every.seconds is not None else max(1, round(every.amount)),
        seconds=None if every is None else every.seconds,
        request=stop,
        on_save=record.save_seconds,
    )
    return build.trainer(
        {**config.trainer, "max_epochs": plan.epochs},
        logger=build.loggers(config.logger, record.result["config"]),
        callbacks=[*callbacks, FiniteTraining(), throughput, *filter(None, further), steps],
        plugins=[AtomicCheckpointIO()],
        default_root_dir=str(record.folder),
    )


def _check(config: Config, invocation: Invocation) -> None:
    """Check the values of the config of a run."""
    check_names(config.name, config.variant)
    if config.report.reach is not None and not 0 < config.report.reach <= 1:
        raise UserError(f"report.reach={config.report.reach} must be an accuracy above 0 and at most 1.")
    trainer = config.trainer
    if not isinstance(trainer["max_epochs"], int) or trainer["max_epochs"] < 1:
        raise UserError(f"trainer.max_epochs={trainer['max_epochs']} must be a whole number of at least 1.")
    for key in ("limit_train_batches", "limit_val_batches", "limit_test_batches"):
        if not isinstance(trainer[key], int | float) or trainer[key] <= 0:
            raise UserError(f"trainer.{key}={trainer[key]} must be above 0: a number of batches, or a share up to 1.0.")
    several = trainer["devices"] not in (1, "1") or trainer["strategy"] not in ("auto", "ddp_spawn")
    budget = config.training.budget
    if budget is not None and Budget.parsed(budget).seconds is not None and several:
        raise UserError(
            f"training.budget={budget}: a time is measured in one process, and each of several would plan another "
            "length: give a number of steps or epochs, such as training.budget=600steps."
        )
    _checkpoint_interval(config)
    if invocation.multirun and several:
        # The other processes of a run are started with the command line of the first: they would start all jobs again.
        raise UserError(
            "the basic launcher runs all jobs in one process, which cannot start several processes for a job: use "
            "hydra/launcher=slots, or set trainer.devices=1 trainer.strategy=auto."
        )


def _checkpoint_interval(config: Config) -> Budget | None:
    """What may pass between two checkpoints."""
    text = config.training.checkpoint_every
    return None if text is None else Budget.parsed(text, "training.checkpoint_every", ("steps", "min", "h"))


def _recorded(config: Config, folder: Path) -> dict[str, Any]:
    """The config for the record, in which a teacher is identified by the hash of its files instead of their paths."""
    from fpcn_lightning.modules.teacher_files import TEACHER, teacher_digest, teacher_files

    plain: dict[str, Any] = relative(build.as_record(config), folder)
    if config.distillation is None:
        return plain
    if config.distillation.teacher is None:
        raise UserError("teacher is not set: pass the checkpoint to learn from, teacher=RUN/checkpoints/best.ckpt.")
    files = teacher_files(config.distillation.teacher)
    if any(file.path.absolute().is_relative_to(folder.absolute()) for file in files):
        raise UserError(
            f"{TEACHER}={config.distillation.teacher} includes the checkpoint of this run itself, {folder}: give the "
            "folder of its teachers alone, or a pattern that leaves this run out."
        )
    return {**plain, "distillation": {**plain["distillation"], "teacher": f"sha256:{teacher_digest(files)}"}}


def _has_progress_bar(config: Config) -> bool:
    return bool(config.trainer["enable_progress_bar"])


def _checkpoint_to_resume(record: RunRecord, data: "RockDataModule") -> str | None:
    """The checkpoint to resume from, or None.

    Raises:
        UserError: it is damaged, or was trained with other images or splits.
    """
    from fpcn_lightning.modules.checkpoints import read

    path = record.last_checkpoint
    if path is None:
        return None
    if read(path, resumable=True).record.split != data.split.fingerprint:
        raise UserError(
            f"the images or their splits have changed since {record.folder} was interrupted: start again with "
            "overwrite=true, or name the new run with variant=NAME."
        )
    return str(path)
