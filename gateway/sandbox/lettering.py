"""Lettering: text of any script set in what fonts there are.

Pillow carries a Latin font, and most machines have others; a character that none of them knows is drawn as a small
frame with its code point in it, as Unifont does, so that two different prompts never look alike.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

    from gateway.sandbox.palette import Colour

SYSTEM_FONTS = (
    "NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "SourceHanSansCN-Regular.otf", "wqy-microhei.ttc",
    "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc", "STHeiti Medium.ttc",
    "msyh.ttc", "simhei.ttf", "malgun.ttf", "NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf",
)  # fmt: skip
"""Tried in this order for characters that Pillow's own font lacks; the first that has the character wins."""

BOX = -1
PROBE_SIZE = 16
UNKNOWN = "\uffff"


class Lettering:
    """One size of type."""

    def __init__(self, size: int) -> None:
        self.size = max(6, size)

    @property
    def line(self) -> int:
        """Height of a line in pixels."""
        return round(self.size * 1.32)

    def width(self, text: str) -> float:
        """Width of `text` in pixels, on one line."""
        return sum(self._advance(font, run) for font, run in runs(text))

    def draw(self, pen: ImageDraw, at: tuple[float, float], text: str, ink: Colour) -> None:
        """Set `text` on one line, its upper left corner at `at`."""
        x, y = at
        baseline = y + self.size
        for font, run in runs(text):
            if font == BOX:
                for place, character in enumerate(run):
                    self._box(pen, (x + place * self.size, baseline), character, ink)
            else:
                pen.text((x, baseline), run, fill=ink, font=_font(font, self.size), anchor="ls")
            x += self._advance(font, run)

    def wrap(self, text: str, room: float, lines: int) -> list[str]:
        """At most `lines` lines of `text`, each within `room` pixels; what does not fit ends in an ellipsis."""
        wrapped: list[str] = []
        rest = " ".join(text.split())
        while rest and len(wrapped) < lines:
            head = self._head(rest, room)
            wrapped.append(head.rstrip())
            rest = rest[len(head) :].lstrip()
        if rest and wrapped:
            wrapped[-1] = self._shortened(wrapped[-1], room)
        return wrapped

    def _head(self, text: str, room: float) -> str:
        """As much of `text` as fits, cut after a space or beside an ideograph; at least one character."""
        fits, used = 0, 0.0
        for character in text:
            used += self.width(character)
            if used > room:
                break
            fits += 1
        if fits == len(text):
            return text
        cuts = [at for at in range(1, fits + 1) if _breakable(text[at - 1], text[at])]
        return text[: max(1, cuts[-1] if cuts else fits)]

    def _shortened(self, line: str, room: float) -> str:
        while line and self.width(line + "…") > room:
            line = line[:-1]
        return line.rstrip() + "…"

    def _advance(self, font: int, run: str) -> float:
        return float(self.size * len(run)) if font == BOX else float(_font(font, self.size).getlength(run))

    def _box(self, pen: ImageDraw, at: tuple[float, float], character: str, ink: Colour) -> None:
        x, baseline = at
        left, top, side = x + self.size * 0.06, baseline - self.size * 0.86, self.size * 0.88
        pen.rounded_rectangle((left, top, left + side, top + side), side * 0.12, outline=ink, width=1)
        digits, small = f"{ord(character):04X}"[-6:], _font(0, max(5, round(self.size * 0.38)))
        half = (len(digits) + 1) // 2
        for row, part in ((0.28, digits[:half]), (0.72, digits[half:])):
            pen.text((left + side / 2, top + side * row), part, fill=ink, font=small, anchor="mm")


def runs(text: str) -> list[tuple[int, str]]:
    """`text` cut into runs of one font each; `BOX` where no font has the characters."""
    clean = "".join(character for character in text if character == " " or character.isprintable())
    spelled = [_spelled(character) for character in unicodedata.normalize("NFC", clean)]
    return [(font, "".join(part for _, part in group)) for font, group in groupby(spelled, key=lambda pair: pair[0])]


@lru_cache(maxsize=4096)
def _spelled(character: str) -> tuple[int, str]:
    """Which font draws a character, and as what: an accent nobody has is dropped rather than the letter."""
    if unicodedata.category(character) in ("Mn", "Cf"):
        return 0, ""
    for index in range(_fonts()):
        if _knows(index, character):
            return index, character
    plain = unicodedata.normalize("NFKD", character)[0]
    if plain != character and plain.isprintable():
        return _spelled(plain)
    return BOX, character


def _knows(font: int, character: str) -> bool:
    if character == " ":
        return True
    face = _font(font, PROBE_SIZE)
    drawn, missing = face.getmask(character), face.getmask(UNKNOWN)
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)


def _breakable(before: str, after: str) -> bool:
    return before in " -/" or after == " " or unicodedata.east_asian_width(after) == "W"


@lru_cache(maxsize=1)
def _fonts() -> int:
    return 1 + len(_found())


@lru_cache(maxsize=1)
def _found() -> tuple[str, ...]:
    from PIL import ImageFont

    found = []
    for name in SYSTEM_FONTS:
        try:
            found.append(str(ImageFont.truetype(name, PROBE_SIZE).path))
        except OSError:
            continue
    return tuple(found)


@lru_cache(maxsize=64)
def _font(index: int, size: int) -> FreeTypeFont:
    from PIL import ImageFont

    if index:
        return ImageFont.truetype(_found()[index - 1], size, layout_engine=ImageFont.Layout.BASIC)
    built_in = ImageFont.load_default(size)
    if not isinstance(built_in, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType, so the sandbox has no font to letter pictures with")
    return built_in
