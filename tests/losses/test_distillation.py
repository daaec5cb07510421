import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fpcn_lightning.losses.distillation import dist, dkd, kd, mean_prediction, mixed, mixup_share

STUDENT = torch.tensor([[2.0, 0, 0]], dtype=torch.float64)
TEACHER = torch.tensor([[4.0, 1, 0]], dtype=torch.float64)
LABEL = torch.tensor([0])

LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "kd": lambda student, teacher, _, temperature: kd(student, teacher, temperature),
    "dkd": dkd,
    "dist": lambda student, teacher, _, temperature: dist(student, teacher, temperature),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def random_batch(images: int = 7, classes: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student = 3 * torch.randn(images, classes, generator=generator, dtype=torch.float64)
    teacher = 3 * torch.randn(images, classes, generator=generator, dtype=torch.float64)
    return student, teacher, torch.randint(classes, (images,), generator=generator)


def probabilities(logits: Tensor, temperature: float) -> list[float]:
    powers = [math.exp(float(logit) / temperature) for logit in logits]
    return [power / sum(powers) for power in powers]


def divergence(teacher: list[float], student: list[float]) -> float:
    return sum(t * (math.log(t) - math.log(s)) for t, s in zip(teacher, student, strict=True))


def correlation(first: list[float], second: list[float]) -> float:
    means = sum(first) / len(first), sum(second) / len(second)
    first, second = [x - means[0] for x in first], [x - means[1] for x in second]
    products = sum(x * y for x, y in zip(first, second, strict=True))
    return products / (math.sqrt(sum(x * x for x in first) * sum(y * y for y in second)) + 1e-8)


def official(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The term of FPCN's published code."""
    target = (teacher / temperature).softmax(1)
    return temperature**2 * (target * (target.log() - (student / temperature).softmax(1))).mean()


@pytest.mark.parametrize(("temperature", "value"), [(1, 0.0927526), (2, 0.2533582), (4, 0.3256317)])
def test_worked_example_of_kd(temperature: int, value: float) -> None:
    assert float(kd(STUDENT, TEACHER, temperature)) == pytest.approx(value, abs=5e-8)


def test_worked_example_of_the_papers_objective() -> None:
    label_loss = functional.cross_entropy(STUDENT, LABEL)
    assert float(label_loss) == pytest.approx(0.2395448, abs=5e-8)
    assert float(0.5 * label_loss + 0.5 * kd(STUDENT, TEACHER, 2)) == pytest.approx(0.2464515, abs=5e-8)


@pytest.mark.parametrize(
    ("temperature", "total", "target", "other", "confidence"),
    [(1, 0.9732313, 0.0856787, 0.1109441, 0.9362396), (4, 1.2612416, 0.2690002, 0.1240302, 0.5434056)],
)
def test_worked_example_of_dkd(temperature: int, total: float, target: float, other: float, confidence: float) -> None:
    assert float(dkd(STUDENT, TEACHER, LABEL, temperature)) == pytest.approx(total, abs=5e-8)
    assert float(dkd(STUDENT, TEACHER, LABEL, temperature, 1, 0)) == pytest.approx(target, abs=5e-8)
    assert float(dkd(STUDENT, TEACHER, LABEL, temperature, 0, 1)) == pytest.approx(other, abs=5e-8)
    assert float((TEACHER / temperature).softmax(1)[0, 0]) == pytest.approx(confidence, abs=5e-8)


def test_worked_example_of_dist() -> None:
    student = torch.tensor([[2.0, 0, 0], [0, 1, 0]], dtype=torch.float64)
    teacher = torch.tensor([[4.0, 1, 0], [0, 2, 1]], dtype=torch.float64)
    assert float(dist(student, teacher, 1, within=0)) == pytest.approx(0.0173748, abs=1e-6)
    assert float(dist(student, teacher, 1, between=0)) == pytest.approx(0, abs=1e-6)


def test_the_published_code_is_not_a_divergence() -> None:
    assert float(official(STUDENT, TEACHER, 2)) == pytest.approx(-1.6426673, abs=5e-8)
    assert official(TEACHER, TEACHER, 2) < 0
    certain = torch.tensor([[100.0, 0, 0]], dtype=torch.float64)
    assert official(certain, TEACHER, 2) < official(TEACHER, TEACHER, 2)
    assert kd(certain, TEACHER, 2) > kd(TEACHER, TEACHER, 2) == 0


def test_with_200_classes_the_published_code_has_a_tiny_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = []
    for loss in (kd, official):
        student = torch.randn(8, 200, generator=generator.manual_seed(0)).requires_grad_()
        teacher = 2 * torch.randn(8, 200, generator=generator.manual_seed(1))
        lengths.append(float(torch.autograd.grad(loss(student, teacher, 2.0), student)[0].norm()))
    assert 1e-5 < lengths[1] / lengths[0] < 1e-3


@pytest.mark.parametrize("temperature", [0.7, 1.0, 4.0])
def test_kd_and_dkd_agree_with_loops(temperature: float) -> None:
    student, teacher, labels = random_batch()
    whole, parts = [], []
    for s, t, label in zip(student, teacher, labels.tolist(), strict=True):
        ours, theirs = probabilities(s, temperature), probabilities(t, temperature)
        whole.append(divergence(theirs, ours))
        target = divergence([theirs[label], 1 - theirs[label]], [ours[label], 1 - ours[label]])
        rest = [[p / (1 - side[label]) for k, p in enumerate(side) if k != label] for side in (theirs, ours)]
        parts.append(0.5 * target + 3 * divergence(*rest))
    mean = temperature**2 / len(student)
    assert float(kd(student, teacher, temperature)) == pytest.approx(mean * sum(whole), rel=1e-12)
    assert float(dkd(student, teacher, labels, temperature, 0.5, 3)) == pytest.approx(mean * sum(parts), rel=1e-12)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 4.0])
