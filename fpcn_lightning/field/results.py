"""Answers as rows of a table, the same in every format."""

import csv
import io
import json
import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fpcn_lightning.field.checked import FORMULA_SIGNS, plain
from fpcn_lightning.field.classify import Prediction

Row = dict[str, object]

DIGITS = 6


@dataclass(frozen=True)
class Table:
    """Rows with the columns path, class_1, probability_1, ..., unknown, score, perhaps prediction_set, and error.

    Args:
        classes: of the bundle.
        top: how many classes a row names, the likeliest first.
        sets: whether prediction sets were asked for.
    """

    classes: tuple[str, ...]
    top: int = 3
    sets: bool = False

    @property
    def ranks(self) -> range:
        """1 for the likeliest class, and so on, as far as they are named."""
        return range(1, min(self.top, len(self.classes)) + 1)

    @property
    def columns(self) -> list[str]:
        """Names of the columns in their order."""
        best = [f"{word}_{rank}" for rank in self.ranks for word in ("class", "probability")]
        return ["path", *best, "unknown", "score", *["prediction_set"] * self.sets, "error"]

    def row(self, prediction: Prediction) -> Row:
        """The cells of an answer by column, None where there is nothing to say."""
        row: Row = dict.fromkeys(self.columns)
        row["path"] = shown(prediction.path)
        if prediction.probabilities is None or prediction.score is None:
            row["error"] = plain(" ".join((prediction.error or "").split()))
            return row
        best = np.argsort(-prediction.probabilities, kind="stable")
        for rank, position in zip(self.ranks, best, strict=False):
            row[f"class_{rank}"] = self.classes[position]
            row[f"probability_{rank}"] = round(float(prediction.probabilities[position]), DIGITS)
        row |= {"unknown": prediction.unknown, "score": round(prediction.score, DIGITS)}
        if self.sets:
            row["prediction_set"] = list(prediction.prediction_set or ())
        return row


def shown(path: Path) -> str:
    """A path in one line of legible text that no spreadsheet takes for a formula, and that still leads to the file.

    Only bytes that are no UTF-8 and control characters are written as escapes.
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    text = "".join(_escaped(character) if unicodedata.category(character) == "Cc" else character for character in text)
    return f"./{text}" if text.startswith(FORMULA_SIGNS) else text


def csv_line(cells: Iterable[object]) -> str:
    """One line of a CSV file; truth values are true and false, lists are joined with semicolons, None is empty."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(map(_cell, cells))
    return line.getvalue()


def json_line(row: Row) -> str:
    """One line of a JSON Lines file."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _cell(value: object) -> object:
    match value:
        case bool():
            return str(value).lower()
        case list():
            return "; ".join(value)
        case _:
            return value
