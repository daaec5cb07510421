import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import lightning.pytorch as lightning
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.data.sampler import PADDING
from fpcn_lightning.errors import UserError
from fpcn_lightning.modules.checkpoints import RECORD
from fpcn_lightning.modules.classifier import Classifier
from tests.conftest import classifier_of, config_of

# One view per image, gated pairs, ranked pairs; tests/models/test_every_network.py has all networks.
PRESETS = ("plain", "fpcn_gated", "fpcn_official")
CLASSES, SIZE = 3, 64
pytestmark = pytest.mark.filterwarnings("ignore:.*self.log.*", "ignore:.*num_workers", "ignore:.*log_every_n_steps")


def classifier(name: str = "plain", model: Mapping[str, Any] | None = None, **changes: Any) -> Classifier:
    """The module of a file of `conf/model` on a tiny backbone; `changes` are config keys, dots as two underscores."""
    words = [
        f"{key.replace('__', '.')}={value}" for key, value in {"training__channels_last": False, **changes}.items()
    ]
    words += [f"model.{key}={value}" for key, value in (model or {}).items() if key != "backbone"]
    backbone = (model or {}).get("backbone", "test_resnet")
    return classifier_of(config_of(f"model={name}", f"backbone={backbone}", "pretrained=false", *words), SIZE)


def batch(per_class: int = 2, seed: int = 0, padding: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    count = CLASSES * per_class
    images = torch.randint(0, 256, (count + padding, 3, SIZE, SIZE), generator=generator).to(torch.uint8)
    labels = torch.tensor([*torch.arange(CLASSES).repeat_interleave(per_class).tolist(), *[PADDING] * padding])
    return Batch(images, labels, torch.tensor([*range(count), *[PADDING] * padding]))


def loader(*batches: Batch) -> DataLoader[Batch]:
    return DataLoader(cast(Any, list(batches)), batch_size=None)


def trainer(*callbacks: lightning.Callback, **options: Any) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **options,
    )


def copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}


# --- terms of the loss ----------------------------------------------------------------------------------------------


def cross_entropy(logits: Tensor, targets: Tensor) -> float:
    rows = zip(logits.tolist(), targets.tolist(), strict=True)
    losses = [math.log(sum(map(math.exp, row))) - float(row[target]) for row, target in rows]
    return sum(losses) / len(losses)


def center_term(features: Tensor, labels: Tensor) -> float:
    """The first step's: half the squared distance of the unit vectors to the mean of their class, over the batch."""
    unit = features / features.square().sum(1, keepdim=True).sqrt()
    total = 0.0
    for row, label in zip(unit, labels, strict=True):
        members = torch.stack([other for other, its in zip(unit, labels, strict=True) if its == label])
        total += 0.5 * float((row - members.mean(0)).square().sum())
    return total / len(labels)


@pytest.mark.parametrize("name", PRESETS)
def test_total_loss_is_the_weighted_sum_of_its_terms(name: str) -> None:
    model = {} if name == "plain" else {"dropout": 0.0}
    ranking = 0.7 if name == "fpcn_official" else 0.0
    module = classifier(
        name,
        model,
        loss__classification__weight=2.0,
        loss__ranking__weight=ranking,
        loss__ranking__margin=0.2,
        loss__center__weight=0.3,
    )
    given = batch()
    with torch.no_grad():
        views = module.network.views(module.normalised(given.images), given.labels)
        terms = {"classification": cross_entropy(views.logits, views.targets)}
        terms["center"] = center_term(views.features, given.labels)
        if views.better is not None and views.worse is not None:
            margins = zip(views.worse.tolist(), views.better.tolist(), strict=True)
            terms["ranking"] = sum(max(0.0, worse - better + 0.2) for worse, better in margins) / len(views.better)
    total = module.training_step(given, 0)
    weights = {"classification": 2.0, "ranking": ranking, "center": 0.3}
    expected = sum(weights[term] * value for term, value in terms.items())
    assert total.item() == pytest.approx(expected, rel=1e-4)
    assert set(module.loss_terms(views, given.labels)) == set(terms)


