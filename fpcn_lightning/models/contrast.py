"""Feature contrast: the mutual vector of two images, and the gates by which it weights the features of each."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from fpcn_lightning.distributed import gather_with_gradient, rank_slice
from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.losses.ranking import true_class_probability
from fpcn_lightning.losses.views import Views
from fpcn_lightning.models.pairs import select_pairs


class Fusion(nn.Module):
    """The pair network: the mutual vector of two images (FPCN, Electronics 2023, 12(23), 4805, equation 6).

    Linear 2D -> hidden, activation, dropout, linear hidden -> D. The paper calls it an MLP and does not give its sizes.
    The authors' code, like API-Net (Zhuang, Wang, Qiao, AAAI 2020), has hidden 512, dropout 0.5 and no activation,
    which makes it one linear map of rank 512 at most.

    Args:
        dim: D, features of an image.
        hidden: width between the two layers.
        activation: "relu" (an MLP, as in the paper) or "none" (authors' code).
        dropout: probability, 0..1.
        open_gate: initialise the last bias with ones, so that the product with the mutual vector is close to the
            features themselves at first. With PyTorch's default initialisation the product of two small vectors starts
            next to a saddle point at zero, where it hardly learns. The papers give no initialisation; this one is ours.

    Raises:
        UserError: the activation is unknown, or `hidden` is below 1.
    """

    def __init__(
        self,
        dim: int,
        hidden: int = 512,
        activation: Literal["relu", "none"] = "relu",
        dropout: float = 0.5,
        open_gate: bool = False,
    ) -> None:
        super().__init__()
        activations: dict[str, nn.Module] = {"relu": nn.ReLU(), "none": nn.Identity()}
        if activation not in activations:
            raise UserError(f"model.fusion_activation is {activation!r}: it must be 'relu' or 'none'.")
        if hidden < 1:
            raise UserError(f"model.fusion_hidden is {hidden}: it must be at least 1.")
        self.reduce = nn.Linear(2 * dim, hidden)
        self.activation = activations[activation]
        self.dropout = nn.Dropout(dropout)
        self.expand = nn.Linear(hidden, dim)
        if open_gate:
            nn.init.ones_(self.expand.bias)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Mutual vectors [P, D] of the pairs of rows of a [P, D] and b [P, D]; the order within a pair matters."""
        hidden = self.activation(self.reduce(torch.cat([a, b], dim=1)))
        mutual: Tensor = self.expand(self.dropout(hidden))
        return mutual


def product_gate(a: Tensor, b: Tensor, mutual: Tensor) -> tuple[Tensor, Tensor]:
    """Both images weighted with their mutual vector, all [P, D] (FPCN, equations 8 and 9).

    Equation 9 is printed as X_bf = X_b * X_bf; here it is X_b * X_f, the counterpart of equation 8.
    """
    return a * mutual, b * mutual


class Gated(NamedTuple):
    """Features of both images of P pairs, each [P, D], weighted by their own gate and by that of the other image."""

    self_a: Tensor
    self_b: Tensor
    other_a: Tensor
    other_b: Tensor


def residual_gates(a: Tensor, b: Tensor, mutual: Tensor) -> Gated:
    """Gates of API-Net (Zhuang, Wang, Qiao, AAAI 2020), which the authors' code of FPCN uses; all [P, D].

    The gate of an image is g = sigmoid(mutual * x), in 0..1; a feature x becomes x + x * g with its own gate or with
    that of the other image. Where a equals b, so do self and other.
    """
    gate_a = torch.sigmoid(mutual * a)
    gate_b = torch.sigmoid(mutual * b)
    return Gated(self_a=a + a * gate_a, self_b=b + b * gate_b, other_a=a + a * gate_b, other_b=b + b * gate_a)


class PairContrast(nn.Module):
    """Classifies pairs of images of a batch, the features of each weighted with the mutual vector of the pair.

    Pairs are chosen in the batch of all processes; every process classifies those whose first image is its own.

    Args:
        dim: D, features of an image.
        hidden, activation, open_gate: see `Fusion`.
        dropout: probability, 0..1, in the fusion, and with the residual gate before the linear layer.
        gate: `product` (FPCN) or `residual` (API-Net: by its own gate and by its partner's, which are ranked).
        pairs, pairs_per_image: see `fpcn_lightning.models.pairs.select_pairs`.

    Raises:
        UserError: the gate, the policy of pairs or the activation is unknown.
    """

    def __init__(
        self,
        dim: int,
        *,
        hidden: int = 512,
        activation: Literal["relu", "none"] = "relu",
        dropout: float = 0.5,
        open_gate: bool = False,
        gate: Literal["product", "residual"] = "product",
        pairs: Literal["nearest", "random", "all"] = "nearest",
        pairs_per_image: int = 2,
    ) -> None:
        super().__init__()
        check_choice("model.gate", gate, ("product", "residual"))
        check_choice("model.pairs", pairs, ("nearest", "random", "all"))
        self.fusion = Fusion(dim, hidden, activation, dropout, open_gate)
        self.dropout = nn.Dropout(dropout if gate == "residual" else 0.0)
        self.gate, self.pairs, self.pairs_per_image = gate, pairs, pairs_per_image

    def with_itself(self, features: Tensor) -> Tensor:
        """Gated features [B, D] of images paired with themselves, for which self and other gates are the same."""
        gated = product_gate if self.gate == "product" else residual_gates
        return gated(features, features, self.fusion(features, features))[0]

    def own_gate(self, features: Tensor) -> Tensor:
        """The factors [B, D] by which `with_itself` multiplies features [B, D]."""
        mutual = self.fusion(features, features)
        return mutual if self.gate == "product" else 1 + torch.sigmoid(mutual * features)

    def paired(self, alone: Views, head: nn.Module) -> Views:
        """The views of single images with their logits replaced by those of their pairs.

        Args:
            alone: views of B single images with features [B, D]; their logits are kept if the batch has no pairs.
            head: returns logits [N, C] of features [N, D].
        """
        features, labels = gather_with_gradient(alone.features), gather_with_gradient(alone.targets)
        anchors = rank_slice(len(alone.targets), labels.device)
        pairs = select_pairs(self.pairs, features, labels, self.pairs_per_image, anchors=anchors)
        a, b = features[pairs.anchors], features[pairs.partners]
        targets = torch.cat([labels[pairs.anchors], labels[pairs.partners]])
        mutual = self.fusion(a, b)
        if self.gate == "product":
            contrasted = alone._replace(logits=head(torch.cat(product_gate(a, b, mutual))), targets=targets)
        else:
            logits = head(self.dropout(torch.cat(residual_gates(a, b, mutual))))
            by_own_gate, by_other_gate = logits.chunk(2)
            contrasted = alone._replace(
                logits=logits,
                targets=targets.repeat(2),
                better=true_class_probability(by_own_gate, targets),
                worse=true_class_probability(by_other_gate, targets),
            )
        if len(targets):
            return contrasted
        # Still connected to the fusion and to the other processes, which wait for this one in the backward pass.
        return contrasted._replace(logits=alone.logits + contrasted.logits.sum(), targets=alone.targets)
