"""How an image is asked for. Pure, and strict where limits are known: what a model cannot do is not sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import log, sqrt
from typing import Any, assert_never

from gateway.errors import InvalidRequest
from gateway.types import ImageRequest, Input
from gateway.upstreams.dashscope.asked import (
    AT_ONCE,
    Asked,
    breadth_of,
    checked,
    impossible,
    known,
    nearest,
    seeded,
    unable,
)
from gateway.upstreams.dashscope.models import Area, Fixed, Sides, Still

BY_TASK = "aigc/image-generation/generation"
"""Where newer images are made by a task."""
OLDER = {
    "prompt": "aigc/text2image/image-synthesis",
    "images": "aigc/image2image/image-synthesis",
    "edit": "aigc/image2image/image-synthesis",
}
IN_INPUT = frozenset({"negative_prompt", "function"})
"""Of the vendor's own parameters, those that stand with the prompt at older models."""
STEP = 16
"""Sides that the caller did not name are whole multiples of it."""


def still(request: ImageRequest, *, by_task: bool = False) -> tuple[Asked, bool]:
    """The body, and whether it makes a task. `by_task`: rather than be answered at once, where there is a choice.

    Raises InvalidRequest naming the parameter that the model cannot do.
    """
    found = known(request.model, Still, "make images")
    _check_images(request, found)
    if not 1 <= request.n <= found.most:
        raise impossible("n", f"from 1 to {found.most} with {request.model}")
    own = checked(request.params, found)
    function = {"function": own.pop("function", None)} if "function" in own else {}
    sized = {} if (size := _pixels(request, found)) is None else {"size": size}
    written = {"n": request.n, **sized, **seeded(request.seed), **own}
    if found.way == "messages":
        content = [*({"image": image.url} for image in request.inputs), {"text": request.prompt}]
        body = {"input": {"messages": [{"role": "user", "content": content}]}, "parameters": written}
        task = by_task and found.tasks
        return Asked(BY_TASK if task else AT_ONCE, {"model": request.model, **body}), task
    inside = {name: written.pop(name) for name in list(written) if name in IN_INPUT}
    inside = {"prompt": request.prompt, **inside, **_given(request.inputs, found, function)}
    return Asked(OLDER[found.way], {"model": request.model, "input": inside, "parameters": written}), True


def _check_images(request: ImageRequest, found: Still) -> None:
    masks = sum(image.role == "mask" for image in request.inputs)
    if masks > (found.way == "edit"):
        raise InvalidRequest(f"{request.model} edits without a mask", param="mask")
    images = len(request.inputs) - masks
    if request.kind not in found.kinds:
        raise unable(request.model, found.kinds, request.kind)
    least = 1 if request.kind == "i2i" else 0
    most = found.references if request.kind == "i2i" else 0
    if not least <= images <= most:
        raise impossible("files", f"{least} to {most} images with {request.model}, not {images}")


def _given(inputs: Iterable[Input], found: Still, function: Mapping[str, Any]) -> dict[str, Any]:
    """The images of an edit, for the models that know fields and no messages."""
    urls = [image.url for image in inputs if image.role != "mask"]
    if found.way == "images":
        return {"images": urls}
    if found.way == "prompt":
        return {}
    masks = [image.url for image in inputs if image.role == "mask"]
    told = {"base_image_url": urls[0], "function": "description_edit_with_mask" if masks else "description_edit"}
    return {**told, **({"mask_image_url": masks[0]} if masks else {}), **function}


def _pixels(request: ImageRequest, found: Still) -> str | None:
    """The size by the vendor's writing, None for its own choice: what is asked, or the nearest of the same ratio."""
    asked = request.size
    if asked is None or found.sizing is None:
        return None
    match found.sizing:
        case Fixed(sizes):
            return nearest({size: breadth_of(size.replace("*", ":")) for size in sizes}, breadth_of(asked.ratio))
        case Sides(least, most, usual):
            longest = most / least
        case Area(least, most, longest, usual):
            pass
        case never:
            assert_never(never)
    breadth = breadth_of(asked.ratio)
    if max(breadth, 1 / breadth) > longest + 1e-6:
        raise impossible("size", f"between 1:{longest:g} and {longest:g}:1 with {request.model}")
    if asked.width and _fits(found.sizing, asked.width, asked.height):
        return f"{asked.width}*{asked.height}"
    area = float(asked.width * asked.height or usual * usual)
    low, high = _areas(found.sizing, breadth)
    return _sides(found.sizing, breadth, min(max(area, low), high))


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


def _sides(sizing: Area | Sides, breadth: float, area: float) -> str:
    """Sides in whole steps, of about that area and ratio, that surely fit."""
    exact = sqrt(area * breadth), sqrt(area / breadth)
    near = [[int(side // STEP + up) * STEP for up in (0, 1)] for side in exact]
    able = [(width, height) for width in near[0] for height in near[1] if _fits(sizing, width, height)]
    if not able:
        raise impossible("size", "another ratio: there is none of this that the model makes")
    width, height = min(able, key=lambda side: abs(log(side[0] / side[1] / breadth)))
    return f"{width}*{height}"
