"""Music from a prompt and a seed: a key, a tempo, four chords, and a band that plays them.

Every note is a tiled wavetable times an envelope, made once and mixed in the mixer; a bar is handed on as soon as it is
played, so a long piece takes no more memory than a short one.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from math import exp, sin, tau
from operator import add, mul

from gateway.sandbox.dice import dice
from gateway.sandbox.mixer import GAIN, cut, delayed, track
from gateway.sandbox.vocabulary import vocabulary

RATE = 44_100
RING = 2.0
"""Seconds that a note, pads aside, may sound."""

Sides = tuple[int, int]
"""The left and the right track of the mixer."""
Played = tuple[float, float, int]
"""A note of the melody: beat, length in beats, step of the scale."""

MAJOR, MINOR, DORIAN = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10)
PROGRESSIONS = ((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 5, 4), (0, 2, 3, 4), (0, 6, 5, 4))
RHYTHMS = (
    ((0, 1), (1, 1), (2, 1.5), (3.5, 0.5)), ((0, 1.5), (1.5, 0.5), (2, 2)), ((0.5, 0.5), (1, 1), (2.5, 0.5), (3, 1)),
    ((0, 0.5), (0.5, 0.5), (1, 1), (2, 0.5), (2.5, 1.5)), ((0, 3),), ((1, 1), (2, 0.5), (2.5, 0.5), (3, 1)),
)  # fmt: skip
"""Where in a bar of four beats the melody plays, and for how many beats."""
MOODS = {
    "slow": "calm slow sad soft ambient sleep lullaby piano peaceful rain dark lofi 慢 悲 伤 安静 平静 睡 轻 钢琴 雨",
    "fast": "fast happy dance upbeat party rock energetic electronic drum epic joy 快 快乐 舞 摇滚 电子 鼓 欢快",
    "sad": "sad dark minor melancholy lonely rain night mystery epic 悲 伤 忧 暗 夜 孤独 雨",
    "glad": "happy joy bright sunny summer dance party children 快乐 欢快 阳光 夏 舞",
}
"""Words in a prompt that ask for a tempo or a scale."""

TIMBRES = {
    "pad": (1.0, 0.45, 0.3, 0.16, 0.1, 0.06, 0.04),
    "bell": (1.0, 0.0, 0.22, 0.5, 0.0, 0.12, 0.0, 0.07),
    "pluck": (1.0, 0.5, 0.33, 0.2, 0.14, 0.1),
    "bass": (1.0, 0.35, 0.12, 0.05),
}
"""Strength of each harmonic."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What is decided before the first note."""

    root: int
    """MIDI number of the tonic, near middle C."""
    scale: tuple[int, ...]
    chords: tuple[int, ...]
    """Degrees of the scale, one a bar."""
    beat: int
    """Samples a beat, always even."""
    lead: str
    drums: bool
    motifs: tuple[tuple[Played, ...], ...]
    """The melody, a bar for each chord."""


def piece(prompt: str, seed: int) -> Piece:
    """Key, tempo, chords, melody and band for a prompt."""
    chance = dice("music", prompt, seed)
    tempo, scale = _tempo(prompt, chance), _scale(prompt, chance)
    first, second = _motif(chance), _motif(chance)
    return Piece(
        root=chance.randint(55, 66),
        scale=scale,
        chords=chance.choice(PROGRESSIONS),
        beat=round(RATE * 60 / tempo / 2) * 2,
        lead=chance.choice(("bell", "pluck")),
        drums=tempo > 92,
        motifs=(first, _varied(first, chance), first, second),
    )


def play(prompt: str, *, seed: int, seconds: float) -> Iterator[array[int]]:
    """Samples, interleaved stereo at `RATE`, a bar at a time: `seconds` of them in all, fading out at the end."""
    band, total, played, bar = Band(piece(prompt, seed)), round(seconds * RATE), 0, 0
    fade = max(1, round(min(2.0, seconds / 4) * RATE))
    while played < total:
        sides = tuple(side[: total - played] for side in band.bar(bar))
        played, bar = played + len(sides[0]), bar + 1
        if played > total - fade:
            shape = [min(1.0, (total - at) / fade) for at in range(played - len(sides[0]), played)]
            sides = tuple(array("h", map(int, map(mul, side, shape))) for side in sides)
        stereo = array("h", bytes(4 * len(sides[0])))
        stereo[0::2], stereo[1::2] = sides
        yield stereo


