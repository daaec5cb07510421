"""Runs that log to W&B without an API key."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import Tensor

from fpcn_lightning.modules.classifier import Classifier
from tests.tasks.conftest import train

__all__ = ["train"]


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No API key, no files of W&B outside the test's folder, and no run left open."""
    import wandb

    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_RUN_ID", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for place in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{place}_DIR", str(tmp_path / "wandb"))
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb.teardown()
    yield
    wandb.teardown()


@contextlib.contextmanager
def power_failure_in_the_second_epoch() -> Iterator[None]:
    """A training in the block is killed in its second epoch; later trainings are not."""
    step = Classifier.training_step

    def dies_in_the_second_epoch(self: Classifier, batch: object, batch_idx: int) -> Tensor:
        if self.current_epoch == 1:
            raise RuntimeError("the power is gone")
        return step(self, batch, batch_idx)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Classifier, "training_step", dies_in_the_second_epoch)
        with pytest.raises(RuntimeError, match="the power is gone"):
            yield
