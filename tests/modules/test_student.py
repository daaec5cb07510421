"""The student's module: its loss has a term of the labels and one of the teacher, on the same images."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fpcn_lightning import build
from fpcn_lightning.config import DistillationConfig
from fpcn_lightning.data.logits_store import LogitsStore
from fpcn_lightning.modules.assembly import make_optimisation
from fpcn_lightning.modules.checkpoints import Loaded, make_record
from fpcn_lightning.modules.student import Student
from fpcn_lightning.modules.teacher import Teacher
from tests.conftest import config_of
from tests.modules.test_classifier import CLASSES, SIZE, batch, loader, trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*self.log.*", "ignore:.*num_workers", "ignore:.*log_every_n_steps")
PLAIN = {"_target_": "fpcn_lightning.models.plain.Plain", "backbone": "test_resnet", "pretrained": False}


def teacher(seed: int = 1) -> Teacher:
    torch.manual_seed(seed)
    network = build.network(PLAIN, CLASSES, SIZE)
    return Teacher(Loaded(network, make_record(config_of("model=plain"), ("a", "b", "c"), "fingerprint")))


def student(store: LogitsStore | None = None, label_weight: float = 0.5, **options: Any) -> Student:
    config = config_of("model=plain", f"loss.classification.weight={label_weight}", "training.channels_last=false")
    torch.manual_seed(0)
    return Student(
        network := build.network(PLAIN, CLASSES, SIZE),
        terms=build.loss_terms(config.loss, [10] * CLASSES, network.feature_dim),
        optimisation=make_optimisation(config),
        distillation=replace(DistillationConfig(), **options),
        teacher=teacher(),
        store=store,
        rows=torch.tensor([2, -1, 0, 1, 3, 4, 5]),
        seed=0,
        image_size=SIZE,
        record=make_record(config, ("a", "b", "c"), "fingerprint"),
        channels_last=False,
    )


def divergence(ours: Tensor, theirs: Tensor, temperature: float) -> float:
    """T^2 KL, in a loop over images and classes."""
    total = 0.0
    for row, target in zip(ours.double(), theirs.double(), strict=True):
        p, q = (row / temperature).softmax(0), (target / temperature).softmax(0)
        total += sum(float(b * (b / a).log()) for a, b in zip(p, q, strict=True))
    return temperature**2 * total / len(ours)


def test_the_loss_is_the_sum_of_label_and_teacher_terms() -> None:
    module, given = student(weight=0.7, temperature=3.0), batch()
    total = module.training_step(given, 0)
    with torch.no_grad():
        logits = module.network.views(module.normalised(given.images), given.labels).own_logits
        labels = float(-logits.log_softmax(1)[range(len(logits)), given.labels].mean())
        teacher_term = divergence(logits, teacher().logits(given.images), 3.0)
    assert total.item() == pytest.approx(0.5 * labels + 0.7 * teacher_term, rel=1e-4)


def test_the_store_is_read_at_the_rows_of_the_images(tmp_path: Path) -> None:
    store = LogitsStore(tmp_path / "store", {}, 6, CLASSES)
    predictions = np.random.default_rng(0).normal(size=(6, CLASSES)).astype(np.float32)
    store.fill(1, lambda _: predictions)
    given = batch()._replace(positions=torch.tensor([0, 2, 3, 4, 5, 6]))
    module = student(store, label_weight=0.0, weight=1.0, temperature=2.0)
    total = module.training_step(given, 0)
    with torch.no_grad():
        logits = module.network.views(module.normalised(given.images), given.labels).own_logits
    assert total.item() == pytest.approx(
        divergence(logits, torch.tensor(predictions[[2, 0, 1, 3, 4, 5]]), 2.0), rel=1e-4
    )


def test_warm_up_scales_the_teacher_term() -> None:
    run = trainer(max_epochs=3)
    module = student(warm_up_epochs=2, label_weight=0.0, weight=1.0)
    seen: list[float] = []

    def remember(term: Tensor) -> Tensor:
        seen.append(float(Student._warmed_up(module, torch.ones(()))))
        return term

    module._warmed_up = remember  # type: ignore[method-assign]
    run.fit(module, loader(batch()))
    assert seen == [0.5, 1.0, 1.0]


def test_function_matching_passes_the_same_mixed_images_to_both(monkeypatch: pytest.MonkeyPatch) -> None:
    module, given = student(method="function_matching", label_weight=0.0, weight=1.0), batch()
    shown: list[Tensor] = []
    logits = Teacher.logits

    def watched(self: Teacher, images: Tensor) -> Tensor:
        shown.append(images)
        return logits(self, images)

    monkeypatch.setattr(Teacher, "logits", watched)
    total = module.training_step(given, 0)
    (mixed,) = shown
    with torch.no_grad():
        ours = module.network.views(module.normalised(mixed), given.labels).own_logits
    assert total.item() == pytest.approx(divergence(ours, teacher().logits(mixed), 2.0), rel=1e-4)
    # One share for the whole batch, at least half for each image itself; each image has one partner.
    whole = given.images.double()
    shares = []
    for own, seen in zip(whole, mixed.double(), strict=True):
        fits = [(own, other, (seen - other)[own != other] / (own - other)[own != other]) for other in whole]
        spreads = [float(share.std()) if len(share) else float((seen - own).abs().max()) for _, _, share in fits]
        best = spreads.index(min(spreads))
        assert spreads[best] < 1e-3
        shares += [float(fits[best][2].mean())] if len(fits[best][2]) else []
    assert max(shares) - min(shares) < 1e-3
    assert 0.5 <= min(shares) <= 1
    # Another crop for the teacher would give another loss: both must get the same view.
    monkeypatch.setattr(Teacher, "logits", lambda self, images: logits(self, images.flip(3)))
    torch.manual_seed(5)
    flipped = module.training_step(given, 0)
    torch.manual_seed(5)
    monkeypatch.setattr(Teacher, "logits", logits)
    assert flipped.item() != pytest.approx(module.training_step(given, 0).item(), rel=1e-3)


def test_teacher_logits_do_not_change_during_training() -> None:
    known, images = teacher(), batch().images
    before = known.logits(images)
    module = student()
    module._teacher = known
    module.train()
    for _ in range(2):
        module.training_step(batch(), 0).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(known.logits(images), before, rtol=0, atol=0)
    assert not any(name.startswith("_teacher") for name, _ in module.named_parameters())
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(known.logits(images), before, rtol=0, atol=0)


def test_a_hint_reduces_the_distance_of_features() -> None:
    module, given = student(method="hint", label_weight=0.0, weight=1.0), batch()
    assert module.hint is not None
    before = module.training_step(given, 0)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.05)
    for _ in range(20):
        optimiser.zero_grad()
        loss = module.training_step(given, 0)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert loss.item() < 0.5 * before.item()
