"""Cards of the models: of the tree once it is known, before that of the ids that are known by name.

Sources of the table: the vendor's catalogue of 2026-02-27 and its runtime of 2026-04-23 (wire sheet §2 and §13).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Final

from gateway.types import InputRule, Kind, ModelCard, Parameter, Price, Value
from gateway.upstreams.ima.choice import Choice
from gateway.upstreams.ima.choices import choices
from gateway.upstreams.ima.products import Leaf, Rule
from gateway.upstreams.ima.specials import ALIASES, SEEDANCE, SUNO
from gateway.upstreams.ima.spelling import alike, size, words

POINTS: Final = "points"
MOST_MADE: Final = 4
MOST_SONGS: Final = 2
MOST_INPUTS: Final = 16
SEEDANCE_IMAGES: Final = 9
IMAGES: Final[tuple[Kind, ...]] = ("t2i", "i2i")
FILMS: Final[tuple[Kind, ...]] = ("t2v", "i2v", "flf2v", "ref2v")
MOST_ROWS: Final = 200
"""Prices or rows of one card; a form with more combinations is worked out when it is asked for."""

KNOWN: Final[Mapping[str, tuple[Kind, ...]]] = {
    "doubao-seedream-4.5": IMAGES,
    "gemini-3.1-flash-image": IMAGES,
    "gemini-3-pro-image": IMAGES,
    "midjourney": IMAGES,
    "wan2.6-t2v": ("t2v",),
    "wan2.6-i2v": ("i2v",),
    "wan2.6-i2v-flash": ("i2v",),
    "kling-video-o1": FILMS,
    "kling-v2-6": ("t2v", "i2v", "flf2v"),
    "kling-v2-1-master": ("i2v",),
    "MiniMax-Hailuo-2.3": ("t2v", "i2v"),
    "MiniMax-Hailuo-02": ("t2v", "i2v"),
    "viduq2": ("t2v",),
    "viduq2-pro": ("i2v",),
    "doubao-seedance-1.5-pro": ("t2v", "i2v"),
    "sora-2-pro": ("t2v", "i2v"),
    "veo-3.1-generate-preview": ("t2v", "i2v", "flf2v"),
    "pixverse": FILMS,
    "ima-pro": FILMS,
    "ima-pro-fast": FILMS,
    "sonic": ("t2m",),
    "GenBGM": ("t2m",),
    "GenSong": ("t2m",),
    "seed-tts-2.0": ("tts",),
}

_TIMES: Final[Sequence[tuple[str, tuple[int, int]]]] = (
    ("seedream", (25, 60)),
    ("gemini-3.1-flash", (20, 40)),
    ("gemini-3-pro", (60, 120)),
    ("midjourney", (40, 90)),
    ("kling-video-o1|sora-2", (180, 360)),
    ("seedance|ima-pro|kling|veo", (90, 180)),
    ("wan2|hailuo|vidu|pixverse", (60, 120)),
    ("genbgm|gensong", (10, 25)),
    ("sonic", (20, 45)),
)
_BY_KIND: Final[Mapping[Kind, tuple[int, int]]] = {
    "t2i": (25, 60),
    "i2i": (25, 60),
    "t2v": (60, 180),
    "i2v": (60, 180),
    "flf2v": (180, 360),
    "ref2v": (180, 360),
    "t2m": (20, 45),
    "tts": (5, 30),
}


def times(model: str, kind: Kind) -> tuple[int, int]:
    """Seconds that an output takes, from and to."""
    if kind not in ("flf2v", "ref2v", "tts"):
        for pattern, found in _TIMES:
            if re.search(pattern, model, re.IGNORECASE):
                return found
    return _BY_KIND[kind]


def known() -> Iterator[ModelCard]:
    """Cards without a tree: what the models do and how long they take, and nothing of parameters or prices."""
    for model, kinds in KNOWN.items():
        yield _plain(model, kinds, {})
    for alias, model in ALIASES.items():
        yield _plain(alias, KNOWN[model], {"alias_of": model})


def adopted(model: str) -> ModelCard | None:
    """A card for a version, or an alias in other letters, of an id that is known by name."""
    name = ALIASES.get(model.lower(), model.partition("@")[0])
    return _plain(model, KNOWN[name], {}) if name in KNOWN else None


def _plain(model: str, kinds: Sequence[Kind], extra: Mapping[str, Any]) -> ModelCard:
    low, high = times(str(extra.get("alias_of") or model), kinds[0])
    most = max(most_of(kind, str(extra.get("alias_of") or model)) for kind in kinds)
    return ModelCard(model, frozenset(kinds), max_n=most, estimate=(low + high) / 2, extra=extra)


def most_of(kind: Kind, model: str) -> int:
    """Outputs that one task may ask for (wire sheet §6, 2026-11-21)."""
    if kind == "t2m":
        return MOST_SONGS if ALIASES.get(model, model) == SUNO else 1
    return 1 if kind == "tts" else MOST_MADE


def beside(card: ModelCard | None, other: ModelCard) -> ModelCard:
    """A card of the tree that does what is known by name as well: of that it declares nothing."""
    return other if card is None else replace(card, kinds=card.kinds | other.kinds, closed=False, together=())


# --- of the tree ---


def named(tree: Iterable[Leaf]) -> dict[str, dict[Kind, Leaf]]:
    """Every name that a tree's leaves can be asked for by, with the leaf that it means for each kind.

    Every version has a name of its own; a model's bare id is its last version in walk order.
    """
    found: dict[str, dict[Kind, Leaf]] = {}
    for leaf in tree:
        found.setdefault(leaf.pinned, {})[leaf.kind] = leaf
        found.setdefault(leaf.model_id, {})[leaf.kind] = leaf
    for alias, model in ALIASES.items():
        if model in found:
            found[alias] = found[model]
    return found


def card(name: str, versions: Mapping[Kind, Leaf]) -> ModelCard:
    """The card of one name. It says of each kind what its leaf says."""
    leaves = list(versions.values())
    first = leaves[0]
    low, high = times(first.model_id, first.kind)
    able = [(leaf, choices(leaf)) for leaf in leaves]
    lengths = [choice for _, found in able for choice in found if choice.name == "seconds"]
    shapes = [choice.shown(value) for _, found in able for choice in found if choice.name == "size"
              for value in choice.values]  # fmt: skip
    usual = {choice.told(choice.default) for choice in lengths}
    return ModelCard(
        id=name,
        kinds=frozenset(versions),
        name=first.name or name,
        ratios=tuple(dict.fromkeys(str(shape) for shape in shapes if ":" in str(shape))),
        max_n=max(most_of(leaf.kind, leaf.model_id) for leaf in leaves),
        seconds=tuple(sorted({float(choice.told(value)) for choice in lengths for value in choice.values if value})),
        default_seconds=usual.pop() if len(usual) == 1 else None,
        estimate=(low + high) / 2,
        prices=tuple(price for leaf in leaves for price in prices(leaf)),
        parameters=_parameters(able),
        closed=True,
        together=_together(leaves),
        inputs={leaf.kind: _inputs(leaf) for leaf in leaves},
        extra={"versions": {leaf.category: leaf.id for leaf in leaves}}
        | ({"alias_of": first.model_id} if name in ALIASES else {}),
    )


def _inputs(leaf: Leaf) -> InputRule:
    match leaf.kind:
        case "i2v":
            return InputRule(1, 1)
        case "flf2v":
            return InputRule(2, 2)
        case "ref2v" | "i2i":
            return InputRule(1, SEEDANCE_IMAGES if leaf.model_id in SEEDANCE else MOST_INPUTS)
        case _:
            return InputRule()


def _parameters(able: Sequence[tuple[Leaf, Sequence[Choice]]]) -> dict[str, Parameter]:
    """Those of all kinds; what several kinds share is what any of them takes."""
    found: dict[str, Parameter] = {}
    for leaf, listed in able:
        for choice in listed:
            one = choice.parameter(leaf.kind)
            found[choice.name] = _merged(found[choice.name], one) if choice.name in found else one
        if (most := most_of(leaf.kind, leaf.model_id)) > 1:
            kinds = found["n"].kinds if "n" in found else frozenset()
            found["n"] = Parameter("integer", least=1, most=most, default=1, kinds=kinds | {leaf.kind})
    return found


def _merged(one: Parameter, other: Parameter) -> Parameter:
    listed = bool(one.allowed and other.allowed)
    return replace(
        one,
        type=one.type if one.type == other.type else "string",
        allowed=tuple(dict.fromkeys((*one.allowed, *other.allowed))) if listed else (),
        default=one.default if one.default == other.default else None,
        kinds=one.kinds | other.kinds,
        free=one.free or other.free,
    )


def _together(leaves: Sequence[Leaf]) -> tuple[Mapping[str, Value], ...]:
    """The combinations that rules name, where all rules of all kinds name the same parameters and there is no rule for
    what is left over: then nothing else can be had."""
    found: list[Mapping[str, Value]] = []
    for leaf in leaves:
        if any(rule.fallback and not rule.attributes for rule in leaf.rules):
            return ()
        for rule in leaf.rules:
            told = rows(leaf, rule)
            if not told or any("size" in row for row in told):
                return ()  # a size may be asked for in other words
            found += told
    same = len({frozenset(row) for row in found}) == 1
    return tuple(found) if same and len(found[0]) > 1 and len(found) <= MOST_ROWS else ()


def rows(leaf: Leaf, rule: Rule) -> list[dict[str, Value]]:
    """A rule's attributes by the callers' names: several where several choices of the page come to the same."""
    parts: list[list[dict[str, Value]]] = []
    for key, value in rule.attributes.items():
        one = _told(leaf, key, value)
        if not one:
            return []
        parts.append(one)
    return [{name: value for part in parts_ for name, value in part.items()} for parts_ in product(*parts)]


def _told(leaf: Leaf, key: str, value: Any) -> list[dict[str, Value]]:
    """An attribute as callers ask for it; nothing where they cannot."""
    behind = [field for field in leaf.fields if field.controls and field.target.lower() == key.lower()]
    able = choices(leaf)
    if not behind:
        own = (choice for choice in able if choice.key.lower() == key.lower() and choice.knows(value))
        told = ({choice.name: shown} for choice in own if (shown := choice.shown(value)) is not None)
        return list(told)[:1]
    found = []
    for one in behind[0].mapped:
        if alike(one.value, value):
            named_ = {choice.name: choice.shown(one.when[choice.key]) for choice in able if choice.key in one.when}
            found.append({name: shown for name, shown in named_.items() if shown is not None})
    return found


def prices(leaf: Leaf) -> list[Price]:
    """What the rules charge, in the order that they are tried in; the one for what is left over comes last."""
    found: list[Price] = []
    for rule in leaf.rules:
        if not rule.fallback:
            found += [_price(leaf, rule, row) for row in rows(leaf, rule)]
    rest = next((rule for rule in leaf.rules if rule.fallback), None)
    if rest is None and len(leaf.rules) == 1:
        rest = leaf.rules[0]
    return [*found[:MOST_ROWS], *([_price(leaf, rest, {})] if rest else [])]


def _price(leaf: Leaf, rule: Rule, row: Mapping[str, Value]) -> Price:
    when: dict[str, tuple[Value, ...]] = {"kind": (leaf.kind,)}
    when |= {name: _spellings(name, value) for name, value in row.items()}
    if leaf.kind in IMAGES:
        return Price(POINTS, image=rule.points, when=when)
    return Price(POINTS, request=rule.points, when=when)


def _spellings(name: str, value: Value) -> tuple[Value, ...]:
    """A ratio is asked for as it is written, or reduced."""
    found = size(value) if name == "size" else None
    return tuple(dict.fromkeys((value, words(found)))) if found else (value,)
