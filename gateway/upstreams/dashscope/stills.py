"""How an image is asked for. `fitted` says what will be made, before anything is sent; `still` writes that down."""

from __future__ import annotations

from collections.abc import Iterable
from math import log, sqrt
from typing import Any, assert_never

import msgspec

from gateway.errors import InvalidRequest
from gateway.types import ImageRequest, Input, ModelCard, Size
from gateway.upstreams.dashscope.asked import (
    AT_ONCE,
    Asked,
    breadth_of,
    impossible,
    known,
    nearest,
    spelled,
    unable,
    usual,
    written,
)
from gateway.upstreams.dashscope.models import Area, Fixed, Sides, Still
from gateway.wire import size as wire_size

BY_TASK = "aigc/image-generation/generation"
"""Where newer images are made by a task."""
OLDER = {
    "prompt": "aigc/text2image/image-synthesis",
    "images": "aigc/image2image/image-synthesis",
    "edit": "aigc/image2image/image-synthesis",
}
IN_INPUT = frozenset({"negative_prompt", "function"})
"""Of the vendor's own parameters, those that stand with the prompt at older models."""
MASKED = "description_edit_with_mask"
"""The function of an edit that a mask goes with."""
STEP = 16
"""Sides that the caller did not name are whole multiples of it."""


def fitted(request: ImageRequest, card: ModelCard) -> ImageRequest:
    """With pixels as they will be, and what an edit does. Raises InvalidRequest for what does not go together.

    An edit by a model that knows no sizes has its image's own.
    """
    found = known(request, Still, "make images")
    _check_images(request, found)
    params = spelled(request.params, found)
    if found.way == "edit":
        params["function"] = _function(request, params.get("function"))
    size = _pixels(request.size or wire_size.parse(usual(card, "size")), found, request.model)
    return msgspec.structs.replace(request, size=size, params=params)


def parts(request: ImageRequest) -> tuple[ImageRequest, ...]:
    """The request in as many as it takes calls: each for no more images than one call makes."""
    found = known(request, Still, "make images")
    most = found.most if found.sure else request.n
    return tuple(msgspec.structs.replace(request, n=min(most, request.n - at)) for at in range(0, request.n, most))


def still(request: ImageRequest, *, by_task: bool = False) -> tuple[Asked, bool]:
    """A fitted request as it is sent, and whether it makes a task. `by_task`: rather than be answered at once, where
    there is a choice. It is for no more images than one call makes, see `parts`.
    """
    found = known(request, Still, "make images")
    told: dict[str, Any] = {"n": request.n}
    if request.size is not None:
        told["size"] = written(request.size)
    if request.seed is not None:
        told["seed"] = request.seed
    told |= {name: value for name, value in request.params.items() if value is not None}
    if found.way == "messages":
        content = [*({"image": image.url} for image in request.inputs), {"text": request.prompt}]
        body = {"input": {"messages": [{"role": "user", "content": content}]}, "parameters": told}
        task = by_task and found.tasks
        return Asked(BY_TASK if task else AT_ONCE, {"model": request.model, **body}), task
    inside = {name: told.pop(name) for name in tuple(told) if name in IN_INPUT}
    inside = {"prompt": request.prompt, **inside, **_shown(request.inputs, found)}
    return Asked(OLDER[found.way], {"model": request.model, "input": inside, "parameters": told}), True


# --- images that are shown ---


def _check_images(request: ImageRequest, found: Still) -> None:
    if found.sure and request.kind not in found.kinds:
        raise unable(request.model, found.kinds, request.kind)
    masks = sum(image.role == "mask" for image in request.inputs)
    if masks > (found.way == "edit"):
        raise InvalidRequest(f"{request.model} edits without a mask", param="mask")
    images, most = len(request.inputs) - masks, found.references
    if request.kind == "i2i" and found.sure and not 1 <= images <= most:
        wanted = "1 image" if most == 1 else f"1 to {most} images"
        raise impossible("images", f"{wanted} with {request.model}, not {images}")


def _function(request: ImageRequest, asked: str | None) -> str:
    """What an edit does: by words, unless it says otherwise."""
    masked = any(image.role == "mask" for image in request.inputs)
    function = asked or (MASKED if masked else "description_edit")
    if masked != (function == MASKED):
        raise impossible("function", f"{MASKED} where there is a mask, and only there")
    return function


def _shown(inputs: Iterable[Input], found: Still) -> dict[str, Any]:
    """The images of an edit, for the models that know fields and no messages."""
    urls = [image.url for image in inputs if image.role != "mask"]
    masks = [image.url for image in inputs if image.role == "mask"]
    if found.way == "images":
        return {"images": urls}
    if found.way == "prompt":
        return {}
    return {"base_image_url": urls[0], **({"mask_image_url": masks[0]} if masks else {})}


# --- sizes ---


def _pixels(asked: Size | None, found: Still, model: str) -> Size | None:
    """What is asked, or the nearest of the same ratio that is made; None for the vendor's own choice."""
    sizing = found.sizing
    if isinstance(sizing, Fixed):
        return wire_size.parse(_of_five(asked, sizing.sizes))
    if asked is None or sizing is None:
        return None
    if asked.width and not found.sure:
        return asked
    return _made(asked, sizing, model)


def _of_five(asked: Size | None, sizes: tuple[str, ...]) -> str:
    if asked is None:
        return sizes[0]
    return nearest({size: breadth_of(size.replace("*", ":")) for size in sizes}, breadth_of(asked.ratio))


def _made(asked: Size, sizing: Area | Sides, model: str) -> Size:
    breadth, longest = breadth_of(asked.ratio), _longest(sizing)
    if max(breadth, 1 / breadth) > longest + 1e-6:
        raise impossible("size", f"between 1:{longest:g} and {longest:g}:1 with {model}")
    if asked.width and _fits(sizing, asked.width, asked.height):
        return asked
    area = float(asked.width * asked.height or sizing.usual**2)
    low, high = _areas(sizing, breadth)
    return _sides(sizing, breadth, min(max(area, low), high))


def _longest(sizing: Area | Sides) -> float:
    """How often the shorter side may go into the longer one."""
    match sizing:
        case Sides(least, most):
            return most / least
        case Area(longest=longest):
            return longest
        case never:
            assert_never(never)


def _fits(sizing: Area | Sides, width: int, height: int) -> bool:
    if isinstance(sizing, Sides):
        return sizing.least <= min(width, height) and max(width, height) <= sizing.most
    within = sizing.least**2 <= width * height <= sizing.most**2
    return within and max(width, height) <= sizing.longest * min(width, height)


def _areas(sizing: Area | Sides, breadth: float) -> tuple[float, float]:
    """The least and the most pixels that an image of a ratio may have."""
    if isinstance(sizing, Area):
        return float(sizing.least**2), float(sizing.most**2)
    long = max(breadth, 1 / breadth)
    return sizing.least**2 * long, sizing.most**2 / long


def _sides(sizing: Area | Sides, breadth: float, area: float) -> Size:
    """Sides in whole steps, of about that area and ratio, that surely fit."""
    exact = sqrt(area * breadth), sqrt(area / breadth)
    near = [[int(side // STEP + up) * STEP for up in (0, 1)] for side in exact]
    able = [(width, height) for width in near[0] for height in near[1] if _fits(sizing, width, height)]
    if not able:
        raise impossible("size", "another ratio: there is none of this that the model makes")
    width, height = min(able, key=lambda side: abs(log(side[0] / side[1] / breadth)))
    made = wire_size.parse(f"{width}x{height}")
    assert made is not None, "sides are a size"
    return made
