"""Expansion: a schema with references and choices becomes plain schemas that would satisfy it, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, product
from random import Random
from typing import Any

from gateway.sandbox.conformity import parts_for, resolve, same

Plain = dict[str, Any]

COMBINATORS = frozenset({"$ref", "allOf", "anyOf", "oneOf", "if", "then", "else", "not"})
TIGHTEST: dict[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("minimum", "minLength", "minItems", "minProperties", "minContains"), max),
    **dict.fromkeys(("maximum", "maxLength", "maxItems", "maxProperties", "maxContains"), min),
    "exclusiveMinimum": max,
    "exclusiveMaximum": min,
}
"""How two demands of the same kind become one."""
CHOICES = 24
"""Combinations of branches that are tried at one place."""
DEEPEST = 24


def expansions(schema: Any, root: Any, chance: Random, *, simple: bool, depth: int = 0) -> Iterator[Plain]:
    """Schemas without references and choices whose values are likely to fit `schema`; the likeliest first.

    `simple` puts branches without references first, so that recursive schemas come to an end. A schema that refers to
    itself at the same place, or contradicts itself, has no expansion.
    """
    if schema is True:
        yield {}
    if not isinstance(schema, Mapping) or depth > DEEPEST:
        return
    own = {key: value for key, value in schema.items() if key not in COMBINATORS}
    sources = [list(islice(source, CHOICES)) for source in _sources(schema, root, chance, simple, depth + 1)]
    for parts in islice(product(*sources), CHOICES):
        plain = own
        try:
            for part in parts:
                plain = merged(plain, part)
        except ValueError:
            continue
        yield plain


def _sources(
    schema: Mapping[str, Any], root: Any, chance: Random, simple: bool, depth: int
) -> Iterator[Iterator[Plain]]:
    """For each demand of a schema beyond its own: the ways to meet it."""

    def ways(branches: Sequence[Any]) -> Iterator[Plain]:
        for branch in branches:
            yield from expansions(branch, root, chance, simple=simple, depth=depth)

    if "$ref" in schema:
        yield ways([resolve(schema["$ref"], root)])
    for part in schema.get("allOf", ()):
        yield ways([part])
    for word in ("anyOf", "oneOf"):
        if word in schema:
            yield ways(_ordered(schema[word], chance, simple))
    if "if" in schema:
        yield ways([{"allOf": [schema["if"], schema.get("then", True)]}, schema.get("else", True)])


def _ordered(branches: Sequence[Any], chance: Random, simple: bool) -> list[Any]:
    """Branches in the order to try: null last, since who offers null beside something wants the something."""
    shuffled = chance.sample(list(branches), len(branches))
    return sorted(shuffled, key=lambda branch: (simple and "$ref" in repr(branch), _is_null(branch)))


def _is_null(branch: Any) -> bool:
    return isinstance(branch, Mapping) and branch.get("type") == "null"


def merged(one: Plain, other: Plain) -> Plain:
    """A schema that demands what both demand. Raises ValueError where they contradict each other."""
    both: Plain = {**one, **other}
    for key in one.keys() & other.keys():
        both[key] = _both(key, one[key], other[key])
    if "properties" in both or "additionalProperties" in both:
        names = [
            *one.get("properties", {}),
            *(name for name in other.get("properties", {}) if name not in one.get("properties", {})),
        ]
        both["properties"] = {name: _conjoined([*parts_for(name, one), *parts_for(name, other)]) for name in names}
    return both


def _both(key: str, one: Any, other: Any) -> Any:
    if key in TIGHTEST and not isinstance(one, bool) and not isinstance(other, bool):
        return TIGHTEST[key](one, other)
    match key:
        case "type":
            return _types(one, other)
        case "enum":
            return _shared([option for option in one if any(same(option, choice) for choice in other)])
        case "const":
            return _shared([one] if same(one, other) else [])[0]
        case "required":
            return [*one, *(name for name in other if name not in one)]
        case "items" | "additionalProperties" | "propertyNames" | "contains" if one != other:
            return _conjoined([one, other])
        case "$defs" | "definitions" | "patternProperties" | "dependentRequired":
            return {**one, **other}
        case _:
            return other


def _types(one: Any, other: Any) -> list[str]:
    first, second = ({types} if isinstance(types, str) else set(types) for types in (one, other))
    shared = first & second
    if "integer" in first | second and "number" in first | second and "number" not in shared:
        shared.add("integer")
    return _shared(sorted(shared))


def _shared(options: list[Any]) -> list[Any]:
    if not options:
        raise ValueError("the schema asks for two things that exclude each other")
    return options


def _conjoined(parts: list[Any]) -> Any:
    parts = [part for part in parts if part is not True]
    if not parts:
        return True
    return parts[0] if len(parts) == 1 else {"allOf": parts}
