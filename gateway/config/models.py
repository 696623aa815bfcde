"""What an operator says of models: those an upstream serves, what each takes and costs, and which is tried when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, field_validator, model_validator

from gateway.config.rules import (
    Count,
    Currency,
    FileType,
    Flag,
    KindName,
    Number,
    ParameterName,
    Plain,
    Quota,
    Rate,
    Seconds,
    SecondsOrNone,
    Text,
    Wanted,
    fault,
    is_size,
    must_be,
)
from gateway.config.sections import Section
from gateway.types import InputRule, OnUnsupported, Parameter, Price

Order = Literal["priority", "price", "speed"]
ParameterType = Literal["boolean", "integer", "number", "string", "size", "url", "urls", "object", "list"]

MOST_INPUTS = 16
"""Files that a request may bring."""


class PriceConfig(Section):
    """What a model costs, in any mix of the ways to charge for it."""

    currency: Currency
    input_tokens: Rate | None = None
    """A million tokens read; likewise the next two, and `characters`."""
    cached_tokens: Rate | None = None
    """None: as `input_tokens`."""
    output_tokens: Rate | None = None
    image: Rate | None = None
    """Each image."""
    second: Rate | None = None
    """Each second of video or sound."""
    characters: Rate | None = None
    request: Rate | None = None
    """Each request."""
    when: Mapping[Text, Wanted] = {}
    """It holds for requests whose parameters have these values, or one of several."""

    @model_validator(mode="after")
    def _charges(self) -> Self:
        if all(rate is None for name, rate in self if name not in ("currency", "when")):
            rates = (name for name in type(self).model_fields if name not in ("currency", "when"))
            raise fault(f"must say what is charged for: any of {', '.join(rates)}")
        return self

    @property
    def price(self) -> Price:
        return Price(**dict(self))


def _prices(given: object) -> object:
    return [given] if isinstance(given, dict) else given


Prices = Annotated[tuple[PriceConfig, ...], BeforeValidator(_prices)]


class ParameterConfig(Section):
    """What a parameter of a model may be."""

    type: Annotated[ParameterType, must_be(f"one of {', '.join(get_args(ParameterType))}")] = "string"
    allowed: tuple[Plain, ...] = ()
    """All there is. Empty: anything of the type within the range."""
    least: Number | None = None
    most: Number | None = None
    """The range of a number; of a string the most characters, of a list the most members, of a size its pixels."""
    default: Any = None
    """What is taken where nothing is asked. None: nothing is sent, and the upstream chooses."""
    unit: str = ""
    kinds: tuple[KindName, ...] = ()
    """For which kinds of work it is. Empty: all that the model does."""
    free: Flag = False
    """Whether other values than those allowed are taken as well."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.least is not None and self.most is not None and self.least > self.most:
            raise fault("least must not be above most")
        for one in self.allowed:
            if not _is_of(one, self.type):
                raise fault(f"allowed holds {one!r}, which is no {self.type}")
        if self.default is not None and not _is_of(self.default, self.type):
            raise fault(f"default must be of the type {self.type}")
        if self.default is not None and self.allowed and not self.free and self.default not in self.allowed:
            raise fault("default must be one of allowed")
        return self

    @property
    def parameter(self) -> Parameter:
        return Parameter(
            type=self.type,
            allowed=self.allowed,
            least=self.least,
            most=self.most,
            default=self.default,
            unit=self.unit,
            kinds=frozenset(self.kinds),
            free=self.free,
        )


def _is_of(value: Any, kind: ParameterType) -> bool:
    """Whether a value is one that a parameter of that type may have."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return number and value == int(value)
        case "number":
            return number
        case "size":
            return isinstance(value, str) and is_size(value)
        case "urls" | "list":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
        case "string" | "url":
            return isinstance(value, str)


class InputConfig(Section):
    """What files go into a kind of work."""

    least: Quota = 0
    most: Quota = MOST_INPUTS
    formats: tuple[FileType, ...] = ()
    """Like `png`, or whole media types. Empty: whatever the gateway knows as an image."""
    max_bytes: Count | None = None
    """Of each. None: as for every upload."""

    @model_validator(mode="after")
    def _a_range(self) -> Self:
        if self.least > self.most:
            raise fault("least must not be above most")
        return self

    @property
    def rule(self) -> InputRule:
        return InputRule(self.least, self.most, frozenset(self.formats), self.max_bytes)


class ModelConfig(Section):
    """A model that an upstream serves. In YAML its bare id will do. What is not said is as its provider knows it."""

    id: Text
    kinds: tuple[KindName, ...] = ()
    """Empty: what the type of the upstream knows of it."""
    name: Text | None = None
    parameters: Mapping[ParameterName, ParameterConfig] = {}
    """What may be asked of it, by the names that callers use."""
    closed: Flag | None = None
    """Whether it takes no other parameters than those. None: as its provider's table says, else it takes others."""
    together: tuple[Mapping[ParameterName, Plain], ...] = ()
    """Values that go together, where not all do: rows of which all parameters named here must be in one."""
    inputs: Mapping[KindName, InputConfig] = {}
    """What files it takes, by kind of work."""
    prices: Prices = ()
    """What it costs there; what `models.prices` says of it goes before."""
    estimate: SecondsOrNone | None = None
    """Seconds that a generation usually takes."""
    default_seconds: Seconds | None = None
    """How long a video or piece of music is where nobody says."""


def _model_entry(given: object) -> object:
    return {"id": given} if isinstance(given, str) else given


ModelEntry = Annotated[ModelConfig, BeforeValidator(_model_entry)]


class ModelsConfig(Section):
    """Names, stand-ins and defaults of models."""

    aliases: Mapping[Text, Text] = {}
    fallbacks: Mapping[Text, tuple[Text, ...]] = {}
    """What to try when a model fails through no fault of the caller, in order."""
    on_unsupported: Annotated[OnUnsupported, must_be(f"one of {', '.join(get_args(OnUnsupported))}")] = "reject"
    """What becomes of a value that a model does not take, where the request does not say: it is refused, replaced by
    the nearest, or left out."""
    defaults: Mapping[KindName, Text] = {}
    """The model for `auto`, or where a request names none."""
    priorities: Mapping[KindName, tuple[Text, ...]] = {}
    """By kind, which models `auto` tries where there is no default: the first whose upstream has an account that can
    serve; the others after it."""
    order: Annotated[Order, must_be(f"one of {', '.join(get_args(Order))}")] = "priority"
    """In which order the upstreams of a model are tried, and then its fallbacks."""
    prices: Mapping[Text, Prices] = {}
    """What models cost, by name, by `<upstream>/<model>`, or by either with `*` for any characters. Of several prices
    the first that holds counts."""

    @property
    def price_list(self) -> Mapping[str, Sequence[Price]]:
        return {name: [one.price for one in prices] for name, prices in self.prices.items()}

    @field_validator("aliases")
    @classmethod
    def _no_circle(cls, aliases: Mapping[str, str]) -> Mapping[str, str]:
        for start in aliases:
            seen, name = [start], aliases[start]
            while name in aliases and name not in seen:
                seen.append(name)
                name = aliases[name]
            if name == start:
                raise fault(f"must not go round in a circle: {' → '.join([*seen, start])}")
        return aliases
