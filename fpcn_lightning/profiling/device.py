"""The device that a run computes on."""

import torch

from fpcn_lightning.profiling.processor import processor


def device_name() -> str:
    """The GPUs of this process, or its processor and number of threads."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return f"CPU {processor().name}, {torch.get_num_threads()} threads"