def test_terms_are_logged_by_name() -> None:
    module, run = classifier("fpcn_official", loss__center__weight=0.5), trainer(max_epochs=1)
    run.fit(module, loader(batch()))
    logged = {name: float(value) for name, value in run.callback_metrics.items()}
    total = logged["train/loss_classification"] + logged["train/loss_ranking"] + 0.5 * logged["train/loss_center"]
    assert logged["train/loss"] == pytest.approx(total, rel=1e-5)
    assert 0 <= logged["train/accuracy"] <= 1
    assert 0 < logged["train/object_ratio"] <= 1


@pytest.mark.parametrize("name", ["plain", "fpcn_gated"])
def test_ranking_needs_a_network_that_ranks(name: str) -> None:
    with pytest.raises(UserError, match=r"loss\.ranking\.weight=0"):
        classifier(name, loss__ranking__weight=1.0).training_step(batch(), 0)


def test_term_without_weight_is_not_computed() -> None:
    module = classifier("fpcn_official", loss__ranking__weight=0.0, loss__center__weight=0.0)
    views = module.network.views(module.normalised(batch().images), batch().labels)
    assert set(module.loss_terms(views, batch().labels)) == {"classification"}
    assert list(module.terms) == ["classification"]


@pytest.mark.parametrize(
    ("key", "value"), [("lr_scheduler.interval", "steps"), ("training.frozen_batch_norm", "frozen")]
)
def test_error_of_an_unknown_choice_names_the_key(key: str, value: str) -> None:
    with pytest.raises(UserError, match=f"{key}={value} is unknown".replace(".", r"\.")):
        classifier("plain", None, **{key.replace(".", "__"): value})


@pytest.mark.parametrize("channels_last", [False, True])
def test_images_are_normalised_as_the_backbone_expects(channels_last: bool) -> None:
    module = classifier(model={"backbone": "test_efficientnet"}, training__channels_last=channels_last)
    images = batch().images
    normalised = module.normalised(images)
    for channel, (mean, std) in enumerate(zip(module.network.mean, module.network.std, strict=True)):
        torch.testing.assert_close(normalised[:, channel], (images[:, channel] / 255 - mean) / std)
    assert normalised.is_contiguous(memory_format=torch.channels_last) is channels_last


# --- optimiser ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_groups_hold_every_parameter_exactly_once(name: str) -> None:
    module = classifier(name, training__head_lr_factor=10.0)
    groups = module.optimisation.make_optimizer(module.network).param_groups
    assert [group["name"] for group in groups] == ["trunk", "head"]
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == {id(parameter) for parameter in module.parameters()}
    names = {id(parameter): name for name, parameter in module.network.named_parameters()}
    assert all(names[id(parameter)].startswith("backbone.") for parameter in groups[0]["params"])
    assert not any(names[id(parameter)].startswith("backbone.") for parameter in groups[1]["params"])
    assert [group["lr"] for group in groups] == [0.01, pytest.approx(0.1)]


@pytest.mark.parametrize("name", ["fpcn_gated", "fpcn_official"])
def test_convolutions_of_the_last_stage_are_trained(name: str) -> None:
    """The authors' optimisers lack the nine of ResNet-101, whose last stage is that of ResNet-50."""
    with torch.device("meta"):
        module = classifier(name, {"backbone": "resnet50"})
    groups = module.optimisation.make_optimizer(module.network).param_groups
    trunk = {id(parameter) for parameter in groups[0]["params"]}
    last_stage = [
        parameter
        for name, parameter in module.network.trunk.named_parameters()
        if ".layer4." in name and ".conv" in name and name.endswith(".weight")
    ]
    assert len(last_stage) == 9
    assert sum(parameter.numel() for parameter in last_stage) == 12_845_056
    assert all(id(parameter) in trunk for parameter in last_stage)


