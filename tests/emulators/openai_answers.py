"""What a strict OpenAI-style server says: its checks, its answers, its streams. Pure; `openai_compatible` serves it."""

import base64
import io
import json
import struct
import wave
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_ROLES = frozenset({"developer", "system", "user", "assistant", "tool", "function"})


@dataclass(frozen=True)
class Reply:
    """This answer instead of the right one."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    def __init__(self, reply: Reply) -> None:
        self.reply = reply


@dataclass(frozen=True)
class Bent:
    """The right stream, changed on its way out."""

    finish: bool = True
    """Whether the finish reason is among it."""
    done: bool = True
    cut_after: int | None = None
    """Ends cleanly after so many events."""
    split: int | None = None
    """Bytes a piece; None: an event a piece."""
    newline: bytes = b"\n"
    comments: bool = False
    fields: bool = False
    """Whether `id:`, `retry:`, `event:` and empty `data:` lines are strewn in."""
    error_at: int | None = None
    """The place of an event that holds an error."""
    error: dict[str, Any] = field(
        default_factory=lambda: {"message": "The server had an error", "code": "server_error"}
    )


def refusal(
    status: int, code: str | None, message: str, *, type_: str = "", param: str | None = None, **headers: str
) -> Reply:
    """OpenAI's error object. Header names are given with underscores: `retry_after="7"`."""
    error = {"message": message, "type": type_ or "invalid_request_error", "param": param, "code": code}
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps({"error": error}).encode(), headers=sent)


def refuse(code: str | None, message: str, param: str | None = None) -> Refused:
    return Refused(refusal(400, code, message, param=param))


def missing(name: str) -> Refused:
    return refuse("missing_required_parameter", f"Missing required parameter: '{name}'.", name)


def no_unknown(body: dict[str, Any], known: frozenset[str] | set[str]) -> None:
    for name in body:
        if name not in known:
            raise refuse("unknown_parameter", f"Unknown parameter: '{name}'.", name)


def model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_780_000_000, "owned_by": "emulator", "shutdown_date": None}


# --- chat ---


