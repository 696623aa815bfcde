"""What is asked of the usage log: which records, of whom, and how they are to be summed up."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Literal, cast, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from starlette.datastructures import Headers, QueryParams

from gateway.errors import Forbidden, InvalidRequest, UnknownParameter
from gateway.types import Kind, Principal
from gateway.usage.ledger import Place, Wanted
from gateway.usage.summary import UNITS, By
from gateway.wire import native

PAGE: Final = 100
PAGE_MAX: Final = 1000
MOST_BY: Final = 3
BYS: Final[tuple[By, ...]] = get_args(By)
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
FILTERS: Final = ("from", "to", "tz", "kind", "model", "upstream", "key", "status", "code", "task_id")
WHOSE: Final = ("all", "owner")
WORD_CHARACTERS: Final = 300

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_SECONDS: Final = re.compile(r"-?\d{1,12}(\.\d{1,9})?")

Asked = Mapping[str, str]
"""The query, each name once."""


def asked(query: QueryParams, *more: str) -> Asked:
    """The parameters of a query: filters, and those of the route. Raises UnknownParameter, InvalidRequest."""
    known = (*FILTERS, *WHOSE, "format", *more)
    for name, word in query.multi_items():
        if name not in known:
            raise UnknownParameter(f"unknown parameter {name[:40]!r}: use {', '.join(known)}", param=name[:40])
        if len(query.getlist(name)) > 1:
            raise InvalidRequest(f"'{name}' can be given once", param=name)
        if not word or len(word) > WORD_CHARACTERS or "\0" in word:
            raise InvalidRequest(f"'{name}' must be a text of 1 to {WORD_CHARACTERS} characters", param=name)
    return dict(query)


def wanted(given: Asked, principal: Principal) -> Wanted:
    """Which records. Raises InvalidRequest, and Forbidden for somebody else's where the caller is no admin."""
    zone_ = zone(given)
    since, until = _moment(given, "from", zone_), _moment(given, "to", zone_, end=True)
    if since is not None and until is not None and since >= until:
        raise InvalidRequest("'from' must be before 'to'", param="from")
    return Wanted(
        owner=_owner(given, principal),
        since=since,
        until=until,
        kind=_kind(given.get("kind")),
        model=given.get("model"),
        upstream=given.get("upstream"),
        key=given.get("key"),
        status=_status(given.get("status")),
        code=given.get("code"),
        task_id=given.get("task_id"),
    )


def zone(given: Asked) -> ZoneInfo:
    """What clock days and dates go by."""
    name = given.get("tz", "UTC")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError):  # a folder's name is an OSError
        raise InvalidRequest(f"'tz' {name[:40]!r} is no time zone like UTC or Asia/Shanghai", param="tz") from None


def group_by(given: Asked) -> tuple[By, ...]:
    """What sums are told for; nothing asked for is one sum of all."""
    words = [word.strip() for word in given["group_by"].split(",")] if "group_by" in given else []
    for word in words:
        if word not in BYS:
            raise InvalidRequest(f"'group_by' {word[:40]!r} is unknown: use {', '.join(BYS)}", param="group_by")
    if len(words) > MOST_BY or len(set(words)) < len(words):
        raise InvalidRequest(f"'group_by' takes up to {MOST_BY} names, each once", param="group_by")
    if len(set(words) & set(UNITS)) > 1:
        raise InvalidRequest(f"'group_by' takes one of {', '.join(UNITS)}", param="group_by")
    return cast(tuple[By, ...], tuple(words))


def form(given: Asked, headers: Headers) -> Literal["json", "csv"]:
    """As `format` says, else as the caller accepts."""
    word = given.get("format")
    if word not in (None, "json", "csv"):
        raise InvalidRequest("'format' must be json or csv", param="format")
    if word is None:
        return "csv" if "text/csv" in headers.get("accept", "") else "json"
    return "csv" if word == "csv" else "json"


def limit(given: Asked) -> int | None:
    word = given.get("limit")
    if word is None:
        return None
    if not word.isdecimal() or len(word) > 9 or not 1 <= int(word) <= PAGE_MAX:
        raise InvalidRequest(f"'limit' must be a whole number from 1 to {PAGE_MAX}", param="limit")
    return int(word)


def place(given: Asked) -> Place | None:
    """Where the page before ended, as `next_before` told it."""
    word = given.get("before")
    if word is None:
        return None
    at, _, request_id = word.partition("_")
    if not _SECONDS.fullmatch(at) or not request_id:
        raise InvalidRequest("'before' must be what 'next_before' of an earlier page said", param="before")
    return Place(float(at), request_id)


def told_place(found: Place) -> str:
    """For the caller to ask on with."""
    return f"{found.at!r}_{found.request_id}"


def _owner(given: Asked, principal: Principal) -> str | None:
    """Whose records; None for everybody's."""
    everybody = given.get("all", "false")
    if everybody not in ("true", "false"):
        raise InvalidRequest("'all' must be true or false", param="all")
    owner = given.get("owner")
    if principal.role != "admin":
        if everybody == "true" or owner not in (None, principal.id):
            raise Forbidden("only keys of the role admin see what others used")
        return principal.id
    if everybody == "true" and owner is not None:
        raise InvalidRequest("'all' and 'owner' exclude each other", param="owner")
    if owner is not None:
        return owner
    return None if everybody == "true" or "key" in given else principal.id


def _kind(word: str | None) -> Kind | None:
    if word is None:
        return None
    found = native.LONG_NAMES.get(word, word)
    if found not in KINDS:
        raise InvalidRequest(f"'kind' {word[:40]!r} is unknown: use one of {', '.join(KINDS)}", param="kind")
    return found


def _status(word: str | None) -> tuple[int, int] | None:
    if word is None:
        return None
    if re.fullmatch(r"[1-5]xx", word):
        first = int(word[0]) * 100
        return first, first + 100
    if not re.fullmatch(r"[1-5]\d\d", word):
        raise InvalidRequest("'status' must be like 429, or like 4xx", param="status")
    return int(word), int(word) + 1


def _moment(given: Asked, name: str, zone_: ZoneInfo, *, end: bool = False) -> float | None:
    """Unix seconds, from those, from a date or from a time in ISO 8601. `end`: a date means the end of that day."""
    word = given.get(name)
    if word is None:
        return None
    try:
        if _DATE.fullmatch(word):
            day = datetime.fromisoformat(word)
            found = (day + timedelta(days=1) if end else day).replace(tzinfo=zone_).timestamp()
        elif _SECONDS.fullmatch(word):
            found = float(word)
        else:  # a plus in a query is a space: the one before the zone is meant
            moment = datetime.fromisoformat(re.sub(r" (\d{2}:?\d{2})$", r"+\1", word))
            found = (moment if moment.tzinfo else moment.replace(tzinfo=zone_)).timestamp()
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise InvalidRequest(
            f"'{name}' must be a date (2026-01-31), a time (2026-01-31T12:00:00Z) or Unix seconds, not {word[:40]!r}",
            param=name,
        )
    return found
