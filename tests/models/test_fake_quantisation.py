"""Simulated eight bits: the rounding, the gradient, and what stays as it was."""

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fpcn_lightning.errors import UserError
from fpcn_lightning.models.fake_quantisation import FakeQuantisation, quantised_map, quantised_weight


def rounded_weight(weight: NDArray[np.float32], levels: int) -> NDArray[np.float64]:
    """The rounding in a loop over channels."""
    rounded = np.empty(weight.shape)
    for number, channel in enumerate(weight.astype(np.float64)):
        step = np.abs(channel).max() / levels or 1.0
        rounded[number] = step * np.clip(np.round(channel / step), -levels, levels)
    return rounded


def rounded_map(values: NDArray[np.float32]) -> NDArray[np.float64]:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    step = (high - low) / 255 or 1.0
    zero = np.round(-low / step)
    rounded: NDArray[np.float64] = step * (np.clip(np.round(values.astype(np.float64) / step) + zero, 0, 255) - zero)
    return rounded


def network(groups: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 1),
        nn.Conv2d(4, 8, 3, groups=groups),
        nn.Flatten(),
        nn.Linear(8 * 16, 2),
    ]
    return nn.Sequential(*layers)


def last_of(made: nn.Sequential) -> nn.Conv2d:
    """The only convolution that is rounded."""
    third = made[2]
    assert isinstance(third, nn.Conv2d)
    return third


def images(seed: int = 1) -> Tensor:
    return torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("levels", [64, 127])
def test_weights_are_rounded_by_channel(levels: int) -> None:
    weight = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    weight *= torch.tensor([1, 10, 0.1, 0, 3]).view(5, 1, 1, 1)
    found = quantised_weight(weight, levels)
    np.testing.assert_allclose(found.numpy(), rounded_weight(weight.numpy(), levels), rtol=1e-5, atol=1e-6)
    assert all(len(channel.unique()) <= 2 * levels + 1 for channel in found)


@pytest.mark.parametrize("offset", [0.0, 5.0, -5.0])
def test_maps_are_rounded_between_their_extremes(offset: float) -> None:
    values = images() + offset
    np.testing.assert_allclose(quantised_map(values).numpy(), rounded_map(values.numpy()), rtol=1e-5, atol=1e-5)
    assert (quantised_map(torch.zeros(4)) == 0).all()


@pytest.mark.parametrize(("groups", "levels"), [(1, 64), (4, 127)])
def test_a_forward_pass_is_that_of_rounded_weights_and_inputs(groups: int, levels: int) -> None:
    made, given = network(groups), images()
    simulated = FakeQuantisation(made)
    simulated.active = True
    found = made(given)
    third = last_of(made)
    weight, values = third.weight.detach().numpy(), made[:2](given).detach().numpy()
    after = functional.conv2d(
        torch.from_numpy(rounded_map(values)).float(),
        torch.from_numpy(rounded_weight(weight, levels)).float(),
        third.bias,
        groups=groups,
    )
    torch.testing.assert_close(found, made[3:](after), rtol=1e-4, atol=1e-4)
    simulated.active = False
    assert not torch.equal(found, made(given))


def test_the_gradient_passes_through_the_rounding_to_the_parameter() -> None:
    made = network()
    simulated, gradients = FakeQuantisation(made), []
    for simulated.active in (True, False):
        made.zero_grad()
        torch.autograd.backward(made(images()).square().sum())
        gradients.append([parameter.grad for parameter in made.parameters()])
    for rounded, exact in zip(*gradients, strict=True):
        assert rounded is not None
        assert exact is not None
        assert functional.cosine_similarity(rounded.flatten(), exact.flatten(), dim=0) > 0.98


def test_the_network_stays_an_ordinary_one() -> None:
    made = network()
    before, names = {name: value.clone() for name, value in made.state_dict().items()}, list(made.state_dict())
    expected = made(images())
    simulated = FakeQuantisation(made)
    simulated.active = True
    made(images())
    with pytest.raises(RuntimeError):
        made(torch.zeros(1, 3, 8, 8))
    assert isinstance(made[2].weight, nn.Parameter)
    simulated.remove()
    assert list(made.state_dict()) == names
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert torch.equal(made(images()), expected)


def test_a_network_without_convolutions_is_an_error() -> None:
    with pytest.raises(UserError, match="quantised_steps=0"):
        FakeQuantisation(nn.Linear(3, 2))


class Tiny(nn.Module):
    """Its third convolution is the only one that an export would round."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.third, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 3)

    def forward(self, given: Tensor) -> Tensor:
        maps = self.second(self.first(given).relu()).relu()
        logits: Tensor = self.head(self.third(maps).relu().mean((2, 3)))
        return logits

    def unbalance(self, factor: float) -> None:
        """Make one channel larger, and its weights in the next layer smaller: the same function, worse to round."""
        assert self.second.bias is not None
        with torch.no_grad():
            for large in (self.second.weight, self.second.bias):
                large[0] *= factor
            self.third.weight[:, 0] /= factor


def train_tiny(made: Tiny, given: Tensor, labels: Tensor, steps: int, *, quantised: bool) -> None:
    simulated = FakeQuantisation(made)
    simulated.active = quantised
    optimiser = torch.optim.Adam(made.parameters(), lr=2e-3)
    for step in range(steps):
        chosen = torch.arange(step * 32, step * 32 + 32) % len(labels)
        optimiser.zero_grad()
        torch.autograd.backward(functional.cross_entropy(made(given[chosen]), labels[chosen]))
        optimiser.step()
    simulated.remove()


def in_float_and_eight_bits(made: Tiny, given: Tensor, labels: Tensor) -> list[tuple[float, float]]:
    """Accuracy and loss."""
    simulated, found = FakeQuantisation(made), []
    for simulated.active in (False, True):
        with torch.no_grad():
            logits = made(given)
        accuracy = float((logits.argmax(1) == labels).float().mean())
        found.append((accuracy, float(functional.cross_entropy(logits, labels))))
    simulated.remove()
    return found


@pytest.mark.slow
def test_an_end_in_eight_bits_makes_their_loss_smaller() -> None:
    torch.manual_seed(0)
    labels = torch.arange(600) % 3
    given = torch.randn(600, 3, 8, 8) + 0.2 * functional.one_hot(labels, 3).float()[:, :, None, None]
    begun = Tiny()
    train_tiny(begun, given[:300], labels[:300], 150, quantised=False)
    begun.unbalance(300)
    accuracies, losses = {}, {}
    for quantised in (False, True):
        made = copy.deepcopy(begun)
        train_tiny(made, given[:300], labels[:300], 80, quantised=quantised)
        exact, rounded = in_float_and_eight_bits(made, given[300:], labels[300:])
        accuracies[quantised], losses[quantised] = rounded[0], rounded[1] - exact[1]
    assert losses[False] > 0.05  # it does lose without
    assert losses[True] < losses[False] / 2
    assert accuracies[True] > accuracies[False] + 0.05
