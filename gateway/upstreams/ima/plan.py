"""What will be sent for a request, and what it costs: pure, from a leaf of the tree and what the caller asked for.

The vendor's own client, asked for what no credit rule has, takes the nearest rule and makes that instead without a
word. Here a value that the caller gave is never changed: what no rule has with it is refused (wire sheet §4 and §5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.errors import AdapterContract, Unsupported
from gateway.types import Size
from gateway.upstreams.ima import specials
from gateway.upstreams.ima.choice import Choice
from gateway.upstreams.ima.choices import FORCED, choices
from gateway.upstreams.ima.products import MARKER, Field, Leaf, Rule
from gateway.upstreams.ima.spelling import alike, words


@dataclass(frozen=True)
class Plan:
    """A request for one leaf, worked out."""

    leaf: Leaf
    rule: Rule
    inner: Mapping[str, Any]
    """The inner parameters but for those that are the same whatever is chosen (`prompt`, `n`, images, `cast`)."""
    values: Mapping[str, Any]
    """What will be used, by the callers' names and spelling; sizes as text."""


def planned(leaf: Leaf, asked: Mapping[str, Any]) -> Plan:
    """`asked`: what the caller gave, by the callers' names. Raises Unsupported for what the leaf does not do."""
    able = choices(leaf)
    _check_names(able, asked, leaf)
    own: dict[str, tuple[Choice, Any]] = {}
    for choice in (one for one in able if one.name in asked):
        if choice.key in own:
            raise Unsupported(f"'{choice.name}' and '{own[choice.key][0].name}' exclude each other", param=choice.name)
        own[choice.key] = choice, _sent(choice, asked[choice.name], leaf)
    given = _by_field(own, leaf)
    specials.check(leaf, given)
    defaults = _defaults(leaf)
    rule = _rule(leaf, defaults, given)
    if not rule.attribute_id:
        raise AdapterContract(f"the upstream names no price of {leaf.name}", sent="no")
    inner = {**defaults, **_usual(leaf, defaults).attributes, **rule.attributes}
    for key, value in given.items():
        if key and not _has(rule.attributes, key):
            _put(inner, key, value)
    if isinstance(inner.get("size"), str):
        inner["size"] = inner["size"].replace("×", "x")
    inner = specials.completed(leaf, {name: value for name, value in inner.items() if name not in FORCED}, given)
    return Plan(leaf, rule, inner, _values(leaf, able, inner, asked, own))


# --- what the caller gave ---


def _check_names(able: Sequence[Choice], asked: Mapping[str, Any], leaf: Leaf) -> None:
    names = {choice.name for choice in able}
    for name in asked:
        if name not in names:
            raise Unsupported(
                f"{leaf.name} has no {name!r}; it takes {', '.join(sorted(names)) or 'none'}",
                param=name,
                code="unsupported_parameter",
            )


def _sent(choice: Choice, value: Any, leaf: Leaf) -> Any:
    found = choice.sent(value)
    if found is None:
        able = choice.parameter(leaf.kind).allowed
        told = words(value) if isinstance(value, Size) else str(value)[:60]
        wanted = f"one of {', '.join(map(str, able))}" if able else f"another {choice.type}"
        raise Unsupported(
            f"'{choice.name}' must be {wanted} with {leaf.name}, not {told}", param=choice.name, allowed=able
        )
    return found


def _by_field(own: Mapping[str, tuple[Choice, Any]], leaf: Leaf) -> dict[str, Any]:
    """What the caller chose, by the vendor's parameters: controls become what they stand for."""
    found = {key: value for key, (choice, value) in own.items() if choice.field is None}
    for field in leaf.fields:
        chosen = {control.name: own[control.name] for control in field.controls if control.name in own}
        if chosen:
            found[field.target] = _mapped(field, chosen, leaf)
    return found


def _mapped(field: Field, chosen: Mapping[str, tuple[Choice, Any]], leaf: Leaf) -> Any:
    names = [choice.name for choice, _ in chosen.values()]
    combos = "; ".join(_combination(one.when) for one in field.mapped)
    if missing := [control.name for control in field.controls if control.name not in chosen]:
        raise Unsupported(
            f"{leaf.name} takes {' and '.join(names)} only together with {' and '.join(missing)}: {combos}",
            param=names[0],
        )
    patch = {name: value for name, (_, value) in chosen.items()}
    for one in field.mapped:
        if all(name in patch and alike(patch[name], value) for name, value in one.when.items()):
            return one.value
    raise Unsupported(f"{leaf.name} does not make {_combination(patch)}; it makes {combos}", param=names[0])


