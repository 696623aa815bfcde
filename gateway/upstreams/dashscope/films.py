"""How a film is asked for. `fitted` says what will be made, before anything is sent; `film` writes that down."""

from __future__ import annotations

from typing import Any, assert_never

import msgspec

from gateway.errors import InvalidRequest
from gateway.types import ModelCard, Size, VideoRequest
from gateway.upstreams.dashscope.asked import (
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
from gateway.upstreams.dashscope.models import PIXELS, RATIOS, SECONDS, SIZES, Film
from gateway.wire import size as wire_size

PATH = "aigc/video-generation/video-synthesis"
FRAMES_PATH = "aigc/image2video/video-synthesis"
"""For the older models that go from a first to a last frame."""
IN_INPUT = frozenset({"negative_prompt", "audio_url", "template"})
"""Of the vendor's own parameters, those that stand with the prompt."""
CLIP_SECONDS = 10
"""The longest film that may have films for references."""
SAME_SHAPE = 0.03
"""Pixels whose ratio differs by less from one of the vendor's are of that ratio."""
PLAIN_SHAPES = frozenset({"16:9", "9:16"})
"""Ratios whose pixels follow from the resolution alone, with every model."""


def fitted(request: VideoRequest, card: ModelCard) -> VideoRequest:
    """With length, resolution and pixels as they will be. Raises InvalidRequest for what does not go together."""
    found = known(request, Film, "make videos")
    params = spelled(request.params, found)
    _uses(request, found)
    seconds = _seconds(card) if request.seconds is None else request.seconds
    if found.sure:
        _check(request, found, params, seconds)
    line = params.get("resolution") or _line(request.size, found) or usual(card, "resolution", found.line)
    size = _pixels(request.size, line, found)
    lines = {"resolution": line} if line else {}
    return msgspec.structs.replace(request, seconds=float(seconds), size=size, params={**params, **lines})


def film(request: VideoRequest) -> Asked:
    """A fitted request as it is sent."""
    found = known(request, Film, "make videos")
    own = {name: value for name, value in request.params.items() if value is not None}
    shown = _images(request, found, own)
    said = {"prompt": request.prompt} if request.prompt.strip() else {}
    inside = {name: own.pop(name) for name in tuple(own) if name in IN_INPUT}
    told = _told_shape(request.size, found, own.pop("resolution", None))
    if request.seconds is not None:
        told["duration"] = int(request.seconds)
    if request.seed is not None:
        told["seed"] = request.seed
    path = FRAMES_PATH if request.kind == "flf2v" and found.wording == "urls" else PATH
    return Asked(path, {"model": request.model, "input": {**said, **inside, **shown}, "parameters": {**told, **own}})


def lengths(request: VideoRequest) -> frozenset[float]:
    """Seconds that a film for this request may have; empty: any, since nobody knows what became of what was asked."""
    found = known(request, Film, "make videos")
    asked = float(SECONDS if request.seconds is None else request.seconds)
    return frozenset({asked}) if not found.sure or asked in found.seconds else frozenset()


# --- what goes together ---


def _check(request: VideoRequest, found: Film, params: dict[str, Any], seconds: float) -> None:
    """Raises Unsupported for what single values do not tell."""
    if len(request.prompt) > found.prompt:
        raise impossible("prompt", f"at most {found.prompt} characters long with {request.model}")
    clips = len(params.get("reference_video_urls", ()))
    if len(request.inputs) + clips > found.references:
        raise impossible("reference_video_urls", f"no more than {found.references}, images included")
    if clips and seconds > CLIP_SECONDS:
        able = [one for one in found.seconds if one <= CLIP_SECONDS]
        raise impossible("seconds", f"from {able[0]} to {able[-1]} with films for references", able)
    if params.get("shot_type") == "multi" and params.get("prompt_extend") is False:
        raise impossible("shot_type", "single where 'prompt_extend' is false", ("single",))


def _uses(request: VideoRequest, found: Film) -> list[str]:
    """What each image is to the video. Raises InvalidRequest where they are not what the kind takes."""
    if found.sure and request.kind not in found.kinds:
        raise unable(request.model, found.kinds, request.kind)
    places = {"t2v": [], "i2v": ["first_frame"], "flf2v": ["first_frame", "last_frame"]}.get(request.kind)
    named = [{"reference": "reference_image", "image": ""}.get(image.role, image.role) for image in request.inputs]
    if places is None:
        frames = 1 if found.wording == "media" and found.kinds == ("ref2v",) else 0
        uses = [name or "reference_image" for name in named]
        wanted = "reference images" + ", one of them the first frame" * frames
        right = set(uses) <= {"reference_image", "first_frame"} and "reference_image" in uses
        right = right and uses.count("first_frame") <= frames
    else:
        uses = [name or place for name, place in zip(named, places, strict=False)]
        wanted = " and ".join(places) or "no image"
        right = len(named) == len(places) and sorted(uses) == sorted(places)
    if not right:
        raise InvalidRequest(f"{request.kind} by {request.model} takes {wanted} and nothing else", param="images")
    return uses


# --- what it shall be ---


def _seconds(card: ModelCard) -> float:
    """How long a film is where nobody says: what the operator says, by either of its names, else SECONDS."""
    told = (card.default_seconds, usual(card, "seconds"))
    return next((float(one) for one in told if one and one != SECONDS), float(SECONDS))


def _line(size: Size | None, found: Film) -> str | None:
    """The resolution that pixels come nearest to by their number, of those that have the ratio; None for no pixels."""
    if size is None or not size.width:
        return None
    able = [line for line in found.lines if found.shape != "pixels" or _ratio(size) in SIZES[line]]
    return nearest({line: PIXELS[line] for line in able}, size.width * size.height)


def _pixels(size: Size | None, line: str | None, found: Film) -> Size | None:
    """What comes out: by a ratio alone where the vendor does not say how many pixels, None where the image decides."""
    ratio = _ratio(size) if size else None
    if found.shape == "line":
        return None
    if found.shape == "line and ratio":
        plain = SIZES.get(line or "", {}).get(ratio or "") if ratio in PLAIN_SHAPES else None
        return wire_size.parse(plain or ratio)
    sizes = SIZES.get(line or "", {})
    if not sizes:
        raise impossible("resolution", f"one of {', '.join(found.lines)}", found.lines)
    if (ratio or RATIOS[0]) not in sizes:
        raise impossible("size", f"one of {', '.join(sizes)} in {line}", sizes)
    return wire_size.parse(sizes[ratio or RATIOS[0]])


def _ratio(size: Size) -> str:
    """The vendor's name for a shape, or the caller's where it is none that is known."""
    breadth, breadths = breadth_of(size.ratio), {name: breadth_of(name) for name in RATIOS}
    name = nearest(breadths, breadth)
    return name if abs(breadths[name] / breadth - 1) < SAME_SHAPE else size.ratio


# --- how it is told ---


def _told_shape(size: Size | None, found: Film, line: str | None) -> dict[str, Any]:
    if found.shape == "pixels":
        return {"size": written(size)} if size else {}
    told = {"resolution": line} if line else {}
    return told | {"ratio": _ratio(size)} if size and found.shape == "line and ratio" else told


def _images(request: VideoRequest, found: Film, own: dict[str, Any]) -> dict[str, Any]:
    """The request's images where the model looks for them. Takes from `own` what is shown beside them."""
    uses, urls = _uses(request, found), [image.url for image in request.inputs]
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
    media += [{"type": "reference_video", "url": url} for url in own.pop("reference_video_urls", ())]
    if "driving_audio" in own:
        media.append({"type": "driving_audio", "url": own.pop("driving_audio")})
    return {"media": media} if media else {}
