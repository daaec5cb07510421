"""Whether two configs lead to the same result: all keys count but those that name, place or show a run."""

from collections.abc import Mapping
from fnmatch import fnmatchcase

# Dotted config keys (shell patterns, where * also matches dots) that no result of a run depends on.
NEUTRAL_KEYS = (
    "name",
    "variant",
    "output",
    "overwrite",
    "checkpoint",
    "runs",
    "source",
    "report.*",
    "search.*",
    "benchmark.*",
    "export.*",
    "explain.*",
    "distillation.force",
    "distillation.store",
    "training.checkpoint_every",
    "logger*",
    "data.workers",
    "data.cache.*",
    "callbacks.*.dirpath",
    "callbacks.progress*",
    "callbacks.summary*",
    "callbacks.panels*",
    "callbacks.learning_rate*",
    "trainer.default_root_dir",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.log_every_n_steps",
)


def decisive(config: Mapping[str, object]) -> dict[str, object]:
    """The keys of a config that decide the outcome of a run, dotted, with their values."""
    return {
        key: value
        for key, value in flatten(config).items()
        if not any(fnmatchcase(key, pattern) for pattern in NEUTRAL_KEYS)
    }


def flatten(value: object, prefix: str = "") -> dict[str, object]:
    """Every leaf of a config by its dotted key; an empty mapping is a leaf."""
    if not isinstance(value, Mapping) or not value:
        return {prefix: value}
    flat: dict[str, object] = {}
    for key, item in value.items():
        flat |= flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return flat
