"""The latency of a network: the time for one image."""

import copy
import statistics
import time

import torch
from torch import nn

from fpcn_lightning.profiling.rounds import threads

WARM_UP, REPETITIONS, MOST_SECONDS = 2, 20, 2.0


def milliseconds(network: nn.Module, image_size: int, device: torch.device) -> float:
    """Median time of one forward pass of one image [1, 3, S, S], in float32; on a CPU with one thread.

    The median is over 20 passes after two for warm-up, or over as many as fit into two seconds, and one at least. A
    pass ends when its logits have been copied to the host.

    Args:
        network: it is not changed, a copy is timed.
        image_size: height and width of the image, pixels.
        device: where to run.
    """
    copied = copy.deepcopy(network).float().eval().to(device)
    image = torch.rand(1, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)).to(device)
    seconds: list[float] = []
    with torch.inference_mode(), threads(1):
        for _ in range(WARM_UP):
            copied(image).cpu()
        while not seconds or (len(seconds) < REPETITIONS and sum(seconds) < MOST_SECONDS):
            began = time.perf_counter()
            copied(image).cpu()
            seconds.append(time.perf_counter() - began)
    return 1000 * statistics.median(seconds)
