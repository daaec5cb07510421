import numpy as np

from fpcn_lightning.report.class_table import class_tables

CLASSES = ["basalt", "granite", "gneiss", "tuff"]
COUNTS = [[9, 1, 0, 0], [0, 10, 0, 0], [2, 3, 5, 0], [0, 0, 0, 0]]


def test_the_worst_class_comes_first_and_one_without_pictures_is_left_out() -> None:
    table, further = class_tables(COUNTS, CLASSES, most=20)
    assert [line[:3] for line in table.lines] == [
        ["gneiss", "10", "50.0"],
        ["basalt", "10", "90.0"],
        ["granite", "10", "100.0"],
    ]
    assert [line[-2:] for line in table.lines] == [
        ["100.0", "granite (3)"],
        ["81.8", "granite (1)"],
        ["71.4", "-"],
    ]
    assert not further.lines


def test_the_table_of_many_classes_is_cut() -> None:
    table, further = class_tables(np.eye(50, dtype=int), [str(number) for number in range(50)], most=20)
    assert (len(table.lines), len(further.lines)) == (20, 30)
    assert table.headings == further.headings
