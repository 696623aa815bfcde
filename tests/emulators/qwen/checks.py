"""What the site accepts as a turn."""

import time
from collections.abc import Container
from typing import Any

from tests.emulators.qwen.records import Chat, Person
from tests.emulators.qwen.replies import Refuse, need

RATIOS = {"1:1": (2048, 2048), "3:4": (1536, 2048), "4:3": (2048, 1536), "16:9": (2688, 1536), "9:16": (1536, 2688)}
CHAT_TYPES = {"t2t", "search", "t2i", "image_edit", "t2v", "i2v", "deep_research", "web_dev", "artifacts"}
MEDIA = {"t2i", "image_edit", "t2v", "i2v"}
VIDEO = {"t2v", "i2v"}
MAX_CONTENT = 131_072


def checked(body: Any, chat: Chat, person: Person, models: Container[str], stored: Container[str]) -> dict[str, Any]:
    """The one message of a turn that the site accepts."""
    messages = body.get("messages")
    need(isinstance(messages, list) and len(messages) == 1, "messages must hold exactly one message")
    message = messages[0]
    kind = message.get("chat_type")
    meta = message.get("extra", {}).get("meta", {})
    need(body.get("chat_id") == chat.id, "chat_id does not match")
    need(body.get("chat_mode") == "normal", "chat_mode is invalid")
    need(body.get("model") in models, "Model not found")
    need(message.get("models") == [body["model"]], "models does not match")
    need(kind in CHAT_TYPES, "chat_type is invalid")
    need(message.get("sub_chat_type") == kind and meta.get("subChatType") == kind, "sub_chat_type does not match")
    need(body.get("stream") is (kind not in VIDEO), "stream is invalid for this chat_type")
    need(seconds(body.get("timestamp")) and seconds(message.get("timestamp")), "timestamp must be in seconds")
    parent = body.get("parent_id", "")
    need(parent in chat.responses if chat.responses else parent is None, "parent_id is invalid")
    need(message.get("parent_id") == message.get("parentId") == parent, "parentId is invalid")
    need(message.get("role") == "user" and message.get("user_action") == "chat", "message is invalid")
    need(bool(message.get("fid")) and message.get("childrenIds") == [], "fid is required")
    need(isinstance(message.get("content"), str), "content must be a string")
    need(len(message["content"]) <= MAX_CONTENT, "content is too long: at most 131072 characters")
    need(isinstance(message.get("feature_config"), dict), "feature_config is required")
    need(message["feature_config"].get("thinking_budget", 1) < 38912, "thinking_budget is out of range")
    need(body.get("size") == meta.get("size"), "size does not match")
    need(kind not in MEDIA or body.get("size") in RATIOS, "size is invalid")
    need(kind not in ("image_edit", "i2v") or bool(message.get("files")), "files is required")
    for file in message.get("files", ()):
        check_file(file, person, stored)
    return message


def check_file(file: dict[str, Any], person: Person, stored: Container[str]) -> None:
    shape = ("type", "name", "file_type", "showType", "file_class", "url")
    if not all(isinstance(file.get(name), str) for name in shape) or file.get("status") != "uploaded":
        raise Refuse("invalid_input", "The file is invalid")
    if "id" not in file:
        if file["type"] != "image" or not file["url"].startswith("https://"):
            raise Refuse("invalid_input", "The input url is invalid")
        return
    known = person.files.get(file["id"])
    if known is None:
        raise Refuse("Not_Found", "File not found")
    if known["url"] != file["url"] or known["path"] not in stored:
        raise Refuse("invalid_input", "The input file was not uploaded")
    if file["type"] == "file" and known["state"] != "success":
        raise Refuse("invalid_input", "The input file was not parsed")


def seconds(stamp: Any) -> bool:
    return isinstance(stamp, int) and abs(stamp - time.time()) < 3600
