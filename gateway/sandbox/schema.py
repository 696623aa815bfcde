"""Schema: a value that a JSON schema asks for, as a model with structured output or tools would give it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

from gateway.sandbox.conformity import bounds, conforms, item_schemas, parts_for
from gateway.sandbox.dice import dice
from gateway.sandbox.expansion import Plain, expansions, merged
from gateway.sandbox.gleaning import SPARE, formatted, numbers_in, text_for
from gateway.sandbox.pattern import SPARE as SPARE_REPEATS
from gateway.sandbox.pattern import matching

ATTEMPTS = 4
PATIENCE = 4_000
"""Places filled before an attempt is given up: what makes a hopeless recursive schema end."""
DEEPEST = 24
SIMPLER, BAREST = 3, 5
"""Depths from which recursive parts, then all parts that may be left out, are left out."""
TRIES = 12


class Hopeless(ValueError):
    """Patience ran out: no use trying another branch."""


def instance(schema: Mapping[str, Any], *, seed: int, hint: str = "") -> Any:
    """A JSON value that `schema` (draft 2020-12) accepts, the same for equal arguments.

    Free fields take words, places and numbers from `hint`, the prompt. Raises ValueError, saying why, for a schema
    that nothing fits or that is beyond the sandbox: remote references, patterns that look around.
    """
    reason: ValueError | None = None
    for attempt in range(ATTEMPTS):
        try:
            return Maker(schema, dice("schema", seed, hint, attempt), hint).make(schema)
        except ValueError as error:
            reason = reason or error
        except (TypeError, AttributeError, KeyError, RecursionError) as error:
            raise ValueError(f"the schema is not one the sandbox can read: {error}") from error
    raise ValueError(f"no value was found that fits the schema: {reason}") from reason


class Maker:
    """One attempt at one schema."""

    def __init__(self, root: Any, chance: Random, hint: str) -> None:
        self.root, self.chance, self.hint = root, chance, hint
        self.numbers = numbers_in(hint)
        self.left = PATIENCE

    def make(self, schema: Any, name: str = "", depth: int = 0) -> Any:
        """A value for `schema`, which stands at a property called `name`."""
        self.left -= 1
        if self.left < 0:
            raise Hopeless("the schema is too tangled, or has no end")
        if depth > DEEPEST:
            raise ValueError("it is nested without end")
        reason = ValueError(f"nothing fits {_named(name)}")
        for plain in expansions(schema, self.root, self.chance, simple=depth >= SIMPLER):
            try:
                for value in self._candidates(plain, name, depth):
                    if conforms(value, schema, self.root):
                        return value
            except Hopeless:
                raise
            except ValueError as error:
                reason = error
        raise reason

    def _candidates(self, plain: Plain, name: str, depth: int) -> Iterator[Any]:
        """Values likely to fit a plain schema, the likeliest first."""
        if "const" in plain:
            yield plain["const"]
            return
        if "enum" in plain:
            yield from self._options(plain["enum"])
            return
        for kind in _kinds(plain):
            if kind == "boolean":
                yield from self.chance.sample((True, False), 2)
                continue
            for number in range(TRIES if kind in ("string", "number", "integer", "array") else 3):
                yield self._of_kind(kind, plain, name, depth, far=number > TRIES // 3)

    def _options(self, options: list[Any]) -> list[Any]:
        """The options, those that the hint speaks of first, null last."""
        mentioned = self.hint.casefold()
        shuffled = self.chance.sample(options, len(options))
        return sorted(shuffled, key=lambda option: (str(option).casefold() not in mentioned, option is None))

    def _of_kind(self, kind: str, plain: Plain, name: str, depth: int, *, far: bool) -> Any:
        """A value of one type; `far` from the usual ones if those were refused."""
        match kind:
            case "null":
                return None
            case "integer" | "number":
                return self._number(plain, whole=kind == "integer", far=far)
            case "array":
                return self._array(plain, name, depth)
            case "object":
                return self._object(plain, depth)
            case _:
                return self._string(plain, name)

    # --- numbers and texts ---

    def _number(self, plain: Plain, *, whole: bool, far: bool) -> float:
        low, low_open, high, _ = bounds(plain)
        for number in self.numbers:
            fitting = isinstance(number, int) or not whole
            if fitting and conforms(number, {**plain, "type": "integer" if whole else "number"}, self.root):
                self.numbers.remove(number)
                return number
        if low == -math.inf:
            low = -1000 if far and high == math.inf else min(1, high - 100)
        high = low + (2000 if far else 100) if high == math.inf else high
        if high < low:
            raise ValueError(f"no number is at least {low} and at most {high}")
        step = plain.get("multipleOf") or (1 if whole else 0)
        if step:
            return self._multiple(low, high, step, whole)
        if low == high:
            return low
        digits = max(2, 2 - math.floor(math.log10(high - low)))
        number = round(self.chance.uniform(low, high), digits)
        return number if low + low_open * 1e-12 <= number <= high else (low + high) / 2

    def _multiple(self, low: float, high: float, step: float, whole: bool) -> float:
        first, last = math.ceil(low / step), math.floor(high / step)
        if last < first:
            raise ValueError(f"no multiple of {step} lies between {low} and {high}")
        number = self.chance.randint(first, last) * step
        return int(number) if whole or float(number).is_integer() else number

    def _string(self, plain: Plain, name: str) -> str:
        if "pattern" in plain:
            return self._patterned(plain)
        made = formatted(str(plain.get("format", "")), self.hint, self.chance)
        if made is not None:
            return made
        text = text_for(name, self.hint, self.chance)
        least, most = plain.get("minLength", 0), plain.get("maxLength", math.inf)
        while len(text) < least:
            text += f" {self.chance.choice(SPARE)}"
        return text if len(text) <= most else text[: max(least, int(most))]

    def _patterned(self, plain: Plain) -> str:
        least, most = plain.get("minLength", 0), plain.get("maxLength", math.inf)
        spare = int(min(max(SPARE_REPEATS, 2 * least), most))
        made = [matching(plain["pattern"], self.chance, spare=spare) for _ in range(TRIES)]
        # The shortest that will do: short texts are quick to check against any pattern.
        return min(made, key=lambda text: (not least <= len(text) <= most, len(text)))

    # --- arrays and objects ---

    def _array(self, plain: Plain, name: str, depth: int) -> list[Any]:
        leading, rest = item_schemas(plain)
        held = plain.get("minContains", 1) if "contains" in plain else 0
        least, most = max(plain.get("minItems", 0), held), plain.get("maxItems", math.inf)
        shown = 0 if depth >= BAREST else len(leading) or (self.chance.randint(1, 3) if depth < SIMPLER else 0)
        if rest is False:
            shown = min(shown, len(leading))
        items: list[Any] = []
        for at in range(int(max(least, min(shown, most)))):
            part = leading[at] if at < len(leading) else rest
            if at < held:
                part = {"allOf": [part, plain["contains"]]}
            try:
                items.append(self._item(part, items if plain.get("uniqueItems") else [], name, depth))
            except Hopeless:
                raise
            except ValueError:
                if at < least:
                    raise
                break
        return items

    def _item(self, part: Any, taken: list[Any], name: str, depth: int) -> Any:
        """An item of an array, other than those `taken`."""
        refused = {"allOf": [part, {"not": {"enum": taken}}]} if taken else part
        return self.make(refused, name, depth + 1)

    def _object(self, plain: Plain, depth: int) -> dict[str, Any]:
        properties, required = plain.get("properties", {}), plain.get("required", ())
        most = plain.get("maxProperties", math.inf)
        value: dict[str, Any] = {}
        for name in [*required, *(name for name in properties if name not in required)]:
            if name in value or (name not in required and (len(value) >= most or _spared(properties[name], depth))):
                continue
            try:
                value[name] = self._property(plain, name, depth)
            except Hopeless:
                raise
            except ValueError:
                if name in required:
                    raise
        self._free(plain, value, depth)
        # As written in the schema, as models do it.
        return {name: value[name] for name in sorted(value, key=[*properties, *value].index)}

    def _property(self, plain: Plain, name: str, depth: int) -> Any:
        parts = list(parts_for(name, plain))
        return self.make(parts[0] if len(parts) == 1 else {"allOf": parts}, name, depth + 1)

    def _free(self, plain: Plain, value: dict[str, Any], depth: int) -> None:
        """Properties that the schema does not name, as many as it must have, or a few where it has no others."""
        open_ended = isinstance(plain.get("additionalProperties"), Mapping) or "patternProperties" in plain
        shown = 2 if open_ended and not plain.get("properties") and depth < SIMPLER else 0
        wanted = min(max(plain.get("minProperties", 0), shown), plain.get("maxProperties", math.inf))
        for _ in range(TRIES * int(wanted)):
            if len(value) >= wanted:
                return
            name = self._free_name(plain)
            if name not in value:
                value[name] = self._property(plain, name, depth)

    def _free_name(self, plain: Plain) -> str:
        if "propertyNames" in plain:
            return str(self.make(merged({"type": "string"}, _as_plain(plain["propertyNames"]))))
        if patterns := list(plain.get("patternProperties", {})):
            return matching(self.chance.choice(patterns), self.chance)
        return "_".join(text_for("key", self.hint, self.chance).lower().split()[:2]) + self.chance.choice(
            ("", "_2", "_3")
        )


def _as_plain(schema: Any) -> Plain:
    return dict(schema) if isinstance(schema, Mapping) else {}


def _spared(part: Any, depth: int) -> bool:
    """Whether an optional property is left out here, so that recursive schemas end and deep ones stay small."""
    return depth >= BAREST or (depth >= SIMPLER and "$ref" in repr(part))


def _kinds(plain: Plain) -> list[str]:
    """The types to try, null last; guessed from the other keywords where the schema names none."""
    types = plain.get("type")
    if types:
        names = [types] if isinstance(types, str) else list(types)
        return sorted(names, key=lambda name: bool(name == "null"))
    for kind, words in _TELLING.items():
        if any(word in plain for word in words):
            return [kind]
    return ["string", "integer", "object", "array", "boolean", "null"]


_TELLING = {
    "object": ("properties", "required", "additionalProperties", "patternProperties", "minProperties", "propertyNames"),
    "array": ("items", "prefixItems", "minItems", "uniqueItems", "contains"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}


def _named(name: str) -> str:
    return f"the property {name!r}" if name else "the schema"
