"""Rows of a sweep: overrides that belong together, such as a network and the recipe of its authors."""

from collections.abc import Mapping, Sequence

from fpcn_lightning.errors import UserError

SweepRow = Mapping[str, str]
"""By key, the word that sets it, such as {"model": "model=api_net", "recipe": "recipe=api_net_authors"}."""


def narrow(rows: Sequence[SweepRow], given: Mapping[str, Sequence[str]]) -> list[SweepRow]:
    """The rows that the command line leaves.

    A key of the command line that occurs in the rows keeps the rows that have one of its values. Where no row has one
    of them, it keeps all, because it holds for the rows that do not set the key.

    Args:
        rows: of the sweep.
        given: words of the command line by key, one for each value, such as {"model": ["model=api_net", "model=cin"]}.

    Raises:
        UserError: some values are in no row, or no row has all that is asked for.
    """
    kept, asked = list(rows), list[str]()
    for key, words in given.items():
        known = list(dict.fromkeys(row[key] for row in rows if key in row))
        unknown = [word for word in words if word not in known]
        if not known:
            continue
        asked += words
        if unknown == list(words) and any(key not in row for row in rows):
            # A default, which the rows that are kept must leave room for.
            kept = kept if any(key not in row for row in kept) else []
        elif unknown:
            raise UserError(
                f"no row of this sweep has {' or '.join(unknown)}: choose from {', '.join(known)}, or change "
                "hydra.sweeper.rows."
            )
        else:
            kept = [row for row in kept if row.get(key) in words]
    if rows and not kept:
        raise UserError(f"no row of this sweep agrees with all of {' '.join(asked)}: remove some of these words.")
    return kept


def combine(combinations: Sequence[Sequence[str]], rows: Sequence[SweepRow]) -> list[list[str]]:
    """Every combination with every row; the first row of all is followed by the second row of the same combination.

    Args:
        combinations: words KEY=VALUE of the other keys. A key that a row sets is taken from the row.
        rows: empty: the combinations alone.

    Returns:
        The words of each job, each job once.
    """
    if not rows:
        return [list(words) for words in combinations]
    jobs = [
        (*(word for word in words if word.partition("=")[0] not in row), *row.values())
        for words in combinations
        for row in rows
    ]
    return [list(job) for job in dict.fromkeys(jobs)]
