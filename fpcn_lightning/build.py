"""Builds objects from the composed config: the only file that calls `hydra.utils.instantiate`."""

import copy
import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import MissingMandatoryValue

from fpcn_lightning.config import CONF, SHORTCUTS, Config, DataConfig, LRSchedulerConfig, Target
from fpcn_lightning.data.files import with_home
from fpcn_lightning.errors import MissingPackage, UserError, closest
from fpcn_lightning.installation import MODULES, extra_of, lacking
from fpcn_lightning.runs.sameness import flatten

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.loggers import Logger
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

    from fpcn_lightning.data.augment import Augment
    from fpcn_lightning.data.datamodule import RockDataModule
    from fpcn_lightning.losses.term import LossTerm
    from fpcn_lightning.models.network import Network

MakeOptimizer = Callable[[list[dict[str, Any]]], "Optimizer"]
"""Makes the optimiser of parameter groups."""
MakeScheduler = Callable[["Optimizer", int], "LRScheduler | ReduceLROnPlateau"]
"""Makes the schedule of an optimiser, given the length of the whole training in the schedule's own interval."""

LENGTH = "length"  # argument of a learning-rate schedule that is replaced by the length of the whole training


def config(cfg: DictConfig) -> Config:
    """The config as objects, every interpolation and every `~` at the beginning of a path resolved.

    Raises:
        UserError: a mandatory key is not set, an unknown key was added (`+key=value`), or a number is NaN or infinite.
    """
    cfg = copy.deepcopy(cfg)
    try:
        OmegaConf.resolve(cfg)
        with open_dict(cfg):
            # A shortcut may be unset: the keys that refer to it have their defaults by now.
            for key in SHORTCUTS:
                if OmegaConf.is_missing(cfg, key):
                    cfg[key] = None
        plain = cast(dict[str, Any], OmegaConf.to_container(cfg, throw_on_missing=True))
    except MissingMandatoryValue as error:
        key = error.full_key or str(error).split(":")[-1].strip()
        raise UserError(f"{key} is not set: set it on the command line, {key}=VALUE.") from error
    _check_known(plain, Config, "")
    _expand_home(cfg)
    for key, value in flatten(plain).items():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise UserError(f"{key}={value} must be a finite number.")
    return cast(Config, OmegaConf.to_object(cfg))


def _expand_home(node: Any) -> None:
    """Replace `~` and `~user` at the beginning of every text in a resolved config by the home folder."""
    for key in list(node) if OmegaConf.is_dict(node) else range(len(node)):
        value = None if OmegaConf.is_missing(node, key) else node[key]
        if OmegaConf.is_config(value):
            _expand_home(value)
        elif isinstance(value, str) and value.startswith("~"):
            node[key] = with_home(value)


def as_record(config: Config) -> dict[str, Any]:
    """The config as plain data, without the shortcuts: their values are in the keys that refer to them."""
    return {key: value for key, value in dataclasses.asdict(config).items() if key not in SHORTCUTS}


def _check_known(config: Mapping[str, Any], schema: Any, prefix: str) -> None:
    fields = {field.name: field.type for field in dataclasses.fields(schema)}
    for key, value in config.items():
        if key not in fields:
            raise UserError(f"unknown key {prefix}{key}{closest(key, fields)}. `--cfg job` lists all keys.")
        # An optional section is `Section | None`.
        sections = [kind for kind in (fields[key], *get_args(fields[key])) if dataclasses.is_dataclass(kind)]
        if sections and isinstance(value, Mapping):
            _check_known(value, sections[0], f"{prefix}{key}.")


