import inspect
import math
from typing import Any

import pytest
import torch
from hydra.utils import get_object
from omegaconf import OmegaConf
from torch import Tensor, nn

from fpcn_lightning import build
from fpcn_lightning.config import CONF
from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.ranking import score_ranking
from fpcn_lightning.models.backbones import Backbone, FeatureMaps
from fpcn_lightning.models.closer_view import closer_view
from fpcn_lightning.models.fpcn import FPCN
from fpcn_lightning.models.network import Network
from fpcn_lightning.models.pairs import select_pairs
from fpcn_lightning.models.plain import Plain
from tests.conftest import composed

PRESETS = {
    name: CONF / "model" / f"{name}.yaml" for name in ("plain", "fpcn", "fpcn_gated", "fpcn_paper", "fpcn_official")
}
FPCN_PRESETS = ("fpcn", "fpcn_gated", "fpcn_paper", "fpcn_official")
OFF: dict[str, Any] = {"mask": False, "alpha": "off", "contrast": False}


def preset(name: str, **changes: Any) -> Any:
    """The network of a file of `conf/model`, on a tiny backbone."""
    section = OmegaConf.to_container(OmegaConf.load(PRESETS[name]).model)
    assert isinstance(section, dict)
    torch.manual_seed(0)
    small = {"backbone": "test_resnet", "pretrained": False}
    return build.network({str(key): value for key, value in section.items()} | small | changes, 3, 64)


def pictures(count: int, size: int = 64) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(5))


def labels_of(per_class: int, classes: int = 3) -> Tensor:
    return torch.arange(classes).repeat_interleave(per_class)


class FixedMaps(Backbone):
    """Replaces a backbone: the same maps for all images."""

    def __init__(self, last: Tensor, previous: Tensor | None = None) -> None:
        nn.Module.__init__(self)
        self.maps = FeatureMaps(last, last if previous is None else previous)

    def forward(self, images: Tensor) -> FeatureMaps:
        return self.maps


def on_maps(network: Any, last: Tensor, previous: Tensor | None = None) -> Any:
    network.backbone = FixedMaps(last, previous)
    return network.double() if last.dtype == torch.float64 else network


def random_maps(count: int, channels: int = 96, size: int = 4) -> Tensor:
    """As after a ReLU: many entries are exactly 0."""
    generator = torch.Generator().manual_seed(7)
    return torch.randn(count, channels, size, size, generator=generator, dtype=torch.float64).relu()


# --- with every switch off it is the baseline -----------------------------------------------------------------------


DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("backbone", "size"), [("test_resnet", 64), ("test_resnet", 224), ("test_vit", 64)])
def test_with_all_off_it_is_plain_bit_for_bit(
    backbone: str, size: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    torch.manual_seed(0)
    plain = Plain(3, size, backbone, pretrained=False).to(device)
    torch.manual_seed(0)
    fpcn = FPCN(3, size, backbone, pretrained=False, **OFF).to(device)
    assert fpcn.pool_over == "map"  # sums over the mask differ in the last bit, on a GPU only
    ours, theirs = fpcn.state_dict(), plain.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    images, labels = pictures(6, size).to(device), labels_of(2).to(device)
    seen = [network.views(images, labels) for network in (fpcn, plain)]
    for name in ("logits", "targets", "own_logits", "features"):
        assert torch.equal(getattr(seen[0], name), getattr(seen[1], name)), name
    assert seen[0].better is None
    assert seen[0].worse is None
    for views in seen:
        nn.functional.cross_entropy(views.logits, views.targets).backward()  # type: ignore[no-untyped-call]
    for (name, mine), other in zip(fpcn.named_parameters(), plain.parameters(), strict=True):
        assert mine.grad is not None
        assert other.grad is not None
        assert torch.equal(mine.grad, other.grad), name
    fpcn.eval()
    plain.eval()
    for logits in (fpcn(images), *fpcn.predict(images).logits.values()):
        assert torch.equal(logits, plain(images))


def test_with_all_off_it_is_plain_under_mixed_precision() -> None:
    torch.manual_seed(0)
    plain = Plain(3, 224, "test_resnet", pretrained=False).eval()
    torch.manual_seed(0)
    fpcn = FPCN(3, 224, "test_resnet", pretrained=False, **OFF).eval()
    with torch.autocast("cpu", torch.bfloat16):
        seen = [network.views(pictures(2, 224), torch.tensor([0, 1])) for network in (fpcn, plain)]
    assert seen[0].features.dtype == torch.float32
    assert torch.equal(seen[0].features, seen[1].features)
    assert torch.equal(seen[0].logits, seen[1].logits)


@pytest.mark.parametrize("name", ["fpcn_gated", "fpcn_paper"])
@pytest.mark.parametrize("switches", [{"mask": True}, {"mask": True, "alpha": None}, {"contrast": True}], ids=str)
def test_each_switch_alone_makes_a_difference(name: str, switches: dict[str, Any]) -> None:
    kept = {key: value for key, value in (OFF | switches).items() if value is not None}
    networks = [preset(name, **OFF), preset(name, **kept)]
    predictions = [network.eval()(pictures(2)) for network in networks]
    assert not torch.allclose(predictions[0], predictions[1])


# --- views in training ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "classified", "ranked"),
    [("fpcn_official", 336, 168), ("fpcn_gated", 168, None), ("fpcn_paper", 2 * 861, None)],
)
def test_batch_of_the_paper_has_its_number_of_pairs(name: str, classified: int, ranked: int | None) -> None:
    """42 images: the code makes 84 pairs, 336 logits and 168 scores to rank; any two of the batch are 861 pairs."""
    network = on_maps(preset(name), random_maps(42))
    views = network.views(pictures(42), labels_of(14))
    assert views.logits.shape == (classified, 3)
    assert views.targets.shape == (classified,)
    assert views.own_logits.shape == (42, 3)
    assert views.features.shape == (42, 96)
    assert [None if scores is None else len(scores) for scores in (views.better, views.worse)] == [ranked, ranked]


