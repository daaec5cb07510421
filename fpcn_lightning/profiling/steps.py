"""Training steps in turns with the one that each is compared with: time, memory and page faults."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fpcn_lightning.profiling.child import Child, Cost, FailedChildError
from fpcn_lightning.profiling.results import BenchmarkRow, missing
from fpcn_lightning.profiling.rounds import Spread, ratios, spread
from fpcn_lightning.profiling.step_forms import StepForm

PART = "step"
WARM_UP = 2  # steps
MILLISECONDS, MEGABYTES, FAULTS = "ms an image", "MB", "faults an image"


@dataclass(frozen=True)
class ComparedStep:
    """A step, what its allocator does, and what it is compared with.

    Attributes:
        form: of the step.
        reference: the name of the step that it is measured in turns with; None: it is compared with nothing.
        keep_memory: as in a training of this package; off: as the system's allocator does by itself.
    """

    form: StepForm
    reference: str | None = None
    keep_memory: bool = True


@dataclass(frozen=True)
class _Taken:
    """What a process has measured; lists have a value for each round."""

    milliseconds: list[float]
    faults: list[float]
    megabytes: float | None


def measure_steps(steps: Mapping[str, ComparedStep], rounds: int, threads: int) -> Iterator[BenchmarkRow]:
    """Time, peak memory and page faults of each step, as soon as they are known.

    Each step has a process of its own, and is measured in turns with its reference, so that only two of them need
    memory at the same time. The first steps of a process are not counted. A step that fails, and what is compared with
    it, are rows without a value.

    Args:
        steps: by name, each after its reference.
        rounds: steps of each.
        threads: of torch.
    """
    for name, step in steps.items():
        compared = {other: each for other, each in steps.items() if each.reference == name}
        if compared or step.reference is None:
            yield from _next_to(name, step, compared, rounds, threads)


def _next_to(
    name: str, step: ComparedStep, compared: Mapping[str, ComparedStep], rounds: int, threads: int
) -> Iterator[BenchmarkRow]:
    """The rows of what is compared with one step, and its own if it is compared with nothing."""
    with contextlib.ExitStack() as stack:
        try:
            first = stack.enter_context(_child(step, threads))
            own = _alone(name, _in_turns([first], [step], rounds)[0]) if step.reference is None else []
        except FailedChildError as error:
            if step.reference is None:
                yield missing(PART, name, MILLISECONDS, str(error))
            for other in compared:
                yield missing(PART, other, MILLISECONDS, f"{name}, which it is compared with, failed: {error}")
            return
        yield from own
        for other, each in compared.items():
            try:
                with _child(each, threads) as second:
                    below, above = _in_turns([first, second], [step, each], rounds)
            except FailedChildError as error:
                yield missing(PART, other, MILLISECONDS, str(error))
                continue
            yield from _compared(other, name, above, below)


def _child(step: ComparedStep, threads: int) -> contextlib.AbstractContextManager[Child]:
    return Child(step.form.make, threads, keep_memory=step.keep_memory)


def _in_turns(children: Sequence[Child], steps: Sequence[ComparedStep], rounds: int) -> list[_Taken]:
    costs: list[list[Cost]] = [[] for _ in children]
    for number in range(WARM_UP + rounds):
        for taken, child in zip(costs, children, strict=True):
            cost = child.call()
            if number >= WARM_UP:
                taken.append(cost)
    return [_taken(*each) for each in zip(costs, children, steps, strict=True)]


def _taken(costs: Sequence[Cost], child: Child, step: ComparedStep) -> _Taken:
    images, memory = step.form.images, child.memory()
    known = memory.before is not None and memory.peak is not None and step.form.device == "cpu"
    used = memory.peak - memory.before if known else memory.peak  # type: ignore[operator]
    return _Taken(
        [1000 * cost.seconds / images for cost in costs],
        [cost.page_faults / images for cost in costs if cost.page_faults is not None],
        None if used is None else used / 1e6,
    )


def _alone(name: str, taken: _Taken) -> list[BenchmarkRow]:
    rows = [BenchmarkRow(PART, name, MILLISECONDS, spread(taken.milliseconds))]
    if taken.megabytes is not None:
        rows.append(BenchmarkRow(PART, f"{name}: peak memory", MEGABYTES, _single(taken.megabytes)))
    if taken.faults:
        rows.append(BenchmarkRow(PART, f"{name}: page faults", FAULTS, spread(taken.faults)))
    return rows


def _compared(name: str, reference: str, taken: _Taken, other: _Taken) -> list[BenchmarkRow]:
    times, *further = _alone(name, taken)
    ratio = ratios(taken.milliseconds, other.milliseconds)
    rows = [BenchmarkRow(PART, times.what, times.unit, times.value, ratio, reference)]
    for row in further:
        known = row.unit == MEGABYTES and row.value is not None and other.megabytes
        rows.append(
            BenchmarkRow(PART, row.what, row.unit, row.value, _single(row.value.median / other.megabytes), reference)
            if known and row.value is not None and other.megabytes
            else row
        )
    return rows


def _single(value: float) -> Spread:
    return spread([value])
