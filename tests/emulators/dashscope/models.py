"""The models, and what each can do."""

from dataclasses import dataclass

VIDEO, FRAMES = "aigc/video-generation/video-synthesis", "aigc/image2video/video-synthesis"
ANSWERED, TASKED = "aigc/multimodal-generation/generation", "aigc/image-generation/generation"
DRAWN, EDITED = "aigc/text2image/image-synthesis", "aigc/image2image/image-synthesis"

SIZES_480 = ("832*480", "480*832", "624*624")
SIZES_720 = ("1280*720", "720*1280", "960*960", "1088*832", "832*1088")
SIZES_1080 = ("1920*1080", "1080*1920", "1440*1440", "1632*1248", "1248*1632")


@dataclass(frozen=True)
class Film:
    path: str
    needs: frozenset[str]
    takes: frozenset[str]
    """Of the input."""
    parameters: frozenset[str]
    seconds: tuple[int, ...]
    sizes: tuple[str, ...] = ()
    resolutions: tuple[str, ...] = ()
    prompt: int = 1500
    frames: frozenset[frozenset[str]] = frozenset()
    """What may stand together in `media`; empty where references do."""


_SAME = "prompt_extend watermark seed duration"


def _film(path: str, needs: str, takes: str, parameters: str, seconds: tuple[int, ...], **more: object) -> Film:
    split = frozenset(needs.split())
    own = frozenset(f"{_SAME} {parameters}".split())
    known = split | frozenset(f"extend_prompt function {takes}".split())  # older SDKs send two that have no effect
    return Film(path, split, known, own, seconds, **more)  # type: ignore[arg-type]


_TO_15 = tuple(range(2, 16))
_HD = ("720P", "1080P")
_ALL = ("480P", "720P", "1080P")
_COMBOS = frozenset(
    frozenset(combo.split())
    for combo in (
        "first_frame",
        "first_frame driving_audio",
        "first_frame last_frame",
        "first_frame last_frame driving_audio",
        "first_clip",
        "first_clip last_frame",
    )
)

FILMS = {
    "wan2.7-t2v": _film(
        VIDEO, "prompt", "negative_prompt audio_url", "resolution ratio", _TO_15, resolutions=_HD, prompt=5000
    ),
    "wan2.7-i2v": _film(
        VIDEO, "media", "prompt negative_prompt", "resolution", _TO_15, resolutions=_HD, prompt=5000, frames=_COMBOS
    ),
    "wan2.7-r2v": _film(
        VIDEO, "prompt media", "negative_prompt", "resolution ratio", _TO_15, resolutions=_HD, prompt=5000
    ),
    "wan2.6-t2v": _film(
        VIDEO, "prompt", "negative_prompt audio_url", "size shot_type audio", (5, 10, 15), sizes=SIZES_720 + SIZES_1080
    ),
    "wan2.6-i2v": _film(
        VIDEO, "img_url", "prompt negative_prompt audio_url", "resolution shot_type audio", (5, 10, 15), resolutions=_HD
    ),
    "wan2.6-r2v": _film(
        VIDEO, "prompt reference_urls", "negative_prompt", "size shot_type audio", (5, 10), sizes=SIZES_720 + SIZES_1080
    ),
    "wan2.5-t2v-preview": _film(
        VIDEO, "prompt", "negative_prompt audio_url", "size audio", (5, 10), sizes=SIZES_480 + SIZES_720 + SIZES_1080
    ),
    "wan2.5-i2v-preview": _film(
        VIDEO, "img_url", "prompt negative_prompt audio_url", "resolution audio", (5, 10), resolutions=_ALL
    ),
    "wan2.2-t2v-plus": _film(
        VIDEO, "prompt", "negative_prompt", "size", (5,), sizes=SIZES_480 + SIZES_1080, prompt=800
    ),
    "wan2.2-i2v-plus": _film(
        VIDEO, "img_url", "prompt negative_prompt", "resolution", (5,), resolutions=("480P", "1080P"), prompt=800
    ),
    "wan2.2-i2v-flash": _film(
        VIDEO, "img_url", "prompt negative_prompt", "resolution", (5,), resolutions=("480P", "720P"), prompt=800
    ),
    "wan2.2-kf2v-flash": _film(
        FRAMES, "first_frame_url last_frame_url", "prompt negative_prompt template", "resolution", (5,),
        resolutions=_ALL, prompt=800,
    ),
    "wanx2.1-t2v-turbo": _film(
        VIDEO, "prompt", "negative_prompt", "size", (5,), sizes=SIZES_480 + SIZES_720, prompt=800
    ),
    "wanx2.1-t2v-plus": _film(VIDEO, "prompt", "negative_prompt", "size", (5,), sizes=SIZES_720, prompt=800),
    "wanx2.1-i2v-turbo": _film(
        VIDEO, "img_url", "prompt negative_prompt template", "resolution", (5,),
        resolutions=("480P", "720P"), prompt=800,
    ),
    "wanx2.1-i2v-plus": _film(
        VIDEO, "img_url", "prompt negative_prompt template", "resolution", (5,), resolutions=("720P",), prompt=800
    ),
    "wanx2.1-kf2v-plus": _film(
        FRAMES, "first_frame_url last_frame_url", "prompt negative_prompt template", "resolution", (5,),
        resolutions=("720P",), prompt=800,
    ),
}  # fmt: skip
FILMS |= {"wan2.6-i2v-flash": FILMS["wan2.6-i2v"], "wan2.6-r2v-flash": FILMS["wan2.6-r2v"]}


