"""The native dialect of /api: a body to what it asks for, and answers with the extra names that a chat goes on by.

The same extra fields (`chatType`, `size`, `waitForCompletion`, `chatId`, `parentId`, `files`) work on /v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from gateway.errors import InvalidRequest
from gateway.types import ImageRequest, Input, Kind, MusicRequest, Size, SpeechRequest, VideoRequest
from gateway.wire import body as wire_body
from gateway.wire import chat_files, openai_chat
from gateway.wire import number as wire_number
from gateway.wire import size as wire_size

Body = Mapping[str, msgspec.Raw]
Inputs = tuple[Input, ...]
Hints = dict[str, str]
Role = Literal["image", "first_frame", "last_frame", "reference"]

LONG_NAMES: dict[str, Kind] = {
    "text_to_text": "t2t",
    "text_to_image": "t2i",
    "image_to_image": "i2i",
    "image_edit": "i2i",
    "text_to_video": "t2v",
    "image_to_video": "i2v",
    "first_last_frame_to_video": "flf2v",
    "reference_image_to_video": "ref2v",
    "text_to_music": "t2m",
    "text_to_speech": "tts",
}
CHAT_TYPES: tuple[Kind, ...] = ("t2t", "t2i", "i2i", "t2v", "i2v", "flf2v", "ref2v", "t2m", "tts")
IMAGE_KINDS: frozenset[Kind] = frozenset({"t2i", "i2i"})
VIDEO_KINDS: frozenset[Kind] = frozenset({"t2v", "i2v", "flf2v", "ref2v"})
FORMATS = frozenset({"mp3", "wav", "opus", "aac", "flac", "pcm"})
MAX_PROMPT = 131_072
MAX_INPUTS = 16
_NULL = b"null"

_READ_HERE = frozenset(
    {
        "model", "message", "messages", "chatType", "kind", "chatId", "parentId", "files", "waitForCompletion",
        "stream", "stream_options", "response_format", "prompt", "input", "images", "image", "tools", "tool_choice",
        "modalities", "progress", "webhook", "webhook_url", "webhook_events", "metadata", "deadline_s", "text",
        "first_frame", "last_frame", "reference_images", "fallback", "on_unsupported", "max_cost", "continue_from",
    }
)  # fmt: skip
"""What is no parameter of any generation, or is read before there is one."""
_OF_IMAGES = frozenset({"size", "aspect_ratio", "n", "seed", "partial_images"})
_OF_VIDEOS = frozenset({"size", "aspect_ratio", "n", "seed", "seconds", "duration"})
_OF_SPEECH = frozenset({"n", "voice", "format", "speed"})
_OF_MUSIC = frozenset({"n", "seed", "seconds", "duration", "format"})
OF_SOME_KINDS = (_OF_IMAGES | _OF_VIDEOS | _OF_SPEECH | _OF_MUSIC) - {"partial_images"}
"""Parameters that are read for some kinds of work. For another kind they stand among the further ones, so that a model
can say that it has none; nobody takes them unless it does."""
_NATIVE_ONLY = frozenset(
    {
        *("message", "chatType", "kind", "chatId", "parentId", "files", "waitForCompletion", "size"),
        *("webhook_url", "webhook_events", "deadline_s", "progress"),
        *("fallback", "on_unsupported", "max_cost", "continue_from"),
    }
)
"""Never told to an upstream of the OpenAI dialect."""


class Names(msgspec.Struct, frozen=True):
    """How a request names its conversation."""

    chat_id: str | None
    parent_id: str | None


class _File(msgspec.Struct):
    url: str
    name: str = ""
    type: str = ""
    file_type: str = ""


def kind(body: Body) -> Kind | None:
    """The kind of work a body names by `chatType` (or `kind`). Raises InvalidRequest listing what there is."""
    name = _given(body, "chatType", "kind")
    value = wire_body.text(body, name)
    if value is None:
        return None
    found = LONG_NAMES.get(value, value)
    if found not in CHAT_TYPES:
        raise InvalidRequest(
            f"'{name}' {value[:40]!r} is unknown: use one of {', '.join(CHAT_TYPES)}",
            param=name,
            code="unknown_chat_type",
        )
    return next(one for one in CHAT_TYPES if one == found)


def names(body: Body) -> Names | None:
    """None where the request belongs to no conversation."""
    if "chatId" not in body and "parentId" not in body:
        return None
    return Names(wire_body.text(body, "chatId") or None, wire_body.text(body, "parentId") or None)


def waits(body: Body) -> bool:
    found = wire_body.read(body, "waitForCompletion", bool)
    return True if found is None else found


def chat_body(body: Body, param: str = "message") -> dict[str, msgspec.Raw]:
    """A native body as an OpenAI chat body: `message` becomes the last of `messages`, `files` its parts.

    Raises InvalidRequest where there is nothing to answer.
    """
    turns = list(wire_body.read(body, "messages", list[dict[str, Any]]) or ())
    message = _message(body)
    if message is not None:
        turns.append({"role": "user", "content": message})
    if not turns:
        raise InvalidRequest(
            "'message' is required: a string, or a list of parts", param=param, code="missing_required_parameter"
        )
    turns = [_openai_parts(turn) for turn in turns]
    files = _files(body)
    if files:
        turns[-1] = {**turns[-1], "content": [*_parts(turns[-1].get("content")), *files]}
    last = turns[-1]
    if last.get("role") == "user" and _says_nothing(last.get("content")):
        raise InvalidRequest("'message' must not be empty", param=param)
    out = {name: raw for name, raw in body.items() if name not in _NATIVE_ONLY}
    out["messages"] = msgspec.Raw(msgspec.json.encode(turns))
    return out


def inputs(turns: list[dict[str, Any]]) -> tuple[Input, ...]:
    """The images that the last message brings."""
    found = tuple(map(Input, chat_files.images(turns[-1].get("content"))))
    if len(found) > MAX_INPUTS:
        raise InvalidRequest(f"a request may bring at most {MAX_INPUTS} images, not {len(found)}", param="messages")
    for one in found:
        check_url(one.url, "messages")
    return found


def check_url(url: str, param: str) -> None:
    """Raises InvalidRequest for what is neither a URL that a caller may name nor an id of ours."""
    if not url.startswith(("https://", "http://", "data:")) and not chat_files.is_id(url):
        raise InvalidRequest(
            "a file must be named by an http(s) or data: URL, or by its id", param=param, code="invalid_url"
        )


def fitting(asked: Kind, images: int, param: str = "chatType") -> Kind:
    """The kind that the inputs make of the one asked for: text→video with one image is i2v. Raises where they clash."""
    if asked in ("t2i", "i2i"):
        asked = "i2i" if images else asked
    elif asked == "t2v" and images:
        asked = "i2v" if images == 1 else "flf2v" if images == 2 else "ref2v"
    least = {"i2i": 1, "i2v": 1, "flf2v": 2, "ref2v": 1}.get(asked, 0)
    most = {"i2v": 1, "flf2v": 2, "tts": 0, "t2m": 0}.get(asked, MAX_INPUTS)
    if not least <= images <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        noun = "image" if wanted == "1" else "images"
        raise InvalidRequest(f"{asked} takes {wanted} {noun}, the request has {images}", param=param)
    return asked


def with_roles(kind: Kind, found: tuple[Input, ...]) -> tuple[Input, ...]:
    roles: dict[Kind, tuple[Role, ...]] = {"i2v": ("first_frame",), "flf2v": ("first_frame", "last_frame")}
    default: Role = "reference" if kind == "ref2v" else "image"
    wanted = roles.get(kind, ())
    return tuple(
        msgspec.structs.replace(one, role=wanted[index] if index < len(wanted) else default)
        for index, one in enumerate(found)
    )


def image_request(
    body: Body, kind: Kind, model: str, prompt: str, found: tuple[Input, ...], hints: dict[str, str]
) -> ImageRequest:
    return ImageRequest(
        model=model,
        prompt=_prompt(prompt, body),
        kind="i2i" if kind == "i2i" else "t2i",
        size=_size(body),
        n=wire_body.whole_number(body, "n", 1, 10) or 1,
        seed=_seed(body),
        inputs=found,
        partial_images=wire_body.whole_number(body, "partial_images", 0, 3) or 0,
        params=_further(body, _OF_IMAGES),
        hints=hints,
    )


def video_request(
    body: Body, kind: Kind, model: str, prompt: str, found: tuple[Input, ...], hints: dict[str, str]
) -> VideoRequest:
    return VideoRequest(
        model=model,
        prompt=_prompt(prompt, body),
        kind=next(known for known in get_args(VideoKind) if known == kind),
        size=_size(body),
        seconds=seconds(body, 600),
        seed=_seed(body),
        n=wire_body.whole_number(body, "n", 1, 10) or 1,
        inputs=with_roles(kind, found),
        params=_further(body, _OF_VIDEOS),
        hints=hints,
    )


def media_request(
    body: Body, kind: Kind, model: str, prompt: str, found: tuple[Input, ...], hints: Hints
) -> ImageRequest | VideoRequest | SpeechRequest | MusicRequest:
    """A request for media of any kind."""
    if kind in VIDEO_KINDS:
        return video_request(body, kind, model, prompt, found, hints)
    if kind == "tts":
        return speech_request(body, model, prompt, hints)
    if kind == "t2m":
        return music_request(body, model, prompt, hints)
    return image_request(body, kind, model, prompt, found, hints)


VideoKind = Literal["t2v", "i2v", "flf2v", "ref2v"]


def speech_request(body: Body, model: str, prompt: str, hints: Hints) -> SpeechRequest:
    speed = wire_body.read(body, "speed", float)
    if speed is not None and not 0.25 <= speed <= 4:
        raise InvalidRequest("'speed' must be a number from 0.25 to 4", param="speed")
    count = wire_body.whole_number(body, "n", 1, 10) or 1
    return SpeechRequest(
        model=model,
        text=_prompt(prompt, body),
        voice=_voice(body),
        format=audio_format(body),
        speed=1.0 if speed is None else speed,
        params=_further(body, _OF_SPEECH) | ({"n": count} if count > 1 else {}),
        hints=hints,
    )


def music_request(body: Body, model: str, prompt: str, hints: Hints) -> MusicRequest:
    return MusicRequest(
        model=model,
        prompt=_prompt(prompt, body),
        seconds=seconds(body, 600),
        format=audio_format(body),
        seed=_seed(body),
        n=wire_body.whole_number(body, "n", 1, 10) or 1,
        params=_further(body, _OF_MUSIC),
        hints=hints,
    )


def _further(body: Body, own: frozenset[str]) -> dict[str, Any]:
    """The parameters that a request has no field for. `own`: those that it has one for. Null asks for nothing."""
    found = wire_body.decoded(body, _READ_HERE | own)
    return {name: value for name, value in found.items() if value is not None or name not in OF_SOME_KINDS}


def audio_format(body: Body) -> str:
    name = _given(body, "format", "response_format")
    found = wire_body.read(body, name, str) or "mp3"
    if found not in FORMATS:
        raise InvalidRequest(f"'{name}' {found[:20]!r} is unknown: use one of {', '.join(sorted(FORMATS))}", param=name)
    return found


def seconds(body: Body, most: float) -> float | None:
    """A duration, as a number or (as Sora's clients send it) a string of one."""
    name = _given(body, "seconds", "duration")
    found = wire_body.read_any(body, name, float | str)
    if found is None:
        return None
    value = wire_number.parse(found) if isinstance(found, str) else found
    if value is None or not 0 < value <= most:
        raise InvalidRequest(f"'{name}' must be a number of seconds above 0 and at most {most:g}", param=name)
    return float(value)


def names_json(chat_id: str | None, parent_id: str, response_id: str | None = None) -> dict[str, Any]:
    """The members by which a caller goes on with a conversation."""
    found: dict[str, Any] = {"response_id": response_id or parent_id, "parentId": parent_id}
    return found | {"chatId": chat_id} if chat_id else found


def _given(body: Body, first: str, other: str) -> str:
    """The one of two names for the same that the body gives a value; null is none."""
    return other if bytes(body.get(first, _NULL)) == _NULL else first


def _message(body: Body) -> Any:
    if "message" not in body:
        return None
    found = wire_body.read_any(body, "message", str | list[dict[str, Any]])
    if isinstance(found, str):
        if "\x00" in found:
            raise InvalidRequest("'message' must not hold a NUL character", param="message")
        if not found.strip():
            raise InvalidRequest("'message' must not be empty", param="message")
    elif found is not None and not found:
        raise InvalidRequest("'message' must hold at least one part", param="message")
    return found


def _openai_parts(turn: dict[str, Any]) -> dict[str, Any]:
    content = turn.get("content")
    if not isinstance(content, list):
        return turn
    return {**turn, "content": [_openai_part(part) for part in content]}


def _openai_part(part: Any) -> dict[str, Any]:
    match part:
        case {"type": "image", "image": str(url)}:
            return {"type": "image_url", "image_url": {"url": url}}
        case {"type": "file", "file": str(url)}:
            return _file_part(url, "", "")
        case {"type": str(name)} if name != "image" or "image" not in part:
            return dict(part)
    raise InvalidRequest(
        "a part of a message must be {type:'text',text}, {type:'image',image:url} or {type:'file',file:url}",
        param="message",
    )


def _parts(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}] if content else []


