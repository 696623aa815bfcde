from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.types import Size
from gateway.wire.size import MAX_RATIO, MAX_SIDE, MIN_SIDE, parse

NO_SIZE = "is not a size: write a ratio like '16:9' or pixels like '1024x1024'"
NO_SIDE = "is impossible: each side must be from 64 to 8192 pixels"
NO_RATIO = "is impossible: the ratio must lie between 1:8 and 8:1"

sides = st.integers(MIN_SIDE, MAX_SIDE)
marks = st.sampled_from(["x", "X", "*", "×", " x ", " × "])


@pytest.mark.parametrize("value", [None, "", "  ", "auto", "AUTO", " auto "])
def test_no_size_is_asked_for(value: str | None) -> None:
    assert parse(value) is None


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("16:9", Size("16:9")),
        ("32:18", Size("16:9")),
        (" 9 : 16 ", Size("9:16")),
        ("1:8", Size("1:8")),
        ("8:1", Size("8:1")),
        ("1024x1024", Size("1:1", 1024, 1024)),
        ("1024*512", Size("2:1", 1024, 512)),
        ("1280×720", Size("16:9", 1280, 720)),
        ("64x512", Size("1:8", 64, 512)),
        ("8192X8192", Size("1:1", 8192, 8192)),
    ],
)
def test_sizes_as_callers_write_them(value: str, size: Size) -> None:
    assert parse(value) == size


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("big", NO_SIZE),
        ("1024", NO_SIZE),
        ("1024x", NO_SIZE),
        ("-1:2", NO_SIZE),
        ("1.5:1", NO_SIZE),
        ("16:9:1", NO_SIZE),
        ("16/9", NO_SIZE),
        ("9999999x1", NO_SIZE),
        ("999999x1", NO_SIDE),
        ("63x64", NO_SIDE),
        ("64x63", NO_SIDE),
        ("8193x4096", NO_SIDE),
        ("0x0", NO_SIDE),
        ("0:5", NO_RATIO),
        ("5:0", NO_RATIO),
        ("0:0", NO_RATIO),
        ("1:9", NO_RATIO),
        ("17:2", NO_RATIO),
        ("8192x64", NO_RATIO),
    ],
)
def test_an_impossible_size_is_refused_with_what_would_be_possible(value: str, why: str) -> None:
    with pytest.raises(InvalidRequest) as told:
        parse(value)
    assert (told.value.message, told.value.param) == (f"'size' {value!r} {why}", "size")


def test_the_sentence_names_the_caller_s_own_word_and_stays_short() -> None:
    with pytest.raises(InvalidRequest) as told:
        parse("a" * 100_000, "aspect_ratio")
    assert told.value.message == f"'aspect_ratio' {'a' * 40!r} {NO_SIZE}"
    assert told.value.param == "aspect_ratio"


@given(sides, sides, marks)
def test_pixels_are_kept_and_their_ratio_is_reduced(width: int, height: int, mark: str) -> None:
    written = f"{width}{mark}{height}"
    if max(width, height) > MAX_RATIO * min(width, height):
        with pytest.raises(InvalidRequest, match=NO_RATIO):
            parse(written)
        return
    size = parse(written)
    assert size is not None
    assert (size.width, size.height) == (width, height)
    across, down = map(int, size.ratio.split(":"))
    assert across * height == down * width
    assert gcd(across, down) == 1


@given(st.integers(1, 999), st.integers(1, 8), st.integers(1, 8))
def test_a_ratio_means_the_same_however_large_it_is_written(times: int, across: int, down: int) -> None:
    assert parse(f"{across * times}:{down * times}") == parse(f"{across}:{down}")


@given(st.text(max_size=30))
def test_no_text_does_more_than_be_refused(value: str) -> None:
    try:
        size = parse(value)
    except InvalidRequest:
        return
    assert size is None or ":" in size.ratio
