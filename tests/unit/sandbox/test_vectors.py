"""Vectors: of length one, always the same, near for texts that share words."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.vectors import embed


def likeness(one: str, other: str) -> float:
    return sum(a * b for a, b in zip(embed(one, dimensions=512), embed(other, dimensions=512), strict=True))


@given(text=st.text(max_size=80), dimensions=st.sampled_from([1, 2, 3, 256, 1536]))
def test_a_vector_has_the_asked_size_and_length_one(text: str, dimensions: int) -> None:
    vector = embed(text, dimensions=dimensions)
    assert len(vector) == dimensions
    assert math.isclose(math.fsum(number * number for number in vector), 1.0, rel_tol=1e-9)
    assert vector == embed(text, dimensions=dimensions)


@pytest.mark.parametrize(
    ("text", "near", "far"),
    [
        ("a cat sat on the mat", "the cat is sitting on a mat", "quarterly revenue grew by ten percent"),
        ("how to bake sourdough bread", "baking bread at home", "the capital of Norway"),
        ("今天天气很好", "今天天气不错", "数据库的索引"),
        ("Привет мир", "мир и привет", "железная дорога"),
    ],
)
def test_texts_that_share_words_are_nearer(text: str, near: str, far: str) -> None:
    assert likeness(text, near) > likeness(text, far) + 0.15
    assert abs(likeness(text, far)) < 0.2


def test_case_and_spaces_do_not_matter() -> None:
    assert likeness("Hello  World", "hello world") == pytest.approx(1.0)


def test_no_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        embed("x", dimensions=0)
