"""Tables in plain text."""

import pytest

from bn.table import aligned, boxed

ROWS = [("", "", "loss"), ("a", "of two", "12.5"), ("long name", "x", "3")]


def test_columns_are_aligned_left_and_then_right():
    assert aligned(ROWS).splitlines() == [
        "                   loss",
        "a          of two  12.5",
        "long name       x     3",
    ]
    assert aligned(ROWS, left=2).splitlines() == [
        "                   loss",
        "a          of two  12.5",
        "long name  x          3",
    ]


def test_no_line_ends_with_spaces():
    assert aligned([("a", "bcd"), ("long", "")], left=2) == "a     bcd\nlong"


def test_a_box_has_lines_of_one_length_and_a_rule_under_its_titles():
    assert boxed(("name", "of", "n"), [("a", "b", "1,000")], left=2).splitlines() == [
        "┌──────┬────┬───────┐",
        "│ name │ of │     n │",
        "├──────┼────┼───────┤",
        "│ a    │ b  │ 1,000 │",
        "└──────┴────┴───────┘",
    ]


def test_a_box_without_rows_has_its_titles():
    assert boxed(("name", "n"), []).splitlines()[1:3] == ["│ name │ n │", "├──────┼───┤"]


@pytest.mark.parametrize("draw", [aligned, lambda rows: boxed(rows[0], rows[1:])])
def test_rows_of_different_lengths_are_refused(draw):
    with pytest.raises(ValueError, match="zip"):
        draw([("a", "b"), ("c",)])
