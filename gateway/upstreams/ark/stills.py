"""The Seedream models: what each can do, a request for an image as it will be made, and what is sent of it. Pure.

A size is a class (`2K`), whose shape the model chooses, or pixels within a range. Newer models refuse what clients of
OpenAI's ask for most, 1024x1024: then it is the class that comes nearest, in the shape that was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import gcd, isqrt, log, sqrt
from typing import Any, Final

import msgspec

from gateway.errors import InvalidRequest, Unsupported
from gateway.types import ImageRequest, InputRule, Kind, ModelCard, Parameter, Size
from gateway.upstreams.ark.films import IMAGE_BYTES, MIMES
from gateway.upstreams.ark.names import STILL_KINDS
from gateway.upstreams.ark.payload import check_images

CLASSES: Final = {"1K": 1024, "1.5K": 1536, "2K": 2048, "3K": 3072, "4K": 4096}
"""Sizes by name, with the side of a square."""
STEPS: Final = (16, 8, 4, 2, 1)
"""Pixels are whole multiples of the shape asked for, of the first of these that gives any."""
SEED_MAX: Final = 2**31 - 1
MOST_TOGETHER: Final = 15
"""Images in and out of a set."""
PASSED: Final = frozenset(
    {
        "resolution", "watermark", "guidance_scale", "output_format", "sequential_image_generation",
        "sequential_image_generation_options", "optimize_prompt_options", "tools",
    }
)  # fmt: skip
"""The vendor's own parameters, and `resolution`: a class of sizes, which the vendor calls a size."""


@dataclass(frozen=True, slots=True)
class Seedream:
    """What a model can do."""

    classes: tuple[str, ...]
    least: int
    most: int
    """Pixels."""
    references: int = 14
    usual: str = "2K"
    """The class where nobody says."""
    sides: tuple[int, int] = (15, 16_384)
    older: bool = False
    """Whether it has a seed and guidance, and neither sets nor classes of sizes."""
    sets: bool = True
    modes: tuple[str, ...] = ("standard",)
    """Of rewriting the prompt."""
    formats: tuple[str, ...] = ()
    """Where there is a choice."""
    searches: bool = False


_FIFTH = Seedream(("2K", "3K"), 3_686_400, 4096**2, formats=("png", "jpeg"), searches=True)
MODELS: Final = {
    name: facts
    for model, facts in {
        "seedream-4-5-251128": Seedream(("2K", "4K"), 3_686_400, 4096**2),
        "seedream-4-0-250828": Seedream(("1K", "2K", "4K"), 921_600, 4096**2, modes=("standard", "fast")),
        "seedream-5-0-260128": _FIFTH,
        "seedream-5-0-lite-260128": _FIFTH,
        "dola-seedream-5-0-pro-260628": Seedream(
            ("1K", "1.5K", "2K"), 921_600, 2048**2, 10, sets=False, formats=("png", "jpeg")
        ),
        "seedream-3-0-t2i-250415": Seedream(("1K", "2K"), 512**2, 2048**2, 0, "1K", (512, 2048), True, False),
    }.items()
    for name in (model, f"doubao-{model.removeprefix('dola-')}")
}
"""The first is what is taken where no model is named."""
_ANY: Final = Seedream(tuple(CLASSES), 1, 2**31)
_MIMES_OF_OLD: Final = frozenset({"image/jpeg", "image/png"})


# --- what a model takes ---


@cache
def card(model: str) -> ModelCard:
    """Of a model that is not in the table: all that any of them might do."""
    facts = MODELS.get(model)
    if facts is None:
        return ModelCard(model, frozenset(STILL_KINDS))
    inputs: dict[Kind, InputRule] = {"t2i": InputRule()}
    if facts.references:
        inputs["i2i"] = InputRule(1, facts.references, MIMES, IMAGE_BYTES)
    return ModelCard(
        model,
        frozenset(inputs),
        estimate=30.0,
        parameters=_parameters(facts),
        closed=True,
        inputs=inputs,
    )


def _parameters(facts: Seedream) -> dict[str, Parameter]:
    found = {
        "size": Parameter("size", least=facts.least, most=facts.most),
        "n": Parameter("integer", least=1, most=10, default=1),
        "watermark": Parameter("boolean", default=False),
    }
    if facts.older:
        found["seed"] = Parameter("integer", least=-1, most=SEED_MAX)
        found["guidance_scale"] = Parameter("number", least=1, most=10)
        return found
    found["resolution"] = Parameter("string", facts.classes)
    found["optimize_prompt_options"] = Parameter("object")
    if facts.sets:
        found["sequential_image_generation"] = Parameter("string", ("disabled", "auto"), default="disabled")
        found["sequential_image_generation_options"] = Parameter("object")
    if facts.formats:
        found["output_format"] = Parameter("string", facts.formats, default="jpeg")
    if facts.searches:
        found["tools"] = Parameter("list")
    return found


# --- as it will be made ---


