"""Answers of any shape are read or garbled, and break nothing."""

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.types import Job
from gateway.upstreams.qwen import answers, failures, tasks
from gateway.upstreams.qwen.answers import ChatAnswer, Gallery, Line
from gateway.upstreams.qwen.site import shaped

NAMES = (
    "choices", "delta", "phase", "content", "status", "extra", "summary_title", "summary_thought", "image_list",
    "output_image_hw", "usage", "width", "height", "image", "output_tokens_details", "reasoning_tokens",
    "response.created", "response_id", "error", "success", "data", "code", "details", "num", "chat", "history",
    "messages", "role", "content_list", "wanx", "task_id", "task_status", "remaining_time", "message", "info", "meta",
    "chat_type", "capabilities", "id", "tool_calls", "function", "name", "arguments", "tool_call_id", "type", "text",
)  # fmt: skip
WORDS = ("think", "thinking_summary", "answer", "image_gen", "finished", "tool", "success", "https://x/a")
LEAVES = st.none() | st.booleans() | st.integers(-3, 9) | st.floats(allow_nan=False) | st.sampled_from(WORDS)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=5)
LISTED = st.lists(st.lists(ANYTHING, max_size=3) | OBJECTS | LEAVES, max_size=3) | ANYTHING
EXTRAS = st.fixed_dictionaries(
    {},
    optional={
        "summary_title": st.fixed_dictionaries({"content": LISTED}),
        "summary_thought": st.fixed_dictionaries({"content": LISTED}),
        "image_list": LISTED,
        "output_image_hw": LISTED,
    },
)
DELTAS = st.fixed_dictionaries(
    {"phase": st.sampled_from((*WORDS, None)) | ANYTHING},
    optional={"content": ANYTHING, "status": ANYTHING, "extra": EXTRAS | ANYTHING, "role": ANYTHING},
)
LINES = OBJECTS | st.fixed_dictionaries(
    {"choices": st.lists(st.fixed_dictionaries({"delta": DELTAS}) | ANYTHING, max_size=2)}, optional={"usage": ANYTHING}
)


@given(st.lists(LINES, max_size=4))
def test_a_line_is_read_or_garbled(lines: list[dict[str, Any]]) -> None:
    gallery, answer = Gallery((), "https://chat.qwen.ai"), ChatAnswer("c", frozenset({"weather"}))
    with contextlib.suppress(errors.GatewayError):
        for told in lines:
            line = shaped(told, Line)
            failures.failure_in(line)
            list(answer.read(line))
            gallery.read(line)
        list(answer.rest())
    gallery.media()


@given(OBJECTS)
def test_an_answer_is_read_or_garbled(told: dict[str, Any]) -> None:
    with contextlib.suppress(errors.UpstreamGarbled):
        tasks.task_id(shaped(told, tasks.Submitted).messages or ())
    with contextlib.suppress(errors.UpstreamGarbled):
        shaped(told, answers.Conversation).answers()
    with contextlib.suppress(errors.UpstreamGarbled):
        tasks.update(Job("t"), shaped(told, tasks.Status), "https://chat.qwen.ai", "", 0.0)
