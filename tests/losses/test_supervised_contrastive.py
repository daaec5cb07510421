import math

import pytest
import torch
from torch import Tensor

from fpcn_lightning import build
from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.supervised_contrastive import SupervisedContrastiveTerm, supervised_contrastive_loss
from fpcn_lightning.losses.views import Views
from tests.conftest import config_of

LABELS = torch.tensor([0, 1, 0, 2, 1, 0])  # class 2 has one image


def features_of(count: int = 6, dim: int = 4) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def by_loops(features: Tensor, labels: Tensor, temperature: float) -> float:
    vectors = [[float(x) / math.hypot(*row) for x in row] for row in features.tolist()]
    losses = []
    for i, label in enumerate(labels.tolist()):
        scores = {
            j: math.exp(sum(a * b for a, b in zip(vectors[i], vectors[j], strict=True)) / temperature)
            for j in range(len(labels))
            if j != i
        }
        positives = [j for j in scores if labels[j] == label]
        if positives:
            losses.append(-sum(math.log(scores[j] / sum(scores.values())) for j in positives) / len(positives))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("labels", [LABELS, torch.tensor([3, 3, 3, 3, 3, 3]), torch.tensor([0, 0, 1, 1, 2, 2])])
def test_agrees_with_a_loop_over_images(labels: Tensor, temperature: float) -> None:
    loss = supervised_contrastive_loss(features_of(), labels, temperature)
    assert float(loss) == pytest.approx(by_loops(features_of(), labels, temperature), rel=1e-10)


def test_worked_example() -> None:
    """Two images of a class at a right angle to one of another: softmax over the cosines 1 and 0."""
    features = torch.tensor([[1.0, 0], [2, 0], [0, 3]])
    loss = supervised_contrastive_loss(features, torch.tensor([0, 0, 1]), temperature=1.0)
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-1)))


def test_lengths_order_and_rotation_change_nothing() -> None:
    features = features_of()
    loss = supervised_contrastive_loss(features, LABELS)
    lengths = torch.tensor([[0.1], [3.0], [1.0], [7.0], [2.0], [50.0]], dtype=torch.float64)
    order = torch.tensor([5, 2, 0, 4, 1, 3])
    rotation = torch.linalg.qr(features_of(4)).Q
    for same in ((features * lengths, LABELS), (features[order], LABELS[order]), (features @ rotation, 7 - LABELS)):
        torch.testing.assert_close(supervised_contrastive_loss(*same), loss)


def test_equal_directions_give_the_logarithm_of_the_number_of_others() -> None:
    loss = supervised_contrastive_loss(torch.ones(6, 4), LABELS)
    assert float(loss) == pytest.approx(math.log(5))


def test_gradcheck() -> None:
    features = features_of().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: supervised_contrastive_loss(x, LABELS, 0.5), [features])


def test_a_step_along_the_gradient_brings_a_class_together() -> None:
    features = features_of().requires_grad_()
    torch.autograd.backward(supervised_contrastive_loss(features, LABELS))
    assert features.grad is not None
    moved = features.detach() - 0.1 * features.grad
    cosines = [torch.nn.functional.cosine_similarity(x[0], x[2], dim=0) for x in (features.detach(), moved)]
    assert cosines[1] > cosines[0]


def test_the_shares_of_anchors_add_up_and_reach_all_features() -> None:
    features = features_of().requires_grad_()
    shares = [
        supervised_contrastive_loss(features, LABELS, anchors=torch.tensor(rows)) for rows in ([0, 1], [2, 3, 4], [5])
    ]
    torch.testing.assert_close(torch.stack(shares).sum(), supervised_contrastive_loss(features, LABELS))
    torch.autograd.backward(shares[0])
    assert features.grad is not None
    assert features.grad.abs().sum(1).gt(0).all()  # also of the image that is alone in its class: a negative


@pytest.mark.parametrize("labels", [[0], [0, 1, 2]])
def test_without_two_images_of_a_class_it_is_zero_with_a_gradient_of_zero(labels: list[int]) -> None:
    features = features_of(len(labels)).requires_grad_()
    loss = supervised_contrastive_loss(features, torch.tensor(labels))
    assert loss.detach() == 0
    torch.autograd.backward(loss)
    assert features.grad is not None
    assert features.grad.eq(0).all()


def test_features_of_zeros_and_half_precision_stay_finite() -> None:
    features = torch.cat([torch.zeros(2, 4), features_of(4).float()]).bfloat16().requires_grad_()
    loss = supervised_contrastive_loss(features, LABELS)
    assert loss.dtype == torch.float32
    torch.autograd.backward(loss)
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_the_term_takes_the_features_of_the_views_of_any_network() -> None:
    section = config_of("model=plain", "loss.supervised_contrastive.weight=0.3").loss
    term = build.loss_terms(section, [10] * 3, 4)["supervised_contrastive"]
    assert isinstance(term, SupervisedContrastiveTerm)
    assert (term.weight, term.temperature) == (0.3, 0.1)
    logits = torch.zeros(6, 3)
    views = Views(logits, LABELS, logits, features_of())
    torch.testing.assert_close(term(views, LABELS), supervised_contrastive_loss(features_of(), LABELS, 0.1))
    assert "supervised_contrastive" not in build.loss_terms(config_of("model=plain").loss, [10] * 3, 4)


def test_object_and_whole_image_are_two_views_of_an_image() -> None:
    logits, whole = torch.zeros(6, 3), features_of().flip(0)
    views = Views(logits, LABELS, logits, features_of(), whole_features=whole)
    both = supervised_contrastive_loss(torch.cat([features_of(), whole]), LABELS.repeat(2), 0.5)
    torch.testing.assert_close(SupervisedContrastiveTerm(1.0, 0.5)(views, LABELS), both)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_the_temperature_must_be_above_zero(temperature: float) -> None:
    with pytest.raises(UserError, match=r"loss\.supervised_contrastive\.temperature"):
        SupervisedContrastiveTerm(1.0, temperature)
