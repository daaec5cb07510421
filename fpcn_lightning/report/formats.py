"""Numbers and rows as the cells of a table: percent, with no more digits than the error carries."""

from collections.abc import Iterable, Sequence

from fpcn_lightning.report.rows import Row

NOT_KNOWN = "-"
NEVER = "never"


def seeds_text(seeds: Sequence[int]) -> str:
    """`seed 0`, or `seeds 0, 1, 2`."""
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {seeds_cell(seeds)}"


def seeds_heading(rows: Iterable[Sequence[int]]) -> str:
    """The heading above the seeds of rows: `seed` where each has one."""
    return "seed" if all(len(seeds) == 1 for seeds in rows) else "seeds"


def seeds_cell(seeds: Sequence[int]) -> str:
    """Seeds as a list."""
    return ", ".join(map(str, seeds))


def percent(fraction: float | None, decimals: int = 1) -> str:
    """A share of one in percent, without the sign of percent."""
    # Adding 0.0 takes the sign from a negative zero.
    return NOT_KNOWN if fraction is None else f"{round(100 * fraction, decimals) + 0.0:.{decimals}f}"


def with_interval(value: float | None, low: float | None, high: float | None, decimals: int = 1) -> str:
    """A difference of shares in points of percent, signed, and its interval."""
    if value is None:
        return NOT_KNOWN
    signed = f"{round(100 * value, decimals) + 0.0:+.{decimals}f}"
    return signed if low is None else f"{signed} [{percent(low, decimals)}, {percent(high, decimals)}]"


def three_digits(number: float | None) -> str:
    """Three digits at least, no less than whole numbers, and no powers of ten."""
    if number is None:
        return NOT_KNOWN
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def decimals_for(error: float | None) -> int:
    """Decimals of a number in percent whose standard error, a share of one, is this."""
    # An error of ten points or more leaves no information behind the decimal point.
    return 0 if error is not None and error >= 0.0995 else 1


def first_line(message: str, length: int = 80) -> str:
    """The first line of a message, cut where it is too long for a cell."""
    line = message.strip().partition("\n")[0]
    return line if len(line) <= length else line[: length - 1] + "…"


def accuracy_cell(row: Row) -> str:
    """The accuracy in percent, with the binomial standard error of one test set where there is one."""
    decimals = decimals_for(row.accuracy_standard_error)
    accuracy = percent(row.accuracy, decimals)
    if row.accuracy_standard_error is None:
        return accuracy
    return f"{accuracy} ± {percent(row.accuracy_standard_error, decimals)}"


def interval_cell(row: Row) -> str:
    """The interval of the accuracy in percent."""
    decimals = decimals_for(row.accuracy_standard_error)
    ends = (percent(row.accuracy_low, decimals), percent(row.accuracy_high, decimals))
    return NOT_KNOWN if row.accuracy_low is None else f"[{ends[0]}, {ends[1]}]"


def difference_cell(row: Row) -> str:
    """The difference to the reference in points of percent with its interval; the reference says that it is one."""
    if row.reference == row.variant and row.accuracy_low is not None:
        return "baseline" if row.group else "reference"
    decimals = decimals_for(row.accuracy_standard_error)
    return with_interval(row.difference, row.difference_low, row.difference_high, decimals)


def epochs_heading(target_accuracy: float) -> str:
    """The heading above numbers of epochs to reach an accuracy, 0..1."""
    return f"epochs to {100 * target_accuracy:g} %"


def epochs_cell(row: Row) -> str:
    """How many epochs a row took to reach the accuracy, and how many of its seeds did where not all did."""
    if row.seeds_at_target is None:
        return NOT_KNOWN
    if row.epochs_to_target is None:
        return NEVER
    epochs = f"{round(row.epochs_to_target, 1):g}"
    return epochs if row.seeds_at_target == len(row.seeds) else f"{row.seeds_at_target} of {len(row.seeds)}: {epochs}"


def parameters_cell(row: Row) -> str:
    """The number of parameters, in full."""
    return NOT_KNOWN if row.parameters is None else f"{row.parameters:,}"


def seconds_cell(seconds: float | None) -> str:
    """Seconds, with a decimal below ten."""
    return NOT_KNOWN if seconds is None else f"{seconds:.{0 if seconds >= 10 else 1}f}"


def status_cell(row: Row) -> str:
    """The status, and the first line of the error."""
    return f"{row.status}: {first_line(row.error)}" if row.error else row.status
