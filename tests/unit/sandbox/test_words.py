"""Words: answers that have read the question."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.words import answer, pieces, reasoning, tokens


def said(*texts: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text} for text in texts]


def reply(*texts: str) -> str:
    return answer(said(*texts), seed=1, model="gpt-4o")


@pytest.mark.parametrize(
    ("ask", "only"),
    [
        ("Say exactly: pong", "pong"),
        ("Reply with only the word hello.", "hello"),
        ('Respond with exactly "ok, then" and nothing else', "ok, then"),
        ("只回复：好的", "好的"),
        ("Count to 5", "1, 2, 3, 4, 5"),
        ("count from three to 1", "3, 2, 1"),
        ("从3数到六", "3、4、5、6"),
    ],
)
def test_a_bare_answer_stands_alone(ask: str, only: str) -> None:
    assert reply(ask) == only


@pytest.mark.parametrize(
    ("ask", "result"),
    [
        ("What is 17*23?", "= 391"),
        ("what's 2 + 2", "= 4"),
        ("What is 12.5 plus 7.5 divided by 3?", "= 15"),
        ("Compute (1,200 - 200) / 3", "= 333.3333333333"),
        ("12 × 12 等于多少？", "= 144"),
        ("2 ^ 10 = ?", "= 1024"),
        ("0.1 + 0.2", "= 0.3"),
    ],
)
def test_sums_are_worked_out(ask: str, result: str) -> None:
    assert reply(ask).splitlines()[0].endswith(result)


@pytest.mark.parametrize("ask", ["9**9**9**9", "1/0", "It was 2024-01-02 then", "call 555", "(" * 300 + "1+1"])
def test_what_is_no_sum_is_left_alone(ask: str) -> None:
    assert "You said" in reply(ask)


def test_lists_have_as_many_items_as_asked() -> None:
    assert reply("List three colors").split("\n\n")[0].count("\n") == 2
    assert "1. " in reply("列出三种水果")


def test_everything_the_user_said_is_remembered() -> None:
    assert "green" in reply("My favourite colour is green", "And I like tea", "What did I say?")
    assert "tea" in reply("My favourite colour is green", "And I like tea", "What did I say?")
    assert reply("My name is Ada.", "Hm.", "What is my name?").startswith("Your name is Ada.")
    assert "falcon" in reply("My code word is falcon.", "What is my code word?")
    assert reply("我叫小明", "我叫什么名字？").startswith("你的名字是小明")
    assert "first thing" in reply("What did I say?")


def test_an_answer_quotes_the_question_and_says_who_speaks() -> None:
    text = reply("Tell me about lighthouses")
    assert "Tell me about lighthouses" in text
    assert "sandbox" in text
    assert "gpt-4o" in text


def test_chinese_is_answered_in_chinese() -> None:
    assert "沙盒" in reply("请介绍一下灯塔")
    assert "sandbox" not in reply("请介绍一下灯塔")


def test_turns_and_images_are_counted() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    shown = [*said("Hello"), {"role": "user", "content": [{"type": "text", "text": "Look"}, image, image]}]
    text = answer(shown, seed=1, model="m")
    assert "2 images" in text
    assert "turn 2" in text


def test_an_answer_is_the_same_for_the_same_seed() -> None:
    assert reply("Why?") == reply("Why?")
    assert len({answer(said("Why?"), seed=seed, model="m") for seed in range(20)}) > 1


@pytest.mark.parametrize("content", ["", None, [], [{"type": "image_url"}], [{"type": "text"}], 5])
def test_odd_content_is_answered(content: Any) -> None:
    assert "sandbox" in answer([{"role": "user", "content": content}], seed=1, model="m")
    assert reasoning([{"role": "user", "content": content}], seed=1)


def test_reasoning_is_about_the_question() -> None:
    assert "lighthouses" in reasoning(said("Tell me about lighthouses"), seed=1)


@given(st.text())
def test_pieces_join_to_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


def test_pieces_are_wordlike_and_keep_graphemes_whole() -> None:
    assert list(pieces("Hello, wide world")) == ["Hello,", " wide", " world"]
    assert list(pieces("你好世界")) == ["你", "好", "世", "界"]
    assert list(pieces("👩‍👩‍👧 e\u0301 👍🏽")) == ["👩‍👩‍👧", " e\u0301", " 👍🏽"]
    assert len(list(pieces("x" * 120))) == 10


def test_tokens_are_counted_by_the_rule() -> None:
    assert [tokens(text) for text in ("", "a", "word", "words", "你好", "你好 ok")] == [0, 1, 1, 2, 2, 3]
