"""What is asked of the library: filters from a query or a body, and what an owner may say of an asset."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, TypeVar

import msgspec
from starlette.datastructures import QueryParams

from gateway.assets.asset import Action, Changes
from gateway.assets.search import ORDERS, Filters, Order
from gateway.errors import InvalidRequest, UnknownParameter
from gateway.routes.asset_resource import ASSET_TYPES
from gateway.types import Kind
from gateway.wire import body as wire_body
from gateway.wire import native

PAGE: Final = 20
PAGE_MAX: Final = 100
MOST_IDS: Final = 1000
"""In one request."""
MOST_TAGS: Final = 50
TAG_CHARACTERS: Final = 64
TITLE_CHARACTERS: Final = 300
DESCRIPTION_CHARACTERS: Final = 5000
WORD_CHARACTERS: Final = 200
"""Of an id, a name or a search."""
METADATA_BYTES: Final = 16 * 1024
ACTIONS: Final[tuple[Action, ...]] = ("use", "download", "share", "view")
FILTERS: Final = (
    "asset_type",
    "source_module",
    "provider",
    "model",
    "kind",
    "tags",
    "favorites_only",
    "collection",
    "from",
    "to",
    "search",
    "task_id",
)
CHANGEABLE: Final = ("title", "description", "prompt", "tags", "metadata", "is_favorite")

Body = Mapping[str, msgspec.Raw]
Texts = Mapping[str, list[str]]
"""What was given under each name, in words."""
T = TypeVar("T")

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


@dataclass(frozen=True, slots=True)
class Slice:
    """A page of a list."""

    limit: int
    offset: int


# --- filters ---


def filters_of_query(query: QueryParams, *more: str) -> Filters:
    """`more`: what the route takes beside filters. Raises UnknownParameter, InvalidRequest."""
    check_names(query.keys(), (*FILTERS, *more), "parameter")
    return _filters({name: query.getlist(name) for name in query if name in FILTERS})


def filters_of_body(body: Body, param: str) -> Filters:
    """The same from the object in a field: strings, lists of them for `tags`, true or false, and numbers for times."""
    given = wire_body.read(body, param, dict[str, Any]) or {}
    check_names(given, FILTERS, "filter", param)
    return _filters({name: _words(name, value) for name, value in given.items()})


def _filters(given: Texts) -> Filters:
    return Filters(
        family=one_of("asset_type", given, ASSET_TYPES),
        source_module=single("source_module", given),
        provider=single("provider", given),
        model=single("model", given),
        kind=kind_of(given),
        tags=_some_tags(given),
        favorites_only=one_of("favorites_only", given, ("true", "false", "1", "0")) in ("true", "1"),
        collection=single("collection", given),
        since=_read(given, "from", moment),
        until=_read(given, "to", _until),
        search=single("search", given),
        task_id=single("task_id", given),
    )


def _words(name: str, value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case bool() if name == "favorites_only":
            return ["true" if value else "false"]
        case int() | float() if name in ("from", "to") and not isinstance(value, bool):
            return [str(value)]
        case list() if name == "tags" and all(isinstance(one, str) for one in value):
            return value
    raise InvalidRequest(f"filter '{name}' must be {_SHAPES.get(name, 'a string')}", param=name)


_SHAPES: Final = {
    "favorites_only": "true or false",
    "tags": "a list of strings",
    "from": "a date, a time or Unix seconds",
    "to": "a date, a time or Unix seconds",
}


def _some_tags(given: Texts) -> tuple[str, ...]:
    """A filter by no tag at all would be none, and what it is for may be a deletion."""
    found = tags(given.get("tags", ()))
    if "tags" in given and not found:
        raise InvalidRequest("'tags' must name at least one tag", param="tags")
    return found


def kind_of(given: Texts) -> Kind | None:
    word = single("kind", given)
    found = native.LONG_NAMES.get(word, word) if word is not None else None
    return known("kind", found, KINDS)


KINDS: Final[tuple[Kind, ...]] = (*native.CHAT_TYPES, "embedding", "transcription")


# --- lists ---


def sliced(query: Mapping[str, str]) -> Slice:
    """`limit` and `offset`, as every list of the library takes them."""
    return Slice(limit_of(query), _whole(query, "offset", 0, 0, 2**31 - 1))


def limit_of(query: Mapping[str, str]) -> int:
    return _whole(query, "limit", PAGE, 1, PAGE_MAX)


def order_of(query: Mapping[str, str]) -> Order:
    return known("sort", query.get("sort"), ORDERS) or "-created_at"


def flag(query: Mapping[str, str], name: str) -> bool:
    return known(name, query.get(name), ("true", "false", "1", "0")) in ("true", "1")


def check_names(given: Iterable[str], names: Iterable[str], what: str, param: str | None = None) -> None:
    """Raises UnknownParameter, which names the first that is not known and those that are."""
    for name in given:
        if name not in names:
            where = f" in '{param}'" if param else ""
            raise UnknownParameter(
                f"unknown {what} {name[:40]!r}{where}: use {', '.join(names) or 'none'}",
                param=f"{param}.{name[:40]}" if param else name[:40],
            )


# --- what is said of assets ---


def changes_of(body: Body) -> Changes:
    """What a PATCH asks for: null clears a title and a description, and no other."""
    check_names(body, CHANGEABLE, "field")
    if not body:
        raise InvalidRequest(f"the body names nothing to change: use {', '.join(CHANGEABLE)}")
    for name in set(body) - {"title", "description"}:
        if bytes(body[name]) == b"null":
            raise InvalidRequest(f"'{name}' must not be null", param=name)
    return Changes(
        title=text(body, "title", TITLE_CHARACTERS),
        description=text(body, "description", DESCRIPTION_CHARACTERS),
        prompt=text(body, "prompt", native.MAX_PROMPT) or "",
        tags=tags(wire_body.read(body, "tags", list[str]) or ()),
        metadata=metadata(body),
        is_favorite=wire_body.read(body, "is_favorite", bool) or False,
        given=frozenset(body),
    )


def text(body: Body, name: str, most: int) -> str | None:
    """A string of at most so many characters; one that holds nothing is none."""
    found = wire_body.text(body, name)
    if found is not None and len(found) > most:
        raise InvalidRequest(f"'{name}' may have at most {most} characters, not {len(found)}", param=name)
    return found if found and found.strip() else None


def tags(given: Iterable[str]) -> tuple[str, ...]:
    """Tags as they are kept: apart at commas, without space around them, each once whatever its case."""
    found: dict[str, str] = {}
    for one in (part.strip() for word in given for part in word.split(",")):
        if len(one) > TAG_CHARACTERS or "\0" in one:
            raise InvalidRequest(
                f"each of 'tags' must be a text of 1 to {TAG_CHARACTERS} characters, without NUL, not {one[:40]!r}",
                param="tags",
            )
        if one:
            found.setdefault(one.casefold(), one)
    if len(found) > MOST_TAGS:
        raise InvalidRequest(f"'tags': at most {MOST_TAGS} of them, not {len(found)}", param="tags")
    return tuple(found.values())


def metadata(body: Body) -> dict[str, Any]:
    """An object of the caller's own, of at most METADATA_BYTES."""
    found = wire_body.read(body, "metadata", dict[str, Any]) or {}
    try:
        encoded = msgspec.json.encode(found)
    except (OverflowError, ValueError) as exc:
        raise InvalidRequest("'metadata' holds a number that is too large", param="metadata") from exc
    if len(encoded) > METADATA_BYTES:
        raise InvalidRequest(
            f"'metadata' may have at most {METADATA_BYTES} bytes as JSON, not {len(encoded)}", param="metadata"
        )
    if _NUL.search(encoded):
        raise InvalidRequest("'metadata' must not hold a NUL character", param="metadata")
    return found


