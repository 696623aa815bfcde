"""Images: what each model takes, as strict as the vendor, and how they are answered."""

import base64
import io
import json
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from PIL import Image

from tests.emulators.ark.checks import check_picture
from tests.emulators.ark.faults import Refusal, invalid

OLD, FOURTH, FOUR_FIVE, FIFTH_LITE, FIFTH_PRO = (
    "seedream-3-0-t2i-250415",
    "seedream-4-0-250828",
    "seedream-4-5-251128",
    "seedream-5-0-lite-260128",
    "dola-seedream-5-0-pro-260628",
)
FIELDS = frozenset(
    {
        "model", "prompt", "image", "size", "seed", "guidance_scale", "watermark", "response_format", "output_format",
        "stream", "sequential_image_generation", "sequential_image_generation_options", "optimize_prompt_options",
        "optimize_prompt", "tools",
    }
)  # fmt: skip
SIDES = {"1K": 1024, "1.5K": 1536, "2K": 2048, "3K": 3072, "4K": 4096}


@dataclass(frozen=True)
class Still:
    classes: tuple[str, ...]
    pixels: tuple[int, int]
    references: int = 14
    sides: tuple[int, int] = (1, 100_000)
    older: bool = False
    sets: bool = True
    fast: bool = False
    fifth: bool = False


STILLS = {
    OLD: Still((), (512**2, 2048**2), 0, (512, 2048), older=True, sets=False),
    FOURTH: Still(("1K", "2K", "4K"), (921_600, 16_777_216), fast=True),
    FOUR_FIVE: Still(("2K", "4K"), (3_686_400, 16_777_216)),
    FIFTH_LITE: Still(("2K", "3K"), (3_686_400, 16_777_216), fifth=True),
    "seedream-5-0-260128": Still(("2K", "3K"), (3_686_400, 16_777_216), fifth=True),
    FIFTH_PRO: Still(("1K", "1.5K", "2K"), (921_600, 4_194_304), 10, sets=False, fifth=True),
}
STILLS |= {f"doubao-{name.removeprefix('dola-')}": still for name, still in STILLS.items()}


@dataclass(frozen=True)
class StillPlan:
    """What becomes of the images of a request."""

    count: int | None = None
    """Images of a set; None: as many as there may be."""
    errors: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    """Of those by their place that are not made, code and words. One of the vendor's own ends a set."""
    ends: Literal["well", "silently", "reset", "garbage", "error"] = "well"
    """A set's stream, after its images: without its last event, by an RST, by nonsense, or by an error of the whole."""


# --- what is taken ---


def check(body: Mapping[str, Any], model: Still) -> int:
    """Raises what the vendor refuses. Returns how many images there may be."""
    if unknown := set(body) - FIELDS:
        raise invalid(sorted(unknown)[0], "it is unknown")
    if not isinstance(body.get("prompt"), str) or not body["prompt"].strip():
        raise Refusal("MissingParameter", param="prompt")
    if "forbidden" in body["prompt"]:
        raise Refusal("InputTextSensitiveContentDetected")
    images = _images(body.get("image"), model)
    _size(body.get("size"), model)
    for name in ("watermark", "stream"):
        _need(name, not isinstance(body.get(name, False), bool), "it must be a bool")
    _need("stream", model.older and bool(body.get("stream")), "the model does not support it")
    _need("response_format", body.get("response_format", "url") not in ("url", "b64_json"), "it is unknown")
    _need("seed", "seed" in body and not (model.older and _whole(body["seed"], -1, 2**31 - 1)), "it is not supported")
    scale = body.get("guidance_scale", 2.5)
    right = isinstance(scale, int | float) and 1 <= scale <= 10
    _need("guidance_scale", "guidance_scale" in body and not (model.older and right), "it is not supported")
    formats = ("png", "jpeg") if model.fifth else ()
    _need("output_format", "output_format" in body and body["output_format"] not in formats, "it is not supported")
    modes = ("standard", "fast") if model.fast else ("standard",)
    mode = (body.get("optimize_prompt_options") or {}).get("mode", "standard")
    _need("optimize_prompt_options.mode", mode not in modes, "it is not supported")
    _need("tools", "tools" in body and not (model.fifth and body["tools"] == [{"type": "web_search"}]), "it is unknown")
    return _together(body, model, images)


