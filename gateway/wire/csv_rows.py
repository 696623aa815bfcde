"""Rows as CSV (RFC 4180), safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

MIME: Final = "text/csv; charset=utf-8"
Cell = str | int | float | bool | None

_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes a text for a formula by."""


def rows(cells: Iterable[Sequence[Cell]]) -> bytes:
    """Lines that end in CRLF. None is an empty cell; a text that would be a formula gets an apostrophe before it."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([_shown(cell) for cell in row] for row in cells)
    return out.getvalue().encode()


def _shown(cell: Cell) -> str | int:
    match cell:
        case None:
            return ""
        case bool():
            return "true" if cell else "false"
        case str():
            return f"'{cell}" if cell.startswith(_FORMULAS) else cell
        case float():
            return number(cell)
        case _:
            return cell


def number(value: float) -> str:
    """Without an exponent, which some readers take for text: 0.0000025, and 4 for 4.0."""
    return f"{value:.12f}".rstrip("0").rstrip(".") if abs(value) < 1e15 else repr(value)
