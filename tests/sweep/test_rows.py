"""Rows of a sweep: what the command line leaves of them, and what they are combined with."""

import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.sweep.rows import SweepRow, combine, narrow


def row(*words: str) -> SweepRow:
    return {word.partition("=")[0]: word for word in words}


PLAIN, API, CIN = row("model=plain"), row("model=api_net"), row("model=cin")
API_AUTHORS, CIN_AUTHORS = row("model=api_net", "recipe=api_net_authors"), row("model=cin", "recipe=cin_authors")
ROWS = [PLAIN, API, API_AUTHORS, CIN, CIN_AUTHORS]


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ([], ROWS),
        (["seed=1"], ROWS),
        (["model=api_net"], [API, API_AUTHORS]),
        (["model=cin,plain"], [PLAIN, CIN, CIN_AUTHORS]),
        (["recipe=cin_authors"], [CIN_AUTHORS]),
        (["model=cin", "recipe=cin_authors,api_net_authors"], [CIN_AUTHORS]),
        (["recipe=paper"], ROWS),  # of the rows that do not set it
        (["model=cin", "recipe=paper"], [CIN, CIN_AUTHORS]),
    ],
)
def test_a_key_of_the_rows_keeps_those_with_its_values(words: list[str], kept: list[SweepRow]) -> None:
    assert narrow(ROWS, values(words)) == kept


@pytest.mark.parametrize(
    ("rows", "words", "message"),
    [
        (ROWS, ["model=lenet"], "no row of this sweep has model=lenet: choose from model=plain, model=api_net"),
        (ROWS, ["model=cin,lenet,vgg16"], "has model=lenet or model=vgg16: choose from"),
        (ROWS, ["recipe=paper,cin_authors"], "has recipe=paper: choose from recipe=api_net_authors"),
        (ROWS, ["model=plain", "recipe=cin_authors"], "agrees with all of model=plain recipe=cin_authors"),
        ([PLAIN, CIN_AUTHORS], ["model=cin", "recipe=paper", "seed=1"], "with all of model=cin recipe=paper: remove"),
    ],
)
def test_words_that_leave_no_row_are_named(rows: list[SweepRow], words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        narrow(rows, values(words))


def test_every_row_is_combined_with_every_combination() -> None:
    assert combine([["seed=0"], ["seed=1"]], [PLAIN, CIN_AUTHORS]) == [
        ["seed=0", "model=plain"],
        ["seed=0", "model=cin", "recipe=cin_authors"],
        ["seed=1", "model=plain"],
        ["seed=1", "model=cin", "recipe=cin_authors"],
    ]
    assert combine([["seed=0"], ["seed=1"]], []) == [["seed=0"], ["seed=1"]]


def test_a_row_wins_over_a_word_and_no_job_is_run_twice() -> None:
    combinations = [["model=cin", "recipe=paper"], ["model=cin", "recipe=small"]]
    assert combine(combinations, [CIN, CIN_AUTHORS]) == [
        ["recipe=paper", "model=cin"],
        ["model=cin", "recipe=cin_authors"],
        ["recipe=small", "model=cin"],
    ]


def values(words: list[str]) -> dict[str, list[str]]:
    pairs = (word.split("=") for word in words)
    return {key: [f"{key}={value}" for value in listed.split(",")] for key, listed in pairs}
