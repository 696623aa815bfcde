"""What is sent to make something (wire sheet §6, 2026-11-21)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.errors import InvalidRequest
from gateway.types import ImageRequest, Input, MediaRequest, VideoRequest
from gateway.upstreams.ima.asked import count
from gateway.upstreams.ima.plan import Plan
from gateway.upstreams.ima.specials import SEEDANCE

SEEDANCE_BYTES: Final = 30 * 2**20
SEEDANCE_SIDES: Final = (300, 6000)
SEEDANCE_BREADTH: Final = (0.4, 2.5)


def create(plan: Plan, request: MediaRequest) -> dict[str, Any]:
    """The body of a create. Its price is that of one output, however many are asked for."""
    leaf, rule, urls = plan.leaf, plan.rule, images(request)
    points = int(rule.points) if rule.points == int(rule.points) else rule.points
    inner = {
        **plan.inner,
        "prompt": request.prompt,
        "n": count(request),
        "input_images": urls,
        "cast": {"points": points, "attribute_id": rule.attribute_id},
    }
    body: dict[str, Any] = {
        "task_type": leaf.category,
        "enable_multi_model": False,
        "src_img_url": urls,
        "parameters": [
            {
                "attribute_id": rule.attribute_id,
                "model_id": leaf.model_id,
                "model_name": leaf.name,
                "model_version": leaf.id,
                "app": "ima",
                "platform": "web",
                "category": leaf.category,
                "credit": points,
                "parameters": inner,
            }
        ],
    }
    if leaf.model_id in SEEDANCE and leaf.kind == "ref2v":
        body["src_image"] = [_measured(one, url) for one, url in zip(_shown(request), urls, strict=True)]
    return body


def images(request: MediaRequest) -> list[str]:
    """The public URLs of what goes in. Raises InvalidRequest for what has none."""
    found = []
    for one in _shown(request):
        laid_down = (one.ref or {}).get("url")
        if not laid_down and not one.url.startswith("https://"):
            raise InvalidRequest("this upstream reads images from public https:// URLs only", param="images")
        found.append(str(laid_down or one.url))
    return found


def _shown(request: MediaRequest) -> Sequence[Input]:
    if not isinstance(request, ImageRequest | VideoRequest):
        return ()
    if any(one.role == "mask" for one in request.inputs):
        raise InvalidRequest("this upstream edits images without a mask", param="mask")
    return request.inputs


def _measured(one: Input, url: str) -> dict[str, Any]:
    ref: Mapping[str, Any] = one.ref or {}
    return {"url": url, "width": ref.get("width") or 0, "height": ref.get("height") or 0}


def is_verified(plan: Plan) -> bool:
    """Whether the model's images are looked at by the vendor before anything is made of them."""
    return plan.leaf.model_id in SEEDANCE and plan.leaf.kind in ("i2v", "flf2v", "ref2v")


def check_images(request: MediaRequest) -> None:
    """Raises InvalidRequest for an image that Seedance takes in no case."""
    for one in _shown(request):
        ref: Mapping[str, Any] = one.ref or {}
        width, height = ref.get("width"), ref.get("height")
        if one.size > SEEDANCE_BYTES:
            raise InvalidRequest("an image may have at most 30 MB with this model", param="images")
        if not width or not height:
            continue
        least, most = SEEDANCE_SIDES
        narrow, broad = SEEDANCE_BREADTH
        if not (least <= min(width, height) and max(width, height) <= most and narrow <= width / height <= broad):
            raise InvalidRequest(
                f"an image must have sides of {least} to {most} pixels and be between 2:5 and 5:2 with this model, "
                f"not {width}x{height}",
                param="images",
            )
