"""Balanced, without repeats, independent of the number of ranks and of history; and every image once in evaluation."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpcn_lightning.data.sampler import PADDING, BalancedBatches, EveryImageOnce, Step
from fpcn_lightning.errors import UserError

Drawn = list[list[Step]]
"""Steps by epoch."""

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=4)


def labels_of(sizes: Sequence[int]) -> list[int]:
    """Labels of classes of these sizes, mixed up so that no class is a range of positions."""
    waiting, labels = list(sizes), []
    while any(waiting):
        for label in range(len(sizes)):
            if waiting[label]:
                waiting[label] -= 1
                labels.append(label)
    return labels


def balanced(sizes: Sequence[int], **changes: Any) -> BalancedBatches:
    labels = labels_of(sizes)
    options = {"classes": len(sizes), "samples_per_class": 14, "epoch_length": 5, "seed": 0, **changes}
    return BalancedBatches(labels, range(len(labels)), **options)


def epochs_of(sampler: BalancedBatches, count: int) -> Drawn:
    drawn = []
    for epoch in range(count):
        sampler.set_epoch(epoch)
        drawn.append(list(sampler))
    return drawn


def images_of(drawn: Drawn) -> list[tuple[int, ...]]:
    return [step.images for epoch in drawn for step in epoch]


@settings(max_examples=80, deadline=None)
@given(
    sizes=SIZES,
    samples=st.integers(1, 9),
    world_size=st.integers(1, 3),
    epoch_length=st.integers(1, 9),
    seed=st.integers(0, 2**32),
)
def test_balanced_and_without_repeats(
    sizes: list[int], samples: int, world_size: int, epoch_length: int, seed: int
) -> None:
    """Counted image by image over three epochs, for all sizes: smaller than a batch, or not a multiple of it."""
    labels = labels_of(sizes)
    ranks = [
        images_of(
            epochs_of(
                balanced(
                    sizes,
                    samples_per_class=samples,
                    epoch_length=epoch_length,
                    seed=seed,
                    rank=rank,
                    world_size=world_size,
                ),
                3,
            )
        )
        for rank in range(world_size)
    ]
    history: dict[int, list[int]] = {label: [] for label in range(len(sizes))}
    for together in zip(*ranks, strict=True):
        for images in together:
            assert Counter(labels[image] for image in images) == dict.fromkeys(range(len(sizes)), samples)
        for label, size in enumerate(sizes):
            of_class = [[image for image in images if labels[image] == label] for images in together]
            if size >= samples:
                assert all(len(set(part)) == samples for part in of_class)
            everywhere = [image for part in of_class for image in part]
            if size >= samples * world_size:
                assert len(set(everywhere)) == samples * world_size
            history[label] += everywhere
    for label, size in enumerate(sizes):
        passes = [history[label][start : start + size] for start in range(0, len(history[label]), size)]
        assert all(len(set(one)) == size for one in passes[:-1])
        assert len(set(passes[-1])) == len(passes[-1])


@settings(max_examples=30, deadline=None)
@given(sizes=SIZES, epoch=st.integers(0, 12), samples=st.integers(1, 9))
def test_an_epoch_depends_on_its_number_alone(sizes: list[int], epoch: int, samples: int) -> None:
    through = epochs_of(balanced(sizes, samples_per_class=samples), epoch + 1)
    direct = balanced(sizes, samples_per_class=samples)
    direct.set_epoch(epoch)
    assert list(direct) == through[epoch]
    direct.set_epoch(0)
    assert list(direct) == through[0]


def test_steps_name_their_epoch_and_repeat_when_iterated_again() -> None:
    sampler = balanced([30, 20])
    sampler.set_epoch(4)
    first = list(sampler)
    assert {step.epoch for step in first} == {4}
    assert list(sampler) == first
    abandoned = iter(sampler)
    next(abandoned)
    assert list(sampler) == first


def test_steps_of_a_class_do_not_depend_on_the_other_classes_or_the_order_given() -> None:
    labels = [0] * 30 + [1] * 20
    options: dict[str, Any] = {"samples_per_class": 4, "epoch_length": 6, "seed": 0}
    both = list(BalancedBatches(labels, range(50), classes=2, **options))
    alone = list(BalancedBatches(labels, range(30), classes=1, **options))
    shuffled = list(BalancedBatches(labels, [*range(49, -1, -1)], classes=2, **options))
    assert [step.images[:4] for step in both] == [step.images for step in alone]
    assert shuffled == both


def test_only_the_given_images_are_drawn() -> None:
    labels = [0, 1] * 20
    sampler = BalancedBatches(labels, range(3, 30), classes=2, samples_per_class=2, epoch_length=50, seed=0)
    assert {image for step in sampler for image in step.images} == set(range(3, 30))


@pytest.mark.parametrize("sizes", [[40, 33, 15], [14, 100], [9, 5, 30]])
def test_two_ranks_of_seven_see_what_one_of_fourteen_sees(sizes: list[int]) -> None:
    alone = images_of(epochs_of(balanced(sizes), 4))
    ranks = [
        images_of(epochs_of(balanced(sizes, samples_per_class=7, rank=rank, world_size=2), 4)) for rank in range(2)
    ]
    for whole, one, other in zip(alone, *ranks, strict=True):
        assert Counter(whole) == Counter(one) + Counter(other)
        if min(sizes) >= 14:
            assert not set(one) & set(other)


def test_seeds_epochs_and_classes_have_different_orders() -> None:
    drawn = {seed: images_of(epochs_of(balanced([60, 60], seed=seed), 2)) for seed in (0, 1)}
    assert drawn[0] != drawn[1]
    assert drawn[0][:5] != drawn[0][5:]
    labels = labels_of([60, 60])
    members = [[image for image, label in enumerate(labels) if label == number] for number in range(2)]
    ranks = [[members[number].index(image) for image in drawn[0][0] if labels[image] == number] for number in range(2)]
    assert ranks[0] != ranks[1]


def test_every_image_is_as_likely_as_any_other_to_share_a_batch() -> None:
    """Each pass has a new order: over many epochs each image is in a batch with each other one of its class."""
    met = {(one, other) for step in images_of(epochs_of(balanced([30]), 40)) for one in step for other in step}
    assert len(met) == 30 * 30


@pytest.mark.parametrize(
    ("images", "steps"), [(35_334, 841), (35_658, 848), (42, 1), (43, 1), (84, 1), (85, 2), (5, 1)]
)
def test_the_published_epoch(images: int, steps: int) -> None:
    """The authors' loader: ceil(N / 42) - 1 batches, also where 42 divides N; never none at all."""
    third = images // 3
    sampler = balanced([third, third, images - 2 * third], epoch_length="published")
    assert len(sampler) == steps
    halves = balanced([third, third, images - 2 * third], epoch_length="published", samples_per_class=7, world_size=2)
    assert len(halves) == steps


