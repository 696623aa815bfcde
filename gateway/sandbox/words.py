"""What the sandbox writes: answers that show they have read the question, in pieces as a model would stream them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.sandbox.asks import Talk, small_answer
from gateway.sandbox.dice import dice

Messages = Sequence[Mapping[str, Any]]

QUOTED = 280
"""Characters of a question that are quoted back."""
LETTERS_A_TOKEN = 4
_WIDE = "\u2e80-\u303f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
_HAN = re.compile(r"[\u3400-\u9fff]")
_PIECE = re.compile(rf"\s*(?:[{_WIDE}]|[^\s{_WIDE}]{{1,12}})|\s+")
_IMAGE_PARTS = ("image_url", "input_image", "image")

_ENGLISH = (
    "Here is what I would tell you about it: it starts small, it asks for patience, and it rewards a careful eye.",
    "A model would now think hard about this. I only know how such an answer looks: a claim, a reason, an example.",
    "There are three sides to it: what is asked, what is meant, and what would help. Each deserves a line.",
    "If I had opinions, this would be a fine place for one; let this paragraph keep its seat until a model comes.",
)
_CHINESE = (
    "关于这一点，我会这样说：从小处开始，保持耐心，并留意细节。",
    "真正的模型会在这里认真思考；我只知道答案的样子：一个观点、一个理由、一个例子。",
    "这个问题有三个方面：问的是什么，想要的是什么，什么才有帮助。",
    "如果我有自己的看法，这里正好可以写下来；在真正的模型到来之前，这段话先占个位置。",
)


def answer(messages: Messages, *, seed: int, model: str) -> str:
    """A text that answers the last message of an OpenAI conversation, the same for equal arguments.

    Small asks (say exactly …, sums, counting, lists, what did I say) are done; anything else is quoted back with a
    word about the conversation. Except where only the bare answer was asked for, it says that the sandbox speaks.
    """
    talk = talk_of(messages, seed)
    done = small_answer(talk)
    if done and done[1]:
        return done[0]
    parts = [done[0] if done else _echo(talk), *_seen(talk)]
    if not done and talk.ask:
        parts.append(talk.chance.choice(_CHINESE if talk.chinese else _ENGLISH))
    parts.append(_signature(talk, model))
    return "\n\n".join(parts)


def reasoning(messages: Messages, *, seed: int) -> str:
    """A short train of thought that leads to `answer`."""
    talk = talk_of(messages, seed)
    asked = _quoted(talk.ask, 80)
    if talk.chinese:
        return f"用户说的是“{asked}”。这是第 {len(talk.said) + 1} 轮。先看是否有可以直接完成的小任务，再写出回答。"
    return (
        f"The user says “{asked}”. This is turn {len(talk.said) + 1}. "
        "First see whether it is something small that can simply be done, then write the answer."
    )


def pieces(text: str) -> Iterator[str]:
    """`text` in word-sized pieces that join to it again; marks and joined emoji stay with what they belong to."""
    held = ""
    for match in _PIECE.finditer(text):
        piece = match.group()
        if held and (_clings(piece[0]) or held.endswith("\u200d")):
            held += piece
            continue
        if held:
            yield held
        held = piece
    if held:
        yield held


def tokens(text: str) -> int:
    """About how many tokens a model would count: one for each ideograph or kana, one for every four other characters.

    Rounded up, so that any text at all is at least one; the empty text is none.
    """
    wide = sum(1 for character in text if unicodedata.east_asian_width(character) in "WF")
    return wide + -(-(len(text) - wide) // LETTERS_A_TOKEN)


def content_text(content: Any) -> str:
    """The text of a message's content, which is a string, a list of parts or nothing."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    texts = [
        part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, (str, Mapping))
    ]
    return "\n".join(text for text in texts if isinstance(text, str))


def images_in(content: Any) -> int:
    """How many images a message's content shows."""
    if isinstance(content, str) or not isinstance(content, Sequence):
        return 0
    return sum(1 for part in content if isinstance(part, Mapping) and part.get("type") in _IMAGE_PARTS)


def talk_of(messages: Messages, seed: int) -> Talk:
    """The conversation as the small asks see it."""
    users = [message.get("content") for message in messages if message.get("role") == "user"]
    said = [content_text(content).strip() for content in users]
    ask = said[-1] if said else ""
    return Talk(
        ask=ask,
        said=tuple(said[:-1]),
        chinese=bool(_HAN.search(ask)),
        images=images_in(users[-1]) if users else 0,
        chance=dice("words", ask, len(messages), seed),
    )


def _echo(talk: Talk) -> str:
    if not talk.ask:
        return "You said nothing." if not talk.images else "You sent no words."
    quoted = _quoted(talk.ask, QUOTED)
    return f"你说：“{quoted}”" if talk.chinese else f"You said: “{quoted}”"


def _seen(talk: Talk) -> Iterator[str]:
    """What was shown and said besides the last words."""
    if talk.images:
        if talk.chinese:
            yield f"你给我看了 {talk.images} 张图片。"
        else:
            yield f"You showed me {talk.images} image{'s' if talk.images > 1 else ''}."
    if talk.said:
        before = _quoted(talk.said[0], 80)
        if talk.chinese:
            yield f"这是我们的第 {len(talk.said) + 1} 轮对话，最初你说的是“{before}”。"
        else:
            yield f"This is turn {len(talk.said) + 1} of our conversation; it began with “{before}”."


def _signature(talk: Talk, model: str) -> str:
    if talk.chinese:
        return f"（这是沙盒在回答，代替 {model}：没有调用任何真实模型。）"
    return f"(This is the sandbox speaking in place of {model}: no real model was asked.)"


def _quoted(text: str, limit: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def _clings(character: str) -> bool:
    """Whether a character belongs to the one before it: accents, emoji modifiers and joiners."""
    code = ord(character)
    return unicodedata.combining(character) != 0 or character in "\u200d\ufe0e\ufe0f" or 0x1F3FB <= code <= 0x1F3FF
