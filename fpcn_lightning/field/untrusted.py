"""Reads the files of a bundle from an unknown source: limited in size, every JSON value checked, printable text."""

import json
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, TypeVar

from fpcn_lightning.data.names import is_printable
from fpcn_lightning.errors import UserError

Choice = TypeVar("Choice", bound=str)

MAX_TEXT = 200  # characters
WAY_OUT = "get the bundle again from its author"


def printable(text: str) -> str:
    """The text with a question mark for every non-printable character, and spaces for tabs."""
    return "".join(character if is_printable(character) else "?" for character in text.expandtabs(4))


def read_limited(path: Path, max_bytes: int) -> bytes:
    """Read a file of a bundle, of at most `max_bytes`.

    Raises:
        UserError: it is missing, is too long, is a link to a file outside its folder, or cannot be read.
    """
    try:
        if not path.is_file():
            raise UserError(f"{path} does not exist or is no file: {WAY_OUT}.")
        if not path.resolve().is_relative_to(path.parent.resolve()):
            raise UserError(f"{path} is a link to a file outside its folder: {WAY_OUT}.")
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {WAY_OUT}.") from error
    if len(data) > max_bytes:
        raise UserError(f"{path} is longer than {max_bytes:,} bytes, which no such file needs: {WAY_OUT}.")
    return data


class CheckedMapping:
    """A JSON object from a file. Each method returns the value of a key after checking it.

    Args:
        content: the parsed object.
        place: the file and the keys that lead here, for messages.

    Attributes:
        content: the object, unchecked.

    Raises:
        UserError: `content` is no object. Every method raises it if the value is missing or invalid.
    """

    def __init__(self, content: object, place: str) -> None:
        self._place = place
        if not isinstance(content, dict):
            self.reject("", content, "an object")
        self.content: dict[str, object] = content

    @classmethod
    def parsed(cls, data: bytes, path: Path) -> "CheckedMapping":
        """The object in a JSON file."""
        try:
            return cls(json.loads(data.decode("utf-8")), f"{path}:")
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is no JSON in UTF-8 ({reprlib.repr(str(error))}): {WAY_OUT}.") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def mapping(self, key: str) -> "CheckedMapping":
        """A JSON object."""
        return CheckedMapping(self.content.get(key), f"{self._place} {key}")

    def text(self, key: str) -> str:
        """A printable text, not empty and not long."""
        return self._text(key, self.content.get(key))

    def texts(self, key: str, fewest: int, most: int) -> tuple[str, ...]:
        """A list of `fewest` to `most` different texts."""
        value = self.content.get(key)
        if not isinstance(value, list) or not fewest <= len(value) <= most:
            self.reject(key, value, f"a list of {fewest} to {most:,} texts")
        texts = tuple(self._text(key, item) for item in value)
        if len(set(texts)) < len(texts):
            self.reject(key, value, "a list without repetitions")
        return texts

    def choice(self, key: str, *choices: Choice) -> Choice:
        """A text that is one of the choices."""
        value = self.content.get(key)
        for choice in choices:
            if value == choice:
                return choice
        return self.reject(key, value, " or ".join(choices))

    def boolean(self, key: str) -> bool:
        """True or false."""
        value = self.content.get(key)
        if not isinstance(value, bool):
            self.reject(key, value, "true or false")
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        """An integer from `low` to `high`."""
        value = self.content.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.reject(key, value, f"an integer in {low}..{high}")
        return value

    def integers(self, key: str, count: int, low: int, high: int) -> list[int]:
        """A list of `count` integers from `low` to `high`."""
        values = self.content.get(key)
        if not isinstance(values, list) or len(values) != count:
            self.reject(key, values, f"a list of {count} integers")
        items = CheckedMapping({str(place): value for place, value in enumerate(values)}, f"{self._place} {key}")
        return [items.integer(place, low, high) for place in items]

    def number(self, key: str, low: float = -1e9, high: float = 1e9) -> float:
        """A number from `low` to `high`."""
        value = self.content.get(key)
        # The comparison is also false for NaN.
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            self.reject(key, value, f"a number in {low:g}..{high:g}")
        return float(value)

    def share(self, key: str) -> float | None:
        """A number in 0..1, or None."""
        return None if self.content.get(key) is None else self.number(key, 0, 1)

    def counts(self, key: str, size: int) -> list[list[float]] | None:
        """A matrix of `size` x `size` numbers of at least 0, or None, also where it is absent."""
        rows = self.content.get(key)
        if rows is None:
            return None
        if not isinstance(rows, list) or len(rows) != size:
            self.reject(key, rows, f"a list of {size} lists")
        return [self._counts(key, row, size) for row in rows]

    def _counts(self, key: str, row: object, size: int) -> list[float]:
        if not isinstance(row, list) or len(row) != size:
            self.reject(key, row, f"a list of {size} numbers")
        cells = CheckedMapping({str(place): cell for place, cell in enumerate(row)}, f"{self._place} {key}")
        return [cells.number(place, 0) for place in cells]

    def _text(self, key: str, value: object) -> str:
        if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT or not is_printable(value):
            self.reject(key, value, f"a text of 1 to {MAX_TEXT} printable characters")
        return value

    def reject(self, key: str, value: object, expected: str) -> NoReturn:
        """Raise the UserError for the invalid value of a key."""
        where = f"{self._place} {key}".strip()
        raise UserError(f"{where} is {reprlib.repr(value)} and must be {expected}: {WAY_OUT}.")
