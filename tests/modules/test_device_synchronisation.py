"""A training step on a GPU waits for no value: nothing in it reads a tensor or has a size that depends on one.

Tensors of the meta device have a shape and no values, so that `.item()`, `.tolist()`, `bool(tensor)`, `.cpu()` and
`nonzero` raise there what would be a synchronisation on a GPU. A copy to the device waits, too, unless it is told not
to: `torch.tensor(..., device=GPU)` always, `.to(GPU)` without `non_blocking`.
"""

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.modules.classifier import _shuffled
from tests.modules.test_classifier import batch, classifier

pytestmark = pytest.mark.filterwarnings("ignore:.*self.log.*")
FPCN_CHANGES: tuple[dict[str, object], ...] = (
    {},
    {"mask_kind": "soft"},
    {"largest_component": True, "previous_block": True, "strict_threshold": True},
    {"mask_view": "box"},
    {"mask_view": "window"},
    {"inference_mode": "mean"},
)


class NoWaitingCopy(TorchDispatchMode):  # type: ignore[no-untyped-call]  # of torch
    """Refuses copies from the host to the meta device that wait."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        if func is torch.ops.aten._to_copy.default and not options.get("non_blocking"):
            source, target = args[0].device.type, torch.device(options.get("device") or args[0].device).type
            assert (source, target) != ("cpu", "meta"), "a copy to the device that the host waits for"
        return func(*args, **options)


@pytest.fixture(autouse=True)
def no_numbers_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    make = torch.tensor

    def tensor(*values: Any, **options: Any) -> torch.Tensor:
        assert torch.device(options.get("device") or "cpu").type == "cpu", "torch.tensor copies numbers to the device"
        return make(*values, **options)

    monkeypatch.setattr(torch, "tensor", tensor)


def step_on_meta(name: str, model: dict[str, object] | None = None, **changes: object) -> torch.Tensor:
    module = classifier(name, model, **changes).to("meta").train()
    on_meta = Batch(*(part.to("meta") for part in batch()))
    with NoWaitingCopy():  # type: ignore[no-untyped-call]
        loss = module.training_step(on_meta, 0)
        torch.autograd.backward(loss)
    return loss


@pytest.mark.parametrize("name", ["plain", "fpcn", "googlenet"])
def test_a_step_reads_no_value(name: str) -> None:
    assert step_on_meta(name).shape == ()


@pytest.mark.parametrize("model", FPCN_CHANGES, ids=str)
def test_positioning_and_closer_views_read_no_value(model: dict[str, object]) -> None:
    weight = {"loss__mask_view__weight": 1.0} if "mask_view" in model else {}
    assert step_on_meta("fpcn", model, loss__center__weight=0.5, **weight).shape == ()


def test_mixed_images_are_shuffled_without_waiting() -> None:
    on_meta = Batch(*(part.to("meta") for part in batch()))
    with NoWaitingCopy():  # type: ignore[no-untyped-call]
        assert _shuffled(on_meta).labels.device.type == "meta"


@pytest.mark.parametrize("pairs", ["nearest", "random", "all"])
def test_pairs_wait_for_their_number(pairs: str) -> None:
    """The known exception, once in a step: how many pairs a batch has depends on its labels."""
    with pytest.raises(NotImplementedError, match="nonzero"):
        step_on_meta("fpcn_gated", {"pairs": pairs})


@pytest.mark.slow
def test_a_step_can_be_trained_without_hydra() -> None:
    code = "import sys; sys.modules.update(hydra=None, omegaconf=None, wandb=None, pytorch_grad_cam=None)\n"
    code += "import fpcn_lightning.modules.classifier, fpcn_lightning.modules.optimisation, "
    code += "fpcn_lightning.data.datamodule, fpcn_lightning.callbacks.finite_training"
    subprocess.run([sys.executable, "-c", code], check=True)
