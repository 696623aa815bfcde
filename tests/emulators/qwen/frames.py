"""The streams of the site, frame by frame."""

import json
import uuid
from dataclasses import dataclass
from typing import Any

from tests.emulators.qwen.checks import RATIOS
from tests.emulators.qwen.records import Chat
from tests.emulators.qwen.script import Answer, Fault, Picture


@dataclass
class Turn:
    """One answer of the site, frame by frame."""

    chat: Chat
    id: str
    usage: dict[str, Any]

    def created(self) -> dict[str, Any]:
        told = {"chat_id": self.chat.id, "parent_id": str(uuid.uuid4()), "response_id": self.id}
        return {"response.created": told}

    def alive(self) -> dict[str, Any]:
        return {"response.info": {"action": "keep_alive", "response_id": self.id}}

    def delta(self, phase: str | None, content: str, status: str = "typing", extra: Any = None) -> dict[str, Any]:
        told: dict[str, Any] = {"role": "assistant", "content": content, "status": status}
        if phase is not None:
            told["phase"] = phase
        if extra is not None:
            told["extra"] = extra
        return {"choices": [{"delta": told}], "usage": self.usage, "response_id": self.id}

    def told(self, phase: str | None, text: str, pieces: int, whole: bool) -> list[dict[str, Any]]:
        size = max(1, -(-len(text) // pieces))
        ends = range(size, len(text) + size, size)
        return [self.delta(phase, text[:end] if whole else text[end - size : end]) for end in ends]

    def summary(self, answer: Answer) -> list[dict[str, Any]]:
        """Thoughts in short: all of them each time, the content empty."""
        size = max(1, -(-len(answer.think) // answer.pieces))
        frames = []
        for end in range(size, len(answer.think) + size, size):
            extra = {
                "summary_title": {"content": list(answer.titles)},
                "summary_thought": {"content": [answer.think[:end]]},
            }
            frames.append(self.delta("thinking_summary", "", "typing", extra))
        return [*frames, self.delta("thinking_summary", "", "finished", {})]

    def keep(self, message: dict[str, Any], text: str, shown: dict[str, Any] | None = None) -> None:
        """Write the turn into the conversation."""
        asked = str(uuid.uuid4())
        self.chat.messages[asked] = {"id": asked, "role": "user", "content": message["content"]}
        told = {"role": "assistant", "content": "", "content_list": [{"content": text, "phase": "answer"}]}
        self.chat.messages[self.id] = {"id": self.id, **(shown or told)}
        self.chat.responses.append(self.id)


def turn_of(chat: Chat, usage: dict[str, Any]) -> Turn:
    return Turn(chat, str(uuid.uuid4()), usage)


def talk(chat: Chat, message: dict[str, Any], body: Any, answer: Answer) -> list[Any]:
    """An answer in words."""
    config = message["feature_config"]
    turn = turn_of(chat, answer.usage)
    phases = config.get("output_schema") == "phase" and not answer.phaseless
    whole = not body.get("incremental_output")
    frames = [turn.created(), turn.alive()]
    if answer.think and config.get("thinking_enabled"):
        if config.get("thinking_format") == "summary":
            frames += turn.summary(answer)
        else:
            frames += turn.told("think" if phases else None, answer.think, answer.pieces, whole)
            frames.append(turn.delta("think" if phases else None, "", "finished") if phases else turn.alive())
    phase = "answer" if phases else None
    frames += turn.told(phase, answer.text, answer.pieces, whole)
    if answer.finished:
        frames.append(turn.delta(phase, "", "finished"))
    if answer.done:
        frames.append("[DONE]" if answer.done == "[DONE]" else {"response.completed": {"response_id": turn.id}})
    turn.keep(message, answer.text)
    return frames


def paint(chat: Chat, message: dict[str, Any], picture: Picture, urls: list[str]) -> list[Any]:
    """An answer that holds images."""
    width, height = RATIOS[message["extra"]["meta"]["size"]]
    glued = "".join([*(file["url"] for file in message["files"] if picture.echo), *urls])
    turn = turn_of(
        chat, {"input_tokens": 0, "output_tokens": 0, "width": width, "height": height, "image_count": len(urls)}
    )
    frames = [turn.created(), *([turn.alive()] * picture.keep_alives)]
    extra: dict[str, Any] = {"output_image_hw": [[height, width]] * len(urls)}
    if picture.listed:
        extra["image_list"] = [{"image": url} for url in urls]
        frames.append(turn.delta(picture.phase, "", "typing", extra))
    elif not picture.lost:
        frames += turn.told(picture.phase, glued, picture.pieces, False)
    frames.append(turn.delta(picture.phase, "", "finished", extra))
    if picture.words:
        frames += turn.told("answer", picture.words, 1, False)
    if picture.phase is not None:
        frames.append(turn.delta("answer", "", "finished"))
    turn.keep(message, glued)
    return frames


def frame(data: Any) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"data: {text}\n\n".encode()


def split(frame: bytes, size: int) -> list[bytes]:
    return [frame[at : at + size] for at in range(0, len(frame), size)] if size else [frame]


def in_stream(fault: Fault) -> dict[str, Any]:
    match fault.shape:
        case "text":
            return {"error": fault.details}
        case "object":
            return {"error": {"code": fault.code, "details": fault.details}}
        case _:
            return {"success": False, "data": {"code": fault.code, "details": fault.details, "num": fault.num}}
