"""From the composed config to objects: the only file that calls `hydra.utils.instantiate`."""

import copy
import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import MissingMandatoryValue

from fpcn_lightning.config import CONF, SHORTCUTS, Config, DataConfig, LRSchedulerConfig, Target
from fpcn_lightning.errors import UserError, closest

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.loggers import Logger
    from torch.optim import Optimizer

    from fpcn_lightning.data.datamodule import RockDataModule
    from fpcn_lightning.losses.term import LossTerm
    from fpcn_lightning.models.network import Network
    from fpcn_lightning.modules.optimisation import MakeOptimizer, MakeScheduler

LENGTH = "length"  # stands for the length of the whole training among the arguments of a learning-rate schedule


def config(cfg: DictConfig) -> Config:
    """The config as objects, every interpolation resolved.

    Raises:
        UserError: a mandatory key is not set, or one was added (`+key=value`) that nothing reads.
    """
    cfg = copy.deepcopy(cfg)
    try:
        OmegaConf.resolve(cfg)
        with open_dict(cfg):
            # A shortcut that is not set has done its work: the keys that refer to it have their defaults.
            for key in SHORTCUTS:
                if OmegaConf.is_missing(cfg, key):
                    cfg[key] = None
        plain = cast(dict[str, Any], OmegaConf.to_container(cfg, throw_on_missing=True))
    except MissingMandatoryValue as error:
        key = error.full_key or str(error).split(":")[-1].strip()
        raise UserError(f"{key} is not set: give it on the command line, {key}=VALUE.") from error
    _check_known(plain, Config, "")
    return cast(Config, OmegaConf.to_object(cfg))


