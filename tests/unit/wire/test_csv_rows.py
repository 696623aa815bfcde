"""Rows as CSV, read back by another reader."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.csv_rows import Cell, number, rows

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


def read(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (-7, "-7"),
        (2.5e-7, "0.00000025"),
        (4.0, "4"),
        (0.0, "0"),
        (-1.5, "-1.5"),
        (1e20, "1e+20"),
        ("=SUM(A1)", "'=SUM(A1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("a=b", "a=b"),
        ("'=", "'="),
    ],
)
def test_a_cell_is_shown_so_that_no_spreadsheet_takes_it_for_a_formula(cell: Cell, shown: str) -> None:
    assert read(rows([[cell, "x"]])) == [[shown, "x"]]


def test_lines_end_as_the_standard_says_and_quotes_are_doubled() -> None:
    assert rows([["a", 1], ['say "hi", you', None]]) == b'a,1\r\n"say ""hi"", you",\r\n'
    assert rows([]) == b""


@given(st.lists(st.lists(TEXTS, min_size=2, max_size=4), max_size=5))
def test_texts_come_back_as_they_were_but_for_the_apostrophe(cells: list[list[str]]) -> None:
    found = read(rows(cells))
    assert [[one.removeprefix("'") for one in row] for row in found] == [
        [one.removeprefix("'") for one in row] for row in cells
    ]
    assert not any(one[:1] in tuple("=+-@\t\r") for row in found for one in row if one)


@given(st.floats(0, 1e6).map(lambda value: round(value, 9)))
def test_a_number_is_written_out_without_an_exponent(value: float) -> None:
    assert "e" not in number(value)
    assert abs(Decimal(number(value)) - Decimal(repr(value))) <= Decimal("1e-9")
