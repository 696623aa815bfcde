"""The schema generator against an independent validator."""

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gateway.sandbox.pattern import matching
from gateway.sandbox.schema import instance

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "parent": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["value", "children", "parent"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}
SCHEMAS: list[dict[str, Any]] = [
    {},
    {"type": "object"},
    {"type": "string", "minLength": 200},
    {"type": "string", "maxLength": 3},
    {"type": "string", "minLength": 5, "maxLength": 5},
    {"type": ["null", "integer"]},
    {"type": "integer", "minimum": 3, "maximum": 3},
    {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
    {"type": "integer", "minimum": 10, "maximum": 30, "multipleOf": 7},
    {"type": "integer", "minimum": 2.5, "maximum": 3.5},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e-6},
    {"type": "number", "maximum": -5000},
    {"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.1},
    {"type": "number", "multipleOf": 0.01},
    {"enum": [1, "two", None, [3]]},
    {"type": "string", "enum": ["a", 2, None]},
    {"const": {"a": [1, 2]}},
    {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4},
    {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 4}, "minItems": 4, "uniqueItems": True},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "uniqueItems": True},
    {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "uniqueItems": True},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False, "minItems": 2},
    {"type": "array", "prefixItems": [{"const": 1}], "items": {"type": "string"}, "minItems": 3},
    {"type": "array", "items": {"type": "integer"}, "contains": {"const": 7}, "minItems": 2},
    {"type": "array", "maxItems": 0},
    {"type": "object", "required": ["a"], "properties": {"a": {"type": "number"}}, "additionalProperties": False},
    {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2},
    {"type": "object", "patternProperties": {"^x-[a-z]{3}$": {"type": "integer"}}, "additionalProperties": False,
     "minProperties": 1},
    {"type": "object", "propertyNames": {"pattern": "^[A-Z]{2,4}$"}, "minProperties": 2},
    {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "maxProperties": 1},
    {"type": "object", "properties": {"a": {}, "b": {}}, "dependentRequired": {"a": ["b"]}, "required": ["a"]},
    {"anyOf": [{"type": "string"}, {"type": "null"}]},
    {"oneOf": [{"type": "integer"}, {"type": "integer", "minimum": 5}]},
    {"oneOf": [{"type": "object", "properties": {"kind": {"const": kind}, "n": {"type": "integer"}},
                "required": ["kind"], "additionalProperties": False} for kind in ("cat", "dog")]},
    {"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
               {"properties": {"a": {"minimum": 9}, "b": {"type": "string"}}, "required": ["b"]}]},
    {"allOf": [{"minLength": 3}, {"maxLength": 4}], "type": "string"},
    {"type": "integer", "not": {"minimum": 0}},
    {"type": "object", "properties": {"k": {"enum": ["x", "y"]}}, "required": ["k"],
     "if": {"properties": {"k": {"const": "x"}}},
     "then": {"required": ["m"], "properties": {"m": {"type": "integer"}}}},
    {"type": "string", "pattern": r"^\d{3}-[A-Z]{2}(?:foo|bar)+\.\w*$"},
    {"type": "string", "pattern": "^[^0-9]+$", "minLength": 2, "maxLength": 6},
    {"type": "string", "pattern": "^(?P<year>[12][0-9]{3})/(0[1-9]|1[0-2])$"},
    {"$defs": {"s": {"type": "string"}}, "type": "array", "items": {"$ref": "#/$defs/s"}, "minItems": 1},
    {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]},
    {"$defs": {"e": {"oneOf": [{"type": "integer"}, {"type": "object", "required": ["l", "r"],
        "properties": {"l": {"$ref": "#/$defs/e"}, "r": {"$ref": "#/$defs/e"}}, "additionalProperties": False}]}},
        "$ref": "#/$defs/e"},
    {"type": "string", "pattern": "^[a-z0-9]+(?:-[a-z0-9]+)*$"},
    {"type": "string", "pattern": "^[A-Za-z ]+$", "minLength": 20},
    {"type": "string", "pattern": "^[a-z]+$", "minLength": 3, "maxLength": 4},
    TREE,
]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: str(schema)[:60])
@pytest.mark.parametrize("seed", range(6))
def test_the_value_fits_the_schema(schema: dict[str, Any], seed: int) -> None:
    value = instance(schema, seed=seed, hint="Book 4 seats in Paris for Ada Lovelace, under 30 euros")
    Draft202012Validator(schema).validate(value)
    assert value == instance(schema, seed=seed, hint="Book 4 seats in Paris for Ada Lovelace, under 30 euros")


