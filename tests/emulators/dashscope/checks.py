"""What a request may say: as strict as the vendor."""

import base64
import binascii
import io
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from PIL import Image

from tests.emulators.dashscope.faults import Refusal, invalid
from tests.emulators.dashscope.models import FUNCTIONS, LANGUAGES, VOICES, Film, Still

SEED_MAX = 2**31 - 1
RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4")
WORDS_MAX = 600
"""Characters that are spoken at once."""
FLAGS = ("prompt_extend", "watermark", "audio", "optimize_instructions")
Resolve = Callable[[str], None]
"""Raises where an oss:// address cannot be read."""


def film(body: Mapping[str, Any], model: Film, resolve: Resolve) -> None:
    given, parameters = _parts(body)
    _only("input", given, model.takes)
    _all("input", given, model.needs)
    _only("parameters", parameters, model.parameters)
    _words(given, model.prompt)
    for name in ("img_url", "first_frame_url", "last_frame_url"):
        if name in given:
            picture(f"input.{name}", given[name], resolve)
    references = given.get("reference_urls", ["none"])
    _need("input.reference_urls", isinstance(references, list) and 1 <= len(references) <= 5, "1 to 5 references")
    for url in given.get("reference_urls", ()):
        picture("input.reference_urls", url, resolve)
    if "audio_url" in given:
        _need("input.audio_url", _is_web(given["audio_url"]), "it is no URL")
    clips = _media(given, model, resolve) if "media" in given else 0
    _same(parameters)
    able = [seconds for seconds in model.seconds if not clips or seconds <= 10]
    _need("parameters.duration", parameters.get("duration", able[0]) in able, f"it must be one of {able}")
    _need("parameters.duration", isinstance(parameters.get("duration", 5), int), "it must be an integer")
    for name, allowed in (("size", model.sizes), ("resolution", model.resolutions), ("ratio", RATIOS)):
        _need(
            f"parameters.{name}", parameters.get(name, (allowed or [None])[0]) in (allowed or [None]), "it is unknown"
        )
    _need("parameters.shot_type", parameters.get("shot_type", "single") in ("single", "multi"), "it is unknown")
    multi = parameters.get("shot_type") == "multi" and not parameters.get("prompt_extend", True)
    _need("parameters.shot_type", not multi, "it needs prompt_extend")


def _media(given: Mapping[str, Any], model: Film, resolve: Resolve) -> int:
    """Returns how many films there are among it."""
    media = given["media"]
    _need("input.media", isinstance(media, list) and bool(media), "it must be a list")
    for one in media:
        whole = isinstance(one, dict) and {"type", "url"} <= set(one) <= {"type", "url", "reference_voice"}
        _need("input.media", whole, "a member must have type and url")
        if one["type"] in ("first_frame", "last_frame", "reference_image"):
            picture("input.media", one["url"], resolve)
        else:
            _need("input.media", _is_web(one["url"]), "it is no URL")
    types = [one["type"] for one in media]
    if model.frames:
        _need(
            "input.media", len(set(types)) == len(types) and frozenset(types) in model.frames, "they do not go together"
        )
        return 0
    _need("input.media", set(types) <= {"reference_image", "reference_video", "first_frame"}, "a type is unknown")
    references = len(types) - types.count("first_frame")
    _need("input.media", 1 <= references <= 5 and types.count("first_frame") <= 1, "there are too many or too few")
    return types.count("reference_video")


def still(body: Mapping[str, Any], model: Still, resolve: Resolve, *, messages: bool) -> None:
    given, parameters = _parts(body)
    _only("parameters", parameters, model.parameters)
    if messages:
        _only("input", given, {"messages"})
        images = _content(given, resolve)
    else:
        images = _fields(given, model, resolve)
    low, high = model.images
    _need("input", low <= images <= high, f"it must have {low} to {high} images")
    _same(parameters)
    _number(parameters, "n", 1, model.most)
    if "size" in parameters:
        _size(parameters["size"], model)


def _content(given: Mapping[str, Any], resolve: Resolve) -> int:
    messages = given.get("messages")
    _need("input.messages", isinstance(messages, list) and len(messages or ()) == 1, "there must be one message")
    message = messages[0]  # type: ignore[index]
    _need(
        "input.messages", message.get("role") == "user" and isinstance(message.get("content"), list), "it is no user's"
    )
    texts = [part["text"] for part in message["content"] if set(part) == {"text"}]
    images = [part["image"] for part in message["content"] if set(part) == {"image"}]
    _need("input.messages", len(texts) == 1 and len(texts) + len(images) == len(message["content"]), "one text is due")
    _need("input.messages", bool(texts[0].strip()), "the text is empty")
    _clean(texts[0])
    for url in images:
        picture("input.messages", url, resolve)
    return len(images)


