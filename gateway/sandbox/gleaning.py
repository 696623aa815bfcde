"""Gleaning: words, places and numbers picked from a prompt, to fill the fields of a form with."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

_PLACES = re.compile(r"city|location|place|town|country|destination|address|region|origin|城市|地点|地址|位置", re.I)
_WHOLE = re.compile(
    r"^(q|query|question|text|prompt|input|message|content|search|sentence|body|description|问题|内容)$", re.I
)
_NAMES = re.compile(r"name|title|subject|topic|author|person|user|名", re.I)
_NAMED = re.compile(r"\b(?:in|at|for|of|to|from|near|called|named|about)\s+((?:[A-Z][\w'’-]+)(?:[ -][A-Z][\w'’-]+)*)")
_CHINESE_PLACE = re.compile(r"([\u4e00-\u9fff]{2,3}?)(?:市|的?(?:天气|气温|温度))")
_CAPITALS = re.compile(r"(?<!^)(?<![.!?] )\b([A-Z][\w'’-]+(?: [A-Z][\w'’-]+)*)")
_WORDS = re.compile(r"[^\W\d_][\w'’-]*")
_NUMBERS = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.]*\d)")
_EPOCH = datetime(2025, 1, 1, tzinfo=UTC)
SPARE = ("amber", "willow", "harbour", "lantern", "meadow", "quartz", "river", "saffron", "thistle", "violet")


def text_for(name: str, hint: str, chance: Random) -> str:
    """A text for a field called `name`: the place, the name or the whole of `hint`, where the field sounds like it."""
    hint = " ".join(hint.split())
    if hint and _WHOLE.match(name):
        return hint
    if _PLACES.search(name) and (found := _CHINESE_PLACE.search(hint) or _NAMED.search(hint) or _CAPITALS.search(hint)):
        return found.group(1)
    if _NAMES.search(name) and (found := _CAPITALS.search(hint)):
        return found.group(1)
    words = [word for word in _WORDS.findall(hint) if len(word) > 3 or not word.isascii()] or list(SPARE)
    start = chance.randrange(len(words))
    return " ".join(words[start : start + chance.randint(1, 3)])


def numbers_in(hint: str) -> list[float]:
    """The numbers of a prompt in order, whole ones as int."""
    return [float(number) if "." in number else int(number) for number in _NUMBERS.findall(hint)]


def formatted(format: str, hint: str, chance: Random) -> str | None:
    """A text of a JSON schema `format`; None for one that is unknown."""
    moment = _EPOCH + timedelta(minutes=chance.randrange(525_600))
    dated = re.search(r"\b\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])\b", hint)
    day = dated.group() if dated else f"{moment:%Y-%m-%d}"
    mailed = re.search(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", hint)
    linked = re.search(r"https?://[^\s\"'<>]+", hint)
    word = chance.choice(SPARE)
    made = {
        "date": day,
        "date-time": f"{day}T{moment:%H:%M:%S}Z",
        "time": f"{moment:%H:%M:%S}Z",
        "duration": f"PT{chance.randint(1, 59)}M",
        "email": mailed.group() if mailed else f"{word}@example.com",
        "hostname": f"{word}.example.com",
        "ipv4": f"192.0.2.{chance.randint(1, 254)}",
        "ipv6": f"2001:db8::{chance.randint(1, 0xFFFF):x}",
        "uri": linked.group() if linked else f"https://example.com/{word}",
        "uri-reference": f"/{word}",
        "uuid": str(UUID(int=chance.getrandbits(128), version=4)),
        "json-pointer": f"/{word}",
        "regex": f"^{word}$",
        "byte": "c2FuZGJveA==",
    }
    made |= {"idn-email": made["email"], "url": made["uri"], "iri": made["uri"], "iri-reference": made["uri-reference"],
             "idn-hostname": made["hostname"], "uri-template": made["uri"], "relative-json-pointer": "0"}  # fmt: skip
    return made.get(format)
