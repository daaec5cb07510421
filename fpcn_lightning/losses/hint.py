"""The hint loss: pulls a student's features to those of a teacher."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Hint(nn.Module):
    """A linear map from the student's features to the teacher's, and the mean squared error of its output.

    Source: FitNets (Romero et al., ICLR 2015, arXiv 1412.6550). There the hint is a feature map from the middle of the
    networks, the regressor a convolution, the error half a sum of squares, and the student is trained on it before it
    is trained on labels. Here it is the pooled features, which any two networks have whatever the size of their maps,
    and the term is added to the label loss in all epochs. The regressor is trained with the student and not deployed.

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