def test_the_published_epoch_on_the_published_sizes() -> None:
    """11,774 draws of each class: 66.5 % of the basalts are seen in an epoch, each dolomite once or twice."""
    sizes = {"basalt": 17_700, "dolomite": 7_130, "marble": 10_504}
    assert sum(sizes.values()) == int(0.9 * 39_260)
    labels = [label for label, size in enumerate(sizes.values()) for _ in range(size)]
    sampler = BalancedBatches(
        labels, range(len(labels)), classes=3, samples_per_class=14, epoch_length="published", seed=0
    )
    seen = Counter(image for step in sampler for image in step.images)
    counts = [Counter(count for image, count in seen.items() if labels[image] == label) for label in range(3)]
    assert counts[0] == {1: 11_774}
    assert counts[1] == {1: 2 * 7_130 - 11_774, 2: 11_774 - 7_130}
    assert counts[2] == {1: 2 * 10_504 - 11_774, 2: 11_774 - 10_504}
    assert round(11_774 / 17_700, 3) == 0.665


@pytest.mark.parametrize(("sizes", "steps"), [([28, 5], 2), ([29, 5], 3), ([14, 14], 1), ([3, 1], 1)])
def test_the_longest_class(sizes: list[int], steps: int) -> None:
    sampler = balanced(sizes, epoch_length="longest_class")
    assert len(sampler) == len(list(sampler)) == steps
    assert {image for step in sampler for image in step.images} == set(range(sum(sizes)))


def test_a_number_of_steps() -> None:
    sampler = balanced([20, 20], epoch_length=7)
    assert len(sampler) == len(list(sampler)) == 7


@pytest.mark.parametrize("length", ["longest", "7", "", 0, -3])
def test_impossible_epoch_lengths(length: str | int) -> None:
    with pytest.raises(UserError, match=rf"data\.epoch_length={length} must be published, longest_class or a number"):
        balanced([20, 20], epoch_length=length)


