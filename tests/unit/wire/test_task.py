"""What a task is asked for by, and what of it is no upstream's business."""

import json
from typing import Any

import msgspec
import pytest

from gateway.wire import native
from gateway.wire import task as wire_task


def body(**fields: Any) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(json.dumps(value).encode()) for name, value in fields.items()}


@pytest.mark.parametrize("name", wire_task.PROMPTS)
def test_a_prompt_becomes_the_message_and_nothing_else(name: str) -> None:
    told = wire_task.with_message(body(**{name: "of otters", "temperature": 0.5}))
    assert {key: json.loads(bytes(raw)) for key, raw in told.items()} == {"message": "of otters", "temperature": 0.5}


def test_upstreams_are_told_nothing_of_the_task() -> None:
    own = {"webhook_url": "https://a.example", "webhook_events": ["task.failed"], "deadline_s": 9, "progress": True}
    sent = native.chat_body(
        wire_task.with_message(body(prompt="of otters", kind="t2t", temperature=0.5, **own)), "prompt"
    )
    assert set(sent) == {"messages", "temperature"}