def check_chat(body: dict[str, Any], known: frozenset[str] | set[str]) -> None:
    """Raises what OpenAI refuses."""
    no_unknown(body, known)
    messages = body.get("messages")
    if messages is None:
        raise missing("messages")
    if not isinstance(messages, list) or not messages:
        raise refuse("invalid_type", "Invalid type for 'messages': expected a non-empty array.", "messages")
    for at, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise refuse("invalid_value", f"Invalid value for 'messages[{at}].role'.", f"messages[{at}].role")
        _check_content(message, f"messages[{at}].content")
    if "stream_options" in body and not body.get("stream"):
        raise refuse(None, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    for name in ("temperature", "top_p"):
        if name in body and not isinstance(body[name], int | float):
            raise refuse("invalid_type", f"Invalid type for '{name}': expected a decimal.", name)
    if body.get("response_format", {}).get("type") == "json_schema" and "schema" not in body["response_format"].get(
        "json_schema", {}
    ):
        raise missing("response_format.json_schema")


def _check_content(message: dict[str, Any], where: str) -> None:
    content = message.get("content")
    if isinstance(content, str) or (content is None and message["role"] == "assistant"):
        return
    if not isinstance(content, list):
        raise refuse("invalid_type", f"Invalid type for '{where}'.", where)
    for part in content:
        if part.get("type") == "image_url":
            url = part.get("image_url", {}).get("url", "")
            head, _, payload = url.partition(",")
            if head.startswith("data:image/") and head.endswith(";base64"):
                base64.b64decode(payload, validate=True)
            elif not url.startswith(("http://", "https://")):
                raise refuse("invalid_image_url", "Failed to download image.", where)
        elif part.get("type") not in ("text", "input_audio", "file", "refusal"):
            raise refuse("invalid_value", f"Invalid value: '{part.get('type')}'.", where)


def completion(name: str, body: dict[str, Any], text: str) -> dict[str, Any]:
    words, reason = _words(body, text)
    message: dict[str, Any] = {"role": "assistant", "content": "".join(words), "refusal": None, "annotations": []}
    if _calls(body):
        message |= {"content": None, "tool_calls": [_call(body)]}
        reason = "tool_calls"
    choices = [
        {"index": at, "message": message, "logprobs": None, "finish_reason": reason} for at in range(body.get("n", 1))
    ]
    return {
        "id": "chatcmpl-emulated",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": name,
        "choices": choices,
        "usage": usage(body, words),
        "service_tier": "default",
    }


def chunks(name: str, body: dict[str, Any], text: str) -> Iterator[dict[str, Any]]:
    """With `include_usage` every chunk has a null usage and one more, without choices, has the count."""
    counted = bool((body.get("stream_options") or {}).get("include_usage"))
    head = {"id": "chatcmpl-emulated", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": name}
    tail: dict[str, Any] = {"usage": None} if counted else {}
    words, reason = _words(body, text)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", "refusal": None}]
    if _calls(body):
        reason, call = "tool_calls", _call(body)
        arguments = call["function"]["arguments"]
        first = {"index": 0, **call, "function": {**call["function"], "arguments": ""}}
        deltas[0]["tool_calls"] = [first]
        halves = (arguments[:5], arguments[5:])
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": half}}]} for half in halves]
    else:
        deltas += [{"content": word} for word in words]
    for delta in deltas:
        yield {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}], **tail}
    yield {**head, "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}], **tail}
    if counted:
        yield {**head, "choices": [], "usage": usage(body, words)}


def usage(body: dict[str, Any], words: list[str]) -> dict[str, Any]:
    asked = len(json.dumps(body["messages"]).split())
    return {
        "prompt_tokens": asked,
        "completion_tokens": len(words),
        "total_tokens": asked + len(words),
        "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }


def _words(body: dict[str, Any], text: str) -> tuple[list[str], str]:
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
    if schema:
        text = json.dumps(_instance(schema))
    words = [word + " " for word in text.split(" ")]
    words[-1] = words[-1][:-1]
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or len(words)
    return (words[:limit], "length") if limit < len(words) else (words, "stop")


def _instance(schema: dict[str, Any]) -> Any:
    match schema.get("type"):
        case "object":
            return {name: _instance(inner) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return [_instance(schema.get("items", {}))]
        case "integer" | "number":
            return 7
        case "boolean":
            return True
        case _:
            return schema.get("enum", ["seven"])[0]


def _calls(body: dict[str, Any]) -> bool:
    return bool(body.get("tools")) and body.get("tool_choice") != "none"


def _call(body: dict[str, Any]) -> dict[str, Any]:
    function = body["tools"][0]["function"]
    arguments = json.dumps(_instance({"type": "object", **function.get("parameters", {})}))
    return {"id": "call_emulated", "type": "function", "function": {"name": function["name"], "arguments": arguments}}


def pieces(events: list[dict[str, Any]], bent: Bent) -> Iterator[bytes]:
    """A stream's bytes, in the pieces they are sent in."""
    if not bent.finish:
        events = [event for event in events if not any(choice["finish_reason"] for choice in event["choices"])]
    if bent.error_at is not None:
        events = [*events[: bent.error_at], {"error": bent.error}]
    frames = [
        b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n" for event in events[: bent.cut_after]
    ]
    if bent.done and bent.cut_after is None and bent.error_at is None:
        frames.append(b"data: [DONE]\n\n")
    if bent.comments:
        frames = [part for frame in frames for part in (b": keep-alive\n\n", frame)]
    if bent.fields:
        frames = [part for frame in frames for part in (b"retry: 3000\n\n", b"data:\n\n", b"event: x\nid: 7\n" + frame)]
    if bent.newline != b"\n":
        frames = [frame.replace(b"\n", bent.newline) for frame in frames]
    if bent.split is None:
        yield from frames
        return
    whole = b"".join(frames)
    yield from (whole[at : at + bent.split] for at in range(0, len(whole), bent.split))


# --- the rest ---


def vector(text: str, dimensions: int, form: str) -> list[float] | str:
    floats = [((zlib.crc32(f"{text}{at}".encode()) % 2048) - 1024) / 1024 for at in range(dimensions)]
    return base64.b64encode(struct.pack(f"<{dimensions}f", *floats)).decode() if form == "base64" else floats


def png(shade: int) -> bytes:
    """One grey pixel."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixel = zlib.compress(bytes([0, shade % 256]))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", pixel) + part(b"IEND", b"")


def wav() -> bytes:
    """A tenth of a second of silence."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(1600))
    return out.getvalue()
