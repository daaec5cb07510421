"""A batch that cannot fit is refused before the training, with the size that may."""

from pathlib import Path

import pytest

from fpcn_lightning import build
from fpcn_lightning.cli.main import run_task
from fpcn_lightning.errors import UserError
from fpcn_lightning.models.plain import Plain
from fpcn_lightning.profiling.step_memory import step_memory
from fpcn_lightning.tasks import memory_check
from tests.conftest import composed, config_of


def refused(rocks: Path, free: int | None, monkeypatch: pytest.MonkeyPatch, *words: str) -> str | None:
    """What is said about the batch of 3 classes of 4 images of 32 px with this free memory."""
    small = ("trainer=smoke", "data=folder", f"data.root={rocks}", "data.samples_per_class=4", "data.batch_size=null")
    config = config_of(*small, *words)
    monkeypatch.setattr(memory_check, "free_memory", lambda _: free)
    data = build.datamodule(config.data, 0)
    data.prepare_data()
    network = Plain(3, data.augmentation.crop, "test_resnet", pretrained=False)
    try:
        memory_check.check_memory(config, network, data)
    except UserError as error:
        return str(error)
    return None


def test_a_batch_that_cannot_fit_is_refused_with_the_size_that_may(
    rocks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = config_of("trainer=smoke").data.crop
    needed = step_memory(Plain(3, size, "test_resnet", pretrained=False), size)
    assert needed is not None
    assert refused(rocks, needed.bytes(12), monkeypatch) is None
    said = refused(rocks, needed.bytes(7), monkeypatch)
    assert said is not None
    assert said.startswith(f"a training step on 12 images of {size} px needs at least ")
    assert "of the memory of the machine are free: set data.batch_size=7 or less, or a smaller data.crop" in said
    assert refused(rocks, needed.bytes(7), monkeypatch, "data.batch_size=7") is None
    assert refused(rocks, needed.bytes(7), monkeypatch, "trainer.precision=bf16-mixed") is None
    assert "choose a smaller network" in (refused(rocks, needed.bytes(1), monkeypatch) or "")
    assert refused(rocks, None, monkeypatch) is None


def test_a_training_is_refused_before_its_first_step(
    rocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(memory_check, "free_memory", lambda _: 1000)
    monkeypatch.setattr("lightning.pytorch.Trainer.fit", None)
    words = ("trainer=smoke", "model=plain", "data=folder", f"data.root={rocks}", f"output={tmp_path}")
    with pytest.raises(UserError, match=r"needs at least 0\.\d GB, and 0\.0 GB of the memory"):
        run_task(composed(*words, folder=tmp_path / "run"))
