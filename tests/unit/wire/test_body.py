import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError, InvalidJson, InvalidRequest
from gateway.wire import body
from gateway.wire.body import MAX_DEPTH


def refused(work: Any, *args: Any) -> tuple[str, str | None, str]:
    """Code, parameter and sentence of what a call raises."""
    with pytest.raises(GatewayError) as told:
        work(*args)
    assert told.value.status == 400
    return told.value.code, told.value.param, told.value.message


# --- the whole ---


EMPTY = "the body is empty: send a JSON object"
NO_OBJECT = 'the body must be a JSON object, like {"model": …}'


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (b"", EMPTY),
        (b"[]", NO_OBJECT),
        (b'[{"model": "m"}]', NO_OBJECT),
        (b'"text"', NO_OBJECT),
        (b"null", NO_OBJECT),
        (b"1", NO_OBJECT),
        (b"\xff", "the body is not valid UTF-8 at byte 0"),
        (b'{"a":"\xed\xa0\x80"}', "the body is not valid UTF-8 at byte 6"),
        ("{}".encode("utf-16"), "the body is not valid UTF-8 at byte 0"),
        ("{}".encode("utf-32"), "the body is not valid UTF-8 at byte 0"),
    ],
)
def test_what_is_no_object_of_json_is_refused_in_a_sentence(sent: bytes, sentence: str) -> None:
    assert refused(body.decode, sent) == ("invalid_json", None, sentence)


@pytest.mark.parametrize(
    "sent",
    [b" ", b"{", b'{"a":1', b"{}x", b"{} {}", b'{"a":1,}', b"{'a':1}", b'{"a":tru}', b'{"a":01}', b'{"a":NaN}',
     b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":"\x00"}', b'{"a":"\n"}', b'{"a":"\\x"}', b"\xef\xbb\xbf{}",
     b'{"a":"\\ud800"}', b'{"a":"\\udc00"}', b'{"\\ud800":1}', "{}".encode("utf-16-le")],
)  # fmt: skip
def test_json_is_taken_strictly(sent: bytes) -> None:
    code, param, sentence = refused(body.decode, sent)
    assert (code, param) == ("invalid_json", None)
    assert sentence.startswith("the body is not valid JSON: ")


@given(st.binary(max_size=60))
def test_no_bytes_do_more_than_be_refused(sent: bytes) -> None:
    try:
        found = body.decode(sent)
    except InvalidJson:
        return
    assert set(found) == set(json.loads(sent))


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.text(), st.lists, max_leaves=8)))
def test_values_stay_as_the_caller_wrote_them(value: dict[str, Any]) -> None:
    found = body.decode(json.dumps(value, indent=1).encode())
    assert {name: json.loads(bytes(raw)) for name, raw in found.items()} == value


def test_a_number_that_no_float_holds_is_left_for_who_reads_it() -> None:
    assert bytes(body.decode(b'{"seed": ' + b"9" * 5000 + b"}")["seed"]) == b"9" * 5000


# --- depth ---

TOO_DEEP = ("json_too_deep", None, f"the body nests deeper than {MAX_DEPTH} levels")

plain = st.text(alphabet='[]{}"\\/a\n', max_size=8) | st.integers() | st.none()


@st.composite
def nested(draw: st.DrawFn) -> dict[str, Any]:
    """An object up to thirty levels past the limit, with brackets, quotes and backslashes in its strings and keys."""
    value: Any = draw(plain)
    for _ in range(draw(st.sampled_from([0, 1, 3, *range(MAX_DEPTH - 4, MAX_DEPTH + 4), MAX_DEPTH + 30]))):
        beside = draw(plain)
        value = [beside, value] if draw(st.booleans()) else {str(beside): value}
    return {"a": value}


