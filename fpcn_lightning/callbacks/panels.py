"""Explanations during training: rows of panels of the same few validation images, every few epochs."""

import copy
from pathlib import Path
from typing import cast

import lightning.pytorch as lightning
import numpy as np
from lightning.pytorch.utilities.seed import isolate_rng

from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.errors import MissingPackage, UserError, check_choice
from fpcn_lightning.explain.drawing import draw, save
from fpcn_lightning.explain.methods import METHODS
from fpcn_lightning.explain.panels import Panel, PanelInput, panels_of
from fpcn_lightning.modules.classifier import Classifier
from fpcn_lightning.tracking.loggers import RunLogger
from fpcn_lightning.tracking.wandb_outcome import shown_pictures
from fpcn_lightning.tracking.wandb_run import errors_as_warnings


class Panels(lightning.Callback):
    """Writes `epoch-NNNN.png` after NNNN epochs, and logs it to W&B as `val/panels`.

    Only the first process draws. It explains a copy of the network, and the states of all random generators are
    restored afterwards, so that the training is not changed. At most `logger.wandb.pictures` images are sent to W&B.

    Args:
        folder: of the files. Those of epochs that the run has not trained yet are removed when it begins.
        every: number of epochs between two figures; there is one after the last epoch, too.
        pictures: number of validation images, the same ones for all runs of a split.
        method: of the heat maps, one of `fpcn_lightning.explain.methods.METHODS`.

    Raises:
        UserError: unknown method, an invalid number, or the package that computes heat maps is missing.
    """

    def __init__(self, folder: str, every: int = 10, pictures: int = 6, method: str = "grad_cam") -> None:
        check_choice("callbacks.panels.method", method, METHODS)
        for key, number in (("every", every), ("pictures", pictures)):
            if not isinstance(number, int) or number < 1:
                raise UserError(f"callbacks.panels.{key}={number} must be a whole number of at least 1.")
        MissingPackage.check("callbacks=panels", "explain")  # now, not after the first epochs
        self.folder = Path(folder)
        self.every, self.pictures, self.method = every, pictures, method
        self._finished = 0  # epochs

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Remove the files of later epochs that an earlier run has written."""
        if trainer.is_global_zero:
            for path in self.folder.glob("epoch-*.png"):
                if path > self._path(trainer.current_epoch):
                    path.unlink()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Draw every `every` epochs."""
        self._finished = trainer.current_epoch + 1
        if self._finished % self.every == 0:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Draw the last epoch, if it is not drawn yet."""
        if self._finished % self.every:
            self._draw(trainer, pl_module)

    def _path(self, finished: int) -> Path:
        return self.folder / f"epoch-{finished:04}.png"

    def _draw(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        data = cast(RockDataModule, trainer.datamodule)  # type: ignore[attr-defined]
        chosen = shown_pictures(data, self.pictures)
        if not chosen:
            return
        with isolate_rng():
            rows = self._rows(cast(Classifier, pl_module), data, chosen)
        title = f"after epoch {self._finished}"
        save(draw(rows, title), self._path(self._finished))
        for logger in trainer.loggers:
            if isinstance(logger, RunLogger) and logger.pictures:
                with errors_as_warnings("the panels of this epoch"):
                    _log(logger, rows[: logger.pictures], title, trainer.global_step)

    def _rows(self, module: Classifier, data: RockDataModule, chosen: tuple[int, ...]) -> list[list[Panel]]:
        images, labels, _ = data.pictures.centres(chosen)
        # A copy: methods change hooks, gradients and modes, which training and DDP depend on.
        network = copy.deepcopy(module.network)
        given = PanelInput(network, images.to(module.device))
        return panels_of({type(network).__name__: given}, labels.tolist(), data.classes, self.method)


def _log(logger: RunLogger, rows: list[list[Panel]], title: str, step: int) -> None:
    figure = draw(rows, title)
    figure.set_dpi(150)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
    logger.log_image("val/panels", [pixels], step=step, caption=[title])
