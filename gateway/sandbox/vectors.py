"""Vectors: texts as points on the unit sphere, nearer to each other the more words and word parts they share."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from zlib import crc32

GRAM = 3
_WORDS = re.compile(r"[^\W_]+")
_IDEOGRAPHS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_MIXER, _MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1


def embed(text: str, *, dimensions: int) -> list[float]:
    """A vector of length 1 in `dimensions` (at least 1) numbers; equal texts have equal ones, also the empty text.

    Words, pairs of words and runs of three letters are hashed to a place and a sign each, so texts with nothing in
    common are nearly at right angles. Raises ValueError for no dimensions.
    """
    if dimensions < 1:
        raise ValueError(f"a vector needs at least one dimension, not {dimensions}")
    vector = [0.0] * dimensions
    for (feature, weight), count in Counter(_features(text)).items():
        place, sign = _spot(feature, dimensions)
        vector[place] += sign * weight * (1 + math.log(count))
    length = math.sqrt(math.fsum(number * number for number in vector))
    if length == 0:
        # Nothing was said, or all of it cancelled out: such texts share one direction.
        place, sign = _spot("", dimensions)
        vector[place], length = sign, 1.0
    return [number / length for number in vector]


def _features(text: str) -> Iterator[tuple[str, float]]:
    """What a text is known by, and how much that tells: longer words more."""
    words = _WORDS.findall(unicodedata.normalize("NFKC", text).casefold())
    for word in words:
        yield word, 0.4 + 0.15 * min(len(word), 8)
        padded = f" {word} "
        for at in range(len(padded) - GRAM + 1):
            yield padded[at : at + GRAM], 0.3
        # Ideographs are written without spaces and arrive as one long word: each is a word itself.
        for ideograph in _IDEOGRAPHS.findall(word):
            yield ideograph, 0.5
    for first, second in pairwise(words):
        yield f"{first} {second}", 0.5


def _spot(feature: str, dimensions: int) -> tuple[int, float]:
    mixed = (crc32(feature.encode("utf-8", "surrogatepass")) + 1) * _MIXER & _MASK
    mixed = (mixed ^ (mixed >> 29)) * _MIXER & _MASK
    return (mixed >> 16) % dimensions, 1.0 if mixed >> 63 else -1.0
