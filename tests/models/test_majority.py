import torch
from torch.nn import functional

from fpcn_lightning.models.majority import Majority
from fpcn_lightning.profiling import cost


def test_it_predicts_the_shares_of_the_classes() -> None:
    network = Majority(3, 64)
    network.set_class_counts(torch.tensor([20, 50, 30]))
    probabilities = network(torch.rand(4, 3, 64, 64)).softmax(1)
    torch.testing.assert_close(probabilities, torch.tensor([0.2, 0.5, 0.3]).expand(4, 3))


def test_on_balanced_batches_its_loss_is_at_the_minimum() -> None:
    network = Majority(3, 64)
    network.set_class_counts(torch.tensor([20, 50, 30]))
    labels = torch.arange(3).repeat_interleave(4)
    views = network.views(torch.rand(12, 3, 8, 8), labels)
    assert views.weights is not None
    losses = functional.cross_entropy(views.logits, labels, reduction="none")
    loss = (views.weights * losses).sum()
    # The entropy of the shares, the lower bound for predictions that do not depend on the image.
    shares = torch.tensor([0.2, 0.5, 0.3])
    torch.testing.assert_close(loss, -(shares * shares.log()).sum())
    (gradient,) = torch.autograd.grad(loss, network.logarithms)
    assert gradient.abs().max() < 1e-6


def test_a_class_without_images_is_finite_and_last() -> None:
    network = Majority(3, 64)
    network.set_class_counts(torch.tensor([5, 0, 1]))
    logits = network(torch.rand(1, 3, 8, 8))[0]
    assert logits.isfinite().all()
    assert logits.argsort().tolist() == [1, 2, 0]


def test_it_has_no_multiply_accumulates() -> None:
    network = Majority(3, 64)
    assert (cost.macs(network, 64), cost.training_macs(network, 64, classes=3)) == (0, 0)
