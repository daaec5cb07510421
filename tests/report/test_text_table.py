import re
from collections.abc import Sequence

from fpcn_lightning.report.columns import results_table
from fpcn_lightning.report.rows import Row, footnotes
from fpcn_lightning.report.text_table import to_latex
from tests.report.test_columns import DIFFERENCE, NUMBERS, make_row

SPECIAL = '\\ % _ & # $ { } ~ ^ < > | " [x]'


def latex(rows: Sequence[Row]) -> str:
    return to_latex(results_table(rows), footnotes(rows))


def test_latex_escapes_whatever_means_something_to_latex() -> None:
    """Read back by undoing the commands, one by one, in a reader written here."""
    lines = latex([make_row(variant=SPECIAL, **NUMBERS, **DIFFERENCE), make_row()]).splitlines()
    assert (lines[0][:16], lines[1], lines[3], lines[-2:]) == (
        r"\begin{tabular}{",
        r"\toprule",
        r"\midrule",
        [r"\bottomrule", r"\end{tabular}"],
    )
    columns = len(lines[0][16:-1])
    rows = [line.removesuffix(r" \\") for line in (lines[2], *lines[4:-2])]
    assert all(len(re.split(r"(?<!\\)&", row)) == columns for row in rows)
    first = re.split(r"(?<!\\)&", rows[1])[0].strip()
    assert not re.search(r"(?<!\\)[%_#$&~^<>|]", first)
    commands = {
        r"\textbackslash{}": "\\",
        r"\textasciitilde{}": "~",
        r"\textasciicircum{}": "^",
        r"\textless{}": "<",
        r"\textgreater{}": ">",
        r"\textbar{}": "|",
        "''": '"',
        "{[}": "[",
        "{]}": "]",
    }
    pattern = "|".join(re.escape(command) for command in commands) + r"|\\([%_#$&{}])"
    assert re.sub(pattern, lambda found: commands.get(found[0]) or found[1], first) == SPECIAL
    assert r"$-$1.2 {[}$-$3.1, 0.8{]}" in rows[1]


def test_remarks_stand_below_the_table_and_are_escaped() -> None:
    text = latex([make_row(variant="le_net", paper=0.505, remark="50 % & nothing more")])
    lines = text.splitlines()
    assert "50.5 (a)" in lines[4]
    assert lines[6:] == [r"\end{tabular}", r"\par{\footnotesize (a) le\_net: 50 \% \& nothing more\par}"]
