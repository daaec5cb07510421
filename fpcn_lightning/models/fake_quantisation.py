"""Simulated eight bits: what an exported int8 file rounds is rounded in training, so that the weights get used to it.

Fake quantisation with the straight-through estimator (Jacob et al., CVPR 2018; Krishnamoorthi 2018, arXiv 1806.08342).
"""

from typing import Any

import torch
from torch import Tensor, nn

from fpcn_lightning.errors import UserError

FLOAT_CONVOLUTIONS = 2  # the first ones stay in float32 in an exported file, too; so does the last, linear layer
DENSE_LEVELS, DEPTHWISE_LEVELS = 64, 127  # the largest whole number of a weight; seven and eight bits
_MAP_LEVELS = 255  # of a feature map, from 0


def quantised_weight(weight: Tensor, levels: int) -> Tensor:
    """Weights rounded to whole multiples of a step for each output channel, symmetric around 0.

    The step is the largest magnitude of the channel over `levels`. A batch normalisation that is folded into the
    convolution multiplies whole channels, so that it changes no rounding.

    Args:
        weight: [O, ...], of a convolution.
        levels: the largest whole number.

    Returns:
        Of the same shape, float32; its gradient is that of `weight`.
    """
    values = weight.float()
    steps = values.detach().abs().flatten(1).amax(1) / levels
    steps = torch.where(steps > 0, steps, torch.ones_like(steps))
    zeros = torch.zeros(len(steps), dtype=torch.int32, device=values.device)
    return torch.fake_quantize_per_channel_affine(values, steps, zeros, 0, -levels, levels)


def quantised_map(values: Tensor) -> Tensor:
    """A feature map rounded to 256 values between its smallest and its largest, one of which is 0.

    The export measures this range on 128 pictures; here it is that of the batch, so that no state is needed.

    Args:
        values: of any shape.

    Returns:
        Of the same shape, float32; its gradient is that of `values`.
    """
    values = values.float()
    low, high = (each.double() for each in torch.aminmax(values.detach()))
    low, high = low.clamp(max=0), high.clamp(min=0)
    step = (high - low) / _MAP_LEVELS
    step = torch.where(step > torch.finfo(torch.float32).tiny, step, torch.ones_like(step))
    zero = (-low / step).round().to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(values, step.float(), zero, 0, _MAP_LEVELS)


class FakeQuantisation:
    """Rounds the weights and the inputs of the convolutions of a network while `active`; nothing of it is saved.

    As in an exported file, the first convolutions and the linear layer at the end are not rounded.

    Args:
        network: its convolutions in the order of their computation, as those of plain students are.

    Attributes:
        active: whether a forward pass rounds; False at first.

    Raises:
        UserError: the network has no convolution that an export would quantise.
    """

    def __init__(self, network: nn.Module) -> None:
        self.active = False
        convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)][FLOAT_CONVOLUTIONS:]
        if not convolutions:
            raise UserError(
                f"training.quantised_steps: {type(network).__name__} has no convolution that an int8 file rounds: set "
                "training.quantised_steps=0."
            )
        self._hooks: list[Any] = []
        for convolution in convolutions:
            self._hooks.append(convolution.register_forward_pre_hook(self._begin))
            self._hooks.append(convolution.register_forward_hook(self._end, always_call=True))

    def remove(self) -> None:
        """Leave the network as it was."""
        for hook in self._hooks:
            hook.remove()

    def _begin(self, convolution: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if not self.active:
            return None
        assert isinstance(convolution, nn.Conv2d)
        levels = DEPTHWISE_LEVELS if convolution.groups > 1 else DENSE_LEVELS
        # An attribute hides the parameter of the same name, which stays where the optimiser and checkpoints find it.
        convolution.__dict__["weight"] = quantised_weight(convolution._parameters["weight"], levels)  # type: ignore[arg-type]
        return (quantised_map(inputs[0]), *inputs[1:])

    def _end(self, convolution: nn.Module, *_: object) -> None:
        convolution.__dict__.pop("weight", None)
