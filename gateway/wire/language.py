"""The languages that failures are told in: which one a caller reads, and the words that each has.

A language is a file of `words/`, named by its tag, such as `pt-BR.json`. It is found by being there, and read when
something is first told in it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import msgspec

ENGLISH = "en"
"""What is spoken to whoever asks for nothing that there are words for."""
HEADER_BYTES = 1000
"""How much of an Accept-Language is looked at."""
ENDING = ".json"

_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_NAME = re.compile(r"\{(\w+)\}")
_RANGE = re.compile(r"\s*(\*|[a-z]{1,8}(?:-[a-z0-9]{1,8})*)\s*(?:;\s*q\s*=\s*([01](?:\.\d*)?)\s*)?", re.IGNORECASE)


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of a failure: templates, as `filled` takes them."""

    sentence: str = ""
    """What happened. Empty: the failure's own sentence, which is English."""
    advice: str = ""
    """What to do next. Empty: the failure's own, or none."""


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A language, as its file tells."""

    codes: dict[str, Entry]
    """By the code of a failure, or by `code/Class` for one class of several that share a code."""
    classes: dict[str, Entry]
    """By the name of an error's class: for codes that have no words."""
    stop: str = "."
    """What ends a sentence."""
    gap: str = " "
    """What stands between two sentences."""
    comma: str = ", "
    """What stands between the members of a list."""
    seconds: str = "{n} s"
    minutes: str = "{n} min"
    hours: str = "{n} h"

    def said(self, sentence: str, advice: str) -> str:
        """Both as one text."""
        return f"{sentence.rstrip(self.stop)}{self.stop}{self.gap}{advice}" if advice else sentence

    def wait(self, seconds: float) -> str:
        """A time to wait, never shorter than it is: in seconds up to two minutes, in minutes up to two hours."""
        for unit, template, most in ((1, self.seconds, 120), (60, self.minutes, 7200), (3600, self.hours, math.inf)):
            if seconds <= most:
                return template.format(n=max(1, math.ceil(seconds / unit)))
        return ""


# --- which one ---


def preferred(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The language that a request asks for by its `Accept-Language`, of those there are words for; else English."""
    found = b",".join(value for name, value in headers if name == b"accept-language")
    return _chosen(found[:HEADER_BYTES]) if found else ENGLISH


@lru_cache(maxsize=256)
def _chosen(header: bytes) -> str:
    """By the weights, the first of equal ones: `zh-Hans-CN` finds `zh` (RFC 4647, lookup), `*` whatever is left."""
    known = {tag.lower(): tag for tag in spoken()}
    asked: dict[str, float] = {}
    for wanted, weight in _ranges(header.decode("latin-1").lower()):
        asked.setdefault(wanted, weight)
    refused = {wanted for wanted, weight in asked.items() if not weight}
    for wanted in sorted((one for one in asked if one not in refused), key=lambda one: -asked[one]):
        if wanted == "*":
            left = [tag for tag in (ENGLISH, *sorted(known)) if tag not in refused]
            return known[left[0]] if left else ENGLISH
        parts = wanted.split("-")
        for length in range(len(parts), 0, -1):
            if (tag := "-".join(parts[:length])) in known and tag not in refused:
                return known[tag]
    return ENGLISH


def _ranges(header: str) -> Iterator[tuple[str, float]]:
    """Each language with its weight, as they stand; what is malformed counts for nothing."""
    for member in header.split(","):
        if found := _RANGE.fullmatch(member):
            yield found[1], min(1.0, float(found[2] or 1))


# --- their words ---


@cache
def spoken() -> tuple[str, ...]:
    """The tags of the languages there are words for."""
    names = sorted(file.name for file in _folder().iterdir())
    return tuple(name.removesuffix(ENDING) for name in names if name.endswith(ENDING))


@cache
def words_of(language: str) -> Words:
    """The words of a spoken language. Read once."""
    return msgspec.json.decode((_folder() / f"{language}{ENDING}").read_bytes(), type=Words)


def _folder() -> Traversable:
    return files("gateway.wire") / "words"


def filled(template: str, known: Mapping[str, str]) -> str:
    """A template with what is known: `{name}` is its value, `[…]` is left out unless all that it names is known.

    `[after {wait}|later]` is the first of them whose names are known. Values are taken as they are.
    """
    pieces = _OPTIONAL.split(template)
    return "".join(_able(piece, known) if at % 2 else _with(piece, known) for at, piece in enumerate(pieces)).strip()


def _able(choices: str, known: Mapping[str, str]) -> str:
    for choice in choices.split("|"):
        if known.keys() >= set(_NAME.findall(choice)):
            return _with(choice, known)
    return ""


def _with(text: str, known: Mapping[str, str]) -> str:
    return _NAME.sub(lambda name: known.get(name[1], ""), text)
