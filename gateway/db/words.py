"""What the full-text index holds of an asset.

Both databases are given the same words, made here, so they find the same. A text is cut into words at everything that
is no letter and no digit; case, width and the accents of Latin letters do not matter. Scripts that are written without
spaces (Chinese, Japanese, Thai, …; Korean too) are cut into single characters. In the index a word is spelled in the
letters a to z alone, which no tokenizer of a database takes apart: `q` begins the spelling of everything else. So
nothing that anybody types is ever syntax.

A change of what is made here needs a migration that makes it anew for the assets that are there.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

MOST_WORDS: Final = 5_000
"""Words of an asset that it is found by; of texts that have more, the first. PostgreSQL counts places to 16,383."""
MOST_OF_ONE: Final = 200
"""Times that a word counts in one asset. PostgreSQL knows 255 places of a word."""
LONGEST: Final = 64
"""Characters of a word that matter."""
MOST_CHARACTERS: Final = 40_000
"""Of a text, that are looked at."""
MOST_LETTERS: Final = 200_000
"""Letters of an index text. PostgreSQL takes a million."""

APART: Final = "qy"
"""Stands between texts, so that no phrase spans two, and is never looked for."""
OWNER: Final = "qw"
"""Begins the word that says whose an asset is."""
TAG: Final = "qv"
"""Begins the words that say which tags it has."""

_ASCII_WORD: Final = re.compile("[a-z0-9]+")
_ALONE: Final = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1100, 0x11FF),  # Korean, in parts
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # radicals
    (0x3005, 0x3007),
    (0x3021, 0x318F),  # kana, bopomofo, Korean in parts
    (0x31A0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xA960, 0xA97F),
    (0xAC00, 0xD7FF),
    (0xF900, 0xFAFF),
    (0x1AFF0, 0x1B16F),
    (0x20000, 0x3FFFF),
)
"""Code points of scripts that put no spaces between words."""


def index_text(owner: str, texts: Iterable[str | None], tags: Sequence[str] = ()) -> str:
    """What the index holds of an asset: whose it is, its tags, and their words and those of its texts.

    The most telling texts come first, for very long ones are not gone through to their end.
    """
    spelled = [owner_word(owner), *dict.fromkeys(map(tag_word, tags))]
    seen: Counter[str] = Counter()
    letters = 0
    for text in filter(None, (*tags, *texts)):
        spelled.append(APART)
        for word in words_of(text[:MOST_CHARACTERS]):
            seen[word] += 1
            spelled.append(spelling(word) if seen[word] <= MOST_OF_ONE else APART)
            letters += len(spelled[-1])
            if len(spelled) >= MOST_WORDS or letters > MOST_LETTERS:
                return " ".join(spelled)
    return " ".join(spelled)


def words_of(text: str) -> list[str]:
    """The words of a text as people know them, in order."""
    if text.isascii():
        return [word[:LONGEST] for word in _ASCII_WORD.findall(text.lower())]
    found: list[str] = []
    word = ""
    for character in _plain(text):
        sort = unicodedata.category(character)[0]
        alone = _is_alone(character)
        if word and (alone or sort not in "LNM"):
            found.append(word[:LONGEST])
            word = ""
        if alone and sort in "LNM":
            found.append(character)
        elif sort in "LN" or (sort == "M" and word):
            word += character
    return [*found, word[:LONGEST]] if word else found


def tag_of(text: str) -> str:
    """A tag as it is found by: case, width and surplus space do not matter."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


@lru_cache(maxsize=1024)
def owner_word(owner: str) -> str:
    """The word that all assets of an owner have, and no text has."""
    return OWNER + _digest(owner)


@lru_cache(maxsize=8192)
def tag_word(tag: str) -> str:
    """The word that all assets with a tag have, and no text has."""
    return TAG + _digest(tag_of(tag))


def _digest(text: str) -> str:
    """20 letters."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:10]
    return "".join(chr(ord("a") + half) for byte in digest for half in divmod(byte, 16))


@lru_cache(maxsize=32_768)
def spelling(word: str) -> str:
    """A word in the letters a to z. No character's spelling begins another's, so beginnings stay beginnings."""
    return "".join(map(_spelled, word))


def _spelled(character: str) -> str:
    if "a" <= character <= "z":
        return "qq" if character == "q" else character
    if "0" <= character <= "9":
        return "q" + chr(ord(character) - ord("0") + ord("a"))
    letters, rest = [], ord(character)
    for _ in range(5):
        rest, letter = divmod(rest, 26)
        letters.append(chr(ord("a") + letter))
    return "qz" + "".join(reversed(letters))


def _plain(text: str) -> str:
    """Case, width and the marks on Latin letters taken away."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept: list[str] = []
    base = ""
    for character in unicodedata.normalize("NFD", folded[:MOST_CHARACTERS]):
        if unicodedata.category(character) != "Mn":
            base = character
        elif "LATIN" in unicodedata.name(base or " ", ""):
            continue
        kept.append(character)
    return unicodedata.normalize("NFC", "".join(kept))


def _is_alone(character: str) -> bool:
    code = ord(character)
    return code >= 0x0E00 and any(first <= code <= last for first, last in _ALONE)
