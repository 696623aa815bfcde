"""One value against what a parameter may be: as it is spelled there, what comes nearest, and what would be right."""

from __future__ import annotations

from math import ceil, floor, gcd, log, sqrt
from typing import Any, Final, assert_never

from gateway.types import Parameter, Size
from gateway.wire import number as wire_number

SAME_RATIO: Final = 0.02
"""Ratios that differ by less than this are the same shape: 1920x1088 is 16:9."""
MOST_SHOWN: Final = 60
"""Characters of a value in a sentence."""


def right(value: Any, parameter: Parameter) -> Any:
    """A value as the model spells it; None where it does not take it."""
    match parameter.type:
        case "size":
            return _right_size(value, parameter)
        case "boolean":
            return _among(value, parameter, 0) if isinstance(value, bool) else None
        case "integer" | "number":
            found = number(value, whole=parameter.type == "integer")
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


def number(value: Any, *, whole: bool = False) -> int | float | None:
    """`5`, `5.0` and, as some clients send it, `"5"`; None for what is none, or reaches beyond all bounds."""
    if isinstance(value, str):
        value = wire_number.parse(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < wire_number.BOUND:
        return None
    if value == int(value):
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
    if not (isinstance(one, _SPELLED) and isinstance(other, _SPELLED)):
        return bool(one == other)
    return str(one).strip().casefold() == str(other).strip().casefold()


_SPELLED: Final = (str, int, float)


def _within(measure: float, parameter: Parameter) -> bool:
    low = parameter.least is None or measure >= parameter.least
    return low and (parameter.most is None or measure <= parameter.most)


def nearest(value: Any, parameter: Parameter) -> Any:
    """What the model takes that comes nearest; None where nothing is near."""
    if parameter.type == "size":
        return _nearest_size(value, parameter)
    wished = number(value)
    if wished is None or parameter.type not in ("integer", "number"):
        return None
    if parameter.allowed:
        able = [(one, near) for one in parameter.allowed if (near := number(one)) is not None]
        return min(able, key=lambda each: abs(each[1] - wished))[0] if able else None
    return right(_into_range(wished, parameter), parameter)


def _into_range(wished: float, parameter: Parameter) -> float:
    least, most, whole = parameter.least, parameter.most, parameter.type == "integer"
    found = round(wished) if whole else wished
    if least is not None:
        found = max(ceil(least) if whole else least, found)
    return found if most is None else min(floor(most) if whole else most, found)


def wanted(parameter: Parameter) -> str:
    """What would be right, in words."""
    if parameter.allowed:
        names = [shown(one) for one in parameter.allowed]
        return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
    return bounds(parameter)


def bounds(parameter: Parameter) -> str:
    """What type and range ask for, in words."""
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
        is_whole = isinstance(found, int) or (abs(found) < wire_number.BOUND and found == int(found))
        return f"{int(found)}"[:MOST_SHOWN] if is_whole else f"{found:g}"
    return str(found)[:MOST_SHOWN]


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    return size_text(value) if isinstance(value, Size) else value


def size_text(size: Size) -> str:
    return f"{size.width}x{size.height}" if size.width else size.ratio


# --- sizes ---


def _right_size(size: Any, parameter: Parameter) -> Size | None:
    if not isinstance(size, Size) or not _has_shape(size, parameter):
        return None
    return size if _has_pixels(size, parameter) else None


def too_many_or_few(size: Any, parameter: Parameter) -> bool:
    """Whether all that is wrong with a size is how many pixels it has: its shape is made."""
    return isinstance(size, Size) and _has_shape(size, parameter) and not _has_pixels(size, parameter)


def _has_shape(size: Size, parameter: Parameter) -> bool:
    """Whether it is of a shape that is made; where only certain pixels are, whether it is one of those."""
    if parameter.free or not parameter.allowed:
        return True
    exact = [str(one) for one in parameter.allowed if "x" in str(one)]
    if size.width and len(exact) == len(parameter.allowed):
        return size_text(size) in exact
    return any(_alike(width / height, breadth(size)) for width, height in map(_sides, parameter.allowed) if height)


def _has_pixels(size: Size, parameter: Parameter) -> bool:
    """A ratio has none to look at, and pixels that are named one by one are right whatever the range."""
    named = size_text(size) in parameter.allowed
    return not size.width or named or _within(size.width * size.height, parameter)


def _alike(one: float, other: float) -> bool:
    return abs(log(one / other)) <= SAME_RATIO


def _nearest_size(size: Any, parameter: Parameter) -> Size | None:
    if not isinstance(size, Size):
        return None
    if _has_shape(size, parameter):
        return _scaled(size, parameter)
    able = [size_of(str(one)) for one in parameter.allowed if _sides(one)[1]]

    def distance(one: Size) -> tuple[float, float]:
        area = log(one.width * one.height / (size.width * size.height)) if size.width and one.width else 0.0
        return round(abs(log(breadth(one) / breadth(size))), 3), abs(area)

    return min(able, key=distance, default=None)


def _scaled(size: Size, parameter: Parameter) -> Size | None:
    """The same shape in as many pixels as come nearest within the range; None where no whole sides have them."""
    if _has_pixels(size, parameter):
        return size
    beyond = parameter.most is not None and size.width * size.height > parameter.most
    area, whole = (parameter.most, floor) if beyond else (parameter.least, ceil)
    assert area is not None, "what is in no range is within it"
    across, down = _sides(size.ratio)
    times = whole(sqrt(max(0, area) / (across * down)))
    exact = (across * times, down * times)
    about = (whole(sqrt(max(0, area) * across / down)), whole(sqrt(max(0, area) * down / across)))
    for width, height in (exact, about):
        if width and height and _alike(width / height, breadth(size)) and _within(width * height, parameter):
            return size_of(f"{width}x{height}")
    return None


def size_of(text: str) -> Size:
    """What `size_text` wrote."""
    width, height = _sides(text)
    shape = gcd(width, height)
    return Size(text) if ":" in text else Size(f"{width // shape}:{height // shape}", width, height)


def breadth(size: Size) -> float:
    width, height = _sides(size)
    return width / height


def _sides(size: Any) -> tuple[int, int]:
    text = size_text(size) if isinstance(size, Size) else str(size)
    first, _, second = text.replace(":", "x").replace("*", "x").lower().partition("x")
    return (int(first), int(second)) if _is_side(first) and _is_side(second) else (0, 0)


def _is_side(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0
