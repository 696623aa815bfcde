"""The Seedance models: what each can do, and a request for a film as it will be made. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import log
from typing import Any, Final

import msgspec

from gateway.errors import InvalidRequest, Unsupported
from gateway.types import InputRule, Kind, ModelCard, Parameter, Size, VideoRequest
from gateway.upstreams.ark.names import FILM_KINDS, has_sound, version

SECONDS: Final = 5
"""How long a video is to be where nobody says: some models would take that for leave to make thirty."""
FPS: Final = 24
SEED_MAX: Final = 2**32 - 1
EXPIRES_MIN, EXPIRES_MAX = 3600, 259_200
"""Seconds that a job may be given."""
MOST_REFERENCES: Final = 30

LINES: Final = {"480p": 480, "720p": 720, "1080p": 1080, "2k": 1440, "4k": 2160}
"""Resolutions by their shorter side."""
RATIOS: Final = {"16:9": 16 / 9, "4:3": 4 / 3, "1:1": 1.0, "3:4": 3 / 4, "9:16": 9 / 16, "21:9": 21 / 9}
ADAPTIVE: Final = "adaptive"
HD = ("480p", "720p", "1080p")
PASSED: Final = frozenset(
    {
        "resolution", "ratio", "frames", "camera_fixed", "watermark", "generate_audio", "draft", "return_last_frame",
        "service_tier", "execution_expires_after", "priority", "safety_identifier", "output_format", "tools",
    }
)  # fmt: skip
"""Parameters that go by the vendor's own names. `callback_url` is none of them: the gateway polls."""
MIMES: Final = frozenset(f"image/{kind}" for kind in ("jpeg", "png", "webp", "bmp", "tiff", "gif"))
IMAGE_BYTES: Final = 30 * 2**20


@dataclass(frozen=True, slots=True)
class Seedance:
    """What a model can do."""

    kinds: tuple[Kind, ...]
    shortest: int
    longest: int
    """Whole seconds."""
    resolutions: tuple[str, ...]
    estimate: float
    usual: str = "720p"
    """The resolution where nobody says."""
    references: int = 0
    referred: tuple[str, ...] = ()
    """Resolutions with reference images, where those are fewer."""


_FRAMES: tuple[Kind, ...] = ("t2v", "i2v", "flf2v")
_LITE = Seedance(("i2v", "flf2v", "ref2v"), 2, 12, HD, 60, references=4, referred=HD[:2])
SEEN: Final = {
    "1-0-pro-250528": Seedance(_FRAMES, 2, 12, HD, 90, "1080p"),
    "1-0-pro-fast-251015": Seedance(("t2v", "i2v"), 2, 12, HD, 45, "1080p"),
    "1-0-lite-t2v-250428": Seedance(("t2v",), 2, 12, HD, 60),
    "1-0-lite-i2v-250428": _LITE,
    "1-5-pro-251215": Seedance(_FRAMES, 4, 12, HD, 120),
    "2-0-260128": Seedance(FILM_KINDS, 4, 15, (*HD, "4k"), 180, references=9),
    "2-0-fast-260128": Seedance(FILM_KINDS, 4, 15, HD[:2], 120, references=9),
    "2-0-mini-260615": Seedance(FILM_KINDS, 4, 15, HD[:2], 90, references=9),
    "2-5-260628": Seedance(FILM_KINDS, 4, 30, tuple(LINES), 240, references=MOST_REFERENCES),
}
"""By version and date. The first is what is taken where no model is named."""
MODELS: Final = {f"{'dreamina-' if name >= '2' else ''}seedance-{name}": facts for name, facts in SEEN.items()} | {
    f"doubao-seedance-{name}": facts for name, facts in SEEN.items()
}


# --- what a model takes ---


