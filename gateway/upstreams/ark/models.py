"""The Seedance models: what each can do, and under which names the two sites have them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.types import Kind, ModelCard

SECONDS = 5
"""How long a video is to be where nobody says: some models would take that for leave to make thirty."""

LINES = {"480p": 480, "720p": 720, "1080p": 1080, "2k": 1440, "4k": 2160}
"""Resolutions by their shorter side."""
RATIOS = {"16:9": 16 / 9, "4:3": 4 / 3, "1:1": 1.0, "3:4": 3 / 4, "9:16": 9 / 16, "21:9": 21 / 9}
KINDS: tuple[Kind, ...] = ("t2v", "i2v", "flf2v", "ref2v")
HD = ("480p", "720p", "1080p")
UNKNOWN = (2, 0)
"""What a model counts as whose name tells no version."""


@dataclass(frozen=True, slots=True)
class Seedance:
    """What a model can do."""

    kinds: tuple[Kind, ...]
    shortest: int
    longest: int
    """Whole seconds."""
    resolutions: tuple[str, ...]
    estimate: float
    references: int = 0
    referred: tuple[str, ...] = ()
    """Resolutions with reference images, where those are fewer."""


SEEN = {
    "1-0-pro-250528": Seedance(("t2v", "i2v", "flf2v"), 2, 12, HD, 90),
    "1-0-pro-fast-251015": Seedance(("t2v", "i2v"), 2, 12, HD, 45),
    "1-0-lite-t2v-250428": Seedance(("t2v",), 2, 12, HD, 60),
    "1-0-lite-i2v-250428": Seedance(("i2v", "flf2v", "ref2v"), 2, 12, HD, 60, references=4, referred=HD[:2]),
    "1-5-pro-251215": Seedance(("t2v", "i2v", "flf2v"), 4, 12, HD, 120),
    "2-0-260128": Seedance(KINDS, 4, 15, (*HD, "4k"), 180, references=9),
    "2-0-fast-260128": Seedance(KINDS, 4, 15, HD[:2], 120, references=9),
    "2-0-mini-260615": Seedance(KINDS, 4, 15, HD[:2], 90, references=9),
    "2-5-260628": Seedance(KINDS, 4, 30, tuple(LINES), 240, references=30),
}
"""By version and date. The first is what is taken where no model is named."""
MODELS = {f"{'dreamina-' if name >= '2' else ''}seedance-{name}": facts for name, facts in SEEN.items()} | {
    f"doubao-seedance-{name}": facts for name, facts in SEEN.items()
}


def card(model: str, facts: Seedance) -> ModelCard:
    seconds = tuple(float(length) for length in range(facts.shortest, facts.longest + 1))
    return ModelCard(
        model,
        frozenset(facts.kinds),
        ratios=tuple(RATIOS),
        seconds=seconds,
        default_seconds=SECONDS,
        estimate=facts.estimate,
    )


def adopted(model: str, kind: Kind | None) -> ModelCard | None:
    """A card for a model that is not known here but by its name, or for an endpoint."""
    ours = re.fullmatch(r"(doubao-|dreamina-)?seedance-[\w.-]+|ep-[\w-]+", model)
    return ModelCard(model, frozenset(KINDS), ratios=tuple(RATIOS)) if ours and kind in (None, *KINDS) else None


def is_endpoint(model: str) -> bool:
    """Whether it is an account's own name for a model, behind which any may be."""
    return model.startswith("ep-")


def version(model: str) -> tuple[int, int]:
    found = re.search(r"seedance-(\d+)[-.](\d+)", model)
    return (int(found[1]), int(found[2])) if found else UNKNOWN


def has_sound(model: str) -> bool:
    return version(model) >= (1, 5)


def keeps_seed(model: str) -> bool:
    """Whether it uses the seed that it is given."""
    return version(model) < (2, 0)
