"""Learning-rate schedules that `torch.optim.lr_scheduler` has no class for."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def cosine_with_warm_up(optimizer: Optimizer, total_iters: int, warm_up: float) -> LambdaLR:
    """The learning rate grows linearly, then falls to 0 along half a cosine.

    Args:
        optimizer: whose learning rate changes.
        total_iters: length of the training, in the interval of the schedule.
        warm_up: share of the training in which the learning rate grows, 0..1.

    Raises:
        ValueError: the share is out of range.
    """
    if not 0 <= warm_up < 1:
        raise ValueError(f"lr_scheduler.scheduler.warm_up={warm_up} must be at least 0 and below 1")
    growing = round(warm_up * total_iters)

    def factor(done: int) -> float:
        if done < growing:
            return (done + 1) / growing
        return 0.5 * (1 + math.cos(math.pi * (done - growing) / max(1, total_iters - growing)))

    return LambdaLR(optimizer, factor)
