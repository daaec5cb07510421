import math

import pytest
import torch
from torch import Tensor

from fpcn_lightning.models.bilinear_pooling import EPSILON, bilinear_pool


def maps(channels: int, count: int = 2, side: int = 5, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, side, side, generator=generator, dtype=torch.float64)


def test_agrees_with_a_loop() -> None:
    left, right = maps(3), maps(4, seed=1)
    pooled = bilinear_pool(left, right)
    for image in range(2):
        rooted = []
        for d in range(3):
            for e in range(4):
                product = sum(
                    float(left[image, d, row, column] * right[image, e, row, column])
                    for row in range(5)
                    for column in range(5)
                )
                rooted.append(math.copysign(math.sqrt(abs(product / 25) + EPSILON), product))
        norm = math.sqrt(sum(value**2 for value in rooted))
        assert pooled[image].tolist() == pytest.approx([value / norm for value in rooted])


def test_map_with_itself_is_a_symmetric_matrix_of_norm_one() -> None:
    """131,328 entries can differ of the 262,144 that 512 channels give."""
    features = maps(512).relu()
    pooled = bilinear_pool(features, features)
    assert pooled.shape == (2, 262_144)
    torch.testing.assert_close(pooled.norm(dim=1), torch.ones(2, dtype=torch.float64))
    matrix = pooled.view(2, 512, 512)
    torch.testing.assert_close(matrix, matrix.transpose(1, 2))
    assert 512 * 513 // 2 == 131_328
    few = bilinear_pool(features[:1, :6], features[:1, :6])
    assert len(set(few.round(decimals=9)[0].tolist())) == 6 * 7 // 2


def test_products_after_a_relu_are_positive() -> None:
    features = maps(4).relu()
    products = torch.einsum("bdp,bep->bde", features.flatten(2), features.flatten(2)) / 25
    rooted = (products + EPSILON).sqrt().flatten(1)
    torch.testing.assert_close(bilinear_pool(features, features), rooted / rooted.norm(dim=1, keepdim=True))


def test_maps_of_zeros_give_equal_entries_and_a_gradient() -> None:
    zeros = torch.zeros(1, 512, 4, 4, requires_grad=True)
    pooled = bilinear_pool(zeros, zeros)
    torch.testing.assert_close(pooled, torch.full((1, 262_144), 1 / 512))
    (gradient,) = torch.autograd.grad(pooled[:, 0].sum(), zeros)
    assert gradient.isfinite().all()


def test_order_of_the_positions_does_not_matter() -> None:
    left, right = maps(3), maps(4, seed=1)
    order = torch.randperm(25, generator=torch.Generator().manual_seed(0))
    moved = [each.flatten(2)[:, :, order].view_as(each) for each in (left, right)]
    torch.testing.assert_close(bilinear_pool(*moved), bilinear_pool(left, right))


def test_gradcheck() -> None:
    left, right = maps(2, side=3).requires_grad_(), maps(3, side=3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(bilinear_pool, (left, right))


def test_mixed_precision_multiplies_in_float32() -> None:
    features = maps(8).float()
    with torch.autocast("cpu", torch.bfloat16):
        pooled = bilinear_pool(features, features)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, bilinear_pool(features.double(), features.double()).float())
    large = torch.full((1, 2, 2, 2), 500.0, dtype=torch.float16)  # their squares exceed half precision
    torch.testing.assert_close(bilinear_pool(large, large), torch.full((1, 4), 0.5))