def ids(body: Body, name: str = "asset_ids", *, least: int = 1, most: int = MOST_IDS) -> list[str]:
    """A list of ids that must be there, each once."""
    return distinct(wire_body.need(body, name, list[str]), name, least=least, most=most)


def distinct(found: Iterable[str], name: str, *, least: int = 0, most: int) -> list[str]:
    kept = list(dict.fromkeys(found))
    if not least <= len(kept) <= most:
        raise InvalidRequest(f"'{name}' must name {least} to {most} of them, not {len(kept)}", param=name)
    for one in kept:
        if not one or len(one) > WORD_CHARACTERS or "\0" in one:
            raise InvalidRequest(f"'{name}': {one[:40]!r} is no id", param=name)
    return kept


def action_of(body: Body) -> Action:
    check_names(body, ("action",), "field")
    found = known("action", wire_body.need(body, "action", str), ACTIONS)
    assert found is not None
    return found


# --- single values ---


def moment(name: str, word: str) -> float:
    """A moment in Unix seconds, from those or from ISO 8601. Without a zone it is in UTC."""
    try:
        found = float(word)
    except ValueError:
        found = _iso(name, word)
    if not math.isfinite(found):
        raise _no_moment(name, word)
    return found


def _until(name: str, word: str) -> float:
    """The moment before which something must have been: the end of a day where a day is named."""
    if _DATE.fullmatch(word):
        day = moment(name, word)
        return day + timedelta(days=1).total_seconds()
    return moment(name, word)


def _iso(name: str, word: str) -> float:
    try:
        if _DATE.fullmatch(word):
            return datetime.combine(date.fromisoformat(word), time(), UTC).timestamp()
        # A plus in a query is a space: the one before the zone is meant.
        found = datetime.fromisoformat(re.sub(r" (\d{2}:?\d{2})$", r"+\1", word) if "T" in word else word)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise _no_moment(name, word) from None


def _no_moment(name: str, word: str) -> InvalidRequest:
    return InvalidRequest(
        f"'{name}' must be a date (2026-01-31), a time (2026-01-31T12:00:00Z) or Unix seconds, not {word[:40]!r}",
        param=name,
    )


def _read(given: Texts, name: str, as_what: Callable[[str, str], T]) -> T | None:
    word = single(name, given)
    return None if word is None else as_what(name, word)


def single(name: str, given: Texts) -> str | None:
    found = given.get(name)
    if not found:
        return None
    if len(found) > 1:
        raise InvalidRequest(f"'{name}' can be given once, not {len(found)} times", param=name)
    word = found[0]
    if not word.strip() or len(word) > WORD_CHARACTERS or "\0" in word:
        raise InvalidRequest(f"'{name}' must be a text of 1 to {WORD_CHARACTERS} characters", param=name)
    return word


def one_of(name: str, given: Texts, words: tuple[T, ...]) -> T | None:
    return known(name, single(name, given), words)


def known(name: str, word: str | None, words: tuple[T, ...]) -> T | None:
    """The word as one of those there are. Raises InvalidRequest that lists them."""
    found = next((one for one in words if one == word), None)
    if word is not None and found is None:
        raise InvalidRequest(f"'{name}' {word[:40]!r} is unknown: use one of {', '.join(map(str, words))}", param=name)
    return found


def _whole(query: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    word = query.get(name)
    if word is None:
        return default
    if not (word.isascii() and word.isdecimal()) or len(word) > 10 or not low <= int(word) <= high:
        upto = f"from {low} to {high}" if high < 2**31 - 1 else f"of {low} or more"
        raise InvalidRequest(f"'{name}' must be a whole number {upto}", param=name)
    return int(word)
