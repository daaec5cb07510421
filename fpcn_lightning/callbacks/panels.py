"""Where the network looks while it learns: rows of panels of the same few validation pictures, every few epochs."""

import copy
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, cast

import lightning.pytorch as lightning
import numpy as np
from lightning.pytorch.utilities.seed import isolate_rng

from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.explain.drawing import draw, save
from fpcn_lightning.explain.methods import METHODS
from fpcn_lightning.explain.panels import PanelInput, Shown, panels_of
from fpcn_lightning.tracking.loggers import RunLogger
from fpcn_lightning.tracking.wandb_outcome import shown_pictures
from fpcn_lightning.tracking.wandb_run import trouble_tolerated

if TYPE_CHECKING:
    from fpcn_lightning.data.datamodule import RockDataModule
    from fpcn_lightning.modules.classifier import Classifier


class Panels(lightning.Callback):
    """Writes `epoch-NNNN.png`, NNNN epochs having been finished, and logs it to W&B as `val/panels`.

    Only the first process draws, and what it draws is a copy of the network, with the state of all random numbers put
    back afterwards: training goes on as if nothing had happened. No more pictures go to W&B than
    `logger.wandb.pictures` allows.

    Args:
        folder: of the files. Those of epochs that a run has yet to train are removed when it begins.
        every: so many epochs, and after the last one.
        pictures: how many validation pictures, the same ones for all runs of a split.
        method: of the heat maps, see `fpcn_lightning.explain.methods.METHODS`.

    Raises:
        UserError: no such method, a number that is none, or the package is missing that draws heat maps.
    """

    def __init__(self, folder: str, every: int = 10, pictures: int = 6, method: str = "grad_cam") -> None:
        check_choice("callbacks.panels.method", method, METHODS)
        for key, number in (("every", every), ("pictures", pictures)):
            if not isinstance(number, int) or number < 1:
                raise UserError(f"callbacks.panels.{key}={number} must be a whole number of at least 1.")
        if importlib.util.find_spec("pytorch_grad_cam") is None:  # not after ten epochs
            raise UserError("callbacks=panels needs one more package: pip install 'fpcn-lightning[explain]'.")
        self.folder = Path(folder)
        self.every, self.pictures, self.method = every, pictures, method
        self._finished = 0  # epochs

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Remove what an earlier run has left of epochs that are still to come."""
        if trainer.is_global_zero:
            for path in self.folder.glob("epoch-*.png"):
                if path > self._path(trainer.current_epoch):
                    path.unlink()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Draw, if it is time."""
        self._finished = trainer.current_epoch + 1
        if self._finished % self.every == 0:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Draw the last epoch, whichever it was."""
        if self._finished % self.every:
            self._draw(trainer, pl_module)

    def _path(self, finished: int) -> Path:
        return self.folder / f"epoch-{finished:04}.png"

    def _draw(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        data = cast("RockDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        chosen = shown_pictures(data, self.pictures)
        if not chosen:
            return
        with isolate_rng():
            rows = self._rows(cast("Classifier", pl_module), data, chosen)
        title = f"after epoch {self._finished}"
        save(draw(rows, title), self._path(self._finished))
        for logger in trainer.loggers:
            if isinstance(logger, RunLogger) and logger.pictures:
                with trouble_tolerated("the panels of this epoch"):
                    _log(logger, rows[: logger.pictures], title, trainer.global_step)

    def _rows(self, module: "Classifier", data: "RockDataModule", chosen: tuple[int, ...]) -> list[list[Shown]]:
        images, labels, _ = data.pictures.centres(chosen)
        # Of a copy: hooks, gradients and modes that a method meddles with are none that training or DDP know of.
        network = copy.deepcopy(module.network)
        given = PanelInput(network, images.to(module.device))
        return panels_of({type(network).__name__: given}, labels.tolist(), data.classes, self.method)


def _log(logger: RunLogger, rows: list[list[Shown]], title: str, step: int) -> None:
    figure = draw(rows, title)
    figure.set_dpi(150)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
    logger.log_image("val/panels", [pixels], step=step, caption=[title])
