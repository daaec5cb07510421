"""Names the folders of a sweep's jobs after the overrides that tell them apart, where their variants do not."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from fpcn_lightning.sweep.command import assignment
from fpcn_lightning.sweep.jobs import ComposedJob

_SEED, _VARIANT = "seed", "variant"


def name_apart(rows: Sequence[Sequence[str]], jobs: Sequence[ComposedJob]) -> list[list[str]]:
    """The overrides of each job, with a variant where different jobs would have one folder.

    The variant gets `-KEY=VALUE` for each override in which such jobs differ, with the last part of the key. A sweep
    whose variant is on the command line, or in its rows, keeps it.

    Args:
        rows: overrides of each job.
        jobs: the same jobs, composed.
    """
    found = [list(words) for words in rows]
    values = [dict(map(_split, words)) for words in rows]
    groups = defaultdict(list)
    for number, job in enumerate(jobs):
        groups[job.folder].append(number)
    keys = _differing(jobs, values, groups.values())
    if not keys or any(_VARIANT in each for each in values):
        return found
    last = Counter(key.rpartition(".")[2] for key in keys)
    for words, job, own in zip(found, jobs, values, strict=True):
        parts = [
            f"{short if last[short] == 1 else key}={_plain(own[key])}"
            for key in keys
            if key in own and (short := key.rpartition(".")[2])
        ]
        if parts:
            words.append(assignment(_VARIANT, "-".join([job.variant, *parts])))
    return found


def _differing(
    jobs: Sequence[ComposedJob], values: Sequence[dict[str, str]], groups: Iterable[Sequence[int]]
) -> list[str]:
    """The keys in which jobs of one folder differ, in order of appearance."""
    keys: dict[str, None] = {}
    for numbers in groups:
        first, *others = numbers
        if all(jobs[number].identity == jobs[first].identity for number in others):
            continue
        for number in numbers:
            for key, value in values[number].items():
                if key != _SEED and any(values[other].get(key) != value for other in numbers):
                    keys[key] = None
    return list(keys)


def _split(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key.lstrip("+~"), value


def _plain(value: str) -> str:
    """A value as a part of a folder's name."""
    return re.sub(r"[^\w+=,.-]+", "_", value).strip("_") or "none"