def test_dist_agrees_with_loops(temperature: float) -> None:
    student, teacher, _ = random_batch()
    ours, theirs = ([probabilities(row, temperature) for row in side] for side in (student, teacher))
    inter = [1 - correlation(*both) for both in zip(ours, theirs, strict=True)]
    columns = zip(zip(*ours, strict=True), zip(*theirs, strict=True), strict=True)
    intra = [1 - correlation(list(s), list(t)) for s, t in columns]
    expected = temperature**2 * (0.5 * sum(inter) / len(inter) + 3 * sum(intra) / len(intra))
    assert float(dist(student, teacher, temperature, 0.5, 3)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_kd_is_the_weighted_sum_of_the_parts_of_dkd(temperature: float) -> None:
    student, teacher, labels = random_batch()
    for s, t, label in zip(student, teacher, labels, strict=True):
        others = 1 - float((t / temperature).softmax(0)[label])
        together = dkd(s[None], t[None], label[None], temperature, target_weight=1, other_weight=others)
        torch.testing.assert_close(together, kd(s[None], t[None], temperature), rtol=1e-12, atol=1e-14)


def test_with_two_classes_nckd_is_zero() -> None:
    student, teacher, labels = random_batch(classes=2)
    assert dkd(student, teacher, labels, 4, target_weight=0, other_weight=8) == 0
    torch.testing.assert_close(dkd(student, teacher, labels, 4), kd(student, teacher, 4), rtol=1e-12, atol=1e-14)


def test_two_classes_and_two_images_correlate_fully() -> None:
    student, teacher, _ = random_batch(classes=2)
    agree = [(s - s.flip(0))[0] * (t - t.flip(0))[0] > 0 for s, t in zip(student, teacher, strict=True)]
    assert float(dist(student, teacher, 1, within=0)) == pytest.approx(2 * agree.count(False) / len(agree), abs=1e-6)
    student, teacher, _ = random_batch(images=2)
    intra = float(dist(student, teacher, 4, between=0)) / 4**2 * 5 / 2
    assert intra == pytest.approx(round(intra), abs=1e-4)
    assert 0 < round(intra) < 5


@every_loss
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_a_student_equal_to_its_teacher_has_zero_loss(
    loss: Callable[[Tensor, Tensor, Tensor, float], Tensor], temperature: float
) -> None:
    _, teacher, labels = random_batch()
    shifted = teacher + torch.arange(7.0).unsqueeze(1)
    assert float(loss(shifted, teacher, labels, temperature)) == pytest.approx(0, abs=1e-5)


@every_loss
def test_order_of_images_and_of_classes_does_not_matter(
    loss: Callable[[Tensor, Tensor, Tensor, float], Tensor],
) -> None:
    student, teacher, labels = random_batch()
    pictures, classes = torch.randperm(7), torch.randperm(5)
    moved = classes.argsort()[labels]
    shuffled = loss(student[:, classes][pictures], teacher[:, classes][pictures], moved[pictures], 2.0)
    torch.testing.assert_close(shuffled, loss(student, teacher, labels, 2.0))


def test_dist_depends_on_correlations_only() -> None:
    student, teacher, _ = random_batch()
    likely = teacher.softmax(1)
    flatter, opposite = 0.3 * likely + 0.7 / 5, (2 / 5 - likely) / (2 - 1)
    inter = dist(student, teacher, 1, within=0)
    torch.testing.assert_close(dist(student, flatter.log(), 1, within=0), inter, rtol=1e-6, atol=1e-6)
    keeps = opposite.gt(0).all(1)
    same = dist(student[keeps], opposite[keeps].log(), 1, within=0) + dist(student[keeps], teacher[keeps], 1, within=0)
    assert keeps.any()
    assert float(same) == pytest.approx(2, abs=1e-5)
    constant = torch.zeros_like(student)
    assert float(dist(constant, teacher, 1)) == pytest.approx(2, abs=1e-5)
    assert float(dist(student[:1], teacher[:1], 1, between=0)) == pytest.approx(1)


def test_gradient_of_kd_tends_to_the_difference_of_centred_logits() -> None:
    student, teacher, _ = random_batch()
    centred = [side - side.mean(1, keepdim=True) for side in (student, teacher)]
    limit = (centred[0] - centred[1]) / student.numel()
    errors = []
    for temperature in (20, 100, 1000):
        leaf = student.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(kd(leaf, teacher, temperature), leaf)
        errors.append(float((gradient - limit).norm() / limit.norm()))
    assert errors[0] < 0.3
    assert errors[1] == pytest.approx(errors[0] / 5, rel=0.2)
    assert errors[2] == pytest.approx(errors[1] / 10, rel=0.2)


@every_loss
@pytest.mark.parametrize(("images", "classes"), [(7, 5), (1, 3), (2, 2)])
def test_gradcheck(loss: Callable[[Tensor, Tensor, Tensor, float], Tensor], images: int, classes: int) -> None:
    student, teacher, labels = random_batch(images, classes)
    student = (student / 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda logits: loss(logits, teacher / 3, labels, 2.0), (student,))


@every_loss
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_full_confidence_stays_finite(
    loss: Callable[[Tensor, Tensor, Tensor, float], Tensor], temperature: float
) -> None:
    sure = torch.tensor([[200.0, 0, 0], [0, 200, 0], [0, 0, 0]])
    for student, teacher in ((sure, sure.roll(1, 0)), (sure.roll(1, 0), sure), (sure, sure)):
        for labels in (torch.tensor([0, 1, 2]), torch.tensor([2, 0, 1])):
            leaf = student.clone().requires_grad_()
            value = loss(leaf, teacher, labels, temperature)
            (gradient,) = torch.autograd.grad(value, leaf)
            assert value.isfinite()
            assert gradient.isfinite().all()


@every_loss
def test_half_precision_is_computed_in_float32(loss: Callable[[Tensor, Tensor, Tensor, float], Tensor]) -> None:
    student, teacher, labels = random_batch()
    student, teacher = student.bfloat16(), teacher.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(student, teacher, labels, 2.0)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(student.float(), teacher.float(), labels, 2.0))


