"""Rows that a table compares differ in what the network computes, from the same weights and the same images."""

import itertools
from functools import cache
from typing import NamedTuple

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor
from torch.nn.functional import cosine_similarity

from fpcn_lightning.config import CONF, Config
from tests.conftest import classifier_of, config_of

PRESETS = ("fpcn_gated", "fpcn_paper")
THETAS, ALPHAS = ("0.0", "0.25", "0.5", "0.75"), ("off", "area", "soft")


class Computed(NamedTuple):
    features: Tensor  # [B, D]
    own_logits: Tensor  # [B, C]
    pair_logits: Tensor  # [V, C]
    loss: dict[str, float]  # weights of the terms


@cache
def computed(*words: str) -> Computed:
    settings: Config = config_of(*words, "trainer=smoke", "training.channels_last=false")
    module = classifier_of(settings).double().eval()
    with torch.no_grad():
        for parameter in module.network.parameters():  # as the order in which they are drawn depends on the switches
            generator = torch.Generator().manual_seed(parameter.numel())
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        images = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        views = module.network.views(images, torch.arange(3).repeat(2))
    weights = {name: float(term["weight"]) for name, term in settings.loss.items()}
    return Computed(views.features, views.own_logits, views.logits, weights)


def ablation_rows() -> list[str]:
    rows: list[str] = OmegaConf.load(CONF / "experiment" / "ablation.yaml").hydra.sweeper.params.ablation.split(",")
    return rows


def same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("pair", list(itertools.combinations(ablation_rows(), 2)), ids="-".join)
def test_two_rows_of_the_ablation_differ_in_features_pairs_or_loss(preset: str, pair: tuple[str, str]) -> None:
    rows = [config_of("+experiment=ablation", f"model={preset}", f"ablation={row}") for row in pair]
    one, other = (computed("+experiment=ablation", f"model={preset}", f"ablation={row}") for row in pair)
    if rows[0].model == rows[1].model:
        assert one.loss != other.loss
        assert same(one.features, other.features)
        return
    if any(rows[0].model[key] != rows[1].model[key] for key in ("mask", "alpha")):
        assert not same(one.features, other.features)
    else:
        assert not same(one.own_logits, other.own_logits)


@pytest.mark.parametrize(("full", "without"), [("full", "mask_center"), ("mask_alpha", "mask")])
def test_alpha_of_the_ablation_is_no_matter_of_length(full: str, without: str) -> None:
    """Rows with and without alpha would otherwise compare two divisors of the same sum."""
    one, other = (computed("+experiment=ablation", f"ablation={row}") for row in (full, without))
    assert (cosine_similarity(one.features, other.features) < 0.9999).all()


def test_the_sweep_over_theta_and_alpha_has_one_divisor_over_which_alpha_does_not_cancel() -> None:
    sweep = OmegaConf.load(CONF / "experiment" / "theta_alpha.yaml")
    assert tuple(sweep.hydra.sweeper.params["model.theta"].split(",")) == THETAS
    assert tuple(sweep.hydra.sweeper.params["model.alpha"].split(",")) == ALPHAS
    assert sweep.model.pool_over == "map"


SWEPT = list(itertools.product(THETAS, ALPHAS))


@pytest.mark.parametrize("pair", list(itertools.combinations(SWEPT, 2)), ids=str)
def test_two_rows_of_the_sweep_over_theta_and_alpha_differ(pair: tuple[tuple[str, str], tuple[str, str]]) -> None:
    one, other = (
        computed("+experiment=theta_alpha", f"model.theta={theta}", f"model.alpha='{alpha}'") for theta, alpha in pair
    )
    assert not same(one.features, other.features)
    assert not same(one.own_logits, other.own_logits)


def test_the_rows_by_the_share_of_the_object_differ_in_alpha() -> None:
    sweep = OmegaConf.load(CONF / "experiment" / "object_ratio.yaml").hydra.sweeper.params
    one, other = (computed("+experiment=object_ratio", f"ablation={row}") for row in sweep.ablation.split(","))
    assert (cosine_similarity(one.features, other.features) < 0.9999).all()