def _says_nothing(content: Any) -> bool:
    """Whether there is neither a word in it nor a part of another kind."""
    if isinstance(content, list) and any(part.get("type") != "text" for part in content):
        return False
    return not openai_chat.text(content).strip()


def _files(body: Body) -> list[dict[str, Any]]:
    found = wire_body.read_any(body, "files", list[str | _File]) or []
    parts = []
    for file in found:
        url, name, mime = (
            (file, "", "") if isinstance(file, str) else (file.url, file.name, file.type or file.file_type)
        )
        check_url(url, "files")
        parts.append(_file_part(url, name, mime))
    return parts


def _file_part(url: str, name: str, mime: str) -> dict[str, Any]:
    """An image part where the name or type says image, else a file part."""
    path = (name or url.partition("?")[0]).lower()
    if mime.startswith("image") or url.startswith("data:image/") or path.endswith(_IMAGE_ENDINGS):
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "file", "file": {"url": url, "filename": name or path.rpartition("/")[2]}}


_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".heic", ".avif")


def _size(body: Body) -> Size | None:
    name = _given(body, "size", "aspect_ratio")
    return wire_size.parse(wire_body.read(body, name, str), name)


def _seed(body: Body) -> int | None:
    return wire_body.whole_number(body, "seed", 0, 2**63 - 1)


def _voice(body: Body) -> str:
    found: str | dict[str, str] | None = wire_body.read_any(body, "voice", str | dict[str, str])
    if isinstance(found, dict):
        return found.get("id", "")
    return found or ""


def _prompt(prompt: str, body: Body) -> str:
    """The words to work from, fit to be kept. `body` tells by which name the caller gave them."""
    param = next((name for name in ("message", "messages", "prompt", "input") if name in body), "message")
    if not prompt.strip():
        raise InvalidRequest("the prompt must not be empty", param=param)
    if "\x00" in prompt:
        raise InvalidRequest("the prompt must not hold a NUL character", param=param)
    if len(prompt) > MAX_PROMPT:
        raise InvalidRequest(f"the prompt may have at most {MAX_PROMPT} characters", param=param)
    return prompt