FORMATS = ("date", "date-time", "time", "email", "uuid", "uri", "ipv4", "ipv6", "hostname", "regex", "duration")


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_kept(name: str) -> None:
    schema = {"type": "string", "format": name}
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(instance(schema, seed=3))


def _object(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(st.sampled_from("abcdef"), parts, max_size=4)
    return properties.flatmap(
        lambda made: st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.just(made),
                "required": st.lists(st.sampled_from(sorted(made)), unique=True) if made else st.just([]),
                "additionalProperties": st.booleans(),
            }
        )
    )


LEAVES = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": ["string", "null"]}),
    st.integers(-50, 50).flatmap(
        lambda low: st.integers(low, low + 40).map(lambda high: {"type": "integer", "minimum": low, "maximum": high})
    ),
    st.floats(-9, 9).map(lambda low: {"type": "number", "minimum": low, "maximum": low + 1}),
    st.integers(0, 30).map(lambda least: {"type": "string", "minLength": least, "maxLength": least + 3}),
    st.lists(st.one_of(st.integers(), st.text(max_size=4), st.none()), min_size=1, max_size=4).map(
        lambda options: {"enum": options}
    ),
)
ANY = st.recursive(
    LEAVES,
    lambda parts: st.one_of(
        _object(parts),
        st.builds(lambda part, least: {"type": "array", "items": part, "minItems": least}, parts, st.integers(0, 3)),
        st.builds(lambda options: {"anyOf": options}, st.lists(parts, min_size=1, max_size=3)),
        st.builds(lambda part: {"allOf": [part, {"description": "x"}]}, parts),
    ),
    max_leaves=10,
)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=ANY, seed=st.integers(0, 99), hint=st.text(max_size=30))
def test_any_satisfiable_schema_is_satisfied(schema: dict[str, Any], seed: int, hint: str) -> None:
    Draft202012Validator(schema).validate(instance(schema, seed=seed, hint=hint))


@settings(max_examples=150, deadline=None)
@given(
    pattern=st.sampled_from(
        [r"^[A-Z]\d+$", r"a|b|cd", r"(x(y|z)?){2,3}", r"[\w.-]+@[a-z]+\.com", r"\u0041\x42", r"^$", r"[^\s]+", r"a{0}b"]
    ),
    source=st.randoms(use_true_random=False),
)
def test_patterns_are_matched(pattern: str, source: Any) -> None:
    assert re.search(pattern, matching(pattern, source))


def test_fields_are_filled_from_the_prompt() -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            "query": {"type": "string"},
        },
        "required": ["city", "days", "unit", "query"],
    }
    hint = "What is the weather in New York for 5 days, in fahrenheit?"
    assert instance(schema, seed=1, hint=hint) == {"city": "New York", "days": 5, "unit": "fahrenheit", "query": hint}


def test_a_city_is_found_in_chinese() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    assert instance(schema, seed=1, hint="北京的天气怎么样？") == {"city": "北京"}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 3, "uniqueItems": True},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.com/schema"},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"type": "string", "pattern": "^(?=x)y$"},
        {"type": "string", "pattern": "(["},
        {"type": "object", "properties": {"a" * 40 + "!": {}}, "patternProperties": {"^(a+)+$": {}},
         "required": ["a" * 40 + "!"]},
        {"type": "colour"},
        {"type": "object", "properties": 5},
        {"not": {}},
        {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"},
        {"$defs": {"a": {"type": "object", "required": ["l", "r"], "properties": {
            "l": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}, "r": {"$ref": "#/$defs/a"}}}},
         "$ref": "#/$defs/a"},
    ],
    ids=lambda schema: str(schema)[:60],
)  # fmt: skip
def test_what_cannot_be_satisfied_is_said_in_a_sentence(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        instance(schema, seed=1)
