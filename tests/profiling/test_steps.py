"""Training steps next to a bare backbone's: each in a process of its own, in turns."""

from functools import partial
from typing import Any

import pytest
import torch

from fpcn_lightning.profiling import steps as module
from fpcn_lightning.profiling.child import Child, Cost, FailedChildError, Memory
from fpcn_lightning.profiling.rounds import Spread
from fpcn_lightning.profiling.step_forms import CLASSIFICATION, StepForm, bare_step, plain_of, random_batch
from fpcn_lightning.profiling.steps import ComparedStep, measure_steps
from tests.conftest import config_of

SIZES: dict[str, Any] = {"backbone": "test_resnet", "classes": 3, "per_class": 2, "size": 64}


def form(**changes: Any) -> StepForm:
    return StepForm(**{"model": None, "loss": {}, **SIZES, **changes})


def fpcn(**changes: Any) -> StepForm:
    config = config_of("model=fpcn", "backbone=test_resnet")
    return form(model=config.model, loss=config.loss, **changes)


class FakeChild:
    """Takes the times that the test gives, without a process; those of warm-up first."""

    times: dict[str, list[float]] = {}  # noqa: RUF012 - set by the test
    order: list[str] = []  # noqa: RUF012

    def __init__(self, name: str) -> None:
        self.name, self.left = name, iter([9.0, 9.0, *self.times[name], 9.0, 9.0, *self.times[name]])

    def __enter__(self) -> "FakeChild":
        if not self.times[self.name]:
            raise FailedChildError("no C compiler")
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def call(self) -> Cost:
        self.order.append(self.name)
        return Cost(next(self.left), 12)

    def memory(self) -> Memory:
        return Memory(1_000_000, {"bare": 3_000_000}.get(self.name, 5_000_000))


def test_each_step_is_compared_with_its_reference_in_the_same_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    references = {"bare": None, "plain": "bare", "compile": "bare", "fpcn": "plain"}
    steps = {name: ComparedStep(form(), reference) for name, reference in references.items()}
    FakeChild.times = {"bare": [6.0, 12.0], "plain": [9.0, 18.0], "compile": [], "fpcn": [9.9, 19.8]}
    FakeChild.order = []
    names = {id(step): name for name, step in steps.items()}
    monkeypatch.setattr(module, "_child", lambda step, _: FakeChild(names[id(step)]))
    rows = {row.what: row for row in measure_steps(steps, 2, 1)}
    assert FakeChild.order == ["bare"] * 4 + ["bare", "plain"] * 4 + ["plain", "fpcn"] * 4
    assert rows["bare"].value == Spread(1500.0, 1250.0, 1750.0)  # ms of each of six images
    assert rows["plain"].ratio == Spread(1.5, 1.5, 1.5)
    assert rows["plain: peak memory"].value == Spread(4.0, 4.0, 4.0)
    assert rows["plain: peak memory"].ratio == Spread(2.0, 2.0, 2.0)
    assert rows["plain: page faults"].value == Spread(2.0, 2.0, 2.0)
    assert rows["fpcn"].reference == "plain"
    assert rows["fpcn"].ratio is not None
    assert rows["fpcn"].ratio.median == pytest.approx(1.1)
    assert (rows["compile"].value, rows["compile"].note) == (None, "no C compiler")


def test_a_step_that_is_compared_with_nothing_is_measured_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeChild.times = {"lenet": [6.0, 12.0]}
    monkeypatch.setattr(module, "_child", lambda *_: FakeChild("lenet"))
    rows = [row for row in measure_steps({"lenet": ComparedStep(form())}, 2, 1) if row.what == "lenet"]
    assert [(row.value, row.ratio) for row in rows] == [(Spread(1500.0, 1250.0, 1750.0), None)]


@pytest.mark.parametrize("failing", ["bare", "plain"])
def test_what_is_compared_with_a_step_that_fails_has_no_value(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    references = {"bare": None, "plain": "bare", "fpcn": "plain"}
    steps = {name: ComparedStep(form(), reference) for name, reference in references.items()}
    FakeChild.times = {name: [] if name == failing else [6.0, 12.0] for name in steps}
    names = {id(step): name for name, step in steps.items()}
    monkeypatch.setattr(module, "_child", lambda step, _: FakeChild(names[id(step)]))
    rows = {row.what: row for row in measure_steps(steps, 2, 1)}
    assert rows[failing].value is None
    below = {"bare": "plain", "plain": "fpcn"}[failing]
    assert (rows[below].value, rows[below].note) == (
        None,
        f"{failing}, which it is compared with, failed: no C compiler",
    )
    assert {name for name in steps if name in rows and rows[name].value} == {"bare": {"fpcn"}, "plain": {"bare"}}[
        failing
    ]


def test_a_bare_step_is_that_of_a_plain_loop() -> None:
    torch.manual_seed(0)
    step = bare_step("test_resnet", random_batch(3, 2, 64), 3, torch.device("cpu"))
    before = [parameter.detach().clone() for parameter in step.module.parameters()]
    losses = []
    for _ in range(4):
        loss = step.forward()
        step.backward(loss)
        step.optimise()
        losses.append(float(loss.detach()))
    assert all(parameter.grad is not None for parameter in step.module.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(before, step.module.parameters(), strict=True))
    assert losses[-1] < losses[0]


def test_early_stages_are_frozen_and_nothing_is_downloaded() -> None:
    step = fpcn(frozen_share=0.5).make()
    frozen = [parameter for parameter in step.module.parameters() if not parameter.requires_grad]
    assert frozen
    step()
    assert all(parameter.grad is None for parameter in frozen)


def test_mixed_precision_is_that_of_the_forward_pass() -> None:
    seen = []
    step = fpcn(precision="bf16").make()
    step.module.get_submodule("head").register_forward_hook(lambda _m, _i, output: seen.append(output.dtype))
    step()
    assert set(seen) == {torch.bfloat16}


def test_the_plain_network_is_on_the_same_backbone() -> None:
    config = config_of("model=fpcn", "backbone=test_resnet")
    plain = plain_of(config.model)
    assert plain is not None
    step = form(model=plain, loss=CLASSIFICATION).make()
    assert type(step.module).__name__ == "Plain"
    assert plain_of(config_of("model=lenet").model) is None


@pytest.mark.slow
def test_a_process_of_its_own_counts_faults_and_memory() -> None:
    with Child(partial(_blocks, 64), threads=1, keep_memory=False) as child:
        costs = [child.call() for _ in range(3)]
        memory = child.memory()
    assert costs[-1].page_faults is None or costs[-1].page_faults >= 64 * 256  # pages of 4 KiB
    assert memory.peak is None or memory.before is None or memory.peak - memory.before >= 64 << 20
    with Child(partial(_blocks, 64), threads=1) as child:
        kept = [child.call() for _ in range(10)]  # the first ones may each get memory that is new to the process
    assert kept[-1].page_faults is None or kept[-1].page_faults < 256
    with pytest.raises(FailedChildError, match="ValueError: no such thing"), Child(_fails, threads=1):
        pass
    with Child(partial(_blocks, -1), threads=1) as child:
        with pytest.raises(FailedChildError, match="RuntimeError"):
            child.call()
        for ask in (child.call, child.memory):
            with pytest.raises(FailedChildError, match="ended"):
                ask()


def _blocks(megabytes: int) -> Any:
    return lambda: torch.ones(megabytes << 18).sum().item()


def _fails() -> Any:
    raise ValueError("no such thing")
