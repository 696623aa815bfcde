"""What a create may say: as strict as the vendor."""

import base64
import binascii
import io
import re
from collections.abc import Mapping
from typing import Any

from PIL import Image

from tests.emulators.ark.faults import Refusal, invalid
from tests.emulators.ark.models import RATIOS, Model

FIELDS = frozenset(
    {
        "model", "content", "resolution", "ratio", "duration", "frames", "seed", "camera_fixed", "watermark",
        "generate_audio", "draft", "return_last_frame", "service_tier", "execution_expires_after", "priority",
        "callback_url", "safety_identifier", "output_format", "tools", "omni_reference_task_type",
    }
)  # fmt: skip
FLAGS = ("camera_fixed", "watermark", "generate_audio", "draft", "return_last_frame")
TEXTS = ("callback_url", "safety_identifier", "output_format", "omni_reference_task_type")


def check(body: Mapping[str, Any], model: Model) -> None:
    """Raises what the vendor refuses."""
    if unknown := set(body) - FIELDS:
        raise invalid(sorted(unknown)[0], "it is unknown")
    mode = _mode(body.get("content"), model)
    for name in FLAGS:
        _need(name, not isinstance(body.get(name, False), bool), "it must be a bool")
    for name in TEXTS:
        _need(name, not isinstance(body.get(name, ""), str), "it must be a string")
    _check_shape(body, model, mode)
    _check_length(body, model)
    _number(body, "seed", -1, 2**32 - 1)
    _number(body, "execution_expires_after", 3600, 259_200)
    _number(body, "priority", 0, 9)
    _need("service_tier", body.get("service_tier", "default") not in ("default", "flex"), "it is unknown")
    _need("safety_identifier", len(body.get("safety_identifier", "")) > 64, "it is too long")
    _need("output_format", body.get("output_format", "mp4") not in ("mp4", "mov"), "it is unknown")
    _check_version(body, model, mode)


def _check_shape(body: Mapping[str, Any], model: Model, mode: str) -> None:
    resolutions = model.resolutions[:2] if mode == "reference" and model.version < 2 else model.resolutions
    _need("resolution", body.get("resolution", resolutions[0]) not in resolutions, f"it must be one of {resolutions}")
    _need("ratio", body.get("ratio", "1:1") not in RATIOS, f"it must be one of {RATIOS}")
    bound = model.version == 2.5 and mode in ("first", "frames")
    _need("ratio", bound and body.get("ratio", "adaptive") != "adaptive", "it must be adaptive")
    _need("ratio", body.get("ratio") == "adaptive" and mode == "text" and model.version < 1.5, "it has no image")


def _check_length(body: Mapping[str, Any], model: Model) -> None:
    low, high = model.seconds
    if body.get("duration") != -1 or model.version < 1.5:
        _number(body, "duration", low, high)
    if "frames" in body:
        _need("frames", model.version > 1.0, "the model does not support it")
        _number(body, "frames", 29, 289)
        _need("frames", (body["frames"] - 25) % 4 != 0, "it must be 25 + 4n")


def _check_version(body: Mapping[str, Any], model: Model, mode: str) -> None:
    """What came with later models. `generate_audio` alone is ignored by those that have no sound."""
    version = model.version
    unsupported = {
        "camera_fixed": version >= 2.0 or mode == "reference",
        "draft": version != 1.5,
        "tools": version < 2.0,
        "priority": version < 2.0,
        "omni_reference_task_type": version < 2.5,
    }
    for name, lacking in unsupported.items():
        _need(name, lacking and bool(body.get(name)), "the model does not support it")
    _need("service_tier", version >= 2.0 and body.get("service_tier") == "flex", "the model does not support it")
    _need("resolution", bool(body.get("draft")) and body.get("resolution", "480p") != "480p", "a draft has 480p")
    tools = body.get("tools", [])
    _need("tools", not isinstance(tools, list) or any(tool != {"type": "web_search"} for tool in tools), "unknown tool")


def _need(name: str, wrong: bool, why: str) -> None:
    if wrong:
        raise invalid(name, why)


def _number(body: Mapping[str, Any], name: str, low: int, high: int) -> None:
    value = body.get(name, low)
    _need(name, type(value) is not int or not low <= value <= high, f"it must be a whole number from {low} to {high}")


def _mode(content: Any, model: Model) -> str:
    """What the content asks for: text, first, frames or reference."""
    if not isinstance(content, list) or not content:
        raise Refusal("MissingParameter", param="content")
    roles, texts = [], []
    for at, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str) and set(part) == {"type", "text"}:
            texts.append(part["text"])
        elif kind == "image_url" and set(part) <= {"type", "image_url", "role"}:
            _check_image((part.get("image_url") or {}).get("url"), f"content[{at}].image_url")
            roles.append(part.get("role"))
        else:
            raise invalid(f"content[{at}]", "it is no part that this site takes")
    if any("forbidden" in text for text in texts):
        raise Refusal("InputTextSensitiveContentDetected")
    mode = _mode_of(roles, bool(texts), model)
    _need("content", mode not in model.modes, f"the model does not support the mode {mode}")
    return mode


def _mode_of(roles: list[str | None], worded: bool, model: Model) -> str:
    if not roles:
        _need("content", not worded, "there is no text")
        return "text"
    if roles in ([None], ["first_frame"]):
        return "first"
    if sorted(map(str, roles)) == ["first_frame", "last_frame"]:
        return "frames"
    mixed = set(roles) != {"reference_image"}
    _need("content", mixed, "first/last frame content cannot be mixed with reference media content")
    _need("content", model.references > 0 and len(roles) > model.references, "there are too many reference images")
    return "reference"


def _check_image(url: Any, name: str) -> None:
    if (size := check_picture(url, name, 300)) is not None:
        _need(name, not 0.4 <= size[0] / size[1] <= 2.5, "it is too narrow")


def check_picture(url: Any, name: str, least: int) -> tuple[int, int] | None:
    """Sides of an image that is shown by its bytes; `least` is how short one may be. Raises what the vendor refuses."""
    if not isinstance(url, str):
        raise Refusal("MissingParameter", param=name)
    if url.startswith(("https://", "http://", "asset://")):
        return None
    found = re.fullmatch(r"data:image/([a-z]+);base64,(.+)", url, re.DOTALL)
    if found is None:
        raise invalid(name, "it is neither a URL nor a picture in base64")
    try:
        data = base64.b64decode(found[2], validate=True)
        with Image.open(io.BytesIO(data)) as opened:
            width, height = opened.size
    except (binascii.Error, OSError) as exc:
        raise invalid(name, "it is no picture", "InvalidParameter.UnsupportedImageFormat") from exc
    if len(data) >= 30 * 2**20 or max(width, height) > 6000:
        raise invalid(name, "it is too large", "InvalidParameter.OversizedImage")
    _need(name, min(width, height) < least, "it is too small")
    return width, height