@cache
def card(model: str) -> ModelCard:
    """Of a model that is not in the table: all that any of them might do, and nothing that is surely refused."""
    facts = MODELS.get(model)
    if facts is None:
        return ModelCard(model, frozenset(FILM_KINDS), ratios=tuple(RATIOS), default_seconds=SECONDS)
    return ModelCard(
        model,
        frozenset(facts.kinds),
        ratios=tuple(RATIOS),
        seconds=tuple(map(float, range(facts.shortest, facts.longest + 1))),
        default_seconds=SECONDS,
        estimate=facts.estimate,
        parameters=_parameters(model, facts),
        closed=True,
        inputs={kind: InputRule(*_images(kind, facts), MIMES, IMAGE_BYTES) for kind in facts.kinds},
    )


def _parameters(model: str, facts: Seedance) -> dict[str, Parameter]:
    found = {
        "size": Parameter("size", tuple(RATIOS)),
        "seconds": Parameter("integer", least=facts.shortest, most=facts.longest, default=SECONDS, unit="s"),
        "seed": Parameter("integer", least=-1, most=SEED_MAX),
        "resolution": Parameter("string", facts.resolutions, default=facts.usual),
        "ratio": Parameter("string", (*RATIOS, ADAPTIVE)),
        "watermark": Parameter("boolean", default=False),
        "generate_audio": Parameter("boolean", default=False),
        "return_last_frame": Parameter("boolean", default=False),
        "execution_expires_after": Parameter("integer", least=EXPIRES_MIN, most=EXPIRES_MAX, unit="s"),
        "safety_identifier": Parameter("string", most=64),
        "output_format": Parameter("string", ("mp4", "mov")),
    }
    return found | _of_version(*version(model))


def _of_version(first: int, second: int) -> dict[str, Parameter]:
    """What only some of the generations have."""
    if first >= 2:
        return {
            "service_tier": Parameter("string", ("default",)),
            "priority": Parameter("integer", least=0, most=9),
            "tools": Parameter("list"),
        }
    found = {
        "service_tier": Parameter("string", ("default", "flex")),
        "camera_fixed": Parameter("boolean", kinds=frozenset(_FRAMES)),
    }
    if second:
        return found | {"draft": Parameter("boolean", default=False)}
    return found | {"frames": Parameter("integer", tuple(range(29, 290, 4)))}


def _images(kind: Kind, facts: Seedance | None) -> tuple[int, int]:
    """How few and how many images a kind takes."""
    most = facts.references if facts else MOST_REFERENCES
    return {"t2v": (0, 0), "i2v": (1, 1), "flf2v": (2, 2)}.get(kind, (1, most))


# --- as it will be made ---


def effective(request: VideoRequest) -> VideoRequest:
    """The request with every value that is sent. Raises InvalidRequest for what cannot be."""
    facts = MODELS.get(request.model)
    roles(request)
    if request.seed is not None and not -1 <= request.seed <= SEED_MAX:
        raise InvalidRequest(f"'seed' must be a whole number from 0 to {SEED_MAX}", param="seed")
    params = {name: value for name, value in request.params.items() if name in PASSED and value is not None}
    params.setdefault("watermark", False)
    if not has_sound(request.model) or "generate_audio" not in params:
        params["generate_audio"] = False
    params |= _shape(request, params, facts)
    return msgspec.structs.replace(
        request, params=params, size=_size(request, params), seconds=_seconds(request.seconds, params)
    )


def roles(request: VideoRequest) -> list[str]:
    """What each image is to the video: frames or references, never both. Raises InvalidRequest."""
    facts, images = MODELS.get(request.model), len(request.inputs)
    least, most = _images(request.kind, facts)
    places = {"t2v": [], "i2v": ["first_frame"], "flf2v": ["first_frame", "last_frame"]}.get(
        request.kind, ["reference_image"] * min(max(images, 1), most)
    )
    names = {"image": "", "reference": "reference_image"}
    named = [names.get(image.role, image.role) for image in request.inputs]
    found = [name or place for name, place in zip(named, places, strict=False)]
    if images != len(places) or sorted(found) != sorted(places):
        wanted = f"{least} to {most} reference images" if request.kind == "ref2v" else " and ".join(places)
        wanted = wanted or "no image"
        raise InvalidRequest(f"{request.kind} by {request.model} takes {wanted} and nothing else", param="images")
    return found