def scheduled(module: Classifier, steps: int) -> tuple[torch.optim.Optimizer, Any]:
    module.trainer = cast(lightning.Trainer, stub := SimpleNamespace(estimated_stepping_batches=steps, max_epochs=100))
    module._kept_alive = stub  # type: ignore[assignment]
    configured: Any = module.configure_optimizers()
    assert configured["lr_scheduler"]["interval"] == "step"
    return configured["optimizer"], configured["lr_scheduler"]["scheduler"]


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step")
def test_learning_rate_has_the_published_numbers() -> None:
    """0.01, .00984292, .005 and 0 at the start of epochs 0, 8, 50 and 100 of 100."""
    steps_an_epoch = 7
    optimised, schedule = scheduled(classifier(training__head_lr_factor=2.0), 100 * steps_an_epoch)
    rates = []
    for _ in range(100 * steps_an_epoch + 1):
        rates.append([group["lr"] for group in optimised.param_groups])
        schedule.step()
    for epoch, expected in {0: 0.01, 8: 0.00984292, 50: 0.005, 100: 0.0}.items():
        trunk, head = rates[epoch * steps_an_epoch]
        assert trunk == pytest.approx(expected, abs=1e-8)
        assert head == pytest.approx(2 * expected, abs=2e-8)


class Rates(lightning.Callback):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_learning_rate_falls_step_by_step_in_training(schedule: str) -> None:
    rates, steps = Rates(), 6
    trainer(rates, max_epochs=3).fit(classifier(lr_scheduler=schedule), loader(batch(seed=0), batch(seed=1)))
    cosine = [0.005 * (1 + math.cos(math.pi * step / steps)) for step in range(steps)]
    assert rates.seen == pytest.approx(cosine if schedule == "cosine" else [0.01] * steps)


# --- frozen epochs --------------------------------------------------------------------------------------------------


class Watch(lightning.Callback):
    """What each epoch did to the network."""

    def __init__(self) -> None:
        self.before: dict[str, Tensor] = {}
        self.changed: list[set[str]] = []
        self.with_gradient: list[set[str]] = []
        self.norms_in_training: list[set[bool]] = []
        self.others_in_training: list[bool] = []

    def on_train_batch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: Any) -> None:
        self.before = copied(cast(Classifier, module).network.state_dict())

    def on_before_optimizer_step(self, trainer: lightning.Trainer, module: lightning.LightningModule, _: Any) -> None:
        network = cast(Classifier, module).network
        parameters = network.named_parameters()
        self.with_gradient.append({name for name, parameter in parameters if parameter.grad is not None})
        norms = [part for part in network.trunk.modules() if isinstance(part, nn.BatchNorm2d)]
        self.norms_in_training.append({norm.training for norm in norms})
        rest = [part for part in network.modules() if not isinstance(part, nn.BatchNorm2d)]
        self.others_in_training.append(all(part.training for part in rest))

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: Any) -> None:
        after = cast(Classifier, module).network.state_dict()
        self.changed.append({name for name, value in after.items() if not torch.equal(value, self.before[name])})


@pytest.mark.parametrize("frozen_batch_norm", ["fixed", "update"])
@pytest.mark.parametrize("name", PRESETS)
def test_trunk_is_frozen_at_first_and_unfrozen_afterwards(name: str, frozen_batch_norm: str) -> None:
    """With validation in between, after which Lightning restores the train and eval modes from before it."""
    module, watch = classifier(name, training__freeze_epochs=2, training__frozen_batch_norm=frozen_batch_norm), Watch()
    trainer(watch, max_epochs=4, num_sanity_val_steps=1).fit(module, loader(batch()), loader(batch(seed=1)))
    parameters = {name for name, _ in module.network.named_parameters()}
    trunk = {name for name in parameters if name.startswith("backbone.")}
    statistics = {
        name
        for name in module.network.state_dict()
        if name.endswith(("running_mean", "running_var", "batches_tracked"))
    }
    assert statistics
    for epoch in (0, 1):
        assert watch.with_gradient[epoch] == parameters - trunk
        moved = statistics if frozen_batch_norm == "update" else set()
        assert watch.changed[epoch] & (trunk | statistics) == moved
        assert watch.norms_in_training[epoch] == {frozen_batch_norm == "update"}
    for epoch in (2, 3):
        assert watch.with_gradient[epoch] == parameters
        assert watch.changed[epoch] >= statistics | {"backbone.model.conv1.0.weight", "head.weight"}
        assert watch.norms_in_training[epoch] == {True}
    assert all(watch.others_in_training)
    assert all("head.weight" in changed for changed in watch.changed)


# --- randomness -----------------------------------------------------------------------------------------------------


