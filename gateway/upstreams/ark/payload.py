"""What a create says of a request. Pure, and strict where limits are known: what a model cannot do is not sent."""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Any

from gateway.errors import InvalidRequest, TooLarge
from gateway.types import Size, VideoRequest
from gateway.upstreams.ark.models import LINES, MODELS, RATIOS, SECONDS, Seedance, has_sound

PASSED = frozenset(
    {
        "resolution", "ratio", "duration", "frames", "camera_fixed", "watermark", "generate_audio", "draft",
        "return_last_frame", "service_tier", "execution_expires_after", "priority", "safety_identifier",
        "output_format", "tools",
    }
)  # fmt: skip
"""Parameters that a caller may give by the vendor's own names. `callback_url` is none of them: the gateway polls."""
SEED_MAX = 2**32 - 1
EXPIRES, EXPIRES_MIN, EXPIRES_MAX = 172_800, 3600, 259_200
"""Seconds that the vendor gives a job unless told, and that it may be told to."""
MARKED_EXPIRIES = 82_800
"""How many expiries mark a task: from an hour to a day, none of them the one that jobs get unless told."""
MOST_REFERENCES = 30
IMAGES_MAX = 64 * 1024 * 1024
"""Bytes of a request's images, written as URLs."""


def body(request: VideoRequest) -> dict[str, Any]:
    """A create. Raises InvalidRequest naming the parameter that the model cannot do, and TooLarge."""
    facts, passed = MODELS.get(request.model), asked(request)
    given, own = marks(request)
    written: dict[str, Any] = {"model": request.model, "content": content(request, facts), "watermark": False}
    if has_sound(request.model):
        written["generate_audio"] = False
    written |= shape(request, passed, facts) | passed
    written.pop("duration", None)
    return written | length(request, passed, facts) | given | own


def asked(request: VideoRequest) -> dict[str, Any]:
    """The vendor's own parameters that the caller gave."""
    return {name: value for name, value in request.params.items() if name in PASSED and value is not None}


def is_flex(request: VideoRequest) -> bool:
    """Whether the job may wait for up to days, for half the price."""
    return asked(request).get("service_tier") == "flex"


def lifetime(request: VideoRequest) -> int:
    """Seconds that the vendor gives the job where it is not marked by its expiry."""
    found: Any = asked(request).get("execution_expires_after")
    return int(found) if whole(found, EXPIRES_MIN, EXPIRES_MAX) else EXPIRES


def marks(request: VideoRequest) -> tuple[dict[str, int], dict[str, int]]:
    """What the job's record tells again: as the caller gave it, and as the task's own mark made it."""
    given: dict[str, int] = {}
    own: dict[str, int] = {}
    if "execution_expires_after" in asked(request):
        if not whole(asked(request)["execution_expires_after"], EXPIRES_MIN, EXPIRES_MAX):
            raise impossible("execution_expires_after", f"whole seconds from {EXPIRES_MIN} to {EXPIRES_MAX}")
        given["execution_expires_after"] = lifetime(request)
    elif request.mark and not is_flex(request):
        own["execution_expires_after"] = EXPIRES_MIN + request.mark % MARKED_EXPIRIES
    if request.seed is not None and request.seed >= 0:
        if request.seed > SEED_MAX:
            raise impossible("seed", f"a whole number from 0 to {SEED_MAX}")
        given["seed"] = request.seed
    elif request.mark:
        own["seed"] = request.mark
    return given, own


# --- what is shown ---


def content(request: VideoRequest, facts: Seedance | None) -> list[dict[str, Any]]:
    if sum(len(image.url) for image in request.inputs) > IMAGES_MAX:
        raise TooLarge(f"the images of a request may have {IMAGES_MAX // 2**20} MB together", param="files")
    images = [
        {"type": "image_url", "image_url": {"url": image.url}, "role": role}
        for image, role in zip(request.inputs, roles(request, facts), strict=True)
    ]
    return ([{"type": "text", "text": request.prompt}] if request.prompt.strip() else []) + images


def roles(request: VideoRequest, facts: Seedance | None) -> list[str]:
    """What each image is to the video: frames or references, never both."""
    images, most = len(request.inputs), facts.references if facts else MOST_REFERENCES
    places = {"t2v": [], "i2v": ["first_frame"], "flf2v": ["first_frame", "last_frame"]}.get(
        request.kind, ["reference_image"] * min(max(images, 1), most)
    )
    names = {"image": "", "reference": "reference_image"}
    named = [names.get(image.role, image.role) for image in request.inputs]
    found = [name or place for name, place in zip(named, places, strict=False)]
    if images != len(places) or sorted(found) != sorted(places):
        wanted = f"1 to {most} reference images" if request.kind == "ref2v" else " and ".join(places) or "no image"
        raise InvalidRequest(f"{request.kind} by {request.model} takes {wanted} and nothing else", param="files")
    return found


# --- what it shall be ---


def shape(request: VideoRequest, passed: Mapping[str, Any], facts: Seedance | None) -> dict[str, str]:
    """Resolution and ratio. Without a word on it, a video that begins with an image has the image's ratio."""
    found: dict[str, str] = {}
    if request.size:
        found["ratio"] = ratio(request.size)
        if request.size.width:
            found["resolution"] = nearest(LINES, min(request.size.width, request.size.height))
    elif request.kind in ("i2v", "flf2v"):
        found["ratio"] = "adaptive"
    wanted = passed.get("resolution", found.get("resolution"))
    if facts and wanted is not None:
        able = (facts.referred if request.kind == "ref2v" else ()) or facts.resolutions
        if wanted not in able:
            param = "resolution" if "resolution" in passed else "size"
            raise impossible(param, f"{_listed(able)} with {request.model}, not {str(wanted)[:20]}")
    return found


def ratio(size: Size) -> str:
    """The ratio by the vendor's name: the nearest to pixels, and no other than the one that is named."""
    width, height = map(int, size.ratio.split(":"))
    name = nearest(RATIOS, width / height)
    if not size.width and abs(RATIOS[name] * height - width) > 1e-6:
        raise impossible("size", f"pixels or one of the ratios {', '.join(RATIOS)}")
    return name


def length(request: VideoRequest, passed: Mapping[str, Any], facts: Seedance | None) -> dict[str, int]:
    """Seconds, unless the caller counts frames; -1 leaves it to models that have that."""
    if "frames" in passed:
        return {}
    param = "duration" if "duration" in passed else "seconds"
    found = passed.get("duration", SECONDS if request.seconds is None else request.seconds)
    low, high = (facts.shortest, facts.longest) if facts else (1, 600)
    if not whole(found, low, high) and not (found == -1 and has_sound(request.model)):
        raise impossible(param, f"whole seconds from {low} to {high} with {request.model}")
    return {"duration": int(found)}


def nearest(known: Mapping[str, float], value: float) -> str:
    return min(known, key=lambda name: abs(log(known[name] / value)))


def whole(value: Any, low: int, high: int) -> bool:
    """Whether it is a number without a fraction within a range."""
    return isinstance(value, int | float) and value is not True and low <= value <= high and value == int(value)


def impossible(param: str, right: str) -> InvalidRequest:
    return InvalidRequest(f"'{param}' must be {right}", param=param)


def _listed(words: tuple[str, ...]) -> str:
    return " or ".join((", ".join(words[:-1]), words[-1])).removeprefix(" or ")
