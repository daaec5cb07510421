"""Distillation losses: pull a student's logits to those of a teacher.

All are computed in float32 or wider and from log-probabilities, so that they stay finite where a network is fully
confident.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_EPSILON = 1e-8  # added to the product of two norms by the authors of DIST


def kd(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(p_t || p_s) of the softmax of logits over T, summed over classes: knowledge distillation.

    Source: Hinton, Vinyals, Dean 2015 (arXiv 1503.02531), whose T^2 makes the size of the gradient independent of T;
    FPCN (Electronics 2023, 12(23), 4805), equations 13 and 14, which do not mention T^2.

    The published code of FPCN computes something else. It passes the student's softmax to `nn.KLDivLoss`, which expects
    its logarithm, and divides by B C instead of B: T^2 mean_bc p_t (log p_t - p_s). That is not a divergence. It is
    negative where both agree, its minimum is where the student is certain of the teacher's most likely class, and with
    the authors' head of 200 classes its gradient is 1e-3 to 1e-5 of the one here: it has no effect next to the label
    loss.

    Args:
        student: logits [B, C].
        teacher: logits [B, C].
        temperature: T > 0.

    Returns:
        Scalar >= 0, mean over the batch; 0 for an empty one.
    """
    return temperature**2 * _mean(_divergence(*_log_probabilities(student, teacher, temperature)))


def dkd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    temperature: float,
    target_weight: float = 1.0,
    other_weight: float = 8.0,
) -> Tensor:
    """T^2 (target_weight TCKD + other_weight NCKD): `kd` decomposed (Zhao et al., CVPR 2022).

    TCKD is the divergence of (p_y, 1 - p_y), NCKD that of the probabilities of the other classes among themselves.
    KL(p_t || p_s) = TCKD + (1 - p_t[y]) NCKD: the weights replace the teacher's own confidence. With two classes NCKD
    is 0. The authors scale the whole loss up over the first epochs; the caller applies that factor.

    The authors choose beta for each pair of networks. The default here, 8, is that of their config for CIFAR-100
    (with T = 4, and 20 epochs of warm-up); they use 2 and 6 for others there, and 0.5 and 2 with T = 1 on ImageNet.
    `distillation=dkd` of this project has 2, T = 4 and 2 epochs, for few classes and short trainings: with three
    classes NCKD has one degree of freedom, so that little depends on beta.

    Args:
        student: logits [B, C], C >= 2.
        teacher: logits [B, C].
        labels: long [B], 0..C-1.
        temperature: T > 0.
        target_weight: alpha in the paper.
        other_weight: beta in the paper.

    Returns:
        Scalar >= 0, mean over the batch; 0 for an empty one.
    """
    both = _log_probabilities(student, teacher, temperature)
    target = _divergence(*(_true_or_not(logs, labels) for logs in both))
    other = _divergence(*(_others(logs, labels).log_softmax(1) for logs in both))
    return temperature**2 * _mean(target_weight * target + other_weight * other)


def dist(student: Tensor, teacher: Tensor, temperature: float, between: float = 1.0, within: float = 1.0) -> Tensor:
    """T^2 (between * inter + within * intra): one minus Pearson's correlation of the probabilities of both networks.

    inter correlates the classes of each image, intra the images of each class over the batch; both are means. Source:
    DIST (Huang et al., NeurIPS 2022). The factor T^2 is that of the authors' code; the listing in the appendix of their
    paper has none. The 1e-8 added to the product of norms is from their code, too.

    Needs batches of more than two images: with one image intra is 1 for any prediction of the student, with two every
    correlation of intra is 1 or -1; with two classes so is every correlation of inter.

    Args:
        student: logits [B, C].
        teacher: logits [B, C].
        temperature: T > 0, tau in the paper.
        between: weight of inter, beta in the paper.
        within: weight of intra, gamma in the paper.

    Returns:
        Scalar in 0..2 T^2 (between + within).
    """
    ours, theirs = (logs.exp() for logs in _log_probabilities(student, teacher, temperature))
    inter = 1 - _mean(_correlation(ours, theirs))
    intra = 1 - _mean(_correlation(ours.T, theirs.T))
    return temperature**2 * (between * inter + within * intra)


def mixed(images: Tensor, share: float, partners: Tensor) -> Tensor:
    """Each image mixed with another of the batch, as function matching passes them to both networks.

    Source: Beyer et al., "Knowledge distillation: A good teacher is patient and consistent", CVPR 2022. Its loss is
    `kd` without labels; the essential point is that teacher and student see the same mixed view.

    The teacher's logits of a mixed image are computed in each step, not mixed from the stored ones of its two images:
    a network is not linear, and what it predicts for a mixture is what the student shall match. Mixed predictions would
    be mixup with soft labels, which asks for something else: linear behaviour between images.

    Args:
        images: [B, ...], of any type.
        share: 0..1, weight of each image; that of its partner is 1 - share.
        partners: long [B], position of the partner of each image. The authors take the image before it in a shuffled
            batch.

    Returns:
        [B, ...], floating point.
    """
    return share * images + (1 - share) * images[partners]


def mixup_share(generator: torch.Generator | None = None) -> float:
    """Draw the share for `mixed`, one per batch: Beta(1, 1), folded to 0.5..1; by default from the global generator."""
    share = float(torch.rand((), generator=generator))
    return max(share, 1 - share)


def mean_prediction(logits: Sequence[Tensor]) -> Tensor:
    """Logits [B, C] whose softmax is the mean of the probabilities of several networks: an ensemble as one teacher.

    They are the logarithms of these means. With a temperature T a student sees the mean at T = 1, flattened: not the
    mean of the flattened predictions, which needs each network's own logits.

    Args:
        logits: [B, C] of each network, at least one. Those of a single network are returned as they are.
    """
    if len(logits) == 1:
        return logits[0]
    logs = torch.stack([each.log_softmax(1) for each in logits])
    return logs.logsumexp(0) - math.log(len(logits))


def _log_probabilities(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
    return (student.to(wide) / temperature).log_softmax(1), (teacher.to(wide) / temperature).log_softmax(1)


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) [B] of log-probabilities [B, C]."""
    return (teacher.exp() * (teacher - student)).sum(1)


def _true_or_not(logs: Tensor, labels: Tensor) -> Tensor:
    """Log-probabilities [B, 2] of the true class, and of all others together."""
    return torch.stack([logs.gather(1, labels.unsqueeze(1)).squeeze(1), _others(logs, labels).logsumexp(1)], dim=1)


def _others(logs: Tensor, labels: Tensor) -> Tensor:
    """[B, C - 1], without the column of the label."""
    columns = torch.arange(logs.shape[1] - 1, device=logs.device)
    return logs.gather(1, columns + (columns >= labels.unsqueeze(1)))


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's correlation [N] of the rows of two matrices [N, M]."""
    first, second = first - first.mean(1, keepdim=True), second - second.mean(1, keepdim=True)
    norms: Tensor = torch.linalg.vector_norm(first, dim=1) * torch.linalg.vector_norm(second, dim=1)
    return (first * second).sum(1) / (norms + _EPSILON)


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(len(values), 1)