def test_dropout_does_not_depend_on_earlier_random_numbers() -> None:
    module = classifier("fpcn_official")
    module.on_train_batch_start(batch(), 0)
    first = torch.rand(4)
    torch.rand(17)
    module.on_train_batch_start(batch(), 0)
    assert torch.equal(torch.rand(4), first)
    module.seed = 1
    module.on_train_batch_start(batch(), 0)
    assert not torch.equal(torch.rand(4), first)


class Dropouts(lightning.Callback):
    def __init__(self) -> None:
        self.drawn: list[Tensor] = []

    def on_before_zero_grad(self, *_: Any) -> None:
        state = torch.get_rng_state()
        self.drawn.append(torch.rand(4))
        torch.set_rng_state(state)


def test_every_step_has_another_dropout_mask() -> None:
    dropouts = Dropouts()
    trainer(dropouts, max_epochs=2).fit(classifier("fpcn_official"), loader(batch(seed=0), batch(seed=1)))
    assert len({tuple(drawn.tolist()) for drawn in dropouts.drawn}) == len(dropouts.drawn) == 4


def test_same_seed_gives_the_same_weights_bit_for_bit() -> None:
    states: list[dict[str, Tensor]] = []
    for _ in range(2):
        module = classifier("fpcn_official", loss__center__weight=0.5)
        torch.rand(len(states))  # earlier random numbers do not matter
        trainer(max_epochs=2).fit(module, loader(batch(seed=0), batch(seed=1)))
        states.append(module.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


# --- metrics --------------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("name", ["plain", "fpcn_gated"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_padding_does_not_affect_metrics_or_predictions(name: str, split: str) -> None:
    module, run = classifier(name), trainer()
    batches = [batch(seed=1), batch(per_class=1, seed=2, padding=5)]
    getattr(run, {"val": "validate", "test": "test"}[split])(module, loader(*batches), verbose=False)
    measured = module.measured[split]
    assert tuple(measured) == module.network.inference_modes
    module.eval()
    real = [(each.images[each.labels >= 0], each.labels[each.labels >= 0]) for each in batches]
    for inference_mode in module.network.inference_modes:
        logits = torch.cat(
            [module.network.predict(module.normalised(images)).logits[inference_mode] for images, _ in real]
        )
        labels = torch.cat([labels for _, labels in real])
        assert measured[inference_mode]["images"] == len(labels) == 9
        assert sum(map(sum, measured[inference_mode]["confusion"])) == 9
        assert measured[inference_mode]["accuracy"] == int((logits.argmax(1) == labels).sum()) / 9
        assert measured[inference_mode]["loss"] == pytest.approx(cross_entropy(logits, labels), rel=1e-4)
        if inference_mode == module.network.inference_mode:
            positions, probabilities, _ = module.predictions[split]
            assert positions.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2]
            torch.testing.assert_close(probabilities, logits.softmax(1), rtol=1e-4, atol=1e-5)


def test_configured_inference_mode_is_logged() -> None:
    module, run = classifier("fpcn_gated"), trainer(max_epochs=1)
    run.fit(module, loader(batch()), loader(batch(seed=1)))
    for metric in ("accuracy", "macro_f1", "loss"):
        measured: Any = module.measured["val"]["as_trained"]
        assert float(run.callback_metrics[f"val/{metric}"]) == pytest.approx(measured[metric], rel=1e-6)


def test_evaluations_are_independent() -> None:
    module, run = classifier(), trainer()
    for _ in range(2):
        run.validate(module, loader(batch()), verbose=False)
        assert module.measured["val"]["plain"]["images"] == 6
    assert module.measured["test"] == {}


# --- checkpoints ----------------------------------------------------------------------------------------------------


def test_record_is_saved_in_the_checkpoint() -> None:
    checkpoint: dict[str, Any] = {}
    module = classifier()
    module.on_save_checkpoint(checkpoint)
    assert checkpoint == {RECORD: module.record.plain()}
    assert checkpoint[RECORD]["classes"] == ["basalt", "dolomite", "marble"]


def test_normalisation_is_not_saved_with_the_weights() -> None:
    assert not {"mean", "std"} & classifier().state_dict().keys()


def test_example_input_passes_through_the_module() -> None:
    module = classifier("fpcn_gated").eval()
    assert module(module.example_input_array).shape == (1, CLASSES)
