"""Lettering: lines that fit, and nothing lost but what an ellipsis stands for."""

import pytest

from gateway.sandbox.lettering import Lettering, runs

TEXTS = [
    "The quick brown fox jumps over the lazy dog",
    "敏捷的棕色狐狸跳过了懒狗身上",
    "Mixed 中文 and English 文字",
    "x" * 90,
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("room", [60, 200, 5000])
def test_wrapped_lines_fit_and_keep_all_the_text(text: str, room: int) -> None:
    letters = Lettering(16)
    lines = letters.wrap(text, room, 100)
    assert all(letters.width(line) <= room + 1 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_words_are_kept_whole_where_they_can_be() -> None:
    assert {word for line in Lettering(16).wrap(TEXTS[0], 120, 9) for word in line.split()} == set(TEXTS[0].split())


def test_what_does_not_fit_ends_in_an_ellipsis() -> None:
    lines = Lettering(16).wrap("word " * 100, 120, 2)
    assert len(lines) == 2
    assert lines[-1].endswith("…")


def test_accents_that_no_font_has_are_dropped_rather_than_the_letter() -> None:
    assert "".join(run for _, run in runs("e\u0301"))[0] in "eé"
