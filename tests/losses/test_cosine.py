"""The cosine-preserving loss."""

import pytest
import torch
from torch import Tensor

from fpcn_lightning.losses.cosine import cosine_preserving


def features(seed: int, size: int, count: int = 5) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_pairs(student: Tensor, teacher: Tensor) -> float:
    """The equation in a loop over pairs."""
    cosines = []
    for each in (student, teacher):
        centred = [row - each.mean(0) for row in each]
        cosines.append([[float(a @ b / (a.norm() * b.norm())) for b in centred] for a in centred])
    count = len(student)
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    return sum((cosines[0][i][j] - cosines[1][i][j]) ** 2 for i, j in pairs) / len(pairs)


def test_it_is_the_equation() -> None:
    student, teacher = features(0, 7), features(1, 3)
    assert cosine_preserving(student, teacher).item() == pytest.approx(by_pairs(student, teacher))


def test_rotation_scale_and_shift_of_the_features_do_not_matter() -> None:
    student = features(0, 4)
    rotation = torch.linalg.qr(features(3, 4, 4))[0]
    assert cosine_preserving(student, 3 * student @ rotation + 5).item() == pytest.approx(0, abs=1e-12)


def test_its_gradient_leads_to_the_teachers_cosines() -> None:
    student, teacher = features(0, 4).requires_grad_(), features(1, 6)
    optimiser = torch.optim.Adam([student], lr=0.05)
    before = cosine_preserving(student, teacher).item()
    for _ in range(100):
        optimiser.zero_grad()
        loss = cosine_preserving(student, teacher)
        torch.autograd.backward(loss)
        optimiser.step()
    assert loss.item() < before / 10


def test_one_picture_has_no_pairs() -> None:
    assert cosine_preserving(features(0, 4, 1), features(1, 4, 1)).item() == 0
