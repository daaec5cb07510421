from types import SimpleNamespace

import pytest

from fpcn_lightning.callbacks.progress import EpochProgressBar
from tests.conftest import composed
from tests.tasks.conftest import Train, train  # noqa: F401


@pytest.mark.parametrize(("epochs", "shown"), [(30, ["Epoch 1/30", "Epoch 30/30"]), (-1, ["Epoch 1", "Epoch 30"])])
def test_epochs_are_counted_from_one(epochs: int, shown: list[str]) -> None:
    bar = EpochProgressBar()
    bar._trainer = SimpleNamespace(max_epochs=epochs)  # type: ignore[assignment]
    assert [bar._get_train_description(epoch).strip() for epoch in (0, 29)] == shown


def test_it_is_the_bar_of_the_default_callbacks() -> None:
    assert composed().callbacks["progress"]["_target_"].endswith(".EpochProgressBar")


def test_a_training_shows_it(train: Train, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    train("model=plain", "trainer.enable_progress_bar=true")
    shown = capsys.readouterr().out
    assert "Epoch 2/2" in shown
    assert "Epoch 0" not in shown
