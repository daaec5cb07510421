"""Names of classes: which are equal, and which are refused because bundles and spreadsheets could not hold them."""

import logging
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from fpcn_lightning.runs.csv_text import FORMULA_SIGNS

logger = logging.getLogger(__name__)

MAX_CLASSES = 10_000
MAX_NAME = 200  # characters

# Persian, Urdu and Indic scripts need these to spell words; other non-printable characters can mislead a reader.
_JOINERS = "\u200c\u200d"


def is_printable(text: str) -> bool:
    """Whether a text is Unicode without control characters, terminal escapes and changes of direction."""
    return all(character.isprintable() or character in _JOINERS for character in text)


def escaped(text: str) -> str:
    """A file name in one printable line: bytes that are not UTF-8, and control characters, as escapes."""
    text = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(_escape(character) if unicodedata.category(character) == "Cc" else character for character in text)


def class_key(name: str) -> str:
    """What class names are compared by: without letter case, Unicode form and blanks at the ends."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()


def class_problem(name: str) -> str | None:
    """Why a text cannot be the name of a class, as the rest of a sentence about it; None if it can.

    Training and the reader of a bundle refuse the same names.
    """
    if not name.strip():
        return "is empty"
    if len(name) > MAX_NAME:
        return f"has more than {MAX_NAME} characters"
    if not is_printable(name):
        return "has characters that are not UTF-8 or cannot be printed"
    if name.startswith(FORMULA_SIGNS):
        return f"begins with {name[0]}, so that spreadsheets treat it as a formula"
    return None


def spellings(labels: Iterable[str], known: Sequence[str] | None = None) -> Mapping[str, str]:
    """One spelling for all labels that are equal by `class_key`, by label; a warning names those that differ.

    Args:
        labels: one for each image.
        known: the classes of a network: a label that is equal to one of them gets its spelling. None uses the spelling
            of most images, in Unicode form NFC and without blanks at the ends.
    """
    counts = Counter(labels)
    equal: dict[str, list[str]] = defaultdict(list)
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        equal[class_key(label)].append(label)
    of_key = {key: unicodedata.normalize("NFC", group[0]).strip() for key, group in equal.items()}
    if known is not None:
        by_key = defaultdict(list)
        for name in known:
            by_key[class_key(name)].append(name)
        # A network of an earlier version may have two classes that are equal today: then nothing is guessed.
        of_key |= {key: names[0] for key, names in by_key.items() if len(names) == 1}
    chosen = {
        label: label if label in (known or ()) else of_key[key] for key, group in equal.items() for label in group
    }
    _warn_of_merged(chosen)
    return chosen


def _warn_of_merged(chosen: Mapping[str, str]) -> None:
    written = defaultdict(set)
    for label, spelling in chosen.items():
        written[spelling].add(label)
    merged = {spelling: sorted(labels) for spelling, labels in written.items() if labels != {spelling}}
    if merged:
        pairs = "; ".join(f"{', '.join(map(ascii, labels))} as {spelling}" for spelling, labels in merged.items())
        logger.warning(
            "class names are compared without letter case, Unicode form and blanks at the ends, and taken %s", pairs
        )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