def network(model: Target, classes: int, image_size: int, *, trusted: bool = True) -> "Network":
    """The network that a `model` section describes.

    Args:
        model: the section, with `_target_`.
        classes: number of classes C.
        image_size: height and width of the images, pixels; some transformers are built for one size.
        trusted: False for a section that was read from a file (checkpoint, bundle): then `_target_` must be one of
            those in `conf/model` or in the folder `model` of the command line's `--config-dir`, and nothing is
            downloaded, because the weights are in the file.

    Raises:
        UserError: a key or an untrusted target is unknown, or weights cannot be loaded.
        ValueError: an untrusted section has values that are not plain.
    """
    section = dict(model)
    if not trusted:
        _check_untrusted(section)
        section |= {key: value for key, value in {"pretrained": False, "weights": None}.items() if key in section}
    return cast("Network", _instantiate(section, "model", classes=classes, image_size=image_size))


def datamodule(
    data: DataConfig,
    seed: int,
    *,
    classes: Sequence[str] | None = None,
    only_test: bool = False,
    trusted: bool = True,
) -> "RockDataModule":
    """The data module of a section `data`; see `RockDataModule` for the arguments that are not described here.

    Args:
        data: the section.
        seed: of the run.
        classes: class names in the order of their numbers.
        only_test: all images are the test split.
        trusted: False for a section that came out of a file (checkpoint, bundle), which must not name code that is
            run: its `augmentations` are not built. Only training needs them.

    Raises:
        UserError: a value is invalid, or an augmentation cannot be built.
    """
    from fpcn_lightning.data.datamodule import RockDataModule

    augmentations = [_augmentation(each, number) for number, each in enumerate(data.augmentations)] if trusted else []
    return RockDataModule(data, seed=seed, classes=classes, only_test=only_test, augmentations=augmentations)


def _augmentation(section: Target, number: int) -> "Augment":
    """A function of pixels and a generator, from an entry of `data.augmentations`."""
    key = f"data.augmentations.{number}"
    make = cast("Augment", _instantiate({**section, "_partial_": True}, key))
    try:
        inspect.signature(make).bind("pixels", "random")
    except TypeError as error:
        raise UserError(
            f"{key}: {section['_target_']} must be a function (pixels, random) whose further arguments are set here: "
            f"{error}."
        ) from error
    return make


def loss_terms(section: Mapping[str, Target], class_counts: Sequence[int], feature_dim: int) -> "dict[str, LossTerm]":
    """The terms of the loss by name, without those whose weight is 0.

    Args:
        section: `loss` of the config.
        class_counts: number of training images of each of the C classes.
        feature_dim: channels D of the network's features.

    Raises:
        UserError: a term cannot be built.
    """
    known = {"classes": len(class_counts), "class_counts": list(class_counts), "feature_dim": feature_dim}
    terms = {}
    for name, node in section.items():
        if not isinstance(node, Mapping):
            raise UserError(f"loss.{name}={node} is not a section: to set the weight, use loss.{name}.weight={node}.")
        if node.get("weight") != 0:
            wanted = _parameters(node, f"loss.{name}")
            terms[name] = _instantiate(node, f"loss.{name}", **{key: known[key] for key in known if key in wanted})
    return terms


def optimizer(section: Target) -> MakeOptimizer:
    """A function that makes the optimiser of parameter groups, from a section `optimizer`.

    Raises:
        UserError: the section names no class, or has a key that the class does not accept.
    """
    return partial(_called, "optimizer", _instantiate(section, "optimizer"))


def lr_scheduler(section: LRSchedulerConfig) -> MakeScheduler | None:
    """A function that makes the learning-rate schedule from an optimiser and the length of the training.

    Returns:
        None for a constant learning rate.

    Raises:
        UserError: the section names no class, or has a key that the class does not accept.
    """
    if section.scheduler is None:
        return None
    waiting = [key for key, value in section.scheduler.items() if value == LENGTH]
    return partial(_scheduled, _instantiate(section.scheduler, "lr_scheduler.scheduler"), waiting)


def _scheduled(make: Any, waiting: Sequence[str], optimizer: "Optimizer", length: int) -> Any:
    return _called("lr_scheduler.scheduler", partial(make, **dict.fromkeys(waiting, length)), optimizer)


def _called(key: str, make: Any, *arguments: Any) -> Any:
    """The result of a partial; its class checks the values of the arguments."""
    try:
        return make(*arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"{key} cannot be built: {error}.") from error


