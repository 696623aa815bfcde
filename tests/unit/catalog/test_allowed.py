"""One value against what a parameter may be: odd ones are refused, and what passes is within."""

from __future__ import annotations

import math
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as drawing
from hypothesis import strategies as st

from gateway.catalog.allowed import MOST_SHOWN, nearest, right, same, shown
from gateway.catalog.fitting import HINTS, fit
from gateway.errors import InvalidRequest
from gateway.types import ModelCard, OnUnsupported, Parameter, Size, VideoRequest
from gateway.upstreams.base import Upstream
from gateway.wire import size as wire_size

TYPES: tuple[str, ...] = get_args(get_type_hints(Parameter)["type"])
POLICIES: tuple[OnUnsupported, ...] = get_args(OnUnsupported)
HUGE = 10**400
PLAIN = Upstream("p", None, None)  # type: ignore[arg-type]

ODD_WORDS = st.sampled_from(
    ["inf", "-inf", "nan", "1e400", "1_0", "\u0665", "0x10", " 5", "5", "5.0", "-2.5", "1e2", "5:", "x"]
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.sampled_from([HUGE, -HUGE, 10**18, 10**18 - 1])
    | st.floats() | st.text(max_size=12) | ODD_WORDS | st.just("https://a/1.png")
)  # fmt: skip
JSON = st.recursive(
    SCALARS,
    lambda one: st.lists(one, max_size=4) | st.dictionaries(st.text(max_size=3), one, max_size=3),
    max_leaves=5,
)
SIZES = st.sampled_from(["1:1", "16:9", "7:3", "64x64", "1280x720", "1919x1080", "6000x4000", "8192x8192", "8192x1024"])
BOUND = st.none() | st.integers(-50, 50) | st.floats(-50, 50)


@st.composite
def parameters(draw: st.DrawFn, kinds: tuple[str, ...] = TYPES) -> Parameter:
    kind: Any = draw(st.sampled_from(kinds))
    of_type = {
        "integer": st.integers(-60, 60), "number": st.integers(-60, 60) | st.floats(-60, 60), "boolean": st.booleans(),
        "string": st.text(max_size=4) | ODD_WORDS, "size": SIZES,
    }.get(kind)  # fmt: skip
    allowed = draw(st.lists(of_type, max_size=4)) if of_type is not None else []
    bound = st.none() | st.sampled_from([4096, 1e6, 2073600, 5e6]) if kind == "size" else BOUND
    least, most = draw(bound), draw(bound)
    if least is not None and most is not None:
        least, most = sorted((least, most))
    return Parameter(kind, tuple(allowed), least, most, free=draw(st.booleans()))


def is_within(value: Any, parameter: Parameter) -> bool:
    """What the declaration says, said in another way than the code says it."""
    if not is_of(value, parameter.type):
        return False
    named = (f"{value.width}x{value.height}" if isinstance(value, Size) else value) in parameter.allowed
    if named or (isinstance(value, Size) and not value.width):
        return True
    if parameter.allowed and not parameter.free and parameter.type != "size":
        return False
    if isinstance(value, dict | bool) or parameter.type == "url":
        return True  # what has no measure
    measure = value.width * value.height if isinstance(value, Size) else value
    measure = len(value) if isinstance(value, str | list) else measure
    low, high = parameter.least, parameter.most
    return (low is None or low <= measure) and (high is None or measure <= high)


def is_of(value: Any, kind: str) -> bool:
    wanted: Any = {"size": Size, "boolean": bool, "string": str, "url": str, "urls": list, "list": list, "object": dict}
    if kind in wanted:
        return isinstance(value, wanted[kind])
    number = isinstance(value, int | float) and not isinstance(value, bool) and -1e18 < value < 1e18
    return number and (kind == "number" or value == math.floor(value))


@settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@drawing(JSON, parameters(), st.sampled_from(POLICIES), st.booleans())
def test_any_value_passes_within_the_range_or_is_refused(
    value: Any, parameter: Parameter, policy: OnUnsupported, closed: bool
) -> None:
    rows = ({"x": 5, "y": "a"}, {"x": 6, "y": "b"})
    for together in ((), rows):
        card = ModelCard("m", frozenset({"t2v"}), parameters={"x": parameter}, closed=closed, together=together)
        params = {"x": value, **dict.fromkeys(HINTS, value)}
        try:
            found = fit(VideoRequest("m", "waves", params=params), card, PLAIN, policy).request.params
        except InvalidRequest as error:
            assert len(error.message) < 1000
            continue
        if not together:
            assert "x" not in found or value is None or is_within(found["x"], parameter)


@settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@drawing(SIZES, parameters(("size",)), st.sampled_from(POLICIES))
def test_any_size_passes_within_the_range_or_is_refused(text: str, parameter: Parameter, policy: OnUnsupported) -> None:
    size = wire_size.parse(text)
    card = ModelCard("m", frozenset({"t2v"}), parameters={"size": parameter})
    try:
        request = fit(VideoRequest("m", "waves", size=size), card, PLAIN, policy).request
    except InvalidRequest:
        return
    assert isinstance(request, VideoRequest)
    assert request.size is None or is_within(request.size, parameter)


@settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@drawing(JSON | SIZES.map(wire_size.parse), parameters())
def test_what_is_nearest_is_right(value: Any, parameter: Parameter) -> None:
    found = nearest(value, parameter)
    assert found is None or parameter.allowed or right(found, parameter) == found


@pytest.mark.parametrize(
    "text", ["inf", "-inf", "nan", "1e400", "1_0", "\u0665", " 5", "5 ", "0x10", "", "5.", ".5", "1e18"]
)
@pytest.mark.parametrize("kind", ["integer", "number"])
def test_only_what_json_calls_a_number_is_one_in_a_string(kind: Any, text: str) -> None:
    assert right(text, Parameter(kind)) is None
    assert nearest(text, Parameter(kind, least=0, most=9)) is None


@pytest.mark.parametrize(
    ("text", "number"), [("5", 5), ("5.0", 5), ("-2.5", -2.5), ("1e2", 100), ("9007199254740993", 9007199254740993)]
)
def test_a_number_in_a_string_is_taken_to_the_last_digit(text: str, number: float) -> None:
    assert right(text, Parameter("number")) == number


def test_a_number_beyond_all_bounds_is_none_and_is_shown_short() -> None:
    for value in (HUGE, -HUGE, 10**18, 1e300, float("inf"), float("nan")):
        assert right(value, Parameter("integer")) is None
        assert right(value, Parameter("number")) is None
        assert len(shown(value)) <= MOST_SHOWN
    assert right(10**18 - 1, Parameter("integer")) == 10**18 - 1
    assert shown(HUGE) == "1" + "0" * (MOST_SHOWN - 1)


def test_what_has_parts_is_not_the_same_as_its_letters() -> None:
    assert not same("['a']", ["a"])
    assert not same("none", None)
    assert same(["a", {"b": 1}], ["a", {"b": 1}])
    assert same("5", 5)


# --- sizes ---

SHAPES = ("3:2", "1:1")
WIDE, ODD, SQUARE, BIG = "16:9", "1280x720", "1000x1000", "6000x4000"


@pytest.mark.parametrize(
    ("parameter", "text", "is_taken", "near"),
    [
        (Parameter("size", SHAPES), WIDE, False, "3:2"),
        (Parameter("size", SHAPES, free=True), WIDE, True, WIDE),
        (Parameter("size", SHAPES, most=1e6, free=True), ODD, True, ODD),
        (Parameter("size", SHAPES, most=1e6, free=True), BIG, False, "1224x816"),
        (Parameter("size", SHAPES, most=1e6), BIG, False, "1224x816"),
        (Parameter("size", SHAPES, most=1e6), ODD, False, "3:2"),
        (Parameter("size", most=1e6), SQUARE, True, SQUARE),
        (Parameter("size", most=999_999), SQUARE, False, "999x999"),
        (Parameter("size", least=1_000_001), SQUARE, False, "1001x1001"),
        (Parameter("size", most=1e6), "1919x1080", False, "1332x750"),
        (Parameter("size", least=4, most=4), "1920x1080", False, None),
        (Parameter("size", most=0), SQUARE, False, None),
        (Parameter("size", ("6000x4000",), most=1e6), BIG, True, BIG),
        (Parameter("size", ("1536x1024", "1024x1024")), BIG, False, "1536x1024"),
        (Parameter("size", ("1536x1024",), free=True), BIG, True, BIG),
        (Parameter("size", ("auto", "1:1")), WIDE, False, "1:1"),
        (Parameter("size", ("auto",)), WIDE, False, None),
    ],
)
def test_a_size_is_of_a_shape_and_within_its_pixels(
    parameter: Parameter, text: str, is_taken: bool, near: str | None
) -> None:
    size = wire_size.parse(text)
    assert right(size, parameter) == (size if is_taken else None)
    found = nearest(size, parameter)
    assert (None if found is None else shown(found)) == near
