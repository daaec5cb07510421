"""Reading JSON that a stranger wrote: every value is checked when it is taken out, and nothing else is looked at."""

import json
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, TypeVar

from fpcn_lightning.errors import UserError

Choice = TypeVar("Choice", bound=str)

LONGEST_TEXT = 200
FORMULA_SIGNS = tuple("=+-@")  # a cell that begins so is computed by a spreadsheet
WAY_OUT = "get the bundle again from whoever made it"

# Persian, Urdu and the scripts of India spell words with them; all else that does not print can mislead a reader.
_JOINERS = "\u200c\u200d"


def is_plain(text: str) -> bool:
    """Whether a text shows what it holds: no control characters, terminal escapes or changes of direction."""
    return all(character.isprintable() or character in _JOINERS for character in text)


def plain(text: str) -> str:
    """The text with a question mark for every character that does not print, and spaces for tabs."""
    return "".join(character if is_plain(character) else "?" for character in text.expandtabs(4))


def read_limited(path: Path, most_bytes: int) -> bytes:
    """Read a file of a bundle that holds at most so many bytes.

    Raises:
        UserError: it is missing, too long, leads out of its folder by a link, or cannot be read.
    """
    try:
        if not path.is_file():
            raise UserError(f"{path} does not exist or is no file: {WAY_OUT}.")
        if not path.resolve().is_relative_to(path.parent.resolve()):
            raise UserError(f"{path} is a link to a file outside its folder: {WAY_OUT}.")
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {WAY_OUT}.") from error
    if len(data) > most_bytes:
        raise UserError(f"{path} is longer than {most_bytes:,} bytes, which no such file needs: {WAY_OUT}.")
    return data


class Section:
    """A JSON object out of a file.

    Args:
        content: what was parsed.
        place: the file and the keys that lead here, for messages.

    Attributes:
        content: the object, unchecked.

    Raises:
        UserError: `content` is no object; and so does every method where the value is missing or not as asked for.
    """

    def __init__(self, content: object, place: str) -> None:
        self._place = place
        if not isinstance(content, dict):
            self.refuse("", content, "an object")
        self.content: dict[str, object] = content

    @classmethod
    def parsed(cls, data: bytes, path: Path) -> "Section":
        """The object that a JSON file holds."""
        try:
            return cls(json.loads(data.decode("utf-8")), f"{path}:")
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is no JSON in UTF-8 ({reprlib.repr(str(error))}): {WAY_OUT}.") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def section(self, key: str) -> "Section":
        """The object under a key."""
        return Section(self.content.get(key), f"{self._place} {key}")

    def text(self, key: str) -> str:
        """The text under a key: not empty, not long, and plain."""
        return self._text(key, self.content.get(key))

    def texts(self, key: str, fewest: int, most: int) -> tuple[str, ...]:
        """The list of different texts under a key."""
        value = self.content.get(key)
        if not isinstance(value, list) or not fewest <= len(value) <= most:
            self.refuse(key, value, f"a list of {fewest} to {most:,} texts")
        texts = tuple(self._text(key, item) for item in value)
        if len(set(texts)) < len(texts):
            self.refuse(key, value, "a list without repetitions")
        return texts

    def choice(self, key: str, *choices: Choice) -> Choice:
        """The text under a key, which is one of the choices."""
        value = self.content.get(key)
        for choice in choices:
            if value == choice:
                return choice
        return self.refuse(key, value, " or ".join(choices))

    def flag(self, key: str) -> bool:
        """The truth value under a key."""
        value = self.content.get(key)
        if not isinstance(value, bool):
            self.refuse(key, value, "true or false")
        return value

    def whole(self, key: str, low: int, high: int) -> int:
        """The whole number under a key, from `low` to `high`."""
        value = self.content.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.refuse(key, value, f"a whole number in {low}..{high}")
        return value

    def number(self, key: str, low: float = -1e9, high: float = 1e9) -> float:
        """The number under a key, from `low` to `high`."""
        value = self.content.get(key)
        # The comparison fails for what is not a number (NaN), too.
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            self.refuse(key, value, f"a number in {low:g}..{high:g}")
        return float(value)

    def share(self, key: str) -> float | None:
        """The share under a key, 0..1, or None."""
        return None if self.content.get(key) is None else self.number(key, 0, 1)

    def _text(self, key: str, value: object) -> str:
        if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_TEXT or not is_plain(value):
            self.refuse(key, value, f"a text of 1 to {LONGEST_TEXT} characters that print")
        return value

    def refuse(self, key: str, value: object, wanted: str) -> NoReturn:
        """Raise the UserError for a value under a key that is not what was wanted."""
        where = f"{self._place} {key}".strip()
        raise UserError(f"{where} is {reprlib.repr(value)} and must be {wanted}: {WAY_OUT}.")
