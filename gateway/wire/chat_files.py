"""Files in the messages of a chat: by what name a part brings one, and the part with the file itself in its place.

`{"type": "image_url", "image_url": {"url" | "file_id"} | url}` and
`{"type": "file", "file": {"file_data" | "url" | "file_id", "filename"} | url}`.
"""

from __future__ import annotations

import re
from typing import Any

_ID = re.compile(r"(?:file[-_]|asset_)[0-9a-f]{32}")
_IDS = (b'"file-', b'"file_', b'"asset_')
_LINKS = (b"/files/", rb"\/files\/")
"""As JSON has them: some encoders escape every slash."""


def is_id(text: str) -> bool:
    """Whether it is written as the id of a file or an asset of this gateway."""
    return _ID.fullmatch(text) is not None


def may_name_ids(messages: bytes) -> bool:
    """Whether undecoded messages could name an id: a cheap look, that may take other things for one."""
    return any(sign in messages for sign in _IDS)


def may_name_links(messages: bytes) -> bool:
    """The same for links of ours."""
    return any(sign in messages for sign in _LINKS)


def source(part: Any) -> str | None:
    """What names the file that a part brings, a URL or an id; None where it brings none."""
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in ("image_url", "file"):
        return None
    value = part.get(kind)
    if isinstance(value, dict):
        named = [value[name] for name in ("file_data", "url", "file_id") if isinstance(value.get(name), str)]
        return next(filter(None, named), named[0] if named else None)
    return value if isinstance(value, str) else None


def images(content: Any) -> list[str]:
    """What names the images of a message's content: its image parts, and file parts by id, whatever they hold."""
    found = []
    for part in content if isinstance(content, list) else ():
        name = source(part)
        if name is not None and (part["type"] == "image_url" or is_id(name)):
            found.append(name)
    return found


def with_file(part: dict[str, Any], url: str, mime: str, name: str) -> dict[str, Any]:
    """The part with its file by another URL. An image is an image part then, whatever kind of part it came in."""
    if part["type"] == "file" and not mime.startswith("image/"):
        by = "file_data" if url.startswith("data:") else "url"
        return {**part, "file": {by: url, "filename": name}}
    kept = part.get("image_url")
    shown = {key: value for key, value in kept.items() if key != "file_id"} if isinstance(kept, dict) else {}
    rest = {key: value for key, value in part.items() if key not in ("type", "file", "image_url")}
    return {"type": "image_url", "image_url": {**shown, "url": url}, **rest}
