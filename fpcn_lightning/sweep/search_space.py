"""The config section `search.space`, as the distributions that Optuna samples from."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fpcn_lightning.errors import UserError, closest

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_RANGE = {"low", "high", "step", "log"}


def read_space(section: Mapping[str, Any], config: Mapping[str, Any]) -> "dict[str, BaseDistribution]":
    """The distributions to sample from.

    Args:
        section: `search.space`, nested like the config itself. Each key that is searched holds either `choices`, or
            `low` and `high`, both included, and optionally `step` or `log: true`. Integers are drawn if the bounds, the
            step and the config's own value are integers.
        config: by dotted key, what decides the outcome of a run, with the value it has without a search.

    Returns:
        A distribution for each dotted key, in the order of the section.

    Raises:
        UserError: the section is empty, a key is unknown, its range is invalid or excludes its own value.
    """
    ranges = _ranges(section, config)
    if not ranges:
        raise UserError(
            "search.space is empty: name what to search, such as '+search.space.loss.center={low: 0.0, high: 1.0}'."
        )
    return {key: _distribution(key, options, config[key]) for key, options in ranges.items()}


def _ranges(section: Mapping[str, Any], config: Mapping[str, Any], prefix: str = "") -> dict[str, Mapping[str, Any]]:
    flat: dict[str, Mapping[str, Any]] = {}
    for name, node in section.items():
        key = f"{prefix}{name}"
        if isinstance(node, Mapping) and any(known.startswith(f"{key}.") for known in config):
            flat |= _ranges(node, config, f"{key}.")
        elif key not in config:
            raise UserError(f"search.space.{key}: no such key changes the result of a run{closest(key, config)}.")
        elif not isinstance(node, Mapping):
            raise UserError(
                f"search.space.{key}={node}: give a range, {{low: 0.0, high: 1.0}}, or {{choices: [a, b]}}."
            )
        else:
            flat[key] = node
    return flat


def _distribution(key: str, options: Mapping[str, Any], own: object) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    names = set(options)
    drawn: BaseDistribution
    try:
        if names == {"choices"}:
            choices = options["choices"]
            if not isinstance(choices, list):
                raise ValueError(f"choices={choices} is not a list")
            drawn, contained = CategoricalDistribution(choices), own in choices
        elif {"low", "high"} <= names <= _RANGE:
            numbers = [own, *(options[name] for name in ("low", "high", "step") if name in options)]
            drawn = (IntDistribution if all(map(_is_whole, numbers)) else FloatDistribution)(**options)
            contained = isinstance(own, int | float) and drawn.low <= own <= drawn.high
        else:
            raise ValueError(f"it has {', '.join(sorted(names)) or 'nothing'} instead of low and high, or choices")
    except (TypeError, ValueError) as error:
        raise UserError(f"search.space.{key} is invalid: {error}") from error
    if not contained:
        raise UserError(f"search.space.{key} excludes {key}={own}, which the first trial uses: widen it, or set {key}.")
    return drawn


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
