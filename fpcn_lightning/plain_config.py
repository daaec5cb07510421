"""Sections of the config from plain data, such as the record of a checkpoint."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def from_plain(kind: type[T], values: object, where: str = "") -> T:
    """A section of the config from plain data, such as the record of a checkpoint; what is absent has its default.

    Nothing in the data is resolved or run.

    Raises:
        ValueError: names the dotted key, below `where`, that the section does not have or whose value has another type.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"'{where}' is {type(values).__name__}, not a mapping")
    types = get_type_hints(kind)
    if unknown := values.keys() - types.keys():
        raise ValueError(f"'{where}.{sorted(map(str, unknown))[0]}' is unknown")
    return kind(**{key: _checked(types[key], value, f"{where}.{key}") for key, value in values.items()})


def _checked(expected: Any, value: object, where: str) -> Any:
    for option in get_args(expected) if get_origin(expected) in (Union, UnionType) else (expected,):
        if is_dataclass(option) and isinstance(option, type) and isinstance(value, Mapping):
            return from_plain(option, value, where)
        if get_origin(option) is list and isinstance(value, list):
            return [_checked(get_args(option)[0], item, f"{where}.{number}") for number, item in enumerate(value)]
        plain = get_origin(option) or option
        if plain is Any or (isinstance(value, plain) and not (isinstance(value, bool) and plain is not bool)):
            return value
        if plain is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
    raise ValueError(f"'{where}' is {type(value).__name__}, not {expected}")
