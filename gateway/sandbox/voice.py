"""A voice that reads letters aloud: formant vowels, hissed and stopped consonants, pauses at punctuation.

It is no speech synthesiser and no one need understand it, but its length, rhythm and melody are those of the text.
Voiced sounds are laid cycle by cycle from cached single-period waves, hisses are cut from cached noise.
"""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from math import exp, pi, sin, tau
from operator import add, mul

from gateway.sandbox.dice import dice

RATE = 24_000
LETTERS_PER_SECOND = 15.0
LONGEST = 120.0
"""Seconds after which the voice stops, however long the text."""
LOUDNESS = 15_000
"""Peak of a stressed vowel, of 32,767."""
CEILING = 4_600
"""Hertz above which voiced sounds have nothing."""

Formants = tuple[tuple[float, float], ...]

VOICED: dict[str, tuple[float, Formants]] = {
    "a": (1.0, ((730, 1.0), (1090, 0.6), (2440, 0.16))),
    "e": (0.95, ((530, 1.0), (1840, 0.4), (2480, 0.2))),
    "i": (0.85, ((280, 1.0), (2290, 0.28), (3010, 0.16))),
    "o": (0.95, ((570, 1.0), (840, 0.7), (2410, 0.1))),
    "u": (0.85, ((310, 1.0), (870, 0.45), (2240, 0.07))),
    "y": (0.8, ((300, 1.0), (2100, 0.28), (2700, 0.14))),
    "m": (0.45, ((250, 1.0), (1000, 0.1), (2200, 0.04))),
    "n": (0.45, ((270, 1.0), (1500, 0.1), (2500, 0.05))),
    "l": (0.55, ((360, 1.0), (1200, 0.25), (2700, 0.08))),
    "r": (0.55, ((420, 1.0), (1250, 0.35), (1650, 0.25))),
    "w": (0.5, ((300, 1.0), (700, 0.35), (2300, 0.04))),
    "v": (0.35, ((240, 1.0), (1000, 0.12), (2300, 0.05))),
}
"""Loudness, and each resonance as (hertz, strength)."""
HISSED = {"s": (0.3, 0.95), "x": (0.24, 0.7), "f": (0.14, 0.5), "h": (0.16, -0.3)}
"""Loudness, and how bright: 1 keeps only the highs, -1 only the lows."""
STOPPED = {"t": (0.34, 0.8), "k": (0.36, 0.3), "p": (0.34, -0.2)}
SPELLING = {
    **dict.fromkeys("aeiouymnlrwvsxfhtkp"), "b": "v", "d": "v", "g": "v", "j": "y", "z": "v", "c": "k", "q": "k",
}  # fmt: skip
WIDE = 3
"""Letters that a Chinese, Japanese or Korean character counts for: it is a syllable, not a letter."""
PAUSES = {",": 3, ";": 3, ":": 3, ".": 4, "!": 4, "?": 4, "\n": 4, "、": 3, "，": 3, "；": 3, "：": 3, "。": 4, "！": 4,
          "？": 4, "…": 4, "—": 2}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Phone:
    """One sound: a key of VOICED, HISSED or STOPPED, or a space for silence."""

    sound: str
    beats: float
    """Its length in letters."""
    pitch: float = 1.0
    """Times the voice's own pitch."""


@dataclass(frozen=True, slots=True)
class Throat:
    """A voice: how low it speaks and how large its mouth is."""

    pitch: float
    """Hertz."""
    tract: float
    """Times the resonances of a middling mouth."""


def throat(voice: str) -> Throat:
    """The throat a voice name has, always the same."""
    chance = dice("voice", voice.lower())
    pitch = chance.uniform(92.0, 230.0)
    return Throat(pitch, 0.9 + (pitch - 92.0) / 138.0 * 0.24)


def duration(text: str, speed: float = 1.0) -> float:
    """Seconds that reading `text` takes, at most `LONGEST`."""
    return min(LONGEST, sum(phone.beats for phone in phones(text)) / LETTERS_PER_SECOND / speed)


def phones(text: str, seed: int = 0) -> Iterator[Phone]:
    """The sounds of a text in order. A sentence falls in pitch from its start; a question rises at its end."""
    chance, sung = dice("phones", seed), 0
    for character in text.strip():
        if character in PAUSES:
            sung = 0
            yield Phone(" ", PAUSES[character])
        elif unicodedata.east_asian_width(character) == "W":
            sung += WIDE
            yield from _syllable(character, _melody(sung))
        else:
            sung += 1
            yield _letter(character, _melody(sung) * chance.uniform(0.97, 1.03))


