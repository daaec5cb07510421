"""docs/troubleshooting.md quotes messages of the code as they are."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^\| (?:``(.+?)``|`(.+?)`) \|", PAGE, re.MULTILINE)


@cache
def literals() -> str:
    """Every piece of text in the package, one a line, between the values that f-strings insert."""
    found = []
    for path in (ROOT / "fpcn_lightning").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(" ".join(node.value.split()))
    return "\n".join(found)


def test_the_page_quotes_messages() -> None:
    assert len(MESSAGES) > 40


@pytest.mark.parametrize("message", [one or other for one, other in MESSAGES])
def test_a_message_is_in_the_code(message: str) -> None:
    parts = [part.strip(" ()") for part in message.split("...")]
    assert [part for part in parts if part not in literals()] == []