def as_record(config: Config) -> dict[str, Any]:
    """The config as plain data, without the shortcuts, whose values other keys have."""
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
        trusted: False for a section that came out of a file (checkpoint, bundle): then `_target_` must be one that our
            own `conf/model` names, or the `model` folder of the command line's `--config-dir`, and nothing is
            downloaded, because the weights are in the file.

    Raises:
        UserError: a key that the network does not know, a target that is not ours, weights that are not to be had.
        ValueError: an untrusted section holds what no section of ours holds.
    """
    section = dict(model)
    if not trusted:
        _check_untrusted(section)
        section |= {key: value for key, value in {"pretrained": False, "weights": None}.items() if key in section}
    return cast("Network", _instantiate(section, "model", classes=classes, image_size=image_size))


def datamodule(
    data: DataConfig, seed: int, *, classes: Sequence[str] | None = None, only_test: bool = False
) -> "RockDataModule":
    """The data module of a section `data`; see `RockDataModule` for the other arguments."""
    from fpcn_lightning.data.datamodule import RockDataModule

    return RockDataModule(data, seed=seed, classes=classes, only_test=only_test)


def loss_terms(section: Mapping[str, Target], classes: int, feature_dim: int) -> "dict[str, LossTerm]":
    """The terms of the loss by name, without those whose weight is 0.

    Args:
        section: `loss` of the config.
        classes: number of classes C.
        feature_dim: channels D of the network's features.

    Raises:
        UserError: a term cannot be built.
    """
    known = {"classes": classes, "feature_dim": feature_dim}
    terms = {}
    for name, node in section.items():
        if not isinstance(node, Mapping):
            raise UserError(f"loss.{name}={node} is not a section: set its weight with loss.{name}.weight={node}.")
        if node.get("weight") != 0:
            wanted = _parameters(node, f"loss.{name}")
            terms[name] = _instantiate(node, f"loss.{name}", **{key: known[key] for key in known if key in wanted})
    return terms


def optimizer(section: Target) -> "MakeOptimizer":
    """What makes the optimiser of parameter groups, from a section `optimizer`.

    Raises:
        UserError: the section names no class, or a key that the class does not take.
    """
    make = _instantiate(section, "optimizer")

    def built(groups: list[dict[str, Any]]) -> "Optimizer":
        return _called("optimizer", make, groups)  # type: ignore[no-any-return]

    return built


def lr_scheduler(section: LRSchedulerConfig) -> "MakeScheduler | None":
    """What makes the learning-rate schedule of an optimiser and the length of the training; None: a constant rate.

    Raises:
        UserError: the section names no class, or a key that the class does not take.
    """
    if section.scheduler is None:
        return None
    make = _instantiate(section.scheduler, "lr_scheduler.scheduler")
    waiting = [key for key, value in section.scheduler.items() if value == LENGTH]

    def built(optimizer: "Optimizer", length: int) -> Any:
        return _called("lr_scheduler.scheduler", partial(make, **dict.fromkeys(waiting, length)), optimizer)

    return built


def _called(key: str, make: Any, *arguments: Any) -> Any:
    """What a partial gives, whose last arguments are checked by its own class."""
    try:
        return make(*arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"{key} cannot be built: {error}.") from error


def loggers(section: Mapping[str, Any], hyperparameters: Mapping[str, Any]) -> "list[Logger]":
    """The loggers by name, which have logged the hyperparameters; null removes one."""
    made = [_instantiate(node, f"logger.{name}") for name, node in section.items() if node is not None]
    for logger in made:
        logger.log_hyperparams(dict(hyperparameters))
    return made


def callbacks(section: Mapping[str, Any], *, progress_bar: bool = True) -> "list[Callback]":
    """The callbacks by name; null removes one, and a run without progress bar needs no callback for it."""
    wanted = {name: node for name, node in section.items() if node is not None}
    if not progress_bar:
        wanted.pop("progress", None)
    return [_instantiate(node, f"callbacks.{name}") for name, node in wanted.items()]


def trainer(section: Mapping[str, Any], **parts: Any) -> "Trainer":
    """The trainer, given its loggers, callbacks and root folder."""
    return cast("Trainer", _instantiate(section, "trainer", **parts))


def _instantiate(section: Mapping[str, Any], key: str, **extra: Any) -> Any:
    _check_keys(section, key, str(section.get("_target_")))
    try:
        return hydra.utils.instantiate({"_convert_": "all", **section}, **extra)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        reason = error.__cause__ or error
        raise UserError(f"{key} cannot be built: {type(reason).__name__}: {reason}") from error


def _check_keys(section: Mapping[str, Any], key: str, target: str) -> None:
    """A key that the class does not take is an invalid key of the user's, not a TypeError of a library."""
    parameters = _parameters(section, key)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in section:
        if not name.startswith("_") and name not in parameters:
            raise UserError(f"{key}.{name} is unknown to {target}{closest(name, parameters)}.")


def _parameters(section: Mapping[str, Any], key: str) -> Mapping[str, inspect.Parameter]:
    """What the class of a section takes, by name."""
    target = section.get("_target_")
    if target is None:
        raise UserError(f"{key} has no _target_: it must name the class that is built.")
    try:
        return inspect.signature(hydra.utils.get_object(target)).parameters
    except Exception as error:
        raise UserError(f"{key}._target_={target} cannot be imported: {error}") from error


def _check_untrusted(section: Mapping[str, Any]) -> None:
    """Refuse what could name code: a foreign target, and anything nested, because Hydra builds that, too."""
    for key, value in section.items():
        if (key.startswith("_") and key != "_target_") or not isinstance(value, str | int | float | None):
            raise ValueError(f"model.{key} is no plain value")
    known = _known_targets()
    if section.get("_target_") not in known:
        raise UserError(f"the file asks for the network {section.get('_target_')!r}, which is none of {sorted(known)}.")


def _known_targets() -> set[str]:
    """What the files of the group `model` name: our own, and those of a folder that the command line brings."""
    folders = [CONF]
    if HydraConfig.initialized():
        sources = HydraConfig.get().runtime.config_sources
        folders += [Path(source.path) for source in sources if source.provider == "command-line"]
    files = [path for folder in folders for path in sorted((folder / "model").glob("*.yaml"))]
    targets = [OmegaConf.select(OmegaConf.load(path), "model._target_") for path in files]
    return {target for target in targets if target is not None}
