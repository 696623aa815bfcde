"""The scenes the sandbox can paint, and which of them a prompt asks for."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.sandbox import palette
from gateway.sandbox.dice import dice
from gateway.sandbox.scenes import city, forest, mountains, ribbons, sea, space
from gateway.sandbox.scenes.base import Layer, Scene, View
from gateway.sandbox.vocabulary import vocabulary

SCENES: tuple[tuple[Scene, frozenset[str]], ...] = tuple(
    (scene.paint, frozenset(scene.WORDS.split())) for scene in (mountains, sea, city, forest, space, ribbons)
)


def paint(prompt: str, *, seed: int, width: int, height: int) -> Iterator[Layer]:
    """The layers of the scene that `prompt` and `seed` decide, back to front, each painted when asked for."""
    words, chance = vocabulary(prompt), dice("scene", prompt, seed)
    light = palette.choose(words, chance)
    scores = [sum(word in asked for word in words) for _, asked in SCENES]
    scene = chance.choice([scene for (scene, _), score in zip(SCENES, scores, strict=True) if score == max(scores)])
    return scene(View(width, height, light, chance))
