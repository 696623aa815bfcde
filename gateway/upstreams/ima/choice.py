"""Something that a caller may choose of a model: a parameter by the callers' name and by the vendor's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from gateway.types import Kind, Parameter, Size, Value
from gateway.upstreams.ima import spelling
from gateway.upstreams.ima.products import Field

Type = Literal["boolean", "integer", "number", "string", "size", "object", "list"]


@dataclass(frozen=True)
class Choice:
    """Something that a caller may choose."""

    name: str
    """By callers."""
    key: str
    """By the vendor: an inner parameter, `outer.inner` for one inside of another, or the control of `field`. Empty: it
    is not sent."""
    type: Type
    values: tuple[Any, ...] = ()
    """All there is, by the vendor's spelling; empty: anything."""
    default: Any = None
    """By the vendor's spelling."""
    field: Field | None = None
    """The virtual field that it is a control of."""
    least: float | None = None
    most: float | None = None
    free: bool = False
    """Whether other values than those are taken as well."""
    encode: Callable[[Any], Any] | None = None
    """The caller's value as the vendor has it, where that is more than a spelling; `decode` is its reverse."""
    decode: Callable[[Any], Any] | None = None

    def told(self, value: Any) -> Any:
        """A value of the vendor's as callers write it; None for none."""
        if value is None or self.decode is not None:
            return None if value is None else self.decode(value)  # type: ignore[misc]
        match self.type:
            case "boolean":
                return spelling.truth(value)
            case "integer" | "number":
                return spelling.number(value)
            case "size":
                found = spelling.size(value)
                return spelling.words(found) if found else None
            case "string":
                return str(value)
            case _:
                return value

    def sent(self, asked: Any) -> Any:
        """A caller's value as the vendor spells it; None where it does not take it."""
        if self.encode is not None:
            return self.encode(asked)
        if isinstance(asked, Size):
            return spelling.nearest(asked, self.values, self.default) if self.values else spelling.words(asked)
        for value in self.values:
            if spelling.alike(value, asked) or (self.type != "string" and self.told(value) == asked):
                return value
        return None if self.values and not self.free else self._plain(asked)

    def _plain(self, asked: Any) -> Any:
        within = spelling.number(asked) if self.type in ("integer", "number") else None
        if within is not None and not (self.least is None or within >= self.least):
            return None
        return None if within is not None and self.most is not None and within > self.most else asked

    def knows(self, value: Any) -> bool:
        """Whether a value of the vendor's is one of those that this chooses among."""
        return self.type != "string" or not self.values or any(spelling.alike(value, one) for one in self.values)

    def parameter(self, kind: Kind) -> Parameter:
        """As a card tells it."""
        told = tuple(dict.fromkeys(self.shown(value) for value in self.values)) if self.type != "boolean" else ()
        quiet = self.name == "seed" or self.default in (None, "")
        return Parameter(
            type=self.type,
            allowed=tuple(one for one in told if one is not None),
            least=self.least,
            most=self.most,
            default=None if quiet else self.shown(self.default),
            unit="s" if self.name == "seconds" else "",
            kinds=frozenset({kind}),
            free=self.free,
        )

    def shown(self, value: Any) -> Value | None:
        """A value in a list of what there is: a ratio as the vendor writes it."""
        told: Value | None = str(value).replace("×", "x") if self.type == "size" else self.told(value)
        return told
