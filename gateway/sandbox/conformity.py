"""Conformity: whether a value fits a JSON schema (draft 2020-12, local references only)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

DEEPEST = 64
SEARCHED = 24
"""Characters of a text that a pattern with repeats inside repeats may be searched in: its time doubles with each."""
_NESTED = re.compile(r"[*+}?|].*\)[*+{]", re.DOTALL)
_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: is_number(value) and float(value).is_integer(),
    "number": lambda value: is_number(value),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def conforms(value: Any, schema: Any, root: Any, depth: int = 0) -> bool:
    """Whether `value` fits `schema`; references are looked up in `root`. Raises ValueError for a schema in a circle."""
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, Mapping):
        raise ValueError(f"a schema is an object or a boolean, not {type(schema).__name__}")
    if depth > DEEPEST:
        raise ValueError("the schema refers to itself without end")
    if value is None and schema.get("nullable") is True:
        return True
    deeper = depth + 1
    return (
        _typed(value, schema)
        and _chosen(value, schema)
        and all(conforms(value, part, root, deeper) for part in _referred(schema, root))
        and _combined(value, schema, root, deeper)
        and _shaped(value, schema, root, deeper)
    )


def resolve(reference: Any, root: Any) -> Any:
    """What `#`, `#/a/b` or `#anchor` points to in `root`; ValueError if it points to nothing here."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise ValueError(f"the reference {reference!r} is not within the schema")
    path, place = reference[1:], root
    if path and not path.startswith("/"):
        return _anchored(path, root)
    for step in path.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~").replace("%25", "%").replace("%24", "$")
        if isinstance(place, Mapping) and name in place:
            place = place[name]
        elif isinstance(place, Sequence) and not isinstance(place, str) and name.isdigit() and int(name) < len(place):
            place = place[int(name)]
        else:
            raise ValueError(f"the reference {reference!r} points to nothing")
    return place


def is_number(value: Any) -> bool:
    """Whether a value is a number to JSON: no boolean, and finite."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def same(one: Any, other: Any) -> bool:
    """Equality of JSON values: 1 is 1.0 but not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


def bounds(schema: Mapping[str, Any]) -> tuple[float, bool, float, bool]:
    """(least, excluded, most, excluded) of a number, with the older boolean `exclusiveMinimum` understood."""
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    low_open, high_open = above is True, below is True
    if is_number(above) and above is not None and above >= low:
        low, low_open = above, True
    if is_number(below) and below is not None and below <= high:
        high, high_open = below, True
    return low, low_open, high, high_open


def _anchored(name: str, root: Any) -> Any:
    waiting = [root]
    while waiting:
        place = waiting.pop()
        if isinstance(place, Mapping):
            if place.get("$anchor") == name:
                return place
            waiting.extend(place.values())
        elif isinstance(place, list):
            waiting.extend(place)
    raise ValueError(f"the reference '#{name}' points to nothing")


def _referred(schema: Mapping[str, Any], root: Any) -> Iterator[Any]:
    if "$ref" in schema:
        yield resolve(schema["$ref"], root)
    yield from schema.get("allOf", ())


def _typed(value: Any, schema: Mapping[str, Any]) -> bool:
    types = schema.get("type")
    if types is None:
        return True
    names = [types] if isinstance(types, str) else types
    for name in names:
        if name not in _TYPES:
            raise ValueError(f"the schema asks for a type {name!r} that JSON does not have")
    return any(_TYPES[name](value) for name in names)


def _chosen(value: Any, schema: Mapping[str, Any]) -> bool:
    if "const" in schema and not same(value, schema["const"]):
        return False
    return "enum" not in schema or any(same(value, option) for option in schema["enum"])


def _combined(value: Any, schema: Mapping[str, Any], root: Any, depth: int) -> bool:
    if "anyOf" in schema and not any(conforms(value, part, root, depth) for part in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(conforms(value, part, root, depth) for part in schema["oneOf"]) != 1:
        return False
    if "not" in schema and conforms(value, schema["not"], root, depth):
        return False
    if "if" in schema:
        branch = "then" if conforms(value, schema["if"], root, depth) else "else"
        return conforms(value, schema.get(branch, True), root, depth)
    return True


def _shaped(value: Any, schema: Mapping[str, Any], root: Any, depth: int) -> bool:
    if isinstance(value, str):
        return _string(value, schema)
    if isinstance(value, list):
        return _array(value, schema, root, depth)
    if isinstance(value, dict):
        return _object(value, schema, root, depth)
    return _number(value, schema) if is_number(value) else True


def _string(value: str, schema: Mapping[str, Any]) -> bool:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf):
        return False
    return "pattern" not in schema or found(schema["pattern"], value)


def found(pattern: str, text: str) -> bool:
    """Whether a schema's pattern is found in a text; ValueError if Python cannot read it, or might search for ever."""
    if len(text) > SEARCHED and _NESTED.search(pattern):
        raise ValueError(f"the pattern {pattern!r} repeats repeats: it could take for ever on a text this long")
    try:
        return re.search(pattern, text) is not None
    except re.error as error:
        raise ValueError(f"the pattern {pattern!r} cannot be read: {error}") from error


def _number(value: float, schema: Mapping[str, Any]) -> bool:
    low, low_open, high, high_open = bounds(schema)
    if not low <= value <= high or (low_open and value == low) or (high_open and value == high):
        return False
    step = schema.get("multipleOf")
    if not step:
        return True
    # By quotient, as validators in common use do it: what they would refuse must not pass here.
    return value % step == 0 if isinstance(step, int) and isinstance(value, int) else (value / step).is_integer()


def _array(value: list[Any], schema: Mapping[str, Any], root: Any, depth: int) -> bool:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf):
        return False
    if schema.get("uniqueItems") and any(same(one, two) for at, one in enumerate(value) for two in value[:at]):
        return False
    leading, rest = item_schemas(schema)
    if not all(conforms(item, part, root, depth) for item, part in zip(value, leading, strict=False)):
        return False
    if not all(conforms(item, rest, root, depth) for item in value[len(leading) :]):
        return False
    if "contains" not in schema:
        return True
    held = sum(conforms(item, schema["contains"], root, depth) for item in value)
    return bool(schema.get("minContains", 1) <= held <= schema.get("maxContains", math.inf))


def item_schemas(schema: Mapping[str, Any]) -> tuple[Sequence[Any], Any]:
    """The schemas of the first items, and that of all others; the older list form of `items` is understood."""
    items = schema.get("items", True)
    if isinstance(items, list):
        return items, schema.get("additionalItems", True)
    return schema.get("prefixItems", ()), items


def _object(value: dict[str, Any], schema: Mapping[str, Any], root: Any, depth: int) -> bool:
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", math.inf):
        return False
    if any(name not in value for name in schema.get("required", ())):
        return False
    for name, needed in schema.get("dependentRequired", {}).items():
        if name in value and any(other not in value for other in needed):
            return False
    names = schema.get("propertyNames", True)
    return all(
        conforms(name, names, root, depth)
        and all(conforms(item, part, root, depth) for part in parts_for(name, schema))
        for name, item in value.items()
    )


def parts_for(name: str, schema: Mapping[str, Any]) -> Iterator[Any]:
    """The schemas that the property `name` of an object must fit."""
    parts = [schema["properties"][name]] if name in schema.get("properties", {}) else []
    parts += [part for pattern, part in schema.get("patternProperties", {}).items() if found(pattern, name)]
    yield from parts or [schema.get("additionalProperties", True)]
