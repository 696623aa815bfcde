"""Sums: finds one in a question and works it out, with exact numbers and nothing but numbers."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from fractions import Fraction

LARGEST_POWER = 64
LARGEST_DIGITS = 40

_SPOKEN = (
    (r"multiplied by|times|乘以|乘", "*"), (r"divided by|除以", "/"), (r"plus|加上|加", "+"), (r"minus|减去|减", "-"),
    (r"to the power of|\^", "**"), ("[×✕·]", "*"), ("[÷]", "/"), ("[−–]", "-"), (r"(?<=\d)\s*[x]\s*(?=\d)", "*"),
    (r"(?<=\d),(?=\d{3}\b)", ""), ("（", "("), ("）", ")"),
)  # fmt: skip
_SUM = re.compile(r"[-(\s]*\d[\d\s.()*/%+-]*")
_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.FloorDiv: lambda one, other: Fraction(one // other),
}


def work_out(question: str) -> tuple[str, str] | None:
    """The first sum in `question` and its result, both as written text; None if it holds none that can be done."""
    spelled = question
    for pattern, sign in _SPOKEN:
        spelled = re.sub(pattern, sign, spelled, flags=re.IGNORECASE)
    for found in _SUM.finditer(spelled):
        written = found.group().strip().rstrip(".+-*/% (")
        if not re.search(r"[\d)]\s*[*/%+-]", written) or _is_date(written):
            continue
        try:
            return written, _shown(_value(ast.parse(written, mode="eval").body))
        except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
            continue
    return None


def _is_date(written: str) -> bool:
    return re.fullmatch(r"\d{4}-\d{1,2}-\d{1,2}|\d{1,2}/\d{1,2}/\d{2,4}", written) is not None


def _value(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            value = Fraction(str(number))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            value = _value(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            value = _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            value = _OPERATORS[type(op)](_value(left), _value(right))
        case _:
            raise ValueError("not a sum")
    if abs(value.numerator) >= 10**LARGEST_DIGITS or value.denominator >= 10**LARGEST_DIGITS:
        raise ValueError("too large to be worth saying")
    return value


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1 or abs(exponent) > LARGEST_POWER:
        raise ValueError("only small whole powers")
    return Fraction(base ** int(exponent))


def _shown(value: Fraction) -> str:
    """Whole if it is whole, else decimal with at most ten digits after the point."""
    if value.denominator == 1:
        return str(value.numerator)
    scaled = round(abs(value) * 10**10)
    whole, part = divmod(scaled, 10**10)
    text = f"{whole}.{part:010d}".rstrip("0").rstrip(".")
    return f"-{text}" if value < 0 else text
