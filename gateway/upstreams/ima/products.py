"""The vendor's tree of products for one category, as it is told: what can be made, with which fields and for how much.

Only leaves (`type` "3") can be asked for; groups stand at any depth. The marker `{"default": "enabled"}` of a credit
rule says that it holds where no other does, and is no parameter (wire sheet §3, 2026-11-21).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.types import Kind

CATEGORY: Final[Mapping[Kind, str]] = {
    "t2i": "text_to_image",
    "i2i": "image_to_image",
    "t2v": "text_to_video",
    "i2v": "image_to_video",
    "flf2v": "first_last_frame_to_video",
    "ref2v": "reference_image_to_video",
    "t2m": "text_to_music",
    "tts": "text_to_speech",
}
"""Categories are task types, too."""
MARKER: Final = "default"
DEEPEST: Final = 32
"""Levels of groups that are looked into."""


@dataclass(frozen=True)
class Control:
    """What the vendor's page shows instead of a field."""

    name: str
    value: Any = None
    options: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Mapped:
    """What a field is where its controls have these values."""

    when: Mapping[str, Any]
    value: Any


@dataclass(frozen=True)
class Field:
    """A parameter of a leaf."""

    name: str
    value: Any = None
    """What it is where nobody says; None: it is not sent."""
    options: tuple[Any, ...] = ()
    """All there is; empty: anything."""
    controls: tuple[Control, ...] = ()
    """Those of a virtual field: only they may be told to callers."""
    target: str = ""
    """The parameter that a choice of its controls sets."""
    mapped: tuple[Mapped, ...] = ()


@dataclass(frozen=True)
class Rule:
    """What one output costs, and by which id it is asked for."""

    attribute_id: int
    points: float
    attributes: Mapping[str, Any]
    """Without the marker."""
    fallback: bool = False
    """Whether it holds where no other does."""


@dataclass(frozen=True)
class Leaf:
    """A version of a model in one category."""

    kind: Kind
    id: str
    model_id: str
    name: str
    fields: tuple[Field, ...] = field(default=())
    rules: tuple[Rule, ...] = field(default=())

    @property
    def category(self) -> str:
        return CATEGORY[self.kind]

    @property
    def pinned(self) -> str:
        """The name that stays with this version."""
        return f"{self.model_id}@{self.id}"


def leaves(data: Any, kind: Kind) -> tuple[Leaf, ...]:
    """The leaves of a tree in walk order; what is no leaf of any use is left out."""
    return tuple(_leaf(node, kind) for node in _walk(data, DEEPEST) if _text(node.get("model_id")))


def _walk(nodes: Any, depth: int) -> Iterator[dict[str, Any]]:
    for node in _dicts(nodes):
        if str(node.get("type")) == "3":
            yield node
        if depth:
            yield from _walk(node.get("children"), depth - 1)


def _leaf(node: Mapping[str, Any], kind: Kind) -> Leaf:
    return Leaf(
        kind=kind,
        id=_text(node.get("id")),
        model_id=_text(node.get("model_id")),
        name=_text(node.get("name")),
        fields=tuple(_field(one) for one in _dicts(node.get("form_config")) if one.get("field")),
        rules=tuple(_rule(one) for one in _dicts(node.get("credit_rules"))),
    )


def _field(told: Mapping[str, Any]) -> Field:
    name = _text(told.get("field"))
    mapping = told.get("value_mapping") if told.get("is_ui_virtual") else None
    mapping = mapping if isinstance(mapping, dict) else {}
    controls = tuple(_control(one) for one in _dicts(told.get("ui_params"))) if told.get("is_ui_virtual") else ()
    return Field(
        name=name,
        value=told.get("value"),
        options=_options(told.get("options")),
        controls=tuple(one for one in controls if one.name),
        target=_text(mapping.get("target_param")) or name,
        mapped=tuple(
            Mapped(one["source_values"], one.get("target_value"))
            for one in _dicts(mapping.get("mapping_rules"))
            if isinstance(one.get("source_values"), dict) and all(map(is_plain, one["source_values"].values()))
        ),
    )


def _control(told: Mapping[str, Any]) -> Control:
    return Control(_text(told.get("field") or told.get("id")), told.get("value"), _options(told.get("options")))


def _rule(told: Mapping[str, Any]) -> Rule:
    attributes = told.get("attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    points = told.get("points")
    number = told.get("attribute_id")
    return Rule(
        attribute_id=int(str(number)) if str(number).isdecimal() else 0,
        points=points if isinstance(points, int | float) else 0,
        attributes={name: value for name, value in attributes.items() if name != MARKER},
        fallback=str(attributes.get(MARKER, "")).lower() == "enabled",
    )


def _options(told: Any) -> tuple[Any, ...]:
    listed = told if isinstance(told, list) else []
    found = (one.get("value") if isinstance(one, dict) else one for one in listed)
    return tuple(one for one in found if is_plain(one))


def is_plain(told: Any) -> bool:
    """Whether it is a value that can be chosen: no list, no object, not nothing."""
    return isinstance(told, str | int | float)


def _dicts(told: Any) -> list[dict[str, Any]]:
    return [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []


def _text(told: Any) -> str:
    return "" if told is None else str(told)
