from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from fpcn_lightning.errors import UserError
from fpcn_lightning.modules.classifier import Classifier
from tests.conftest import classifier_of, config_of
from tests.modules.test_classifier import SIZE, Watch, batch, loader, trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*self.log.*", "ignore:.*num_workers", "ignore:.*log_every_n_steps")
EARLY = ("conv1.", "bn1.", "layer1.")  # two of the five stages of a ResNet


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file of weights for the backbone, which makes a network pretrained."""
    path = tmp_path / "weights.pt"
    torch.save(timm.create_model("test_resnet", num_classes=0).state_dict(), path)
    return path


def pretrained(weights: Path | str, *words: str, backbone: str = "test_resnet") -> Classifier:
    own = (f"backbone={backbone}", "pretrained=false", f"model.weights={weights}")
    return classifier_of(config_of("model=plain", *own, *words), SIZE)


def watched(module: Classifier, epochs: int) -> Watch:
    watch = Watch()
    trainer(watch, max_epochs=epochs, num_sanity_val_steps=1).fit(module, loader(batch()), loader(batch(seed=1)))
    return watch


def is_early(name: str) -> bool:
    return name.removeprefix("backbone.model.").startswith(EARLY)


def test_early_stages_and_their_batch_norms_never_change(weights: Path) -> None:
    module = pretrained(weights, "training.frozen_share=0.4", "training.freeze_epochs=0")
    watch = watched(module, epochs=2)
    parameters = {name for name, _ in module.network.named_parameters()}
    assert any(map(is_early, parameters))
    for changed, with_gradient in zip(watch.changed, watch.with_gradient, strict=True):
        assert not any(map(is_early, changed))
        assert with_gradient == {name for name in parameters if not is_early(name)}
        assert "backbone.model.layer4.0.conv1.weight" in changed
        assert "backbone.model.layer4.0.bn1.running_mean" in changed


def test_early_stages_stay_frozen_when_the_backbone_is_unfrozen(weights: Path) -> None:
    module = pretrained(weights, "training.frozen_share=0.4", "training.freeze_epochs=1")
    watch = watched(module, epochs=2)
    assert watch.with_gradient[0] == {"head.weight", "head.bias"}
    assert watch.with_gradient[1] == {name for name, _ in module.network.named_parameters() if not is_early(name)}


@pytest.mark.parametrize(("share", "stages"), [("0", 0), ("0.19", 0), ("0.2", 1), ("0.99", 4)])
def test_the_share_is_of_the_stages_and_rounded_down(weights: Path, share: str, stages: int) -> None:
    backbone: Any = pretrained(weights, f"training.frozen_share={share}").network.trunk
    parts = ["conv1", "layer1", "layer2", "layer3", "layer4"]
    frozen = [not backbone.model.get_submodule(part)[0].weight.requires_grad for part in ("conv1",)]
    frozen += [not backbone.model.get_submodule(part)[0].conv1.weight.requires_grad for part in parts[1:]]
    assert frozen == [number < stages for number in range(5)]


def test_random_weights_are_not_frozen() -> None:
    module = classifier_of(
        config_of("model=plain", "backbone=test_resnet", "pretrained=false", "training.frozen_share=0.6"), SIZE
    )
    assert all(parameter.requires_grad for parameter in module.network.parameters())


def test_a_backbone_of_unknown_stages_is_an_error(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    path = tmp_path / "weights.pt"
    torch.save(nn.Module.state_dict(resnet18()), path)
    with pytest.raises(UserError, match=r"training\.frozen_share: the stages of .* are not known"):
        pretrained(path, "training.frozen_share=0.5", backbone="torchvision.resnet18")


@pytest.mark.parametrize("share", ["-0.1", "1", "1.5"])
def test_a_share_out_of_range_is_an_error(share: str) -> None:
    with pytest.raises(UserError, match=r"frozen_share=.* must be at least 0 and below 1"):
        classifier_of(
            config_of("model=plain", "backbone=test_resnet", "pretrained=false", f"training.frozen_share={share}")
        )