def effective(request: ImageRequest) -> ImageRequest:
    """The request with every value that is sent, its size in the pixels that come out. Raises InvalidRequest."""
    facts = MODELS.get(request.model)
    if any(image.role == "mask" for image in request.inputs):
        raise InvalidRequest(f"{request.model} edits without a mask", param="mask")
    params = {name: value for name, value in request.params.items() if name in PASSED and value is not None}
    params.setdefault("watermark", False)
    if facts is not None:
        _check_mode(request.model, params, facts)
    if is_set(request):
        params["sequential_image_generation_options"] = _set(request, params)
    size = _size(request, params.get("resolution"), facts)
    return msgspec.structs.replace(request, params=params, size=size)


def is_set(request: ImageRequest) -> bool:
    """Whether the model may make several images that belong together, and decides how many."""
    return request.params.get("sequential_image_generation") == "auto"


def _check_mode(model: str, params: Mapping[str, Any], facts: Seedream) -> None:
    options = params.get("optimize_prompt_options")
    mode = options.get("mode", "standard") if isinstance(options, dict) else "standard"
    if mode not in facts.modes:
        raise Unsupported(
            f"'optimize_prompt_options.mode' must be {' or '.join(facts.modes)} with {model}",
            param="optimize_prompt_options",
            allowed=facts.modes,
        )


def _set(request: ImageRequest, params: Mapping[str, Any]) -> dict[str, Any]:
    """How many images there may be: with those that are shown, no more than the vendor takes together."""
    asked = params.get("sequential_image_generation_options")
    options = dict(asked) if isinstance(asked, dict) else {}
    most = MOST_TOGETHER - len(request.inputs)
    count = options.setdefault("max_images", most)
    if type(count) is not int or not 1 <= count <= most:
        raise InvalidRequest(
            f"'sequential_image_generation_options.max_images' must be a whole number from 1 to {most}",
            param="sequential_image_generation_options",
        )
    return options


def _size(request: ImageRequest, named: Any, facts: Seedream | None) -> Size | None:
    """None where the model chooses: of what was only named by its class, and of an edit."""
    able, asked = facts or _ANY, request.size
    if asked is None:
        if facts is None or named or request.kind == "i2i":
            return None
        asked = Size("1:1")
    elif asked.width and _allowed(asked, able) and named in (None, _class_of(asked, able)):
        return asked
    if named is not None and (not isinstance(named, str) or named not in CLASSES):
        raise Unsupported(f"'resolution' must be {' or '.join(CLASSES)}", param="resolution", allowed=tuple(CLASSES))
    wished = CLASSES.get(named or "") or (sqrt(asked.width * asked.height) if asked.width else CLASSES[able.usual])
    sides = [CLASSES[named]] if named else _sides(able, wished)
    for side in sides:
        for size in _shaped(asked.ratio, side, able.sides[1]):
            if _allowed(size, able):
                return size
    raise Unsupported(f"{request.model} makes no image of the ratio {asked.ratio}", param="size")


def _sides(facts: Seedream, wished: float) -> list[int]:
    """Sides of squares of as many pixels as the image may have, the nearest first."""
    known = {CLASSES[name] for name in facts.classes} | ({facts.sides[0]} if facts.older else set())
    return sorted(known, key=lambda side: abs(log(side / wished)))


def _shaped(ratio: str, side: int, longest: int) -> Iterator[Size]:
    """Pixels of a ratio, as many as in a square at most."""
    across, down = map(int, ratio.split(":"))
    across, down = across // gcd(across, down), down // gcd(across, down)
    most = min(isqrt(side * side // (across * down)), longest // max(across, down))
    for step in STEPS:
        if times := most // step * step:
            yield Size(f"{across}:{down}", across * times, down * times)
    scale = min(sqrt(side * side / (across * down)), longest / max(across, down))
    width, height = int(across * scale), int(down * scale)
    if width and height:
        shape = gcd(width, height)
        yield Size(f"{width // shape}:{height // shape}", width, height)


def _allowed(size: Size, facts: Seedream) -> bool:
    least, most = facts.sides
    short, long = sorted((size.width, size.height))
    return facts.least <= short * long <= facts.most and least <= short and long <= most


def _class_of(size: Size, facts: Seedream) -> str:
    """The smallest class that has so many pixels."""
    return next((name for name in facts.classes if CLASSES[name] ** 2 >= size.width * size.height), facts.classes[-1])


# --- what is sent ---


def body(request: ImageRequest) -> dict[str, Any]:
    """A create of one image, or of a set. Raises TooLarge."""
    check_images(request.inputs)
    written = {name: value for name, value in request.params.items() if name in PASSED and value is not None}
    size = written.pop("resolution", None)
    if request.size is not None and request.size.width:
        size = f"{request.size.width}x{request.size.height}"
    images = [image.url for image in request.inputs]
    found: dict[str, Any] = {"model": request.model, "prompt": request.prompt, "response_format": "url", **written}
    if images:
        found["image"] = images[0] if len(images) == 1 else images
    if size is not None:
        found["size"] = size
    if request.seed is not None:
        found["seed"] = request.seed
    return found | ({"stream": True} if is_set(request) else {})