def _shape(request: VideoRequest, params: Mapping[str, Any], facts: Seedance | None) -> dict[str, str]:
    """Resolution and ratio. Without a word on it, a video that begins with an image has the image's ratio."""
    framed = request.kind in ("i2v", "flf2v")
    ratio = str(params.get("ratio") or "") or (_ratio(request.size) if request.size else ADAPTIVE if framed else "")
    if framed and version(request.model) == (2, 5):
        ratio = ADAPTIVE
    if ratio == ADAPTIVE and request.kind == "t2v" and not has_sound(request.model):
        raise Unsupported(
            f"'ratio' can be adaptive with {request.model} only where there is an image",
            param="ratio",
            allowed=tuple(RATIOS),
        )
    line = _line(request, params, facts)
    return ({"ratio": ratio} if ratio else {}) | ({"resolution": line} if line else {})


def _line(request: VideoRequest, params: Mapping[str, Any], facts: Seedance | None) -> str:
    """The resolution as it is named, that of pixels, or the model's own; "" where nothing is known."""
    able = ((facts.referred if request.kind == "ref2v" else ()) or facts.resolutions) if facts else tuple(LINES)
    able = able[:1] if params.get("draft") else able
    if (named := params.get("resolution")) is not None:
        if facts and named not in able:
            wanted = " or ".join(able)
            raise Unsupported(
                f"'resolution' must be {wanted} for {request.kind} by {request.model}, not {str(named)[:20]}",
                param="resolution",
                allowed=able,
                nearest=able[-1],
            )
        return str(named)
    if request.size and request.size.width:
        side = min(request.size.width, request.size.height)
        return nearest({line: LINES[line] for line in able}, side)
    if params.get("draft"):
        return able[0]
    return "" if facts is None else facts.usual if facts.usual in able else able[-1]


def _ratio(size: Size) -> str:
    """The ratio by the vendor's name: the nearest to pixels, and no other than the one that is named."""
    width, height = map(int, size.ratio.split(":"))
    name = nearest(RATIOS, width / height)
    if not size.width and abs(RATIOS[name] * height - width) > 1e-6:
        raise Unsupported(
            f"'size' must be pixels or one of the ratios {', '.join(RATIOS)}",
            param="size",
            allowed=tuple(RATIOS),
            nearest=name,
        )
    return name


def _size(request: VideoRequest, params: Mapping[str, Any]) -> Size | None:
    """The size as it comes out: its pixels are the nominal ones, from which the vendor's differ by a few."""
    ratio = params.get("ratio", "")
    if request.size is None or ratio not in RATIOS:
        return None
    if not request.size.width:
        return Size(ratio) if _ratio(request.size) != ratio else request.size
    short = LINES.get(params.get("resolution", ""), 0)
    if not short:
        return Size(ratio)
    long = round(short * max(RATIOS[ratio], 1 / RATIOS[ratio]) / 2) * 2
    return Size(ratio, long, short) if RATIOS[ratio] >= 1 else Size(ratio, short, long)


def _seconds(asked: float | None, params: Mapping[str, Any]) -> float:
    """Whole seconds, unless the caller counts frames."""
    if isinstance(params.get("frames"), int | float):
        return float(params["frames"]) / FPS
    found = SECONDS if asked is None else asked
    if found != int(found):
        raise InvalidRequest("'seconds' must be whole seconds", param="seconds")
    return float(found)


def nearest(known: Mapping[str, float], value: float) -> str:
    return min(known, key=lambda name: abs(log(known[name] / value)))
