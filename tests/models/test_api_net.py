import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fpcn_lightning.losses.ranking import score_ranking
from fpcn_lightning.models.api_net import APINet
from fpcn_lightning.models.network import average
from fpcn_lightning.models.plain import Plain
from fpcn_lightning.profiling import cost


def api_net(**changes: object) -> APINet:
    torch.manual_seed(0)
    options: dict[str, object] = {"backbone": "test_resnet", "pretrained": False}
    return APINet(3, 64, **(options | changes))  # type: ignore[arg-type]


def pictures(count: int) -> Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(5))


def test_parameters_of_the_papers_size() -> None:
    network = APINet(200, 64, "resnet101", pretrained=False)
    assert cost.parameters(network) == 46_058_248
    assert cost.parameters(network.contrast.fusion) == 2_097_664 + 1_050_624


def test_fusion_matches_the_authors_code() -> None:
    contrast = api_net().contrast
    assert isinstance(contrast.fusion.activation, nn.Identity)
    assert contrast.fusion.expand.bias.abs().max() < 1  # no open gate
    assert contrast.dropout.p == contrast.fusion.dropout.p == 0.5
    assert contrast.gate == "residual"


def test_batch_has_two_pairs_per_image() -> None:
    """One of the same and one of another class: cross-entropy over 8 B logits, ranking over 4 B scores."""
    views = api_net().views(pictures(12), torch.arange(3).repeat_interleave(4))
    assert views.better is not None
    assert views.worse is not None
    assert views.logits.shape == (8 * 12, 3)
    assert views.better.shape == views.worse.shape == (4 * 12,)
    assert views.own_logits.shape == (12, 3)
    assert views.targets[:12].tolist() == views.targets[48:60].tolist() == torch.arange(3).repeat_interleave(4).tolist()


@torch.no_grad()
def test_views_agree_with_a_loop_over_pairs() -> None:
    network, labels = api_net().eval(), torch.tensor([0, 1, 2, 0, 1, 2])
    views = network.views(pictures(6), labels)
    features = network.backbone(pictures(6)).last.mean((2, 3))
    torch.testing.assert_close(views.features, features)
    fusion, head = network.contrast.fusion, network.head
    matrix = fusion.expand.weight @ fusion.reduce.weight  # one linear map of rank 512 at most
    offset = fusion.expand.weight @ fusion.reduce.bias + fusion.expand.bias
    rows: dict[str, list[Tensor]] = {key: [] for key in ("self a", "self b", "other a", "other b")}
    targets: dict[str, list[int]] = {"a": [], "b": []}
    for same in (True, False):
        for i in range(6):
            others = [j for j in range(6) if j != i and (labels[i] == labels[j]).item() is same]
            j = min(others, key=lambda j: float((features[i] - features[j]).square().sum()))
            a, b = features[i], features[j]
            mutual = matrix @ torch.cat([a, b]) + offset
            gate_a, gate_b = 1 / (1 + (-mutual * a).exp()), 1 / (1 + (-mutual * b).exp())
            gated = {"self a": a + a * gate_a, "self b": b + b * gate_b, "other a": a + a * gate_b}
            for key, row in (gated | {"other b": b + b * gate_a}).items():
                rows[key].append(head.weight @ row + head.bias)
            targets["a"].append(int(labels[i]))
            targets["b"].append(int(labels[j]))
    logits = torch.stack([row for key in rows for row in rows[key]])
    classes = [*targets["a"], *targets["b"]] * 2
    torch.testing.assert_close(views.logits, logits, rtol=1e-4, atol=1e-5)
    assert views.targets.tolist() == classes
    scores = torch.stack([row.softmax(0)[target] for row, target in zip(logits, classes, strict=True)])
    assert views.better is not None
    assert views.worse is not None
    torch.testing.assert_close(torch.cat([views.better, views.worse]), scores, rtol=1e-4, atol=1e-5)


def test_untrained_loss_is_that_of_uniform_predictions() -> None:
    network = api_net()
    network.head.weight.data *= 0.01  # the effect of the size of the features on a new head is not tested here
    network.head.bias.data.zero_()
    views = network.views(pictures(12), torch.arange(3).repeat_interleave(4))
    assert views.better is not None
    assert views.worse is not None
    loss = functional.cross_entropy(views.logits, views.targets) + score_ranking(views.better, views.worse)
    assert loss.item() == pytest.approx(math.log(3) + 0.05, abs=0.02)


@torch.no_grad()
def test_identical_images_have_equal_scores_to_rank() -> None:
    views = api_net().eval().views(pictures(1).repeat(2, 1, 1, 1), torch.tensor([1, 1]))
    assert views.better is not None
    assert views.worse is not None
    torch.testing.assert_close(views.better, views.worse)
    assert float(score_ranking(views.better, views.worse)) == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize(("labels", "logits"), [([2], 1), ([0, 1, 2], 12), ([0, 0, 0], 12), ([0, 0, 1], 20)])
def test_small_and_one_sided_batches_give_no_wrong_pairs(labels: list[int], logits: int) -> None:
    """Images without partners are classified alone; all parameters stay connected, as other processes expect."""
    network = api_net().eval()
    views = network.views(pictures(len(labels)), torch.tensor(labels))
    assert len(views.logits) == len(views.targets) == logits
    assert views.better is not None
    assert views.worse is not None
    loss = functional.cross_entropy(views.logits, views.targets) + score_ranking(views.better, views.worse)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.isfinite()
    assert not [name for name, parameter in network.named_parameters() if parameter.grad is None]


@torch.no_grad()
def test_inference_equals_plain() -> None:
    """Neither gates nor partners: the same weights in the baseline give the same logits bit for bit."""
    network, plain = api_net().eval(), Plain(3, 64, "test_resnet", pretrained=False).eval()
    left_over = plain.load_state_dict(network.state_dict(), strict=False)
    assert not left_over.missing_keys
    assert all(key.startswith("contrast.") for key in left_over.unexpected_keys)
    assert torch.equal(network(pictures(3)), plain(pictures(3)))
    torch.testing.assert_close(network(pictures(3)), network.head(average(network.backbone(pictures(3)).last)))


@pytest.mark.parametrize(
    ("changes", "pairs"), [({"pairs": "all"}, 15), ({"pairs": "random", "pairs_per_image": 4}, 18)]
)
def test_pair_policies_determine_the_views(changes: dict[str, object], pairs: int) -> None:
    views = api_net(**changes).views(pictures(6), torch.arange(3).repeat_interleave(2))
    assert len(views.logits) == 4 * pairs
