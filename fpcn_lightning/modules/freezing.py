"""Which parts of the backbone are trained when: its early stages never, the whole backbone not in the first epochs."""

from collections.abc import Iterable

from timm.models import group_parameters
from torch import nn

from fpcn_lightning.config import TrainingConfig
from fpcn_lightning.errors import UserError
from fpcn_lightning.models.backbones import Backbone
from fpcn_lightning.models.network import Network

_BATCH_NORM = nn.modules.batchnorm._BatchNorm


class Freezing:
    """Freezes the backbone of a network, in whole or in part.

    Batch norms of what is frozen keep their running statistics and normalise by them. In the frozen epochs,
    `training.frozen_batch_norm=update` lets those of later stages go on.

    Args:
        network: the early stages of its pretrained backbone are frozen at once.
        training: the section of the config.

    Raises:
        UserError: early stages shall be frozen, and the stages of the pretrained backbone are not known.
    """

    def __init__(self, network: Network, training: TrainingConfig) -> None:
        self._trunk, self._training = network.trunk, training
        early = _early(network, training.frozen_share)
        for parameter in early:
            parameter.requires_grad = False
        # Some backbones have parameters that are never trained, such as fixed position embeddings.
        self._trained = [parameter for parameter in self._trunk.parameters() if parameter.requires_grad]
        self._batch_norms = [module for module in self._trunk.modules() if isinstance(module, _BATCH_NORM)]
        never_trained = {id(parameter) for parameter in early}
        self._early_batch_norms = [
            module
            for module in self._batch_norms
            if (own := {id(parameter) for parameter in module.parameters()}) and own <= never_trained
        ]

    def begin_epoch(self, epoch: int) -> None:
        """Freeze or unfreeze for an epoch, numbered from 0."""
        frozen = epoch < self._training.freeze_epochs
        for parameter in self._trained:
            parameter.requires_grad_(not frozen)
        self._trunk.train()  # Lightning restores after validation the modes from before it, of frozen epochs too
        fixed = frozen and self._training.frozen_batch_norm == "fixed"
        for module in self._batch_norms if fixed else self._early_batch_norms:
            module.eval()


def _early(network: Network, share: float) -> list[nn.Parameter]:
    """The parameters of the first `share` of the stages, rounded down; none where the weights are random."""
    if share == 0 or network.weights_source == "random":
        return []
    stages = list(_stages(network.trunk))
    return [parameter for stage in stages[: int(share * len(stages))] for parameter in stage]


def _stages(trunk: nn.Module) -> Iterable[list[nn.Parameter]]:
    """The parameters of each stage of a backbone, as timm groups them, from the input to the output."""
    model = trunk.model if isinstance(trunk, Backbone) else trunk
    matcher = getattr(model, "group_matcher", None)
    if matcher is None:
        raise UserError(
            f"training.frozen_share: the stages of {type(model).__name__} are not known, as those of timm's models "
            "are: set training.frozen_share=0, or choose a backbone of timm."
        )
    groups = group_parameters(model, matcher(coarse=True))
    named = dict(model.named_parameters())
    for number in sorted(groups):
        yield [named[name] for name in groups[number]]
