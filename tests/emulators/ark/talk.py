"""Text: OpenAI's dialect with the vendor's own fields and refusals."""

import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from tests.emulators import openai_answers as answers
from tests.emulators.ark.faults import Refusal, invalid
from tests.emulators.openai_answers import Bent

SEED = "seed-1-8-251228"
REPLY = "Kites fly — 风筝 — on a long string."
THOUGHT = "Hm. "
FIELDS = frozenset(
    {
        "model", "messages", "thinking", "reasoning_effort", "stream", "stream_options", "max_tokens",
        "max_completion_tokens", "service_tier", "stop", "frequency_penalty", "presence_penalty", "temperature",
        "top_p", "logprobs", "top_logprobs", "logit_bias", "tools", "tool_choice", "parallel_tool_calls",
        "response_format", "n", "user",
    }
)  # fmt: skip
THINKING = ("enabled", "disabled", "auto")


@dataclass(frozen=True)
class Told:
    """How a stream is changed, or cut by an RST after so many pieces."""

    bent: Bent = field(default_factory=Bent)
    reset_after: int | None = None


@dataclass
class Talk:
    models: set[str] = field(default_factory=lambda: {SEED, "seed-2-0-pro-260328", "doubao-seed-1-6-250615"})
    text: str = REPLY
    told: deque[Told] = field(default_factory=deque)
    """How the next streams come, one a stream."""

    def check(self, body: dict[str, Any]) -> None:
        """Raises what the vendor refuses."""
        if unknown := set(body) - FIELDS:
            raise invalid(sorted(unknown)[0], "it is unknown")
        try:
            answers.check_chat(body, FIELDS)
        except answers.Refused as refused:
            error = json.loads(refused.reply.body)["error"]
            raise invalid(error["param"] or "", error["message"]) from refused
        thinking = body.get("thinking", {"type": "auto"})
        if not isinstance(thinking, dict) or thinking.get("type") not in THINKING:
            raise invalid("thinking.type", f"it must be one of {THINKING}")
        if "max_tokens" in body and "max_completion_tokens" in body:
            raise invalid("max_tokens", "it goes not with max_completion_tokens")
        if "forbidden" in json.dumps(body["messages"]):
            raise Refusal("InputTextSensitiveContentDetected")

    def answer(self, model: str, body: dict[str, Any], reset: Callable[[], object]) -> Response:
        thinks = body.get("thinking", {}).get("type") != "disabled"
        if not body.get("stream"):
            told = answers.completion(model, body, self.text)
            if thinks:
                told["choices"][0]["message"]["reasoning_content"] = THOUGHT
            return JSONResponse(told)
        events = list(answers.chunks(model, body, self.text))
        if thinks:
            thought = {"choices": [{"index": 0, "delta": {"reasoning_content": THOUGHT}, "finish_reason": None}]}
            events.insert(1, {**events[0], **thought})
        told = self.told.popleft() if self.told else Told()
        return StreamingResponse(_sending(events, told, reset), media_type="text/event-stream")


async def _sending(events: list[dict[str, Any]], told: Told, reset: Callable[[], object]) -> AsyncIterator[bytes]:
    for at, piece in enumerate(answers.pieces(events, told.bent)):
        if at == told.reset_after:
            reset()
            return
        yield piece