@dataclass(frozen=True)
class Still:
    path: str
    images: tuple[int, int]
    """At least, at most."""
    most: int
    parameters: frozenset[str]
    area: tuple[int, int] = (0, 0)
    """Sides of squares."""
    sides: tuple[int, int] = (0, 0)
    longest: float = 0
    sizes: tuple[str, ...] = ()
    tasks: bool = False
    usual: int = 1
    """How many it makes where `n` is not told."""


def _still(
    path: str, images: tuple[int, int], most: int, parameters: str = "negative_prompt prompt_extend", **more: object
) -> Still:
    own = frozenset(f"n seed watermark {parameters}".split())
    return Still(path, images, most, own, **more)  # type: ignore[arg-type]


_FIVE = ("1664*928", "1472*1104", "1328*1328", "1104*1472", "928*1664")
_SIZED = "size negative_prompt prompt_extend"
_WIDE = _still(ANSWERED, (0, 3), 6, _SIZED, area=(512, 2048), longest=8)

STILLS = {
    "wan2.6-t2i": _still(ANSWERED, (0, 0), 4, _SIZED, area=(1280, 1440), longest=4, tasks=True),
    "wan2.6-image": _still(ANSWERED, (1, 4), 4, _SIZED, area=(768, 1280), longest=4, tasks=True),
    "wan2.7-image": _still(ANSWERED, (0, 9), 4, "size", area=(768, 2048), longest=8, tasks=True, usual=4),
    "wan2.7-image-pro": _still(ANSWERED, (0, 9), 4, "size", area=(768, 4096), longest=8, tasks=True, usual=4),
    "qwen-image": _still(ANSWERED, (0, 0), 1, _SIZED, sizes=_FIVE),
    "qwen-image-plus": _still(ANSWERED, (0, 0), 1, _SIZED, sizes=_FIVE),
    "qwen-image-max": _still(ANSWERED, (0, 0), 1, _SIZED, sizes=_FIVE),
    "qwen-image-2.0": _WIDE,
    "qwen-image-2.0-pro": _WIDE,
    "qwen-image-3.0": _WIDE,
    "qwen-image-3.0-pro": _WIDE,
    "qwen-image-edit": _still(ANSWERED, (1, 3), 1, "negative_prompt"),
    "qwen-image-edit-plus": _still(ANSWERED, (1, 3), 6, _SIZED, sides=(512, 2048)),
    "qwen-image-edit-max": _still(ANSWERED, (1, 3), 6, _SIZED, sides=(512, 2048)),
    "wan2.5-t2i-preview": _still(DRAWN, (0, 0), 4, "size prompt_extend", area=(768, 1440), longest=4),
    "wan2.2-t2i-plus": _still(DRAWN, (0, 0), 4, "size prompt_extend", sides=(512, 1440)),
    "wan2.2-t2i-flash": _still(DRAWN, (0, 0), 4, "size prompt_extend", sides=(512, 1440)),
    "wanx2.1-t2i-turbo": _still(DRAWN, (0, 0), 4, "size prompt_extend", sides=(512, 1440)),
    "wanx2.1-t2i-plus": _still(DRAWN, (0, 0), 4, "size prompt_extend", sides=(512, 1440)),
    "wan2.5-i2i-preview": _still(EDITED, (1, 3), 4, ""),
    "wanx2.1-imageedit": _still(EDITED, (1, 1), 4, ""),
}

FUNCTIONS = (
    "stylization_all", "stylization_local", "description_edit", "description_edit_with_mask", "remove_watermark",
    "expand", "super_resolution", "colorization", "doodle", "control_cartoon_feature",
)  # fmt: skip
SPEECHES = {
    "qwen3-tts-flash": frozenset({"text", "voice", "language_type"}),
    "qwen3-tts-instruct-flash": frozenset({"text", "voice", "language_type", "instructions", "optimize_instructions"}),
    "qwen-tts": frozenset({"text", "voice", "language_type"}),
}
VOICES = ("Cherry", "Serena", "Ethan", "Chelsie", "Momo", "Vivian", "Moon", "Maia", "Kai", "Nofish", "Bella")
LANGUAGES = (
    "Auto", "Chinese", "English", "German", "Italian", "Portuguese", "Spanish", "Japanese", "Korean", "French",
    "Russian",
)  # fmt: skip
TEXTS = ("qwen-plus", "qwen3-max", "qwen-flash", "qwen-turbo", "qwen3-coder-plus", "qwen3-vl-plus")
STREAMED = ("qwq-plus", "qwen3-235b-a22b-thinking-2507", "qwen3-32b")
"""Those that think, and answer by streams only."""
