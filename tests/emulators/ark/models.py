"""The models, and what each can do."""

from dataclasses import dataclass
from typing import Any

PRO, FAST, T2V, LITE = (
    "seedance-1-0-pro-250528",
    "seedance-1-0-pro-fast-251015",
    "seedance-1-0-lite-t2v-250428",
    "seedance-1-0-lite-i2v-250428",
)
SOUND, SECOND, SECOND_FAST, FIFTH = (
    "seedance-1-5-pro-251215",
    "dreamina-seedance-2-0-260128",
    "dreamina-seedance-2-0-fast-260128",
    "dreamina-seedance-2-5-260628",
)


@dataclass(frozen=True)
class Model:
    modes: frozenset[str]
    seconds: tuple[int, int]
    resolutions: tuple[str, ...] = ("480p", "720p", "1080p")
    default: str = "720p"
    references: int = 0
    version: float = 1.0


def _model(modes: str, low: int, high: int, **fields: Any) -> Model:
    return Model(frozenset(modes.split()), (low, high), **fields)


MODELS = {
    PRO: _model("text first frames", 2, 12, default="1080p"),
    FAST: _model("text first", 2, 12, default="1080p"),
    T2V: _model("text", 2, 12),
    LITE: _model("first frames reference", 2, 12, references=4),
    SOUND: _model("text first frames", 4, 12, version=1.5),
    SECOND: _model(
        "text first frames reference", 4, 15, resolutions=("480p", "720p", "1080p", "4k"), references=9, version=2.0
    ),
    SECOND_FAST: _model("text first frames reference", 4, 15, resolutions=("480p", "720p"), references=9, version=2.0),
    "dreamina-seedance-2-0-mini-260615": _model(
        "text first frames reference", 4, 15, resolutions=("480p", "720p"), references=9, version=2.0
    ),
    FIFTH: _model(
        "text first frames reference",
        4,
        30,
        resolutions=("480p", "720p", "1080p", "2k", "4k"),
        references=30,
        version=2.5,
    ),
}
RATIOS = ("16:9", "4:3", "1:1", "3:4", "9:16", "21:9", "adaptive")
