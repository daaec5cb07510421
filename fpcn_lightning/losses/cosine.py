"""Similarity-preserving distillation: pictures that a teacher finds similar shall be similar for its student."""

import torch
from torch import Tensor
from torch.nn import functional


def cosine_preserving(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean squared difference between the cosines of all pairs of pictures in both networks.

    L = 1 / (B (B - 1)) sum_{i != j} (cos_s(i, j) - cos_t(i, j))^2, with cos(i, j) that of the features of pictures i
    and j less the mean of the batch. Only relations between pictures count: the features of both networks may differ
    in number, scale and rotation, so that no layer between them is trained, unlike `fpcn_lightning.losses.hint`.

    Source: Tung and Mori, "Similarity-preserving knowledge distillation", ICCV 2019 (arXiv 1907.09682). There the
    features are whole maps, the similarities their inner products, each row of the matrix is divided by its norm, the
    diagonal counts, and nothing is centred: 1 / B^2 ||G_t - G_s||^2. Here they are the pooled features, whose cosines
    all are near 1 after a ReLU unless the mean is taken away. Park et al. (CVPR 2019) preserve the angles of triplets.

    Args:
        student: features [B, Ds].
        teacher: features [B, Dt].

    Returns:
        Scalar in 0..4, in float32 or wider; 0 for a batch of one picture.
    """
    count = len(student)
    difference = _cosines(student) - _cosines(teacher)
    others = difference.masked_fill(torch.eye(count, dtype=torch.bool, device=student.device), 0)
    return others.square().sum() / max(count * (count - 1), 1)


def _cosines(features: Tensor) -> Tensor:
    """[B, B] of features [B, D]."""
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    directions = functional.normalize(wide - wide.mean(0), dim=1)
    return directions @ directions.T
