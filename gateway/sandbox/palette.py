"""Palettes: the light a picture is seen in. Chosen by the words of the prompt, else by its dice."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of one light, each an sRGB triple 0–255."""

    name: str
    sky: tuple[Colour, ...]
    """From the zenith to the horizon."""
    sun: Colour
    """The sun, the moon, lit windows: the brightest thing."""
    far: Colour
    """What is farthest: nearly the horizon."""
    near: Colour
    """What is nearest: the darkest thing."""
    accent: Colour
    words: frozenset[str]
    """Words in a prompt that ask for this light."""


def _hex(text: str) -> Colour:
    return int(text[0:2], 16), int(text[2:4], 16), int(text[4:6], 16)


def _palette(name: str, sky: str, sun: str, far: str, near: str, accent: str, words: str) -> Palette:
    ramp = tuple(_hex(stop) for stop in sky.split())
    return Palette(name, ramp, _hex(sun), _hex(far), _hex(near), _hex(accent), frozenset(words.split()))


PALETTES: tuple[Palette, ...] = (
    _palette("dawn", "4a5d8f 8f87b0 e0a5a8 ffd9b0", "fff3d6", "c9a0ae", "2b2a4a", "f47c6c",
             "dawn sunrise morning spring 早晨 清晨 日出 黎明 春"),
    _palette("noon", "2f7fc8 6db3e6 b5def2 eaf6f5", "fffbe6", "9fc6d6", "1d4d4f", "f2a541",
             "noon day sunny blue clear sky 白天 晴 蓝 天空"),
    _palette("dusk", "1f1b4d 5b2a6f b8436f f6855c ffc978", "ffe9b8", "a2466f", "1a1233", "ff6b6b",
             "dusk sunset evening twilight 黄昏 日落 傍晚 晚霞 夕阳"),
    _palette("night", "050a1f 0d1a3f 1d3461 3d5a80", "f3f1dc", "2d4a78", "050816", "7fd1ff",
             "night midnight moon star stars dark 夜 夜晚 月 月亮 星 星空 黑"),
    _palette("jade", "0f3d3e 2d6a5e 7fb89a d9ecc7", "fdf8d0", "86b39b", "0b2b2a", "f4d35e",
             "green forest jungle garden leaf grass bamboo 绿 森林 竹 草 花园"),
    _palette("desert", "3c6e91 9fb9b5 eccfa0 f9e3b4", "fff7dc", "d9a066", "5a2a1e", "d1495b",
             "desert sand dune camel canyon autumn gold orange 沙漠 沙 秋 金 橙"),
    _palette("arctic", "274c77 6096ba a3cef1 eef6fb", "ffffff", "a9c9de", "18344f", "f28482",
             "snow ice winter arctic frozen cold white 雪 冰 冬 冷 白"),
    _palette("ember", "180a1c 4a1230 96232c e2572b ffb238", "fff0b5", "8f2b2f", "13070f", "ffd23f",
             "fire red hot lava dragon volcano flame 火 红 龙 火山 热"),
    _palette("rose", "6b4c9a b57bb5 f2a7c3 ffe1e0", "fffaf0", "c58db9", "3a2350", "f9c74f",
             "rose pink love flower cherry blossom purple 玫瑰 粉 爱 花 樱花 紫"),
    _palette("neon", "090222 2a0a5e 7b1fa2 ff2e93", "7df9ff", "4b1b8c", "07011a", "00f5d4",
             "neon cyberpunk robot future city synthwave techno 霓虹 赛博 机器人 未来 城市"),
)  # fmt: skip


def choose(words: Sequence[str], chance: random.Random) -> Palette:
    """The palette the prompt's words ask for most, ties and silence decided by `chance`."""
    scores = [sum(word in palette.words for word in words) for palette in PALETTES]
    best = max(scores)
    return chance.choice([palette for palette, score in zip(PALETTES, scores, strict=True) if score == best])


def blend(one: Colour, other: Colour, share: float) -> Colour:
    """`one` with `share` (0–1) of `other` mixed in."""
    share = min(1.0, max(0.0, share))
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def ramp(stops: Sequence[Colour], steps: int) -> list[Colour]:
    """`steps` colours walking smoothly through `stops`."""
    if len(stops) == 1 or steps == 1:
        return [stops[0]] * steps
    spans, colours = len(stops) - 1, []
    for step in range(steps):
        place = step / (steps - 1) * spans
        index = min(int(place), spans - 1)
        colours.append(blend(stops[index], stops[index + 1], place - index))
    return colours
