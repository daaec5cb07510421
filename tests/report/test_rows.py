from fpcn_lightning.report.rows import footnotes, marks
from tests.report.test_columns import make_row


def test_letters_go_to_rows_with_a_remark_in_their_order() -> None:
    rows = [make_row(remark="first"), make_row(variant="none"), make_row(variant="lenet", remark="second")]
    assert marks(rows) == ["(a)", None, "(b)"]
    assert footnotes(rows) == ["(a) plain: first", "(b) lenet: second"]


def test_after_z_come_two_letters() -> None:
    found = marks([make_row(remark="x")] * 54)
    assert (found[25], found[26], found[27], found[52], found[53]) == ("(z)", "(aa)", "(ab)", "(ba)", "(bb)")
    assert len(set(found)) == 54
