"""One value against what a parameter may be: as it is spelled there, what comes nearest, and what would be right."""

from __future__ import annotations

from math import gcd, log
from typing import Any, Final, assert_never

from gateway.types import Parameter, Size, Value

SAME_RATIO: Final = 0.02
"""Ratios that differ by less than this are the same shape: 1920x1088 is 16:9."""


def right(value: Any, parameter: Parameter) -> Any:
    """A value as the model spells it; None where it does not take it."""
    match parameter.type:
        case "size":
            return _right_size(value, parameter)
        case "boolean":
            return value if isinstance(value, bool) else None
        case "integer" | "number":
            found = _number(value, whole=parameter.type == "integer")
            return None if found is None else _among(found, parameter, found)
        case "string":
            return _among(value, parameter, len(value)) if isinstance(value, str) else None
        case "url":
            return value if isinstance(value, str) and value.startswith(("https://", "http://")) else None
        case "urls":
            urls = isinstance(value, list) and all(isinstance(one, str) and "://" in one for one in value)
            return value if urls and _within(len(value), parameter) else None
        case "list":
            return value if isinstance(value, list) and _within(len(value), parameter) else None
        case "object":
            return value if isinstance(value, dict) else None
        case never:
            assert_never(never)


def _number(value: Any, *, whole: bool) -> float | None:
    """`5`, `5.0` and, as some clients send it, `"5"`."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    if value == int(value) if abs(value) < 1e18 else False:
        return int(value)
    return None if whole else value


def _among(value: Any, parameter: Parameter, measure: float) -> Any:
    for one in parameter.allowed:
        if same(one, value):
            return one
    return value if (parameter.free or not parameter.allowed) and _within(measure, parameter) else None


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same, however spelled: `1080p` is `1080P` and 5 is 5.0, but `true` is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Size) or isinstance(other, Size):
        return _sides(one) == _sides(other)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    return str(one).strip().casefold() == str(other).strip().casefold()


def _within(measure: float, parameter: Parameter) -> bool:
    low = parameter.least is None or measure >= parameter.least
    return low and (parameter.most is None or measure <= parameter.most)


def nearest(value: Any, parameter: Parameter) -> Any:
    """What the model takes that comes nearest; None where nothing is near."""
    if parameter.type == "size":
        return _nearest_size(value, parameter)
    number = _number(value, whole=False)
    if number is None or parameter.type not in ("integer", "number"):
        return None
    if parameter.allowed:
        wished = number
        return min(parameter.allowed, key=lambda one: abs(float(one) - wished))
    number = round(number) if parameter.type == "integer" else number
    number = number if parameter.least is None else max(parameter.least, number)
    return number if parameter.most is None else min(parameter.most, number)


def wanted(parameter: Parameter) -> str:
    """What would be right, in words."""
    if parameter.allowed:
        names = [shown(one) for one in parameter.allowed]
        return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
    kind = {
        "integer": "a whole number", "number": "a number", "string": "a string", "boolean": "true or false",
        "url": "an http(s) URL", "urls": "a list of http(s) URLs", "list": "a list", "object": "an object",
        "size": "a size",
    }[parameter.type]  # fmt: skip
    things = {"string": " characters", "urls": " members", "list": " members", "size": " pixels"}
    unit = things.get(parameter.type, f" {parameter.unit}" if parameter.unit else "")
    match parameter.least, parameter.most:
        case None, None:
            return kind
        case None, most:
            return f"{kind} of at most {shown(most)}{unit}"
        case least, None:
            return f"{kind} of at least {shown(least)}{unit}"
        case least, most:
            return f"{kind} from {shown(least)} to {shown(most)}{unit}"


def shown(value: Any) -> str:
    """A value in a sentence."""
    if value is None:
        return ""
    found = plain(value)
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, int | float):
        return f"{int(found)}" if abs(found) < 1e18 and found == int(found) else f"{found:g}"
    return str(found)[:60]


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    return size_text(value) if isinstance(value, Size) else value


def size_text(size: Size) -> str:
    return f"{size.width}x{size.height}" if size.width else size.ratio


# --- sizes ---


def _right_size(size: Any, parameter: Parameter) -> Size | None:
    if not isinstance(size, Size):
        return None
    if not parameter.allowed:
        return size
    shapes = [_shape(str(one)) for one in parameter.allowed]
    exact = [one for one in parameter.allowed if "x" in str(one)]
    if size.width and len(exact) == len(parameter.allowed):
        return size if size_text(size) in exact else None
    return size if any(abs(log(shape / breadth(size))) <= SAME_RATIO for shape in shapes) else None


def _nearest_size(size: Any, parameter: Parameter) -> Size | None:
    if not isinstance(size, Size) or not parameter.allowed:
        return None

    def distance(one: Value) -> tuple[float, float]:
        width, height = _sides(str(one))
        area = log(width * height / (size.width * size.height)) if size.width and "x" in str(one) else 0.0
        return round(abs(log(width / height / breadth(size))), 3), abs(area)

    return size_of(str(min(parameter.allowed, key=distance)))


def size_of(text: str) -> Size:
    """What `size_text` wrote."""
    width, height = _sides(text)
    shape = gcd(width, height)
    return Size(text) if ":" in text else Size(f"{width // shape}:{height // shape}", width, height)


def breadth(size: Size) -> float:
    width, height = _sides(size)
    return width / height


def _shape(text: str) -> float:
    width, height = _sides(text)
    return width / height


def _sides(size: Any) -> tuple[int, int]:
    text = size_text(size) if isinstance(size, Size) else str(size)
    first, _, second = text.replace(":", "x").replace("*", "x").lower().partition("x")
    return (int(first), int(second)) if first.isdigit() and second.isdigit() else (0, 0)
