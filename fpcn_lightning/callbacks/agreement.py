"""What the processes of a training decide together, and how often they ask each other."""

import lightning.pytorch as lightning

# On GPUs the processes ask each other only every so many batches: the host reads the answer, for which it waits until
# the GPU has finished all steps before.
BATCHES_BETWEEN_QUESTIONS = 8


def asks_now(trainer: lightning.Trainer, batches: int) -> bool:
    """Whether the processes ask each other after so many batches of an epoch or of a validation; the same in each."""
    on_gpu = trainer.strategy.root_device.type == "cuda"
    return trainer.world_size == 1 or not on_gpu or batches % BATCHES_BETWEEN_QUESTIONS == 0


def any_process(trainer: lightning.Trainer, decision: bool) -> bool:
    """Whether the decision of any process is True; all of them must call it."""
    return trainer.strategy.reduce_boolean_decision(decision, all=False)