def _combination(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _put(inner: dict[str, Any], key: str, value: Any) -> None:
    """`outer.inner` goes inside of `outer`; a key counts however its letters are."""
    outer, dot, inside = key.partition(".")
    if dot:
        held = inner.get(outer)
        inner[outer] = {**(held if isinstance(held, dict) else {}), inside: value}
        return
    inner[next((name for name in inner if name.lower() == key.lower()), key)] = value


# --- what the form says ---


def _defaults(leaf: Leaf) -> dict[str, Any]:
    found = {field.name: _default(field) for field in leaf.fields if field.name != MARKER}
    return {name: value for name, value in found.items() if value is not None}


def _default(field: Field) -> Any:
    patch = {control.name: control.value for control in field.controls}
    for one in field.mapped if patch else ():
        if all(alike(patch.get(name), value) for name, value in one.when.items()):
            return one.value
    return field.value


# --- which rule ---


def _rule(leaf: Leaf, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> Rule:
    """Raises Unsupported where what the caller gave is in no rule together."""
    rules = [rule for rule in leaf.rules if not rule.fallback]
    known = {**{key.lower(): value for key, value in defaults.items()}}
    known |= {key.lower(): value for key, value in given.items()}
    if found := _exact(rules, known):
        return found
    fits = [rule for rule in rules if not _against(rule, given)]
    best = max(fits, key=lambda rule: _equal(rule, known), default=None)
    if best is not None and _equal(best, known):
        filled = known | {key.lower(): value for key, value in best.attributes.items()}
        return _exact(rules, filled) or best
    wrong = [key for key in given if any(_has(rule.attributes, key) for rule in rules)]
    marked = next((rule for rule in leaf.rules if rule.fallback), None)
    if rules and not fits and (marked is None or any(_equal(rule, known) for rule in rules)):
        raise _no_combination(leaf, given, wrong)
    return marked or (fits[0] if fits else Rule(0, 0, {}))


def _usual(leaf: Leaf, defaults: Mapping[str, Any]) -> Rule:
    """The rule that the form's own values select."""
    known = {key.lower(): value for key, value in defaults.items()}
    rules = [rule for rule in leaf.rules if not rule.fallback]
    if found := _exact(rules, known):
        return found
    best = max(rules, key=lambda rule: _equal(rule, known), default=None)
    if best is not None and _equal(best, known):
        return best
    return next((rule for rule in leaf.rules if rule.fallback), leaf.rules[0])


def _exact(rules: Sequence[Rule], known: Mapping[str, Any]) -> Rule | None:
    whole = (rule for rule in rules if rule.attributes and _equal(rule, known) == len(rule.attributes))
    return next(whole, None)


def _equal(rule: Rule, known: Mapping[str, Any]) -> int:
    return sum(key.lower() in known and alike(known[key.lower()], value) for key, value in rule.attributes.items())


def _against(rule: Rule, given: Mapping[str, Any]) -> bool:
    return any(
        _has(rule.attributes, key) and not alike(_of(rule.attributes, key), value) for key, value in given.items()
    )


def _no_combination(leaf: Leaf, given: Mapping[str, Any], wrong: Sequence[str]) -> Unsupported:
    named = {choice.key: choice for choice in choices(leaf)}
    for choice in named.values():
        if choice.field is not None:
            named.setdefault(choice.field.target, choice)
    first = named.get(wrong[0]) if wrong else None
    rows = [_row(rule, named) for rule in leaf.rules if rule.attributes]
    asked = _combination({named[key].name if key in named else key: given[key] for key in wrong if _plain(named, key)})
    return Unsupported(
        f"{leaf.name} does not make {asked or 'that'}; it makes {'; '.join(dict.fromkeys(row for row in rows if row))}",
        param=first.name if first else None,
    )


def _plain(named: Mapping[str, Choice], key: str) -> bool:
    """Whether a parameter may be told: what stands behind controls is not."""
    return key in named and named[key].field is None


def _row(rule: Rule, named: Mapping[str, Choice]) -> str:
    told = {named[key].name: named[key].told(value) for key, value in rule.attributes.items() if _plain(named, key)}
    return _combination(told)


def _has(attributes: Mapping[str, Any], key: str) -> bool:
    return any(name.lower() == key.lower() for name in attributes)


def _of(attributes: Mapping[str, Any], key: str) -> Any:
    return next((value for name, value in attributes.items() if name.lower() == key.lower()), None)


# --- what is used ---


def _values(
    leaf: Leaf,
    able: Sequence[Choice],
    inner: Mapping[str, Any],
    asked: Mapping[str, Any],
    own: Mapping[str, tuple[Choice, Any]],
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for choice in able:
        given = own[choice.key][1] if choice.name in asked else None
        if choice.field is not None:
            usual = shown(choice.field, _inside(inner, choice.field.target)).get(choice.key)
            found[choice.name] = choice.told(usual if given is None else given)
        elif given is not None or choice.name != "seed":
            value = _inside(inner, specials.inner_name(leaf, choice.key)) if choice.key else None
            found[choice.name] = choice.told(value if value is not None and choice.knows(value) else given)
    return {name: value for name, value in found.items() if value not in (None, "")}


def shown(field: Field, value: Any) -> Mapping[str, Any]:
    """What the controls of a virtual field show where it has a value: their own, if those stand for it."""
    usual = {control.name: control.value for control in field.controls}
    rows = [one.when for one in field.mapped if alike(one.value, value)]
    return next((row for row in rows if all(alike(usual.get(n), v) for n, v in row.items())), rows[0] if rows else {})


def _inside(inner: Mapping[str, Any], key: str) -> Any:
    outer, dot, inside = key.partition(".")
    found = _of(inner, outer)
    return found.get(inside) if dot and isinstance(found, dict) else None if dot else found