def test_empty_batch_has_zero_loss() -> None:
    empty = torch.zeros(0, 3)
    assert kd(empty, empty, 2) == 0
    assert dkd(empty, empty, LABEL[:0], 2) == 0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_mixed_images_agree_with_a_loop(dtype: torch.dtype) -> None:
    images = torch.arange(3 * 2 * 4 * 4).reshape(3, 2, 4, 4).to(dtype)
    partners = torch.tensor([2, 0, 1])
    found = mixed(images, 0.75, partners)
    assert found.is_floating_point()
    for position in range(3):
        expected = 0.75 * images[position].double() + 0.25 * images[partners[position]].double()
        torch.testing.assert_close(found[position].double(), expected)


def test_share_is_folded_and_uniform() -> None:
    generator = torch.Generator().manual_seed(0)
    shares = torch.tensor([mixup_share(generator) for _ in range(4000)])
    assert shares.min() >= 0.5
    assert shares.max() <= 1
    counts = torch.histc(shares, bins=10, min=0.5, max=1)
    assert (counts - 400).abs().max() < 5 * 400**0.5


def test_share_is_drawn_from_the_given_generator_or_the_global_one() -> None:
    first = [mixup_share(torch.Generator().manual_seed(seed)) for seed in (1, 2, 1)]
    assert first[0] == first[2] != first[1]
    torch.manual_seed(1)
    assert mixup_share() == first[0]


def test_the_prediction_of_an_ensemble_is_the_mean_of_its_members() -> None:
    members = [torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)) * 5 for seed in range(3)]
    expected = torch.stack([each.softmax(1) for each in members]).mean(0)
    torch.testing.assert_close(mean_prediction(members).softmax(1), expected)
    torch.testing.assert_close(mean_prediction(members).exp().sum(1), torch.ones(4))


def test_one_network_is_no_ensemble() -> None:
    logits = torch.randn(4, 3)
    assert mean_prediction([logits]) is logits
