"""The measured step is that of a training: normalised bytes, weighted terms, no change of what is measured."""

import pytest
import torch
from torch import nn

from fpcn_lightning.losses.classification import ClassificationTerm
from fpcn_lightning.losses.own import OwnTerm
from fpcn_lightning.models.plain import Plain
from fpcn_lightning.profiling.step_forms import random_batch
from fpcn_lightning.profiling.step_time import seconds_per_step, total_loss
from tests.modules.test_classifier import batch, classifier

CPU = torch.device("cpu")


@pytest.mark.filterwarnings("ignore:.*self.log.*")
def test_the_loss_is_that_of_a_training_step() -> None:
    module, images = classifier("fpcn", training__channels_last=True), batch()
    module.network.to(memory_format=torch.channels_last).train()
    expected = module.training_step(images, 0)
    assert torch.equal(total_loss(module.network, module.terms, images)(), expected)


def test_measuring_changes_nothing() -> None:
    network = Plain(3, 64, "test_resnet", pretrained=False)
    terms = nn.ModuleDict({"classification": ClassificationTerm(1.0), "own": OwnTerm(0.5)})
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert seconds_per_step(network, terms, random_batch(3, 2, 64), CPU) > 0
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