def nearest(features: Tensor, labels: Tensor, anchor: int, same: bool) -> int:
    candidates = [
        (float((features[anchor] - features[other]).square().sum()), other)
        for other in range(len(labels))
        if other != anchor and bool(labels[other] == labels[anchor]) is same
    ]
    return min(candidates)[1]


def fused(network: FPCN, a: Tensor, b: Tensor, activation: str) -> Tensor:
    assert network.contrast is not None
    reduce, expand = network.contrast.fusion.reduce, network.contrast.fusion.expand
    hidden = reduce.weight @ torch.cat([a, b]) + reduce.bias
    return expand.weight @ (hidden.clamp(min=0) if activation == "relu" else hidden) + expand.bias


def policy_pairs(labels: Tensor) -> tuple[list[int], list[int]]:
    """Anchors and partners of every pair of the batch, in the order of the views."""
    pairs = select_pairs("all", torch.zeros(len(labels), 1), labels)
    return pairs.anchors.tolist(), pairs.partners.tolist()


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in FPCN_PRESETS if name != "fpcn"])
def test_views_agree_with_a_loop_over_pairs(name: str) -> None:
    maps, previous, labels = random_maps(6), random_maps(6, channels=192).flip(0), labels_of(2)
    network = on_maps(preset(name, dropout=0.0), maps, previous)
    views = network.views(pictures(6), labels)
    located = network.positioning(maps, previous)
    alpha, masks = located.object_ratio, located.mask
    if name == "fpcn_gated":
        weights = [masks[i] + (1 - alpha[i]) * (1 - masks[i]) for i in range(6)]
        features = torch.stack([(maps[i] * weights[i]).sum((1, 2)) / weights[i].sum() for i in range(6)])
    else:
        features = torch.stack([(alpha[i] * maps[i] * masks[i]).sum((1, 2)) / 16 for i in range(6)])
    torch.testing.assert_close(views.features, features)
    pairs = [(i, nearest(features, labels, i, same)) for same in (True, False) for i in range(6)]
    if name == "fpcn_paper":
        pairs = [(i, j) for i in range(6) for j in range(i + 1, 6)]
        order = [sorted(pair) for pair in zip(*policy_pairs(labels), strict=True)]
        assert sorted(order) == [list(pair) for pair in pairs]
        pairs = list(zip(*policy_pairs(labels), strict=True))
    head, sigmoid = network.head, torch.sigmoid
    rows: dict[str, list[Tensor]] = {key: [] for key in ("self a", "self b", "other a", "other b")}
    for i, j in pairs:
        a, b = features[i], features[j]
        mutual = fused(network, a, b, "none" if name == "fpcn_official" else "relu")
        if name != "fpcn_official":
            rows["self a"].append(a * mutual)
            rows["self b"].append(b * mutual)
        else:
            rows["self a"].append(a + a * sigmoid(mutual * a))
            rows["self b"].append(b + b * sigmoid(mutual * b))
            rows["other a"].append(a + a * sigmoid(mutual * b))
            rows["other b"].append(b + b * sigmoid(mutual * a))
    gated = [row for key in rows for row in rows[key]]
    logits = torch.stack([head.weight @ row + head.bias for row in gated])
    targets = [int(labels[i]) for i, _ in pairs] + [int(labels[j]) for _, j in pairs]
    if name == "fpcn_official":
        targets = targets * 2
        scores = [float((row.exp() / row.exp().sum())[target]) for row, target in zip(logits, targets, strict=True)]
        assert views.better.tolist() == pytest.approx(scores[: len(scores) // 2])
        assert views.worse.tolist() == pytest.approx(scores[len(scores) // 2 :])
    torch.testing.assert_close(views.logits, logits)
    assert views.targets.tolist() == targets


def test_untrained_loss_is_that_of_uniform_predictions() -> None:
    """ln C of the classification and the margin of the ranking (METHODS, section 2.9)."""
    network = preset("fpcn_official")
    views = network.views(pictures(12), labels_of(4))
    loss = nn.functional.cross_entropy(views.logits, views.targets) + score_ranking(views.better, views.worse)
    assert loss.item() == pytest.approx(math.log(3) + 0.05, abs=0.05)


@torch.no_grad()
def test_identical_images_have_equal_scores_to_rank() -> None:
    network = preset("fpcn_official").eval()
    images, labels = pictures(1).repeat(2, 1, 1, 1), torch.tensor([1, 1])
    views = network.views(images, labels)
    assert len(views.better) == 4  # one pair each: there is no image of another class
    torch.testing.assert_close(views.better, views.worse)
    assert float(score_ranking(views.better, views.worse)) == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("name", FPCN_PRESETS)
def test_a_single_image_is_trained_on_without_pairs(name: str) -> None:
    # In eval mode, because the 2 x 2 map of one image is too small for the running statistics of a norm.
    network = preset(name).eval()
    views = network.views(pictures(1), torch.tensor([2]))
    assert views.logits.shape == (1, 3)
    assert views.targets.tolist() == [2]
    loss = nn.functional.cross_entropy(views.logits, views.targets)
    if name == "fpcn_official":
        assert len(views.better) == len(views.worse) == 0
        loss = loss + score_ranking(views.better, views.worse)
    assert loss.isfinite()
    loss.backward()  # type: ignore[no-untyped-call]
    assert not [name for name, parameter in network.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize(("labels", "pairs"), [([0, 0, 0], 3), ([0, 1, 2], 3), ([0, 0, 1], 5)])
def test_small_and_one_sided_batches_give_no_wrong_pairs(labels: list[int], pairs: int) -> None:
    """One class has no partner of another class, with one image per class there is no partner of the same class."""
    network = on_maps(preset("fpcn_official"), random_maps(3))
    views = network.views(pictures(3), torch.tensor(labels))
    assert len(views.logits) == 4 * pairs


@pytest.mark.parametrize(("policy", "pairs"), [("random", 12), ("all", 15)])
def test_pair_policies_determine_the_views(policy: str, pairs: int) -> None:
    network = on_maps(preset("fpcn_gated", pairs=policy), random_maps(6))
    assert len(network.views(pictures(6), labels_of(2)).logits) == 2 * pairs


@pytest.mark.parametrize("kind", ["box", "window"])
def test_the_closer_view_is_classified_by_the_same_backbone_and_head(kind: Any) -> None:
    network = preset("fpcn_gated", mask_view=kind, mask_view_share=0.4).eval()
    plain = preset("fpcn_gated").eval()
    labels = torch.tensor([0, 0, 1, 1])
    views, without = network.views(pictures(4), labels), plain.views(pictures(4), labels)
    assert without.mask_view is None
    for name in ("logits", "own_logits", "features"):
        assert torch.equal(getattr(views, name), getattr(without, name))
    inside = network.predict(pictures(4)).mask
    crops = closer_view(pictures(4), inside, kind, 0.4)
    assert not torch.allclose(crops, pictures(4))
    torch.testing.assert_close(views.mask_view, network.head(network.backbone(crops).last.mean((2, 3))))
    torch.autograd.backward(views.mask_view.sum())
    assert all(parameter.grad is not None for parameter in network.backbone.parameters())
    assert torch.equal(network(pictures(4)), plain(pictures(4)))  # not used at inference


def test_whole_features_are_those_of_the_map_without_mask() -> None:
    maps = random_maps(6)
    network = on_maps(preset("fpcn"), maps)
    views = network.views(pictures(6), labels_of(2))
    torch.testing.assert_close(views.whole_features, maps.mean((2, 3)))
    torch.testing.assert_close(views.own_logits, network.head(maps.mean((2, 3))))
    assert not torch.allclose(views.features, views.whole_features)
    assert on_maps(preset("fpcn", mask=False), maps).views(pictures(6), labels_of(2)).whole_features is None


def test_the_first_epochs_train_without_mask_alpha_and_closer_views() -> None:
    network = preset("fpcn_gated", mask_from_epoch=3, mask_view="window", inference_mode="masked").eval()
    labels = torch.tensor([0, 0, 1, 1])
    with_mask, predicted = network.views(pictures(4), labels), network(pictures(4))
    assert len(with_mask.mask_view) == 4
    for epoch in (0, 1):
        network.begin_epoch(epoch)
        views = network.views(pictures(4), labels)
        torch.testing.assert_close(views.features, network.backbone(pictures(4)).last.mean((2, 3)))
        assert not torch.allclose(views.features, with_mask.features)
        assert views.mask_view.shape == (0, 3)
        assert views.whole_features is None
        assert torch.equal(network(pictures(4)), predicted)  # so that a checkpoint predicts as it did in validation
    network.begin_epoch(2)
    assert torch.equal(network.views(pictures(4), labels).logits, with_mask.logits)
    with pytest.raises(UserError, match=r"model\.mask_from_epoch=0"):
        preset("fpcn_gated", mask_from_epoch=0)


# --- gradients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_gradient_reaches_every_parameter(name: str) -> None:
    """Also the convolutions of the last stage, nine of which are missing in the authors' optimisers."""
    network = preset(name, **({} if name == "plain" else {"dropout": 0.0}))
    with torch.no_grad():
        for parameter in network.parameters():  # a parameter of 0 would stop the gradient of the layers before it
            parameter.add_(0.05 * torch.randn_like(parameter))
    views = network.views(pictures(12), labels_of(4))
    loss = nn.functional.cross_entropy(views.logits, views.targets)
    if views.better is not None:
        loss = loss + score_ranking(views.better, views.worse)
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize(
    ("alpha", "pool_over"),
    [
        *((alpha, over) for alpha in ("off", "area", "soft", 0.5) for over in ("map", "mask", "nothing")),
        ("off", "weights"),
        ("soft", "weights"),
    ],
)
def test_positioning_carries_no_gradient(alpha: str | float, pool_over: str) -> None:
    """d pooled / d F is weight / divisor at each position: no gradient through mask or alpha."""
    maps = random_maps(2).requires_grad_()
    network = on_maps(preset("fpcn_gated", alpha=alpha, pool_over=pool_over), maps)
    views = network.views(pictures(2), torch.tensor([0, 1]))
    assert not views.mask.requires_grad
    assert not views.object_ratio.requires_grad
    (gradient,) = torch.autograd.grad(views.features.sum(), maps)
    for image in range(2):
        mask, ratio = views.mask[image], float(views.object_ratio[image])
        weight = {"off": mask, "area": ratio * mask, "soft": mask + (1 - ratio) * (1 - mask), 0.5: 0.5 * mask}[alpha]
        divisor = {"map": 16, "mask": float(mask.sum()), "nothing": 1, "weights": float(weight.sum())}[pool_over]
        torch.testing.assert_close(gradient[image], (weight / divisor).expand(96, 4, 4))


def test_gradient_of_the_published_map() -> None:
    """alpha / 196 inside the mask, 0 outside (METHODS, section 1.6), and pooled = 2 alpha squared for a half map."""
    half = torch.zeros(1, 96, 14, 14)
    half[:, :, :7] = 2
    maps = half.requires_grad_()
    network = on_maps(preset("fpcn_official"), maps)
    views = network.views(pictures(1), torch.tensor([0]))
    torch.testing.assert_close(views.features, torch.full((1, 96), 0.5))
    (gradient,) = torch.autograd.grad(views.features.sum(), maps)
    torch.testing.assert_close(gradient[:, :, :7], torch.full((1, 96, 7, 14), 0.5 / 196))
    assert not gradient[:, :, 7:].any()


# --- inference ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_authors_inference_is_the_head_on_the_mean_of_the_map() -> None:
    network = preset("fpcn_official").eval()
    images = pictures(5)
    maps = network.backbone.model.get_submodule("").forward_features(images)
    expected = maps.mean((2, 3)) @ network.head.weight.T + network.head.bias
    torch.testing.assert_close(network(images), expected)
    torch.testing.assert_close(network.predict(images).logits["unmasked"], expected)


@torch.no_grad()
@pytest.mark.parametrize("name", ["fpcn_gated", "fpcn_official"])
def test_predictions_do_not_depend_on_the_other_images(name: str) -> None:
    network = preset(name).eval()
    images = pictures(5)
    together = network.predict(images).logits
    for image in range(5):
        alone = network.predict(images[image : image + 1]).logits
        for inference_mode in network.inference_modes:
            torch.testing.assert_close(alone[inference_mode][0], together[inference_mode][image], rtol=1e-4, atol=1e-5)
    order = torch.tensor([3, 1, 4, 0, 2])
    for inference_mode, logits in network.predict(images[order]).logits.items():
        torch.testing.assert_close(logits, together[inference_mode][order], rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["fpcn_gated", "fpcn_official"])
def test_predictions_do_not_depend_on_labels_or_earlier_calls(name: str) -> None:
    network = preset(name).eval()
    before, state = network(pictures(4)), {key: value.clone() for key, value in network.state_dict().items()}
    first = network.views(pictures(4), torch.tensor([0, 0, 1, 1]))
    second = network.views(pictures(4), torch.tensor([2, 1, 0, 2]))
    assert torch.equal(first.own_logits, second.own_logits)
    assert torch.equal(network(pictures(4)), before)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


@torch.no_grad()
@pytest.mark.parametrize("name", ["fpcn_gated", "fpcn_official"])
def test_forward_uses_the_configured_inference_mode(name: str) -> None:
    network = preset(name).eval()
    predictions = network.predict(pictures(2)).logits
    assert tuple(predictions) == network.inference_modes
    assert network.inference_mode == {"fpcn_gated": "as_trained", "fpcn_official": "unmasked"}[name]
    for inference_mode in network.inference_modes:
        network.choose_inference_mode(inference_mode)
        assert torch.equal(network(pictures(2)), predictions[inference_mode])
    assert not torch.allclose(predictions["as_trained"], predictions["unmasked"])


@torch.no_grad()
@pytest.mark.parametrize("name", ["fpcn_gated", "fpcn_official"])
def test_inference_mode_as_trained_pairs_an_image_with_itself(name: str) -> None:
    network = preset(name).eval()
    views = network.views(pictures(2), torch.tensor([0, 1]))
    for image, features in enumerate(views.features):
        mutual = fused(network, features, features, "relu" if name == "fpcn_gated" else "none")
        gated = features * mutual if name == "fpcn_gated" else features + features * torch.sigmoid(mutual * features)
        expected = network.head.weight @ gated + network.head.bias
        found = network.predict(pictures(2)).logits["as_trained"][image]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["fpcn_gated", "fpcn_official"])
def test_masked_unmasked_and_their_mean_need_no_fusion(name: str) -> None:
    network = preset(name).eval()
    views = network.views(pictures(3), torch.tensor([0, 0, 1]))
    network.contrast.fusion.expand.bias.fill_(math.nan)
    logits = network.predict(pictures(3)).logits
    assert logits["as_trained"].isnan().all()
    for image, features in enumerate(views.features):
        whole = network.backbone(pictures(3)).last[image].mean((1, 2))
        masked, unmasked = (network.head.weight @ each + network.head.bias for each in (features, whole))
        torch.testing.assert_close(logits["masked"][image], masked, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logits["unmasked"][image], unmasked, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logits["mean"][image], (masked + unmasked) / 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("inference_mode", FPCN.inference_modes)
def test_the_own_prediction_in_training_is_that_of_the_inference_mode(inference_mode: str) -> None:
    """So that `loss.own` trains what is deployed."""
    network = preset("fpcn_gated", inference_mode=inference_mode).eval()
    views = network.views(pictures(4), torch.tensor([0, 0, 1, 1]))
    torch.testing.assert_close(views.own_logits, network(pictures(4)), rtol=1e-4, atol=1e-5)
    assert len(views.logits) == 16  # pairs are classified as well
    pairs = network.views(pictures(4), torch.tensor([0, 0, 1, 1])).logits
    torch.autograd.backward(views.own_logits.sum())
    assert network.head.weight.grad is not None
    reached = network.contrast.fusion.reduce.weight.grad is not None
    assert reached == (inference_mode == "as_trained")
    network.choose_inference_mode("masked")
    assert torch.equal(network.views(pictures(4), torch.tensor([0, 0, 1, 1])).logits, pairs)


@torch.no_grad()
@pytest.mark.parametrize("name", ["fpcn_gated", "fpcn_official"])
@pytest.mark.parametrize("value", [0.0, 1.0, math.nan])
def test_constant_or_infinite_map_is_all_object(name: str, value: float) -> None:
    network = on_maps(preset(name).eval(), torch.full((4, 96, 5, 3), value))
    views = network.views(pictures(4), torch.tensor([0, 0, 1, 1]))
    assert views.mask.eq(1).all()
    assert views.object_ratio.eq(1).all()
    assert network(pictures(4)).isfinite().all() == (not math.isnan(value))


@torch.no_grad()
@pytest.mark.parametrize("name", ["fpcn_gated", "fpcn_official"])
@pytest.mark.parametrize("size", [32, 50, 96, 160])
def test_images_of_any_size_are_accepted(name: str, size: int) -> None:
    network = preset(name).eval()
    views = network.views(pictures(2, size), torch.tensor([0, 1]))
    assert views.logits.isfinite().all()
    assert all(logits.shape == (2, 3) for logits in network.predict(pictures(2, size)).logits.values())


@torch.no_grad()
@pytest.mark.parametrize("inference_mode", FPCN.inference_modes)
def test_export_gives_the_same_prediction(inference_mode: str) -> None:
    network = preset("fpcn_gated", inference_mode=inference_mode).eval()
    exported = torch.export.export(network, (pictures(1),)).module()
    torch.testing.assert_close(exported(pictures(1)), network(pictures(1)))


@torch.no_grad()
def test_export_of_the_authors_inference_accepts_other_batches_and_sizes() -> None:
    network = preset("fpcn_official").eval()
    dynamic = {"images": {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}}
    exported = torch.export.export(network, (pictures(2, 64),), dynamic_shapes=dynamic).module()
    torch.testing.assert_close(exported(pictures(3, 96)), network(pictures(3, 96)))


# --- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["gate", "pool_over", "pairs", "fusion_activation", "alpha", "inference_mode", "mask_kind", "mask_view"]
)
def test_error_of_an_unknown_choice_names_the_key(key: str) -> None:
    with pytest.raises(UserError, match=f"model\\.{key}"):
        preset("fpcn_gated", **{key: "nonsense"})


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "model").glob("*.yaml")))
def test_every_preset_names_every_key_of_its_network(name: str) -> None:
    """A missing key would have a default in the code, so that values would be in two places."""
    section = composed(f"model={name}").model
    network = get_object(section._target_)
    assert issubclass(network, Network)
    given = {"self", "classes", "image_size"}
    assert {str(key) for key in section} - {"_target_"} == set(inspect.signature(network.__init__).parameters) - given


def test_presets_differ_as_paper_and_code_do() -> None:
    fpcn, official = preset("fpcn_gated"), preset("fpcn_official")
    assert not any((fpcn.positioning.strict, fpcn.positioning.largest_component, fpcn.positioning.previous_block))
    assert all(
        (official.positioning.strict, official.positioning.largest_component, official.positioning.previous_block)
    )
    assert isinstance(fpcn.contrast.fusion.activation, nn.ReLU)
    assert isinstance(official.contrast.fusion.activation, nn.Identity)
    assert fpcn.contrast.fusion.expand.bias.eq(1).all()
    assert official.contrast.fusion.expand.bias.abs().max() < 1
    assert (fpcn.pool_over, official.pool_over) == ("weights", "map")
    assert fpcn.contrast.dropout.p == 0
    assert official.contrast.dropout.p == official.contrast.fusion.dropout.p == fpcn.contrast.fusion.dropout.p == 0.5


@pytest.mark.parametrize("layer", ["fusion", "head"])
def test_dropout_is_off_in_the_predictions_and_on_in_training(layer: str) -> None:
    network = preset("fpcn_official")
    network.backbone.eval()
    (network.contrast.fusion.dropout if layer == "fusion" else network.contrast.dropout).p = 0.0
    labels = torch.tensor([0, 0, 1, 1])
    assert not torch.equal(network.views(pictures(4), labels).logits, network.views(pictures(4), labels).logits)
    network.eval()
    assert torch.equal(network.views(pictures(4), labels).logits, network.views(pictures(4), labels).logits)
