"""Processes decide together to stop or to save; on GPUs they ask each other rarely, because they wait for it."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fpcn_lightning.callbacks.agreement import BATCHES_BETWEEN_QUESTIONS, asks_now
from fpcn_lightning.callbacks.step_checkpoint import StepCheckpoint


class Strategy:
    """Counts the questions that are sent to other processes."""

    def __init__(self, device: str) -> None:
        self.root_device, self.questions = torch.device(device), 0

    def reduce_boolean_decision(self, decision: bool, all: bool) -> bool:
        self.questions += 1
        return decision


def trainer(device: str, processes: int, step: int = 0) -> Any:
    return SimpleNamespace(strategy=Strategy(device), world_size=processes, global_step=step, accumulate_grad_batches=1)


@pytest.mark.parametrize(
    ("device", "processes", "expected"),
    [("cpu", 1, list(range(20))), ("cpu", 2, list(range(20))), ("cuda", 1, list(range(20))), ("cuda", 2, [0, 8, 16])],
)
def test_the_batches_at_which_processes_ask(device: str, processes: int, expected: list[int]) -> None:
    assert [batch for batch in range(20) if asks_now(trainer(device, processes), batch)] == expected


def test_on_gpus_a_step_asks_nobody_in_between_unless_it_saves(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    saved: list[int] = []
    callback = StepCheckpoint(tmp_path / "last.ckpt", steps=5)
    monkeypatch.setattr(callback, "_save", lambda trainer, _: saved.append(trainer.global_step))
    asked = []
    for step in range(1, 2 * BATCHES_BETWEEN_QUESTIONS):
        loop = trainer("cuda", 2, step)
        callback.on_train_batch_start(loop, None, None, step)  # type: ignore[arg-type]
        asked += [step] * bool(loop.strategy.questions)
    assert saved == [5, 10, 15]
    assert asked == [5, 8, 10, 15]
