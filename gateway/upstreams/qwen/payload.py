"""What is sent: a request as one message to the site, with its features, files and size."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import log
from typing import Any, Literal
from uuid import uuid4

from gateway import errors
from gateway.types import ChatRef, ChatRequest, ImageRequest, Input, Size, VideoRequest
from gateway.upstreams.qwen.models import ALWAYS_THINK, RATIOS
from gateway.wire import body as wire_body
from gateway.wire import flattened

MAX_CONTENT = 131_072
"""Characters of a message."""
MAX_BUDGET = 38_911
"""Tokens of thinking."""
EFFORTS = {"minimal": 1024, "low": 4096, "medium": 16_384, "high": 32_768, "xhigh": MAX_BUDGET}

ChatType = Literal["t2t", "t2i", "image_edit", "t2v", "i2v"]
CHAT_TYPES: dict[str, ChatType] = {"t2i": "t2i", "i2i": "image_edit", "t2v": "t2v", "i2v": "i2v"}
"""The site's word for each kind of media it makes."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message to the site."""

    chat_type: ChatType
    model: str
    content: str
    files: tuple[Mapping[str, Any], ...] = ()
    size: str | None = None
    thinking: bool = False
    budget: int | None = None


def chat_turn(request: ChatRequest, known: Collection[str]) -> Turn:
    """The caller's conversation as one message. Raises InvalidRequest where it is too long or says nothing.

    `known`: the site's models, to tell a model that is called `…-thinking` from the wish that one shall think.
    """
    model, thinking, budget = _thinking(request, known)
    content = _within_limit(flattened.flatten(request), "messages")
    return Turn("t2t", model, content, tuple(map(file, request.inputs)), thinking=thinking, budget=budget)


def media_turn(request: ImageRequest | VideoRequest) -> Turn:
    """A prompt as one message. Raises UpstreamRefusedParameter for what the site cannot make."""
    chat_type = CHAT_TYPES.get(request.kind)
    if chat_type is None:
        message = f"chat.qwen.ai makes no {request.kind} videos"
        raise errors.UpstreamRefusedParameter(message, param="kind", sent="no")
    if any(given.role == "mask" for given in request.inputs):
        raise errors.UpstreamRefusedParameter("chat.qwen.ai edits without a mask", param="mask", sent="no")
    size = nearest_ratio(request.size) or ("16:9" if isinstance(request, VideoRequest) else "1:1")
    content = _within_limit(request.prompt, "prompt")
    return Turn(chat_type, request.model, content, tuple(map(file, request.inputs)), size=size)


def new_chat(turn: Turn, now: float) -> dict[str, Any]:
    """What a conversation for this turn is asked for with. Its timestamp is in milliseconds."""
    return {
        "title": "New Chat",
        "models": [turn.model],
        "chat_mode": "normal",
        "chat_type": turn.chat_type,
        "timestamp": int(now * 1000),
        "project_id": "",
    }


def completion(turn: Turn, ref: ChatRef, now: float) -> dict[str, Any]:
    """What an answer is asked for with. Its timestamps are in seconds; its size must be the message's own."""
    return {
        "stream": turn.chat_type not in ("t2v", "i2v"),
        "version": "2.1",
        "incremental_output": True,
        "chat_id": ref.chat_id,
        "chat_mode": "normal",
        "model": turn.model,
        "parent_id": ref.parent_id,
        "messages": [_message(turn, ref, now)],
        "timestamp": int(now),
        **_size(turn),
    }


def file(given: Input) -> dict[str, Any]:
    """A file as a message names it. Raises InvalidRequest for one that is neither uploaded nor on the internet."""
    if given.ref:
        return {name: value for name, value in given.ref.items() if name != "expires_at"}
    if not given.url.startswith(("https://", "http://")) or family(given.mime or "image/") != "image":
        raise errors.InvalidRequest("files must be uploaded before chat.qwen.ai can read them", param="files")
    return named_file(given.name or "image", given.mime or "image/png") | {"url": given.url}


def named_file(name: str, mime: str) -> dict[str, Any]:
    """What is said of any file, wherever it is."""
    kind = family(mime)
    seen_as = {"image": "vision", "file": "document"}.get(kind, kind)
    shown = {"type": kind, "name": name, "file_type": mime, "showType": kind, "file_class": seen_as}
    return {**shown, "status": "uploaded"}


def family(mime: str) -> str:
    """`image`, `video`, `audio` or, for documents and the rest, `file`."""
    family = mime.partition("/")[0]
    return family if family in ("image", "video", "audio") else "file"


def nearest_ratio(size: Size | None) -> str | None:
    """The nearest of the site's ratios; 3:2 is made 4:3, 7:4 is made 16:9."""
    if size is None:
        return None
    asked = _breadth(size.ratio)
    return min(RATIOS, key=lambda ratio: abs(log(asked / _breadth(ratio))))


def _message(turn: Turn, ref: ChatRef, now: float) -> dict[str, Any]:
    return {
        "id": None,
        "fid": str(uuid4()),
        "parentId": ref.parent_id,
        "parent_id": ref.parent_id,
        "childrenIds": [],
        "role": "user",
        "content": turn.content,
        "user_action": "chat",
        "files": turn.files,
        "timestamp": int(now),
        "models": [turn.model],
        "chat_type": turn.chat_type,
        "sub_chat_type": turn.chat_type,
        "feature_config": _features(turn),
        "extra": {"meta": {"subChatType": turn.chat_type, **_size(turn)}},
    }


def _features(turn: Turn) -> dict[str, Any]:
    budget = {"thinking_budget": turn.budget} if turn.budget else {}
    return {
        "thinking_enabled": turn.thinking,
        "output_schema": "phase",  # without it no delta tells its phase
        "research_mode": "normal",
        "auto_thinking": False,
        "thinking_mode": "Thinking" if turn.thinking else "Fast",
        "thinking_format": "detail",
        "auto_search": False,
        **budget,
    }


def _size(turn: Turn) -> dict[str, str]:
    return {"size": turn.size} if turn.size else {}


def _thinking(request: ChatRequest, known: Collection[str]) -> tuple[str, bool, int | None]:
    """The model's own name, whether it shall think, and for how many tokens at most."""
    model, effort = request.model, wire_body.read(request.body, "reasoning_effort", str)
    bare = model.removesuffix("-thinking")
    model = bare if bare in known and model not in known else model
    budget = wire_body.whole_number(request.body, "thinking_budget", 1, 10**6) or EFFORTS.get(effort or "")
    asked = wire_body.read(request.body, "enable_thinking", bool)
    if asked is None:
        asked = effort != "none" if effort else model != request.model or budget is not None
    thinking = asked or model in ALWAYS_THINK
    return model, thinking, min(budget, MAX_BUDGET) if thinking and budget else None


def _within_limit(content: str, param: str) -> str:
    if len(content) > MAX_CONTENT:
        message = f"chat.qwen.ai takes at most {MAX_CONTENT} characters at once, not {len(content)}"
        raise errors.InvalidRequest(message, param=param, code="context_length_exceeded", sent="no")
    return content


def _breadth(ratio: str) -> float:
    width, height = ratio.split(":")
    return int(width) / int(height)
