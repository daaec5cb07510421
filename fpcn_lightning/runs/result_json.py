"""The text of `result.json`."""

import json
import math
import re
import uuid
from typing import Any


def as_json(record: Any) -> str:
    """JSON with a line for each value, except for a list of integers, which is a line as a whole.

    A confusion matrix of 1,000 classes would otherwise be a million lines.
    """
    lists: list[list[int]] = []
    token = uuid.uuid4().hex

    def with_tokens(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: with_tokens(item) for key, item in value.items()}
        if isinstance(value, list) and value and all(type(item) is int for item in value):
            lists.append(value)
            return f"{token}{len(lists) - 1}"
        return [with_tokens(item) for item in value] if isinstance(value, list) else value

    text = json.dumps(with_tokens(record), indent=2, ensure_ascii=False, allow_nan=False)
    return re.sub(rf'"{token}(\d+)"', lambda found: json.dumps(lists[int(found[1])]), text)


def without_non_finite(value: object) -> Any:
    """A record with null in place of NaN and infinite numbers, which JSON does not have."""
    if isinstance(value, dict):
        return {key: without_non_finite(item) for key, item in value.items()}
    if isinstance(value, list) and all(type(item) is int for item in value):
        return value
    if isinstance(value, (list, tuple)):
        return [without_non_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
