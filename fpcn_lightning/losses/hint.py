"""The hint: a student's features are drawn to those of a teacher."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Hint(nn.Module):
    """A linear map from the student's features to the teacher's, and the mean squared error of what it gives.

    Source: FitNets (Romero et al., ICLR 2015, arXiv 1412.6550). There the hint is a feature map from the middle of the
    networks, the regressor a convolution, the error half a sum of squares, and the student is trained on it before it
    sees a label. Here it is the pooled features, which any two networks have whatever their maps measure, and the term
    stands beside the label loss all along. The regressor learns with the student and is not deployed.

    Args:
        student_dim: Ds.
        teacher_dim: Dt.
    """

    def __init__(self, student_dim: int, teacher_dim: int) -> None:
        super().__init__()
        self.regressor = nn.Linear(student_dim, teacher_dim)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Scalar >= 0, in float32 or wider, of features [B, Ds] and [B, Dt], B >= 1."""
        wide = torch.promote_types(teacher.dtype, torch.float32)
        return functional.mse_loss(self.regressor(student).to(wide), teacher.to(wide))