def _leaning(prompt: str, one: str, other: str) -> int:
    """Above 0 if the prompt asks for mood `one` more than for `other`, below 0 if less."""
    words = set(vocabulary(prompt))
    return len(words.intersection(MOODS[one].split())) - len(words.intersection(MOODS[other].split()))


def _tempo(prompt: str, chance: random.Random) -> float:
    """Beats a minute."""
    leaning = _leaning(prompt, "fast", "slow")
    return (
        chance.uniform(112, 132) if leaning > 0 else chance.uniform(62, 82) if leaning < 0 else chance.uniform(80, 112)
    )


def _scale(prompt: str, chance: random.Random) -> tuple[int, ...]:
    leaning = _leaning(prompt, "glad", "sad")
    return MAJOR if leaning > 0 else chance.choice((MINOR, DORIAN) if leaning < 0 else (MAJOR, MINOR, DORIAN))


class Band:
    """Plays a piece bar by bar. A bar heard before is played from memory, with what of the last one still rings."""

    def __init__(self, piece: Piece) -> None:
        self.piece = piece
        self._length = piece.beat * 4
        self._whole = self._length + piece.beat + round(RING * RATE)
        self._notes: dict[tuple[str, int, int], int] = {}
        self._bars: dict[tuple[int, bool, bool], Sides] = {}
        self._ringing: Sides = (0, 0)

    def bar(self, number: int) -> tuple[array[int], array[int]]:
        """Bar `number` (from 0), left and right. The lead waits a bar, the drums two."""
        played = self._bar(number % len(self.piece.chords), number > 0, self.piece.drums and number > 1)
        (left, rest), (right, remains) = (
            cut(side + ringing, self._length, self._whole) for side, ringing in zip(played, self._ringing, strict=True)
        )
        self._ringing = rest, remains
        return left, right

    def _bar(self, index: int, lead: bool, drums: bool) -> Sides:
        key = index, lead, drums
        if key not in self._bars:
            degree = self.piece.chords[index]
            parts = [*self._chord(degree), *self._bass(degree), *self._arpeggio(degree, index)]
            parts += self._melody(degree, self.piece.motifs[index]) if lead else ()
            parts += self._drums() if drums else ()
            self._bars[key] = sum(left for left, _ in parts), sum(right for _, right in parts)
        return self._bars[key]

    def _chord(self, degree: int) -> Iterator[Sides]:
        for voice, step in enumerate((0, 2, 4)):
            note = self._note("pad", self._pitch(degree + step), self._length + self.piece.beat // 2)
            yield self._placed(note, 0, 0.13 + 0.05 * (voice - 1), 0.13 - 0.05 * (voice - 1))

    def _bass(self, degree: int) -> Iterator[Sides]:
        low = self._pitch(degree) - 24 + (12 if self._pitch(degree) < 57 else 0)
        for beat, length in ((0, 1.5), (2, 1.0), (3, 0.75)) if self.piece.drums else ((0, 3.0),):
            yield self._placed(self._note("bass", low, round(length * self.piece.beat)), beat, 0.38, 0.38)

    def _melody(self, degree: int, motif: Sequence[Played]) -> Iterator[Sides]:
        for beat, length, step in motif:
            pitch = self._pitch(_nearest(step, degree) if beat in (0, 2) else step) + 12
            note = self._note(self.piece.lead, pitch, round((length + 0.6) * self.piece.beat))
            yield self._placed(note, beat, 0.28, 0.25)
            yield self._placed(note, beat + 0.75, 0.05, 0.1)

    def _arpeggio(self, degree: int, index: int) -> Iterator[Sides]:
        pattern = (0, 2, 4, 7, 4, 2, 4, 2) if index % 2 else (0, 4, 2, 7, 4, 7, 2, 4)
        for place, step in enumerate(pattern):
            note = self._note("pluck", self._pitch(degree + step), self.piece.beat)
            yield self._placed(note, place / 2, 0.08 + 0.03 * (place % 2), 0.11 - 0.03 * (place % 2))

    def _drums(self) -> Iterator[Sides]:
        for beat in (0.0, 2.0):
            yield self._placed(self._note("kick", 0, RATE // 4), beat, 0.45, 0.45)
        for beat in (0.5, 1.0, 1.5, 2.5, 3.0, 3.5):
            yield self._placed(self._note("hat", 0, RATE // 12), beat, 0.035, 0.05)

    def _pitch(self, step: int) -> int:
        octave, degree = divmod(step, 7)
        return self.piece.root + 12 * octave + self.piece.scale[degree]

    def _placed(self, note: int, beat: float, left: float, right: float) -> Sides:
        late = delayed(note, round(beat * self.piece.beat))
        return late * round(left * GAIN), late * round(right * GAIN)

    def _note(self, timbre: str, pitch: int, length: int) -> int:
        key = timbre, pitch, length
        if key not in self._notes:
            length = min(length, round(RING * RATE)) if timbre != "pad" else length
            self._notes[key] = track(
                _drum(timbre, length) if timbre in ("kick", "hat") else _tone(timbre, pitch, length)
            )
        return self._notes[key]


def _motif(chance: random.Random) -> tuple[Played, ...]:
    step, notes = chance.choice((0, 2, 4)), []
    for beat, length in chance.choice(RHYTHMS):
        notes.append((float(beat), float(length), step))
        step = max(-2, min(8, step + chance.choice((-2, -1, -1, 1, 1, 2))))
    return tuple(notes)


def _varied(motif: tuple[Played, ...], chance: random.Random) -> tuple[Played, ...]:
    beat, length, step = motif[-1]
    return (*motif[:-1], (beat, length, step + chance.choice((-2, -1, 1, 2))))


def _nearest(step: int, degree: int) -> int:
    """The tone of the chord on `degree` that lies nearest to `step`."""
    return min((7 * octave + degree + tone for octave in (-2, -1, 0, 1) for tone in (0, 2, 4)),
               key=lambda tone: (abs(tone - step), tone))  # fmt: skip


def _tone(timbre: str, pitch: int, length: int) -> list[float]:
    hertz = 440.0 * 2 ** ((pitch - 69) / 12)
    wave = _tiled(timbre, hertz, length)
    if timbre == "pad":
        # A second one, a little sharp: the two beat slowly, as strings do.
        sharp = _tiled(timbre, hertz * 1.0045, length)
        wave = list(map(add, map(mul, wave, repeat(0.6)), map(mul, sharp, repeat(0.4))))
    return list(map(mul, wave, _shape(timbre, length)))


def _tiled(timbre: str, hertz: float, length: int) -> list[float]:
    """`length` samples of a timbre: the number of whole cycles is chosen so that the tile is in tune."""
    cycles = min(range(8, 40), key=lambda count: abs(round(count * RATE / hertz) / count - RATE / hertz))
    size = round(cycles * RATE / hertz)
    base = [sin(tau * cycles * index / size) for index in range(size)]
    wave, strengths = [0.0] * size, TIMBRES[timbre]
    for number, strength in enumerate(strengths, 1):
        if strength and number * hertz < RATE / 2.5:
            wave = list(map(add, wave, map(mul, (base * number)[::number], repeat(strength))))
    wave = list(map(mul, wave, repeat(1 / sum(strengths))))
    return (wave * (length // size + 1))[:length]


@lru_cache(maxsize=64)
def _shape(timbre: str, length: int) -> list[float]:
    """The envelope of a note: pads swell and fade, the others are struck and die away; all end in silence."""
    rise, rest = {"pad": (0.25, 0.9), "bell": (0.004, 0.35), "pluck": (0.006, 0.22), "bass": (0.015, 0.7)}[timbre]
    attack, release = min(length, max(1, round(rise * RATE))), min(length, round(0.08 * RATE))
    # An exponential, walked by multiplication.
    level, fall, shape = 1.0, exp(-1 / ((6.0 if timbre == "pad" else rest) * RATE)), list[float]()
    for _ in range(length):
        shape.append(level)
        level *= fall
    for index in range(attack):
        shape[index] *= index / attack
    for index in range(release):
        shape[-1 - index] *= index / release
    return shape


def _drum(name: str, length: int) -> list[float]:
    if name == "hat":
        chance = dice("hat")
        hiss = [chance.uniform(-1, 1) for _ in range(length + 1)]
        return [(hiss[at + 1] - hiss[at]) * exp(-at / (0.018 * RATE)) for at in range(length)]
    sweep = (sin(tau * (50 * at / RATE + 4.2 * (1 - exp(-at / (0.02 * RATE))))) for at in range(length))
    return [wave * exp(-at / (0.07 * RATE)) * (1 - at / length) for at, wave in enumerate(sweep)]
