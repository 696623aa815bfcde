"""What a caller may choose of a leaf, by the names that callers use: pure, from the leaf's form and credit rules.

Of a virtual field only its controls are choices, by the names and values that the vendor's own page shows; the field
behind them is told to nobody (wire sheet §5, 2026-11-21).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from gateway.upstreams.ima import specials, spelling
from gateway.upstreams.ima.choice import Choice, Type
from gateway.upstreams.ima.products import MARKER, Field, Leaf, is_plain

FORCED: Final = frozenset({"prompt", "n", "input_images", "cast", MARKER})
"""Inner parameters that are always set from elsewhere."""
SHAPES: Final = frozenset({"size", "aspect_ratio", "ratio"})
VOICES: Final = frozenset({"speaker", "voice", "voice_id", "voice_type"})


class _Identity:
    """A leaf as a key: leaves hold lists and dictionaries."""

    def __init__(self, leaf: Leaf) -> None:
        self.leaf = leaf

    def __hash__(self) -> int:
        return id(self.leaf)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other.leaf is self.leaf


@lru_cache(1024)
def _of(leaf: _Identity) -> tuple[Choice, ...]:
    found: dict[str, Choice] = {}
    for choice in (*_named(leaf.leaf), *specials.choices(leaf.leaf)):
        if choice.name in found and choice.key != choice.name:
            choice = replace(choice, name=choice.key)
        found.setdefault(choice.name, choice)
    return tuple(found.values())


def choices(leaf: Leaf) -> tuple[Choice, ...]:
    """All that a caller may choose of a leaf, each name once."""
    return _of(_Identity(leaf))


def _named(leaf: Leaf) -> Iterator[Choice]:
    """The choices of a form, then those that only rules know."""
    known = set(FORCED)
    for field in leaf.fields:
        known |= {field.name.lower(), field.target.lower()}
        if field.name in FORCED:
            continue
        if field.controls:
            for control in field.controls:
                yield from _typed(control.name, control.options or _mapped(field, control.name), control.value, field)
        else:
            yield from _typed(field.name, field.options or in_rules(leaf, field.name), field.value)
    for key in dict.fromkeys(key for rule in leaf.rules for key in rule.attributes):
        if key.lower() not in known:
            yield from _typed(key, in_rules(leaf, key), None)


def in_rules(leaf: Leaf, key: str) -> tuple[Any, ...]:
    """The values that a leaf's rules name, each once."""
    found: dict[str, Any] = {}
    for rule in leaf.rules:
        for name, value in rule.attributes.items():
            if name.lower() == key.lower() and is_plain(value):
                found.setdefault(spelling.normal(value), value)
    return tuple(found.values())


def _mapped(field: Field, control: str) -> tuple[Any, ...]:
    """The values of a control that a virtual field knows."""
    found = [one.when[control] for one in field.mapped if control in one.when]
    return tuple({spelling.normal(value): value for value in found}.values())


def _typed(key: str, values: Sequence[Any], default: Any, field: Field | None = None) -> Iterator[Choice]:
    """The choice of one parameter; two where it mixes sizes (`2048x2048`) with words for them (`4k`)."""
    if key in SHAPES:
        shapes = tuple(value for value in values if spelling.size(value))
        others = tuple(value for value in values if not spelling.size(value))
        if shapes:
            yield Choice("size", key, "size", shapes, default if spelling.size(default) else None, field)
        if others:
            yield Choice("resolution", key, "string", others, None if spelling.size(default) else default, field)
        return
    if key == "duration":
        values = [value for value in values if spelling.number(value) is not None]
        default = spelling.number(default)
    name = "seconds" if key == "duration" else "variant" if key == "model" else "voice" if key in VOICES else key
    yield Choice(name, key, _type(key, values, default), tuple(values), default, field)


def _type(key: str, values: Sequence[Any], default: Any) -> Type:
    seen = [*values, *([] if default is None else [default])]
    if key == "seed":
        return "integer"
    if key in VOICES or not seen:
        return "number" if key == "duration" else "string"
    if all(spelling.truth(value) is not None for value in seen):
        return "boolean"
    if all(spelling.number(value) is not None for value in seen):
        return "integer" if all(isinstance(spelling.number(value), int) for value in seen) else "number"
    if isinstance(default, dict):
        return "object"
    return "list" if isinstance(default, list) else "string"