def loggers(section: Mapping[str, Any], hyperparameters: Mapping[str, Any]) -> "list[Logger]":
    """The loggers of a section `logger`, without those that are null; the hyperparameters are logged with each."""
    wanted = {name: node for name, node in section.items() if node is not None}
    for name in wanted.keys() & MODULES.keys():  # now, not with the first value that is logged
        MissingPackage.check(f"logger={name}", name)
    made = [_instantiate(node, f"logger.{name}") for name, node in wanted.items()]
    for logger in made:
        logger.log_hyperparams(dict(hyperparameters))
    return made


def callbacks(section: Mapping[str, Any], *, progress_bar: bool = True) -> "list[Callback]":
    """The callbacks of a section `callbacks`, without those that are null, and `progress` only with a progress bar."""
    wanted = {name: node for name, node in section.items() if node is not None}
    if not progress_bar:
        wanted.pop("progress", None)
    return [_instantiate(node, f"callbacks.{name}") for name, node in wanted.items()]


def trainer(section: Mapping[str, Any], **parts: Any) -> "Trainer":
    """The trainer; `parts` are its loggers, callbacks and root folder."""
    return cast("Trainer", _instantiate(section, "trainer", **parts))


def _instantiate(section: Mapping[str, Any], key: str, **extra: Any) -> Any:
    _check_keys(section, key, str(section.get("_target_")))
    try:
        return hydra.utils.instantiate({"_convert_": "all", **section}, **extra)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        reason = error.__cause__ or error
        if isinstance(reason, ModuleNotFoundError) and (brought_by := extra_of(reason.name or "")) is not None:
            raise MissingPackage(f"{lacking(key, [str(reason.name)], brought_by)}.") from error
        raise UserError(f"{key} cannot be built: {type(reason).__name__}: {reason}") from error


def _check_keys(section: Mapping[str, Any], key: str, target: str) -> None:
    """Raise a UserError for a key that the class does not accept, instead of a TypeError of a library."""
    parameters = _parameters(section, key)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in section:
        if not name.startswith("_") and name not in parameters:
            raise UserError(f"{key}.{name} is not an argument of {target}{closest(name, parameters)}.")


def _parameters(section: Mapping[str, Any], key: str) -> Mapping[str, inspect.Parameter]:
    """The parameters of the class of a section, by name."""
    target = section.get("_target_")
    if target is None:
        raise UserError(f"{key}._target_ is not set: it must be the class to build.")
    try:
        return inspect.signature(hydra.utils.get_object(target)).parameters
    except Exception as error:
        raise UserError(
            f"{key}._target_={target} cannot be imported ({error}): pass the folder of its Python file with "
            "--config-dir=FOLDER, or install it."
        ) from error


def _check_untrusted(section: Mapping[str, Any]) -> None:
    """Raise an error for what could run foreign code: an unknown target, or nested values, which Hydra builds, too."""
    for key, value in section.items():
        if (key.startswith("_") and key != "_target_") or not isinstance(value, str | int | float | None):
            raise ValueError(f"model.{key} is not a plain value")
    known = _known_targets()
    if section.get("_target_") not in known:
        raise UserError(
            f"the file describes a network of the class {str(section.get('_target_'))[:200]!r}, which is not one of "
            f"{', '.join(sorted(known))}: for a network of your own, pass --config-dir=FOLDER with its Python "
            "file and its model/NAME.yaml."
        )


def _known_targets() -> set[str]:
    """The targets of the files of the group `model`, in `conf` and in the folders of `--config-dir`."""
    folders = [CONF]
    if HydraConfig.initialized():
        sources = HydraConfig.get().runtime.config_sources
        folders += [Path(source.path) for source in sources if source.provider == "command-line"]
    files = [path for folder in folders for path in sorted((folder / "model").glob("*.yaml"))]
    targets = [OmegaConf.select(OmegaConf.load(path), "model._target_") for path in files]
    return {target for target in targets if target is not None}