def speech(text: str, *, voice: str, speed: float, seed: int) -> Iterator[array[int]]:
    """Samples, mono at `RATE`, a phone at a time."""
    body, left, chance = throat(voice), round(duration(text, speed) * RATE), dice("breath", voice, seed)
    owed, before = 0.0, " "
    for phone in phones(text, seed):
        owed += phone.beats / LETTERS_PER_SECOND / speed * RATE
        count = min(round(owed), left)
        if count <= 0:
            continue
        block = _sounded(phone, count, body, before, chance.randrange(RATE))
        owed, left, before = owed - len(block), left - len(block), phone.sound
        yield array("h", map(int, block))
    yield array("h", bytes(2 * max(0, left)))


def _melody(sung: int) -> float:
    return 1.12 - min(0.24, sung * 0.0045) + 0.05 * sin(sung * 0.55)


def _letter(character: str, pitch: float) -> Phone:
    plain = unicodedata.normalize("NFKD", character)[0].lower()
    if plain in SPELLING:
        return Phone(SPELLING[plain] or plain, 1, pitch)
    if plain.isalnum():
        return Phone("aeiou"[ord(plain) % 5], 1, pitch)
    return Phone(" ", 1)


def _syllable(character: str, pitch: float) -> Iterator[Phone]:
    code = ord(character)
    onset, vowel = "smtlxnkhfw"[code % 10], "aeiou"[code // 10 % 5]
    tone = (1.12, 0.94, 0.84, 1.0)[code // 50 % 4]
    yield Phone(onset, 0.8, pitch * tone)
    yield Phone(vowel, 1.6, pitch * tone)
    yield Phone(("n", vowel, "u")[code % 3], 0.6, pitch * tone)


def _sounded(phone: Phone, count: int, body: Throat, before: str, offset: int) -> array[float]:
    if phone.sound in VOICED:
        return _voiced(phone, count, body, before)
    if phone.sound in HISSED:
        loud, bright = HISSED[phone.sound]
        return _faded(_noise(bright)[offset : offset + count], loud, count)
    if phone.sound in STOPPED:
        loud, bright = STOPPED[phone.sound]
        shut = count * 6 // 10
        burst = _faded(_noise(bright)[offset : offset + count - shut], loud, count - shut)
        return array("f", bytes(4 * shut)) + burst
    return array("f", bytes(4 * count))


def _voiced(phone: Phone, count: int, body: Throat, before: str) -> array[float]:
    """Whole cycles, as many as fit, gliding over from a voiced neighbour and swelling after silence."""
    period = max(40, round(RATE / (body.pitch * phone.pitch)))
    cycles = max(1, round(count / period))
    steady = _cycle(phone.sound, period, body.tract)
    follows = before in VOICED
    onset = min(3, cycles)
    start = _cycle(before, period, body.tract) if follows else array("f", bytes(4 * period))
    out = array("f")
    for index in range(onset):
        share = (index + 1) / (onset + 1)
        out.extend(map(add, map(mul, start, repeat(1 - share)), map(mul, steady, repeat(share))))
    out.extend(steady * (cycles - onset))
    return out


def _faded(noise: array[float], loud: float, count: int) -> array[float]:
    """`count` samples of noise that rise and fall away softly."""
    wave = (noise * (count // max(1, len(noise)) + 1))[:count] if noise else array("f", bytes(4 * count))
    shape = (loud * LOUDNESS * sin(pi * min(1.0, (index + 1) / (count + 1)) ** 0.7) for index in range(count))
    return array("f", map(mul, wave, shape))


@lru_cache(maxsize=2048)
def _cycle(sound: str, period: int, tract: float) -> array[float]:
    """One period of a voiced sound, starting at rest, at its loudness."""
    loud, formants = VOICED[sound]
    base = array("f", (sin(tau * index / period) for index in range(period)))
    wave, pitch = array("f", bytes(4 * period)), RATE / period
    for number in range(1, min(period // 2, int(CEILING / pitch)) + 1):
        strength = sum(gain / (1 + ((number * pitch - place * tract) / 110.0) ** 2) for place, gain in formants)
        harmonic = (base * number)[::number]
        wave = array("f", map(add, wave, map(mul, harmonic, repeat((strength + 0.02) / number**0.35))))
    peak = max(map(abs, wave)) or 1.0
    return array("f", map(mul, wave, repeat(loud * LOUDNESS / peak)))


@lru_cache(maxsize=8)
def _noise(bright: float) -> array[float]:
    """Two seconds of noise between -1 and 1, tilted by a one-pole filter."""
    chance, held, wave = dice("noise", bright), 0.0, array("f")
    keep = exp(-2.2 * (1 - abs(bright)))
    for _ in range(2 * RATE):
        fresh = chance.uniform(-1, 1)
        held = held * keep + fresh * (1 - keep)
        wave.append(fresh - held if bright > 0 else held)
    peak = max(map(abs, wave))
    return array("f", map(mul, wave, repeat(1 / peak)))
