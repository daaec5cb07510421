"""Builds the network and its Lightning module from the config of a run."""

from fpcn_lightning import build
from fpcn_lightning.config import Config
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.errors import UserError
from fpcn_lightning.models.network import Network
from fpcn_lightning.modules.checkpoints import make_record
from fpcn_lightning.modules.classifier import Classifier
from fpcn_lightning.modules.distillation import Distillation
from fpcn_lightning.modules.mixing import make_mixing
from fpcn_lightning.modules.optimisation import Optimisation


def make_distillation(config: Config, data: RockDataModule) -> Distillation | None:
    """The teacher of a student, or None.

    Raises:
        UserError: what `Distillation` raises.
    """
    return None if config.distillation is None else Distillation(config.distillation, data)


def make_network(config: Config, data: RockDataModule) -> Network:
    """The network, not yet trained.

    Raises:
        UserError: it cannot be built, or accepts images of one size only while evaluation uses another.
    """
    network = build.network(config.model, len(data.classes), config.data.crop)
    network.set_class_counts(data.class_counts())
    if network.fixed_size and data.augmentation.evaluation_size != config.data.crop:
        raise UserError(
            f"this backbone accepts images of one size only: set data.evaluation_crop to data.crop={config.data.crop}."
        )
    return network


def make_optimisation(config: Config) -> Optimisation:
    """The optimiser, its learning-rate schedule, and the epochs in which the backbone is frozen.

    Raises:
        UserError: one of them cannot be built.
    """
    return Optimisation(
        optimizer=build.optimizer(config.optimizer),
        scheduler=build.lr_scheduler(config.lr_scheduler),
        interval=config.lr_scheduler.interval,
        monitor=config.lr_scheduler.monitor,
        training=config.training,
    )


def make_module(
    config: Config, network: Network, data: RockDataModule, distillation: Distillation | None = None
) -> Classifier:
    """The Lightning module that trains a network: a `Student` if there is a teacher, else a `Classifier`.

    Raises:
        UserError: a term of the loss, the optimiser or its schedule cannot be built, or images cannot be mixed.
    """
    terms = build.loss_terms(config.loss, data.class_counts().tolist(), network.feature_dim)
    mixing = make_mixing(config.training, network, terms, len(data.classes))
    if mixing is not None and distillation is not None:
        raise UserError(
            "a student learns from the teacher's logits of images that are not mixed: set training.mixup=0 "
            "training.cutmix=0, or use distillation=function_matching."
        )
    return (Classifier if distillation is None else distillation.student)(
        network,
        terms=terms,
        mixing=mixing,
        optimisation=make_optimisation(config),
        seed=config.seed,
        image_size=config.data.crop,
        record=make_record(
            config, data.classes, data.split.fingerprint, None if distillation is None else distillation.lineage
        ),
        channels_last=config.training.channels_last,
    )
