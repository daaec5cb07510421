from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn import functional

from fpcn_lightning.distributed import gather_with_gradient, rank_slice, sum_over_ranks, world_size
from fpcn_lightning.losses.center import CenterLoss
from fpcn_lightning.losses.ranking import score_ranking, true_class_probability
from fpcn_lightning.losses.supervised_contrastive import SupervisedContrastiveTerm
from fpcn_lightning.losses.views import Views
from fpcn_lightning.models.contrast import Fusion, residual_gates
from fpcn_lightning.models.pairs import select_pairs

RANKS = 2
STEPS = 2
CASES: list[tuple[str, dict[str, Any]]] = [
    ("nearest", {"update": "batch_mean"}),
    ("nearest", {"update": "wen", "reduction": "sum", "normalise": False}),
    ("random", {"update": "wen"}),
    ("all", {"update": "batch_mean"}),
    ("nearest", {"update": "moving_average", "rate": 0.3}),
]


class Toy(nn.Module):
    """A trunk, the pair head of API-Net and the centre loss, with the losses of a step."""

    def __init__(self, pairs: str, center: dict[str, Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.pairs = pairs
        self.trunk = nn.Linear(6, 8)
        self.fusion = Fusion(8, hidden=5, dropout=0.0)
        self.head = nn.Linear(8, 3)
        self.center = CenterLoss(3, 8, **center)
        self.double()

    def forward(self, images: Tensor, labels: Tensor, step: int) -> Tensor:
        features = self.trunk(images).relu()
        pool, pool_labels = gather_with_gradient(features), gather_with_gradient(labels)
        pairs = select_pairs(
            self.pairs,
            pool,
            pool_labels,
            generator=torch.Generator().manual_seed(step),
            anchors=rank_slice(len(images)),
        )
        a, b = pool[pairs.anchors], pool[pairs.partners]
        gated = residual_gates(a, b, self.fusion(a, b))
        logits = self.head(torch.cat(gated))
        targets = torch.cat([pool_labels[pairs.anchors], pool_labels[pairs.partners]] * 2)
        better, worse = true_class_probability(logits, targets).chunk(2)
        center: Tensor = self.center(features, labels)
        return functional.cross_entropy(logits, targets) + score_ranking(better, worse) + 0.5 * center


def batch(step: int) -> tuple[Tensor, Tensor]:
    images = torch.randn(12, 6, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
    return images, torch.tensor([0, 1, 2, 0, 1, 2, 0, 0, 1, 1, 2, 2])


def train(case: tuple[str, dict[str, Any]], rank: int, ranks: int) -> dict[str, Tensor]:
    """Loss, gradients, weights and centres after a few steps, gradients averaged as DistributedDataParallel does."""
    network = Toy(*case)
    result = {}
    for step in range(STEPS):
        images, labels = (part.chunk(ranks)[rank] for part in batch(step))
        network.zero_grad()
        loss = network(images, labels, step)
        torch.autograd.backward(loss)
        result[f"loss {step}"] = sum_over_ranks(loss.detach()) / ranks
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None
            parameter.grad = sum_over_ranks(parameter.grad) / ranks
            result[f"gradient of {name} {step}"] = parameter.grad
            parameter.data -= 0.1 * parameter.grad
    return {**result, **network.state_dict()}


def gather_of_a_rank(rank: int) -> dict[str, Tensor]:
    """The rows of both ranks, and the gradient when each rank sums them with its own weight."""
    rows = (torch.arange(6.0).view(2, 3) + 10 * rank).requires_grad_()
    gathered = gather_with_gradient(rows)
    torch.autograd.backward((gathered * (1 + rank) * torch.arange(12.0).view(4, 3)).sum())
    assert rows.grad is not None
    return {"rows": gathered.detach(), "gradient": rows.grad, "positions": rank_slice(2)}


def contrastive_of_a_rank(rank: int, ranks: int) -> dict[str, Tensor]:
    """The supervised contrastive loss, and the gradient of a layer, averaged as DistributedDataParallel does."""
    # Class 2 has one image on each rank, class 3 one in all.
    labels = torch.tensor([0, 0, 1, 1, 2, 3, 0, 0, 0, 1, 1, 2]).chunk(ranks)[rank]
    images = batch(0)[0].chunk(ranks)[rank]
    torch.manual_seed(0)
    layer = nn.Linear(6, 4).double()
    features = layer(images)
    logits = features[:, :3]
    loss = SupervisedContrastiveTerm(1.0)(Views(logits, labels, logits, features), labels)
    torch.autograd.backward(loss)
    assert layer.weight.grad is not None
    return {"loss": sum_over_ranks(loss.detach()) / ranks, "gradient": sum_over_ranks(layer.weight.grad) / ranks}


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=RANKS)
    results = {
        "gather": gather_of_a_rank(rank),
        "train": [train(case, rank, RANKS) for case in CASES],
        "contrastive": contrastive_of_a_rank(rank, RANKS),
    }
    torch.save(results, folder / f"rank-{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_equal_one_process_on_the_whole_batch(tmp_path: Path) -> None:
    spawn(work, (tmp_path,), nprocs=RANKS)  # type: ignore[no-untyped-call]
    results = [torch.load(tmp_path / f"rank-{rank}.pt") for rank in range(RANKS)]

    rows = torch.cat([torch.arange(6.0).view(2, 3), torch.arange(6.0).view(2, 3) + 10])
    for rank, result in enumerate(results):
        assert torch.equal(result["gather"]["rows"], rows)
        assert result["gather"]["positions"].tolist() == [2 * rank, 2 * rank + 1]
        assert torch.equal(result["gather"]["gradient"], 3 * torch.arange(12.0).view(4, 3).chunk(2)[rank])

    for case, *trained in zip(CASES, *(result["train"] for result in results), strict=True):
        alone = train(case, rank=0, ranks=1)
        for result in trained:
            torch.testing.assert_close(result, alone, rtol=0, atol=1e-6)
        centers = [result["center.centers"] for result in trained]
        assert torch.equal(*centers)

    for result in results:
        torch.testing.assert_close(result["contrastive"], contrastive_of_a_rank(rank=0, ranks=1), rtol=0, atol=1e-10)


def test_one_process_gathers_only_its_own_rows() -> None:
    x = torch.randn(3, 2, requires_grad=True)
    assert world_size() == 1
    assert gather_with_gradient(x) is x
    assert sum_over_ranks(x) is x
    assert rank_slice(3).tolist() == [0, 1, 2]
