"""How a film is asked for. Pure, and strict where limits are known: what a model cannot do is not sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from gateway.errors import InvalidRequest
from gateway.types import Size, VideoRequest
from gateway.upstreams.dashscope.asked import (
    Asked,
    breadth_of,
    checked,
    impossible,
    known,
    nearest,
    seeded,
    unable,
)
from gateway.upstreams.dashscope.models import HEIGHTS, RATIOS, SECONDS, SIZES, Film

PATH = "aigc/video-generation/video-synthesis"
FRAMES_PATH = "aigc/image2video/video-synthesis"
"""For the older models that go from a first to a last frame."""
IN_INPUT = frozenset({"negative_prompt", "audio_url", "template"})
"""Of the vendor's own parameters, those that stand with the prompt."""
CLIP_SECONDS = 10
"""The longest film that may have films for references."""


def film(request: VideoRequest) -> Asked:
    """Raises InvalidRequest naming the parameter that the model cannot do."""
    found = known(request.model, Film, "make videos")
    if len(request.prompt) > found.prompt:
        raise impossible("prompt", f"at most {found.prompt} characters long with {request.model}")
    own = checked(request.params, found)
    shown = _images(request, found, own)
    said = {"prompt": request.prompt} if request.prompt.strip() else {}
    inside = {name: own.pop(name) for name in tuple(own) if name in IN_INPUT}
    line = own.pop("resolution", None)
    written = _shape(request, found, line) | _length(request, found, shown) | seeded(request.seed) | own
    path = FRAMES_PATH if request.kind == "flf2v" and found.wording == "urls" else PATH
    return Asked(path, {"model": request.model, "input": {**said, **inside, **shown}, "parameters": written})


def _images(request: VideoRequest, found: Film, own: dict[str, Any]) -> dict[str, Any]:
    """The request's images where the model looks for them. Takes from `own` what is shown beside them."""
    uses = _uses(request, found)
    clips = own.pop("reference_video_urls", [])
    if len(uses) + len(clips) > found.references:
        raise impossible("reference_video_urls", f"no more than {found.references}, images included")
    urls = [image.url for image in request.inputs]
    if found.wording == "urls":
        match request.kind:
            case "t2v":
                return {}
            case "i2v":
                return {"img_url": urls[0]}
            case "flf2v":
                placed = dict(zip(uses, urls, strict=True))
                return {"first_frame_url": placed["first_frame"], "last_frame_url": placed["last_frame"]}
            case "ref2v":
                return {"reference_urls": urls}
            case never:
                assert_never(never)
    media = [{"type": use, "url": url} for use, url in zip(uses, urls, strict=True)]
    media += [{"type": "reference_video", "url": url} for url in clips]
    if "driving_audio" in own:
        media.append({"type": "driving_audio", "url": own.pop("driving_audio")})
    return {"media": media} if media else {}


def _uses(request: VideoRequest, found: Film) -> list[str]:
    """What each image is to the video. Raises InvalidRequest where they are not what the kind takes."""
    if request.kind not in found.kinds:
        raise unable(request.model, found.kinds, request.kind)
    places = {"t2v": [], "i2v": ["first_frame"], "flf2v": ["first_frame", "last_frame"]}.get(request.kind)
    named = [{"reference": "reference_image", "image": ""}.get(image.role, image.role) for image in request.inputs]
    if places is None:
        frames = 1 if found.wording == "media" and found.kinds == ("ref2v",) else 0
        uses = [name or "reference_image" for name in named]
        wanted = f"1 to {found.references} reference images" + ", one of them the first frame" * frames
        right = set(uses) <= {"reference_image", "first_frame"} and 1 <= len(uses) <= found.references
        right = right and uses.count("first_frame") <= frames and "reference_image" in uses
    else:
        uses = [name or place for name, place in zip(named, places, strict=False)]
        wanted = " and ".join(places) or "no image"
        right = len(named) == len(places) and sorted(uses) == sorted(places)
    if not right:
        raise InvalidRequest(f"{request.kind} by {request.model} takes {wanted} and nothing else", param="files")
    return uses


def _shape(request: VideoRequest, found: Film, line: str | None) -> dict[str, Any]:
    """Pixels, or resolution and ratio. Nothing where nobody says: the vendor has its own idea for each model."""
    ratio = _ratio(request.size) if request.size and found.shape != "line" else None
    if line is None and request.size and request.size.width:
        lines = {name: float(HEIGHTS[name]) for name in found.lines}
        line = nearest(lines, min(request.size.width, request.size.height))
    if found.shape != "pixels":
        return {name: value for name, value in (("resolution", line), ("ratio", ratio)) if value}
    if line is None and ratio is None:
        return {}
    usual = "720P" if "720P" in found.lines else found.lines[-1]
    sizes = SIZES[line or usual]
    if (ratio or "16:9") not in sizes:
        raise impossible("size", f"one of {', '.join(sizes)} in {line or usual} with {request.model}")
    return {"size": sizes[ratio or "16:9"]}


def _ratio(size: Size) -> str:
    """The nearest of the vendor's ratios to pixels, and no other than the one that is named."""
    breadths = {name: breadth_of(name) for name in RATIOS}
    name = nearest(breadths, breadth_of(size.ratio))
    if not size.width and abs(breadths[name] / breadth_of(size.ratio) - 1) > 1e-6:
        raise impossible("size", f"pixels or one of the ratios {', '.join(RATIOS)}")
    return name


def _length(request: VideoRequest, found: Film, shown: Mapping[str, Any]) -> dict[str, int]:
    asked = SECONDS if request.seconds is None else request.seconds
    able = found.seconds
    if any(one["type"] == "reference_video" for one in shown.get("media", ())):
        able = tuple(seconds for seconds in able if seconds <= CLIP_SECONDS)
    if asked not in able:
        wanted = f"{able[0]} to {able[-1]}" if len(able) > 3 else " or ".join(map(str, able))
        raise impossible("seconds", f"{wanted} whole seconds with {request.model}")
    return {"duration": int(asked)}