def depth(value: Any) -> int:
    """How deep a value nests, said in the plainest way."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(nested())
def test_depth_is_that_of_the_value_whatever_its_strings_hold(value: dict[str, Any]) -> None:
    sent = msgspec.json.encode(value)
    if depth(value) > MAX_DEPTH:
        assert refused(body.decode, sent) == TOO_DEEP
    else:
        assert body.decode(sent)


def test_as_many_levels_as_the_limit_pass_and_one_more_does_not() -> None:
    def levels(count: int) -> bytes:
        return b'{"a":' + b"[" * (count - 1) + b"]" * (count - 1) + b"}"

    assert body.decode(levels(MAX_DEPTH))
    assert refused(body.decode, levels(MAX_DEPTH + 1)) == TOO_DEEP


@pytest.mark.parametrize(
    "sent",
    [
        b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
        b'{"a":' * 200_000,
        b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"a":[' + b"[]," * 200_000 + b"[]]}",
        b'{"a":"' + b'\\"[' * 200_000 + b'"}',
        b"{" + b",".join(b'"k%d":{}' % number for number in range(100_000)) + b"}",
    ],
    ids=["objects", "objects never closed", "arrays", "wide", "brackets in a string", "many keys"],
)
def test_hostile_nesting_costs_little(sent: bytes) -> None:
    begun = time.process_time()
    try:
        body.decode(sent)
    except InvalidJson as error:
        assert error.code == "json_too_deep"
    assert time.process_time() - begun < 0.25


# --- one value ---

SENT = body.decode(
    b'{"text":"x","whole":1,"float":1.5,"point":1.0,"yes":true,"none":null,"list":["a",1],"deep":[{"role":"a","n":[1]}],'
    b'"nul":"a\\u0000b","huge":' + b"9" * 5000 + b',"endless":1e999,"object":{"a":1}}'
)


@pytest.mark.parametrize(
    ("name", "kind", "param", "sentence"),
    [
        ("text", int, "text", "'text': expected int, got str"),
        ("text", bool, "text", "'text': expected bool, got str"),
        ("whole", str, "whole", "'whole': expected str, got int"),
        ("whole", bool, "whole", "'whole': expected bool, got int"),
        ("float", int, "float", "'float': expected int, got float"),
        ("point", int, "point", "'point': expected int, got float"),
        ("yes", int, "yes", "'yes': expected int, got bool"),
        ("object", list[str], "object", "'object': expected array, got object"),
        ("list", list[str], "list[1]", "'list': expected str, got int"),
        ("huge", int, "huge", "'huge': Integer value out of range"),
        ("huge", float, "huge", "'huge': Number out of range"),
        ("endless", float, "endless", "'endless': Number out of range"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_place(name: str, kind: Any, param: str, sentence: str) -> None:
    assert refused(body.read, SENT, name, kind) == ("invalid_value", param, sentence)


@pytest.mark.parametrize("name", ["none", "absent"])
def test_null_and_nothing_are_the_same(name: str) -> None:
    assert body.read(SENT, name, str) is None
    assert refused(body.need, SENT, name, str) == ("missing_required_parameter", name, f"'{name}' is required")


def test_a_union_is_told_in_words() -> None:
    assert refused(body.read_any, SENT, "object", float | str) == (
        "invalid_value", "object", "'object': expected float | str, got object",
    )  # fmt: skip
    assert body.read_any(SENT, "text", float | str) == "x"
    assert body.read_any(SENT, "float", float | str) == 1.5


def test_a_nul_is_in_no_text() -> None:
    assert refused(body.text, SENT, "nul") == ("invalid_value", "nul", "'nul' must not hold a NUL character")
    assert body.text(SENT, "text") == "x"


def test_a_whole_number_lies_in_its_range() -> None:
    assert body.whole_number(SENT, "whole", 1, 1) == 1
    assert body.whole_number(SENT, "none", 1, 1) is None
    for low, high in ((2, 3), (-1, 0)):
        assert refused(body.whole_number, SENT, "whole", low, high) == (
            "invalid_value", "whole", f"'whole' must be a whole number from {low} to {high}, not 1",
        )  # fmt: skip


def test_values_are_decoded_without_those_left_out() -> None:
    assert body.decoded(body.decode(b'{"a":1,"b":[1,{"c":null}],"d":1.5}'), frozenset({"a"})) == {
        "b": [1, {"c": None}],
        "d": 1.5,
    }


def test_what_cannot_be_decoded_is_the_caller_s_fault() -> None:
    assert refused(body.decoded, SENT)[0] == "invalid_json"


@given(st.dictionaries(st.text(min_size=1), st.integers() | st.floats() | st.text() | st.lists(st.booleans())))
def test_reading_never_does_worse_than_refuse(value: dict[str, Any]) -> None:
    sent = msgspec.json.encode(value)
    found = body.decode(sent)
    for name in value:
        for kind in (str, int, bool, float, list[str], dict[str, Any]):
            try:
                body.read(found, name, kind)  # type: ignore[arg-type]
            except InvalidRequest as error:
                assert (error.param or "").startswith(name)


@pytest.mark.parametrize("piece", [b'\\"', b'a\\"', b'"', b"\\", b"[", b'["'])
def test_the_depth_of_nonsense_is_found_in_linear_time(piece: bytes) -> None:
    with pytest.raises(InvalidJson):
        body.decode(b'{"a": "' + b"[" * 65 + piece * (4_000_000 // len(piece)))
