"""Properties of every file of `conf/model`: any size, any batch, gradients of all parameters, export."""

import functools

import pytest
import torch
from torch import Tensor

from fpcn_lightning import build
from fpcn_lightning.config import CONF
from fpcn_lightning.models.network import Network
from fpcn_lightning.modules.classifier import Classifier
from tests.conftest import classifier_of, config_of

CLASSES, SIZE, LARGER = 3, 64, 96
LARGE = ("alexnet", "vgg16", "swin", "resnet50")  # seconds each
NETWORKS = [
    pytest.param(path.stem, marks=pytest.mark.slow if path.stem in LARGE else ())
    for path in sorted((CONF / "model").glob("*.yaml"))
]
pytestmark = pytest.mark.filterwarnings("ignore:.*self.log.*")


@functools.cache
def module(name: str) -> Classifier:
    """The Lightning module that a run of `model=NAME trainer=smoke` would train."""
    return classifier_of(config_of(f"model={name}", "trainer=smoke", "training.channels_last=false"), SIZE)


def network(name: str) -> Network:
    return module(name).network.eval()


def pictures(count: int, size: int = SIZE) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize("name", NETWORKS)
def test_predictions_do_not_depend_on_the_batch(name: str) -> None:
    inspected, batch = network(name), pictures(3)
    with torch.no_grad():
        together = inspected.predict(batch)
        alone = inspected.predict(batch[:1])
    assert tuple(together.logits) == inspected.inference_modes
    for inference_mode, logits in together.logits.items():
        assert logits.shape == (3, CLASSES)
        torch.testing.assert_close(alone.logits[inference_mode], logits[:1], rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(inspected(batch), together.logits[inspected.inference_mode])


@pytest.mark.parametrize("name", NETWORKS)
def test_any_image_size_is_accepted(name: str) -> None:
    inspected = network(name)
    if inspected.fixed_size:
        config = config_of(f"model={name}", "trainer=smoke")
        inspected = build.network(config.model, CLASSES, LARGER).eval()
    with torch.no_grad():
        predictions = inspected.predict(pictures(2, LARGER))
        assert all(logits.shape == (2, CLASSES) for logits in predictions.logits.values())
        labels = torch.tensor([0, 0])
        views = inspected.views(pictures(2, LARGER), labels)
    assert views.own_logits.shape == (2, CLASSES)
    assert views.features.shape == (2, inspected.feature_dim)
    assert len(views.logits) == len(views.targets)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_loss_reaches_every_parameter(name: str) -> None:
    trained = module(name).train()
    trained.network.begin_epoch(10)
    labels = torch.arange(CLASSES).repeat_interleave(4)
    trained.zero_grad()
    torch.manual_seed(1)
    views = trained.network.views(pictures(len(labels)), labels)
    terms = trained.loss_terms(views, labels)
    torch.stack([trained.weights[term] * value for term, value in terms.items()]).sum().backward()  # type: ignore[no-untyped-call]
    without = [key for key, each in trained.network.named_parameters() if each.requires_grad and each.grad is None]
    assert without == []
    assert all(each.grad is None for each in trained.network.parameters() if not each.requires_grad)
    finite = [each.grad.isfinite().all() for each in trained.network.parameters() if each.grad is not None]
    assert all(finite)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_export_gives_the_same_predictions_for_any_batch_size(name: str) -> None:
    inspected = network(name)
    dynamic = ({0: torch.export.Dim("batch", min=1, max=64)},)
    program = torch.export.export(inspected, (pictures(2),), dynamic_shapes=dynamic).module()
    with torch.no_grad():
        for count in (1, 3):
            torch.testing.assert_close(program(pictures(count)), inspected(pictures(count)), rtol=1e-3, atol=1e-4)