def _fields(given: Mapping[str, Any], model: Still, resolve: Resolve) -> int:
    """The inputs of older models. Returns how many images there are."""
    edits = "base_image_url" in given
    known = {"prompt", "negative_prompt"} if model.images == (0, 0) else {"prompt", "images"}
    known = {"prompt", "base_image_url", "mask_image_url", "function"} if edits else known
    _only("input", given, known)
    _all("input", given, {"prompt", "base_image_url", "function"} if edits else {"prompt"})
    _words(given, 2000)
    if edits:
        _need("input.function", given["function"] in FUNCTIONS, "it is unknown")
        masked = given["function"] == "description_edit_with_mask"
        _need("input.mask_image_url", masked == ("mask_image_url" in given), "it goes with description_edit_with_mask")
    images = [given["base_image_url"]] if edits else given.get("images", [])
    _need("input.images", isinstance(images, list), "it must be a list")
    for url in [*images, *([given["mask_image_url"]] if "mask_image_url" in given else [])]:
        picture("input.images", url, resolve)
    return len(images)


def _size(size: Any, model: Still) -> None:
    found = re.fullmatch(r"(\d+)\*(\d+)", str(size))
    _need("parameters.size", found is not None, "it must be width*height")
    assert found is not None
    width, height = int(found[1]), int(found[2])
    if model.sizes:
        _need("parameters.size", size in model.sizes, f"it must be one of {model.sizes}")
    if model.area[1]:
        within = model.area[0] ** 2 <= width * height <= model.area[1] ** 2
        _need(
            "parameters.size", within and max(width, height) <= model.longest * min(width, height), "it is out of range"
        )
    if model.sides[1]:
        within = model.sides[0] <= min(width, height) and max(width, height) <= model.sides[1]
        _need("parameters.size", within, "it is out of range")


def speech(body: Mapping[str, Any], takes: Collection[str]) -> None:
    given, parameters = _parts(body)
    _only("input", given, takes)
    _all("input", given, {"text", "voice"})
    _only("parameters", parameters, ())
    _need("input.text", isinstance(given["text"], str) and 0 < len(given["text"]) <= WORDS_MAX, "it is too long")
    _need("input.voice", given["voice"] in VOICES, "it is unknown")
    _need("input.language_type", given.get("language_type", "Auto") in LANGUAGES, "it is unknown")
    _clean(given["text"])


def picture(name: str, url: Any, resolve: Resolve) -> None:
    _need(name, isinstance(url, str), "it must be a string")
    if _is_web(url):
        if "unreachable" in url:
            raise Refusal("InvalidURL")
        return
    if url.startswith("oss://"):
        resolve(url)
        return
    found = re.fullmatch(r"data:image/([a-z]+);base64,(.+)", url, re.DOTALL)
    if found is None:
        raise Refusal("InvalidURL", "url error, please check url!")
    try:
        data = base64.b64decode(found[2], validate=True)
    except binascii.Error as exc:
        raise invalid(name, "it is no base64") from exc
    looked_at(name, data)


def looked_at(name: str, data: bytes) -> None:
    try:
        with Image.open(io.BytesIO(data)) as opened:
            width, height = opened.size
    except OSError as exc:
        raise invalid(name, "it is no picture") from exc
    _need(
        name, len(data) <= 20 * 2**20 and min(width, height) >= 240 and max(width, height) <= 8000, "its size is wrong"
    )


def _parts(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    _only("body", body, {"model", "input", "parameters"})
    given, parameters = body.get("input"), body.get("parameters", {})
    _need("input", isinstance(given, dict) and bool(given), "it is required")
    _need("parameters", isinstance(parameters, dict), "it must be an object")
    return given, parameters  # type: ignore[return-value]


def _same(parameters: Mapping[str, Any]) -> None:
    _number(parameters, "seed", 0, SEED_MAX)
    for name in FLAGS:
        _need(f"parameters.{name}", isinstance(parameters.get(name, False), bool), "it must be a boolean")


def _words(given: Mapping[str, Any], most: int) -> None:
    for name, limit in (("prompt", most), ("negative_prompt", 500)):
        value = given.get(name, "")
        _need(f"input.{name}", isinstance(value, str) and len(value) <= limit, "it is too long")
    _need("input.prompt", bool(given.get("prompt", "words").strip()), "it is empty")
    _clean(given.get("prompt", ""))


def _clean(text: str) -> None:
    if "forbidden" in text:
        raise Refusal("DataInspectionFailed")


def _number(values: Mapping[str, Any], name: str, low: int, high: int) -> None:
    if name in values:
        value = values[name]
        right = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        _need(f"parameters.{name}", right, f"it must be an integer from {low} to {high}")


def _only(where: str, values: Mapping[str, Any], known: Collection[str]) -> None:
    for name in sorted(set(values) - set(known)):
        raise invalid(f"{where}.{name}", "it is unknown")


def _all(where: str, values: Mapping[str, Any], needed: Collection[str]) -> None:
    for name in sorted(set(needed) - set(values)):
        raise invalid(f"{where}.{name}", "it is required")


def _is_web(url: Any) -> bool:
    return isinstance(url, str) and url.startswith(("https://", "http://"))


def _need(name: str, right: bool, why: str) -> None:
    if not right:
        raise invalid(name, why)