def _together(body: Mapping[str, Any], model: Still, images: int) -> int:
    name = "sequential_image_generation"
    asked = body.get(name, "disabled")
    _need(name, asked not in ("auto", "disabled"), "it is unknown")
    _need(name, asked == "auto" and not model.sets, "the model does not support it")
    if asked != "auto":
        return 1
    most = (body.get(f"{name}_options") or {}).get("max_images", 15 - images)
    wrong = not _whole(most, 1, 15) or most + images > 15
    _need(f"{name}_options.max_images", wrong, "images in and out may be 15 together")
    return int(most)


def _images(given: Any, model: Still) -> int:
    images = [] if given is None else [given] if isinstance(given, str) else given
    _need("image", not isinstance(images, list) or len(images) > model.references, "there are too many images")
    for image in images:
        check_picture(image, "image", 14)
    return len(images)


def _size(size: Any, model: Still) -> None:
    if size is None or size in model.classes:
        return
    found = re.fullmatch(r"(\d+)x(\d+)", str(size))
    if found is None:
        raise invalid("size", f"it must be WIDTHxHEIGHT or one of {model.classes}")
    width, height = int(found[1]), int(found[2])
    low, high = model.pixels
    _need("size", width * height < low, f"image size must be at least {low} pixels")
    _need("size", width * height > high, f"image size must be at most {high} pixels")
    _need("size", not 1 / 16 <= width / height <= 16, "the ratio must be within [1/16, 16]")
    short, long = model.sides
    _need("size", min(width, height) < short or max(width, height) > long, "a side is too short or too long")


def _whole(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _need(name: str, wrong: bool, why: str) -> None:
    if wrong:
        raise invalid(name, why)


# --- what is answered ---


def sides(body: Mapping[str, Any], model: Still) -> tuple[int, int]:
    """Of an image by its class the model chooses the shape: here a square."""
    size = body.get("size", "1024x1024" if model.older else "2K")
    if size in SIDES:
        return SIDES[size], SIDES[size]
    width, _, height = size.partition("x")
    return int(width), int(height)


@cache
def picture(width: int, height: int, form: str) -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (width, height), (90, 60, 200)).save(held, form)
    return held.getvalue()


def outcome(
    body: Mapping[str, Any], model: Still, most: int, plan: StillPlan, keep: Callable[[bytes, str], str]
) -> list[dict[str, Any]]:
    """Each image, or why it is none. `keep` gives an image the URL where it is."""
    form = body.get("output_format", "jpeg")
    width, height = sides(body, model)
    count = most if plan.count is None or most == 1 else min(most, plan.count)
    told: list[dict[str, Any]] = []
    for at in range(count):
        if at in plan.errors:
            code, message = plan.errors[at]
            told.append({"error": {"code": code, "message": f"{message} Request id: {secrets.token_hex(8)}"}})
            if code == "InternalServiceError":
                break
            continue
        data = picture(width, height, form.upper())
        where = (
            {"b64_json": base64.b64encode(data).decode()}
            if body.get("response_format") == "b64_json"
            else {"url": keep(data, form)}
        )
        told.append({**where, "size": f"{width}x{height}", **({"output_format": form} if model.fifth else {})})
    return told


def usage(told: list[dict[str, Any]]) -> dict[str, Any]:
    made = [one for one in told if "error" not in one]
    tokens = sum(_area(one["size"]) // 256 for one in made)
    return {"generated_images": len(made), "output_tokens": tokens, "total_tokens": tokens}


def _area(size: str) -> int:
    width, _, height = size.partition("x")
    return int(width) * int(height)


async def events(
    name: str, told: list[dict[str, Any]], plan: StillPlan, reset: Callable[[], object]
) -> AsyncIterator[bytes]:
    for at, one in enumerate(told):
        kind = "partial_failed" if "error" in one else "partial_succeeded"
        yield _event(kind, model=name, image_index=at, created=1_790_000_000, **one)
    match plan.ends:
        case "well":
            failed = {} if any("error" not in one for one in told) else {"error": told[-1]["error"]}
            yield _event("completed", model=name, created=1_790_000_000, usage=usage(told), **failed)
            yield b"data: [DONE]\n\n"
        case "reset":
            reset()
        case "garbage":
            yield b"data: {half\n\n"
        case "error":
            error = {"code": "InternalServiceError", "message": "The service failed."}
            yield b"data: " + json.dumps({"error": error}).encode() + b"\n\n"
        case "silently":
            return


def _event(kind: str, **members: Any) -> bytes:
    name = f"image_generation.{kind}"
    return f"event: {name}\ndata: {json.dumps({'type': name, **members})}\n\n".encode()
