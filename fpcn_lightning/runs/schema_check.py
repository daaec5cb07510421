"""Checks a value read from JSON against a type annotation."""

from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict


def check(value: object, expected: Any, where: str = "") -> None:
    """Compare `value` with the annotation `expected`: TypedDict, dict, list, Literal, plain types, and `... | None`.

    Keys beyond a TypedDict are allowed.

    Raises:
        ValueError: names the first dotted key below `where` that does not match.
    """
    origin, arguments = get_origin(expected), get_args(expected)
    if is_typeddict(expected):
        _check_keys(_instance(value, dict, where), expected, where)
    elif origin in (Union, UnionType):
        # The contracts have one kind of union: a type, or null in the last place.
        if value is not None:
            check(value, arguments[0], where)
    elif origin is Literal:
        if value not in arguments:
            raise ValueError(f"'{where}' is {value!r}, not one of {', '.join(map(repr, arguments))}")
    elif origin in (dict, list):
        container = _instance(value, origin, where)
        if arguments[-1] is int and origin is list and all(type(item) is int for item in container):
            return  # a confusion matrix has millions of numbers
        for key, item in container.items() if origin is dict else enumerate(container):
            check(item, arguments[-1], f"{where}.{key}")
    else:
        _instance(value, expected, where)


def _check_keys(record: dict[str, object], expected: Any, where: str) -> None:
    for key, annotation in get_type_hints(expected).items():
        place = f"{where}.{key}".lstrip(".")
        if key not in record:
            if key in expected.__optional_keys__:
                continue
            raise ValueError(f"'{place}' is missing")
        check(record[key], annotation, place)


def _instance(value: object, kind: type, where: str) -> Any:
    accepted = (int, float) if kind is float else kind
    # In Python a bool is an int, in the contract it is not.
    stray_bool = isinstance(value, bool) and kind in (int, float)
    if stray_bool or not isinstance(value, accepted):
        raise ValueError(f"'{where or 'the record'}' is {type(value).__name__}, not {kind.__name__}")
    return value
