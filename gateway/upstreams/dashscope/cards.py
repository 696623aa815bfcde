"""What is told of a model beforehand: its kinds, what may be asked of it by the names that callers use, and what files
go in (wire sheet, 2026-11-20). The sheet states no prices, and the vendor's list of models is documented nowhere.

What a value cannot say by itself is left to `films`, `stills` and `sound`: which values and images go together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from gateway.types import InputRule, Kind, ModelCard, Parameter
from gateway.upstreams.dashscope.models import (
    LISTED,
    RATIOS,
    SECONDS,
    SEED_MAX,
    SIZES,
    VOICES,
    Area,
    Facts,
    Film,
    Fixed,
    Sides,
    Speech,
    Still,
    facts,
    is_text,
    thinks,
)

OWN: Mapping[str, Parameter] = {
    "negative_prompt": Parameter("string", most=500),
    "prompt_extend": Parameter("boolean", default=True),
    "watermark": Parameter("boolean", default=False),
    "audio": Parameter("boolean", default=True),
    "shot_type": Parameter("string", ("single", "multi"), default="single"),
    "audio_url": Parameter("url"),
    "driving_audio": Parameter("url"),
    "template": Parameter("string", most=100),
    "reference_video_urls": Parameter("urls", least=1, most=5),
    "function": Parameter(
        "string",
        (
            "description_edit", "description_edit_with_mask", "stylization_all", "stylization_local",
            "remove_watermark", "expand", "super_resolution", "colorization", "doodle", "control_cartoon_feature",
        ),
        default="description_edit",
    ),
    "language_type": Parameter(
        "string",
        (
            "Auto", "Chinese", "English", "German", "Italian", "Portuguese", "Spanish", "Japanese", "Korean", "French",
            "Russian",
        ),
        default="Auto",
    ),
    "instructions": Parameter("string", most=1600),
    "optimize_instructions": Parameter("boolean", default=False),
}  # fmt: skip
"""The vendor's own parameters, where a model takes them. Flags that nobody gives are not sent: the vendor has these."""
FORMATS = ("mp3", "wav", "opus", "aac", "flac", "pcm")
"""Of speech: the vendor makes WAV, and the others are made of it here."""
FIVE_SHAPES = ("16:9", "4:3", "1:1", "3:4", "9:16")
"""Of models with five fixed sizes, which are about these."""
_MB = 2**20
_MIMES = frozenset({"image/jpeg", "image/png", "image/bmp", "image/webp"})
_FRAME_BYTES = {"urls": 10 * _MB, "media": None}
_REFERENCE_BYTES = {"urls": None, "media": 20 * _MB}
"""Of an image, by how the model is asked; None: nobody knows."""


def card(model: str) -> ModelCard | None:
    """What is known of a model; None where the vendor's ids do not look like that."""
    found = facts(model)
    if found is None:
        text = ModelCard(model, frozenset({"t2t"}), vision="-vl" in model, reasoning=thinks(model))
        return text if is_text(model) else None
    bare = ModelCard(
        model,
        frozenset({"tts"}) if isinstance(found, Speech) else frozenset(found.kinds),
        estimate=found.estimate,
        parameters=parameters(found),
        closed=_sure(found),
        inputs=_inputs(found) if _sure(found) else {},
    )
    match found:
        case Film():
            ratios = () if found.shape == "line" or not found.sure else RATIOS
            seconds = tuple(map(float, found.seconds)) if found.sure else ()
            return replace(bare, ratios=ratios, seconds=seconds, default_seconds=float(SECONDS))
        case Still():
            return replace(bare, ratios=FIVE_SHAPES if isinstance(found.sizing, Fixed) else (), max_n=found.most)
        case Speech():
            return bare


def parameters(found: Facts) -> dict[str, Parameter]:
    """What a caller may ask of a family. Of one whose limits are not known, all that is known of their types."""
    own = {name: OWN[name] for name in found.own}
    seed = {"seed": Parameter("integer", least=0, most=SEED_MAX)}
    match found:
        case Film():
            declared = _of_film(found) | seed | own
        case Still():
            declared = {"n": Parameter("integer", least=1, default=1), "size": _sizes(found), **seed, **own}
        case Speech():
            voice = Parameter("string", VOICES, free=True, default=found.voice or None)
            declared = {"voice": voice, "format": Parameter("string", FORMATS, default=FORMATS[0]), **own}
    return declared if _sure(found) else {name: _loosened(one) for name, one in declared.items()}


def _of_film(found: Film) -> dict[str, Parameter]:
    """By `line` alone a film has the ratio of its image, and pixels tell no more than how fine it is to be."""
    pixels = [size for line in found.lines for size in SIZES[line].values()] if found.shape == "pixels" else []
    return {
        "seconds": Parameter("integer", found.seconds, default=SECONDS, unit="s"),
        "resolution": Parameter("string", found.lines, default=found.line),
        "size": Parameter("size", () if found.shape == "line" else (*RATIOS, *_named(pixels))),
    }


def _sizes(found: Still) -> Parameter:
    """Pixels that are not made become the nearest of the same ratio, so that no more than shapes are refused here."""
    match found.sizing:
        case Fixed(sizes):
            named = _named(sizes)
            return Parameter("size", (*FIVE_SHAPES, *named), default=named[0])
        case Area(least, most) | Sides(least, most):
            return Parameter("size", least=least**2, most=most**2)
        case None:
            return Parameter("size")


def _named(sizes: Iterable[str]) -> tuple[str, ...]:
    """Pixels as callers write them."""
    return tuple(size.replace("*", "x") for size in sizes)


def _loosened(parameter: Parameter) -> Parameter:
    """A parameter of which others than the known values may be right as well."""
    if parameter.type == "size":
        return Parameter("size")
    return replace(parameter, least=None, most=None, free=True)


def _inputs(found: Facts) -> dict[Kind, InputRule]:
    match found:
        case Film():
            frames, references = _FRAME_BYTES[found.wording], _REFERENCE_BYTES[found.wording]
            rules: dict[Kind, InputRule] = {
                "t2v": InputRule(),
                "i2v": InputRule(1, 1, _MIMES, frames),
                "flf2v": InputRule(2, 2, _MIMES, frames),
                "ref2v": InputRule(1, found.references, _MIMES, references),
            }
            return {kind: rules[kind] for kind in found.kinds}
        case Still():
            mask = 1 if found.way == "edit" else 0
            rules = {"t2i": InputRule(), "i2i": InputRule(1, found.references + mask)}
            return {kind: rules[kind] for kind in found.kinds}
        case Speech():
            return {}


def _sure(found: Facts) -> bool:
    return isinstance(found, Speech) or found.sure


KNOWN: Sequence[ModelCard] = tuple(known for model in LISTED if (known := card(model)) is not None)
"""Of the models on offer."""
