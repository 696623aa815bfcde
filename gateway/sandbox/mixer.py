"""A mixer without numpy: a track is one great integer, a sample every 32 bits of it, so one `+` mixes two tracks.

Lanes hold signed values as plain arithmetic has them (the sum of sample × 2³²ⁿ): adding tracks adds every sample,
`track * 3` is louder, `delayed` is a shift; all of it in the interpreter's own big-number loops, a nanosecond a sample.
Lanes must not overflow: a sample of 1.0 is 2²⁹, which leaves room for a sum of four, gains included.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from functools import lru_cache
from itertools import repeat
from operator import mul

LANE = 32
GAIN = 256
"""What a track is multiplied by to keep its loudness; half of it is half as loud."""
ONE = 1 << 29
LOUDER = 3
"""Times a finished mix is raised, so that a sample of 1.0 becomes 24,576 of 32,767."""


def track(wave: Iterable[float]) -> int:
    """A wave between -1 and 1 as a track; multiply it by 0–256 to give it its loudness."""
    lanes = array("i", map(int, map(mul, wave, repeat(ONE / GAIN))))
    # Two's complement with its top bit turned over is the value plus 2³¹: take that away from every lane.
    return (int.from_bytes(little(lanes), "little") ^ _tops(len(lanes))) - _tops(len(lanes))


def delayed(track: int, samples: int) -> int:
    """The track, `samples` later."""
    return track << (LANE * samples)


def cut(track: int, count: int, length: int) -> tuple[array[int], int]:
    """The first `count` samples of a mix as 16-bit numbers, and what follows them; `length` is that of the whole."""
    lifted = track + _tops(length)
    rest = (lifted >> (LANE * count)) - _tops(length - count)
    head = track - delayed(rest, count)
    peak = _highs(head, count)
    if max(peak) < 1 << 13 and min(peak) > -(1 << 13):
        return _highs(head * LOUDER, count), rest
    return array("h", (_bent(sample) for sample in peak)), rest


def little(block: array[int]) -> bytes:
    """Samples as little-endian bytes on any machine."""
    if sys.byteorder == "big":
        block = block[:]
        block.byteswap()
    return block.tobytes()


def _highs(track: int, count: int) -> array[int]:
    """The upper 16 bits of each lane."""
    halves = array("h")
    halves.frombytes(((track + _tops(count)) ^ _tops(count)).to_bytes(count * 4, "little"))
    if sys.byteorder == "big":
        halves.byteswap()
    return halves[1::2]


@lru_cache(maxsize=32)
def _tops(count: int) -> int:
    """The top bit of each of `count` lanes."""
    return int.from_bytes(b"\0\0\0\x80" * count, "little")


def _bent(sample: int) -> int:
    """A sample raised as `LOUDER` does, but bowing towards the limit instead of passing it."""
    loud = abs(sample) * LOUDER
    over = loud - 20_000
    if over > 0:
        loud = 20_000 + over * 12_000 // (over + 12_000)
    return loud if sample > 0 else -loud
