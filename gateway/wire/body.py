"""A request body read once: strict JSON, an object at the top, every value left as the caller wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from gateway.errors import InvalidJson, InvalidRequest

T = TypeVar("T")
MAX_DEPTH = 64

_object: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A string, closed or not: one that is not must not be looked for again from each of its escaped quotes."""
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def decode(body: bytes) -> dict[str, msgspec.Raw]:
    """A JSON object with its values undecoded. Raises InvalidJson (codes `invalid_json`, `json_too_deep`)."""
    if not body:
        raise InvalidJson("the body is empty: send a JSON object")
    try:
        body.decode()
        check_depth(body)
        return _object.decode(body)
    except UnicodeDecodeError as exc:
        raise InvalidJson(f"the body is not valid UTF-8 at byte {exc.start}") from exc
    except msgspec.ValidationError as exc:
        raise InvalidJson('the body must be a JSON object, like {"model": …}') from exc
    except msgspec.DecodeError as exc:
        raise InvalidJson(f"the body is not valid JSON: {exc}") from exc


def check_depth(body: bytes) -> None:
    """Raises InvalidJson where brackets nest deeper than MAX_DEPTH. Counting them first spares most bodies the walk."""
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _STRING.sub(b"", body).translate(None, _NOT_BRACKETS):
        if bracket in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise _too_deep()
        else:
            depth -= 1


def read(body: Mapping[str, msgspec.Raw], name: str, as_type: type[T]) -> T | None:
    """One value, decoded; None where it is absent or null. Raises InvalidRequest that names it."""
    found: T | None = read_any(body, name, as_type)
    return found


def read_any(body: Mapping[str, msgspec.Raw], name: str, as_type: Any) -> Any:
    """As `read`, for a union, which is no `type` to a type checker."""
    raw = body.get(name)
    if raw is None:
        return None
    try:
        return _decoder(as_type).decode(raw)
    except msgspec.ValidationError as exc:
        raise InvalidRequest(f"'{name}': {_plainly(exc)}", param=_path(name, exc)) from exc
    except msgspec.DecodeError as exc:
        raise InvalidRequest(f"'{name}' holds text that is not valid Unicode", param=name) from exc


def need(body: Mapping[str, msgspec.Raw], name: str, as_type: type[T]) -> T:
    """One value that must be there."""
    found = read(body, name, as_type)
    if found is None:
        raise InvalidRequest(f"'{name}' is required", param=name, code="missing_required_parameter")
    return found


def text(body: Mapping[str, msgspec.Raw], name: str) -> str | None:
    """A string without NUL, which no database takes."""
    found = read(body, name, str)
    if found is not None and "\x00" in found:
        raise InvalidRequest(f"'{name}' must not hold a NUL character", param=name)
    return found


def whole_number(body: Mapping[str, msgspec.Raw], name: str, low: int, high: int) -> int | None:
    """A number without a fraction within a range."""
    found = read(body, name, int)
    if found is not None and not low <= found <= high:
        raise InvalidRequest(f"'{name}' must be a whole number from {low} to {high}, not {found}", param=name)
    return found


def decoded(body: Mapping[str, msgspec.Raw], without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The values as plain Python, for what is stored or passed on."""
    try:
        return {name: msgspec.json.decode(raw) for name, raw in body.items() if name not in without}
    except msgspec.DecodeError as exc:
        raise InvalidJson(f"the body is not valid JSON: {exc}") from exc


def _decoder(as_type: Any) -> msgspec.json.Decoder[Any]:
    found = _decoders.get(as_type)
    if found is None:
        found = _decoders[as_type] = msgspec.json.Decoder(as_type | None)
    return found


def _plainly(exc: msgspec.ValidationError) -> str:
    return str(exc).partition(" - at `")[0].replace("`", "").replace("Expected", "expected").replace(" | null", "")


def _path(name: str, exc: msgspec.ValidationError) -> str:
    at = str(exc).partition(" - at `$")[2].removesuffix("`")
    return name + at.replace("[...]", "")


def _too_deep() -> InvalidJson:
    return InvalidJson(f"the body nests deeper than {MAX_DEPTH} levels", code="json_too_deep")
