"""Shortcuts of the command line, such as `backbone=`: one that has no effect is an error."""

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.invocation import Invocation

INSTEAD = {
    "backbone": "this model has its own backbone: choose another model, such as model=plain or model=fpcn",
    "pretrained": "this model has no pretrained weights",
    "teacher": "this run has no teacher: choose a method of distillation, such as distillation=kd",
    "force_teacher": "this run has no teacher: choose a method of distillation, such as distillation=kd",
    "slots": "it is for sweeps, and this is one run",
}


def check_shortcuts(cfg: DictConfig, invocation: Invocation, words: Sequence[str]) -> None:
    """Check that every shortcut on the command line of a single run is used by a key.

    A job of a sweep is not checked: there a shortcut is meant for the jobs that can use it.

    Args:
        cfg: as composed, with its interpolations.
        invocation: how the program was called.
        words: the arguments of the command line. The launchers of this package append `hydra.mode=RUN` to those of a
            job; Hydra adds it to the overrides of every single run, too, so `invocation` cannot be used for this.

    Raises:
        UserError: a shortcut has no effect.
    """
    if invocation.multirun or "hydra.mode=RUN" in words or cfg.task != "train":
        return
    written = OmegaConf.to_yaml(cfg, resolve=False)
    for word in invocation.overrides:
        key = word.partition("=")[0]
        if key in INSTEAD and f"${{{key}}}" not in written and f"oc.select:{key}," not in written:
            raise UserError(f"{word} has no effect: {INSTEAD[key]}.")
