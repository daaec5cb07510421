"""How far a picture is from those of the training, measured on feature maps in the second half of the network.

The vector that the classifier gets is trained to tell the classes apart and to ignore the rest, which includes most of
what distinguishes a photograph of a rock from another picture. Maps before it still have that: a picture is described
by the mean and the standard deviation of each of their channels, on a logarithmic scale, since both are skewed, and
compared with one normal distribution of the training pictures (Mahalanobis distance; Lee et al., NeurIPS 2018, use the
means of several layers). Its covariance is that of probabilistic principal component analysis (Tipping, Bishop 1999):
few training pictures do not determine more, and it takes little space. `experiments/unknown` compares it with others.
"""

import contextlib
import math
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fpcn_lightning.models.network import Network

MAX_COMPONENTS = 128  # of the covariance
SLOPE = 10.0  # statistics are linear up to a tenth of their root mean square, logarithmic above
MIN_VARIANCE = 1e-4  # of a logarithm: differences of one percent are below what rounding to int8 changes
_BLOCK_LISTS = (nn.Sequential, nn.ModuleList)

Maps = dict[str, Tensor]  # feature maps by the name of the module that they come from


class MapDistance(nn.Module):
    """The distance of pictures from those that it was fitted to; before that, from 0.

    Args:
        network: in evaluation mode.
        side: height and width of its input, pixels.

    Attributes:
        layers: names of the modules of `network` whose outputs are used; none if it has neither blocks nor
            convolutions, and the pictures themselves are used.
    """

    scale: Tensor  # [D], of the statistics before the logarithm
    mean: Tensor  # [D]
    axes: Tensor  # [D, K], principal axes
    weights: Tensor  # [K], what the inverse variance along each axis adds to `rest`
    rest: Tensor  # the inverse variance in all other directions

    def __init__(self, network: Network, side: int) -> None:
        super().__init__()
        self.layers = middle_layers(network, side)
        images = torch.zeros(1, 3, side, side)
        with torch.no_grad(), self.watching(network) as maps:
            network(images)
        self._sizes = [_positions_last(each).shape[1] for each in self._used(maps, images)]
        size = 2 * sum(self._sizes)
        for name, value in {
            "scale": torch.ones(size),
            "mean": torch.zeros(size),
            "axes": torch.zeros(size, 0),
            "weights": torch.zeros(0),
            "rest": torch.ones(()),
        }.items():
            self.register_buffer(name, value, persistent=False)

    @contextlib.contextmanager
    def watching(self, network: Network) -> Iterator[Maps]:
        """A dict that gets the maps of a forward pass of `network`; of a layer that is called again, the first map."""
        maps: Maps = {}
        handles = [
            network.get_submodule(name).register_forward_hook(partial(_keep_first, maps, name)) for name in self.layers
        ]
        try:
            yield maps
        finally:
            for handle in handles:
                handle.remove()

    def statistics(self, maps: Maps, images: Tensor) -> Tensor:
        """Mean and standard deviation [B, D] of each channel of the maps, in float32."""
        found = []
        for each in self._used(maps, images):
            values = _positions_last(each)
            mean = values.mean(2)
            found += [mean, (values - mean[:, :, None]).square().mean(2).sqrt()]
        return torch.cat(found, 1)

    def forward(self, maps: Maps, images: Tensor) -> Tensor:
        """The distance [B] of pictures from their maps and the normalised `images` [B, 3, S, S]."""
        return self.of(self.statistics(maps, images))

    def of(self, statistics: Tensor) -> Tensor:
        """The distance [B] of pictures from their `statistics` [B, D].

        The root mean square over the D statistics, so that it is about 1 for pictures like those of the training.
        """
        offsets = _compressed(statistics, self.scale) - self.mean
        along = offsets @ self.axes
        squared = offsets.square().sum(1) * self.rest + (along.square() * self.weights).sum(1)
        return (squared.clamp_min(0) / offsets.shape[1]).sqrt()

    def fit(self, statistics: Tensor) -> None:
        """Fit the distribution to the `statistics` [N, D] of training pictures, N at least 1."""
        values = statistics.double()
        parts = np.split(values.numpy(), np.repeat(self._sizes, 2).cumsum()[:-1], axis=1)
        roots = np.array([np.sqrt((part**2).mean()) for part in parts]).clip(np.finfo(np.float32).tiny)
        scale = torch.from_numpy(SLOPE / np.repeat(roots, np.repeat(self._sizes, 2)))
        mean, axes, variances, rest = _principal_axes(_compressed(values, scale).numpy())
        self.scale, self.mean, self.axes = scale.float(), _float(mean), _float(axes)
        self.weights, self.rest = _float(1 / variances - 1 / rest), torch.tensor(1 / rest, dtype=torch.float32)

    def _used(self, maps: Maps, images: Tensor) -> list[Tensor]:
        return [maps[name] for name in self.layers] if self.layers else [images]


def middle_layers(network: Network, side: int) -> tuple[str, ...]:
    """Names of up to three modules of `network`: its middle block, the last but one, and that halfway between them.

    Blocks are the elements of sequences that have parts of their own and return maps or tokens; of a network with fewer
    than three, convolutions take their place.
    """
    passed: dict[str, int] = {}  # number of dimensions of each output, in the order in which they are first computed

    def record(name: str, _module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            passed.setdefault(name, output.dim())

    modules = dict(network.named_modules())
    handles = [module.register_forward_hook(partial(record, name)) for name, module in modules.items() if name]
    with torch.no_grad():
        network(torch.zeros(1, 3, side, side))
    for handle in handles:
        handle.remove()
    blocks = [name for name, rank in passed.items() if rank in (3, 4) and _is_block(modules, name)]
    outer = [name for name in blocks if not any(name.startswith(f"{other}.") for other in blocks)]
    convolutions = [name for name in passed if isinstance(modules[name], nn.Conv2d)]
    names = outer if len(outer) >= 3 else convolutions
    if not names:
        return ()
    middle, last = math.ceil(len(names) / 2), max(1, len(names) - 1)
    return tuple(names[number - 1] for number in sorted({middle, (middle + last) // 2, last}))


def _is_block(modules: dict[str, nn.Module], name: str) -> bool:
    parent, module = modules[name.rpartition(".")[0]], modules[name]
    has_parts = any(True for _ in module.children())
    return isinstance(parent, _BLOCK_LISTS) and not isinstance(module, _BLOCK_LISTS) and has_parts


def _keep_first(maps: Maps, name: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
    maps.setdefault(name, output)


def _positions_last(values: Tensor) -> Tensor:
    """Maps [B, C, H, W] or [B, H, W, C], or tokens [B, N, C], of square pictures, as float32 [B, C, positions]."""
    if values.dim() == 3:
        return values.transpose(1, 2).float()
    channels_first = values.shape[2] == values.shape[3]
    return (values.flatten(2) if channels_first else values.flatten(1, 2).transpose(1, 2)).float()


def _compressed(values: Tensor, scale: Tensor) -> Tensor:
    return values.sign() * (values.abs() * scale + 1).log()


def _principal_axes(
    rows: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]:
    """Mean [D], principal axes [D, K] and variances [K] of rows [N, D], and the mean variance in other directions."""
    mean = rows.mean(axis=0)
    _, lengths, axes = np.linalg.svd(rows - mean, full_matrices=False)
    variances = lengths**2 / len(rows)
    kept = min(MAX_COMPONENTS, len(variances) // 2)
    rest = max(float(variances[kept:].mean()), MIN_VARIANCE)
    return mean, axes[:kept].T, variances[:kept].clip(rest), rest


def _float(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).float()