def test_impossible_batches() -> None:
    with pytest.raises(UserError, match=r"data\.samples_per_class=0"):
        balanced([20, 20], samples_per_class=0)
    with pytest.raises(UserError, match="class number 1 has no training image"):
        balanced([20, 0, 3])


@settings(max_examples=80, deadline=None)
@given(count=st.integers(0, 60), batch_size=st.integers(1, 9), world_size=st.integers(1, 4))
def test_every_image_exactly_once(count: int, batch_size: int, world_size: int) -> None:
    images = range(100, 100 + count)
    ranks = [list(EveryImageOnce(images, batch_size, rank, world_size)) for rank in range(world_size)]
    assert len({len(steps) for steps in ranks}) == 1
    rows = [image for steps in ranks for step in steps for image in step.images]
    assert sorted(image for image in rows if image != PADDING) == list(images)
    assert {len(step.images) for steps in ranks for step in steps} <= {batch_size}
    assert all(step.epoch is None for steps in ranks for step in steps)
    assert len(rows) < count + batch_size * world_size  # no step of nothing but padding on all ranks
    assert all(
        len(EveryImageOnce(images, batch_size, rank, world_size)) == len(ranks[rank]) for rank in range(world_size)
    )


def test_one_process_keeps_the_order_and_pads_the_end() -> None:
    sampler = EveryImageOnce([5, 3, 8, 1, 9], 2)
    assert [step.images for step in sampler] == [(5, 3), (8, 1), (9, -1)]
    assert list(sampler) == list(sampler)


def test_an_impossible_batch_size() -> None:
    with pytest.raises(UserError, match=r"data\.evaluation_batch_size=0"):
        EveryImageOnce([1, 2], 0)


@pytest.mark.parametrize(("classes", "drawn", "ranks"), [(25, 6, 1), (7, 3, 1), (5, 4, 2), (9, 9, 1)])
def test_classes_take_turns_and_images_are_used_evenly(classes: int, drawn: int, ranks: int) -> None:
    labels = [number % classes for number in range(classes * 8)]
    samplers = [
        BalancedBatches(
            labels,
            range(len(labels)),
            classes=classes,
            samples_per_class=2,
            classes_per_batch=drawn,
            epoch_length=classes * 4,
            seed=3,
            rank=rank,
            world_size=ranks,
        )
        for rank in range(ranks)
    ]
    together = [sum((step.images for step in steps), ()) for steps in zip(*samplers, strict=True)]
    for images in together:
        assert len(set(images)) == len(images) == 2 * ranks * drawn
        assert len({labels[image] for image in images}) == drawn
    # After a whole number of passes over classes and images, each image has been drawn equally often.
    uses = Counter(image for images in together for image in images)
    assert set(uses.values()) == {4 * drawn * 2 * ranks * classes // len(labels)}


def test_without_turns_the_steps_are_those_of_all_classes() -> None:
    labels = [number % 4 for number in range(40)]
    options: dict[str, Any] = {"classes": 4, "samples_per_class": 3, "epoch_length": 9, "seed": 1}
    steps = [list(BalancedBatches(labels, range(40), **options, classes_per_batch=each)) for each in (None, 4, 9)]
    assert steps[0] == steps[1] == steps[2]


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a_resumed_epoch_begins_at_its_step_with_the_same_images_on_every_rank(ranks: int) -> None:
    def epochs(rank: int, resumed: tuple[int, int]) -> list[list[Step]]:
        sampler = BalancedBatches(
            [0] * 9 + [1] * 7,
            range(16),
            classes=2,
            samples_per_class=4 // ranks,
            epoch_length=5,
            seed=3,
            rank=rank,
            world_size=ranks,
        )
        sampler.resumed = resumed
        drawn = []
        for epoch in (1, 2):
            sampler.set_epoch(epoch)
            drawn.append(list(sampler))
        return drawn

    def images(step: int, resumed: tuple[int, int]) -> list[int]:
        """Those of step `step` before the end of epoch 1, of all ranks together."""
        return sorted(image for rank in range(ranks) for image in epochs(rank, resumed)[0][-step].images)

    for rank in range(ranks):
        whole, rest = epochs(rank, (0, 0)), epochs(rank, (1, 3))
        assert rest == [whole[0][3:], whole[1]]
    alone = BalancedBatches([0] * 9 + [1] * 7, range(16), classes=2, samples_per_class=4, epoch_length=5, seed=3)
    alone.resumed = (1, 3)
    alone.set_epoch(1)
    assert [images(2, (1, 3)), images(1, (1, 3))] == [sorted(step.images) for step in alone]
