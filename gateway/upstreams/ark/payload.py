"""What a create of a film says of a request that is as it will be made; and what its job is known by. Pure."""

from __future__ import annotations

from typing import Any, Final

from gateway.errors import TooLarge
from gateway.types import Input, VideoRequest
from gateway.upstreams.ark.films import EXPIRES_MAX, EXPIRES_MIN, PASSED, SEED_MAX, roles
from gateway.upstreams.ark.names import has_sound

EXPIRES: Final = 172_800
"""Seconds that the vendor gives a job unless told."""
MARKED_EXPIRIES: Final = 82_800
"""How many expiries mark a task: from an hour to a day, none of them the one that jobs get unless told."""
IMAGES_MAX: Final = 64 * 1024 * 1024
"""Bytes of a request's images, written as URLs."""


def body(request: VideoRequest) -> dict[str, Any]:
    """A create. Raises InvalidRequest for images that do not go together, and TooLarge."""
    own, (given, marked) = asked(request), marks(request)
    if not has_sound(request.model):
        own.pop("generate_audio", None)
    if "frames" not in own and request.seconds is not None:
        own["duration"] = int(request.seconds)
    return {"model": request.model, "content": content(request), **marked, **own, **given}


def asked(request: VideoRequest) -> dict[str, Any]:
    """The vendor's own parameters."""
    return {name: value for name, value in request.params.items() if name in PASSED and value is not None}


def is_flex(request: VideoRequest) -> bool:
    """Whether the job may wait for up to days, for half the price."""
    return asked(request).get("service_tier") == "flex"


def lifetime(request: VideoRequest) -> int:
    """Seconds that the vendor gives the job where it is not marked by its expiry."""
    return _expiry(request) or EXPIRES


def marks(request: VideoRequest) -> tuple[dict[str, int], dict[str, int]]:
    """What the job's record tells again: as the caller gave it, and as the task's own mark made it."""
    given: dict[str, int] = {}
    own: dict[str, int] = {}
    if expiry := _expiry(request):
        given["execution_expires_after"] = expiry
    elif request.mark and not is_flex(request):
        own["execution_expires_after"] = EXPIRES_MIN + request.mark % MARKED_EXPIRIES
    if request.seed is not None and 0 <= request.seed <= SEED_MAX:
        given["seed"] = request.seed
    elif request.mark:
        own["seed"] = request.mark
    return given, own


def _expiry(request: VideoRequest) -> int | None:
    """As the caller gave it, where it is one: of a request that was not looked at yet, it need not be."""
    found: Any = asked(request).get("execution_expires_after")
    try:
        seconds = float(found) if isinstance(found, int | float | str) and found is not True else 0.0
    except ValueError:
        return None
    return int(seconds) if EXPIRES_MIN <= seconds <= EXPIRES_MAX and seconds == int(seconds) else None


def content(request: VideoRequest) -> list[dict[str, Any]]:
    """Words, then images."""
    check_images(request.inputs)
    images = [
        {"type": "image_url", "image_url": {"url": image.url}, "role": role}
        for image, role in zip(request.inputs, roles(request), strict=True)
    ]
    return ([{"type": "text", "text": request.prompt}] if request.prompt.strip() else []) + images


def check_images(images: tuple[Input, ...]) -> None:
    """Raises TooLarge for more than a request may hold."""
    if sum(len(image.url) for image in images) > IMAGES_MAX:
        raise TooLarge(f"the images of a request may have {IMAGES_MAX // 2**20} MB together", param="images")
