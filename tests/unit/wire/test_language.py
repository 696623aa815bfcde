import ast
import json
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.errors import GatewayError
from gateway.types import Alternative
from gateway.wire import errors as wire_errors
from gateway.wire.language import ENGLISH, Entry, Words, filled, preferred, spoken, words_of

ROOT = Path(__file__).parents[3] / "gateway"
CHINESE = "zh"
NO_CODES = {"code", "error_type", "is missing", "ok", ""}
"""Strings that stand where codes do and are none."""
SELF_EVIDENT = {
    "client_closed_request",
    "invalid_api_key",
    "invalid_host",
    "invalid_json",
    "invalid_request",
    "invalid_url",
    "invalid_value",
    "json_too_deep",
    "method_not_allowed",
    "missing_file",
    "missing_required_parameter",
    "no_master_key",
    "unknown_chat_type",
    "unknown_parameter",
    "unsupported_encoding",
    "unsupported_media_type",
}
"""Codes whose English sentences say what to do by saying what would be right; `GatewayError` and `RequestError` too."""
SECRET = "sk-abcdef123456"
TRACE = 'Traceback (most recent call last):\n  File "/srv/app.py", line 3, in run\n    raise Boom\nBoom'


# --- which language ---


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("zh", "zh"),
        ("zh-CN", "zh"),
        ("ZH-hans-cn", "zh"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("en;q=0.5, zh;q=0.7", "zh"),
        ("en ; q=0.5 , zh ; q = 0.7", "zh"),
        ("zh, en", "zh"),
        ("en, zh", "en"),
        ("fr", "en"),
        ("fr, zh;q=0.1", "zh"),
        ("*", "en"),
        ("fr, *;q=0.1", "en"),
        ("*;q=0.1, zh;q=0.2", "zh"),
        ("en;q=0, *", "zh"),
        ("en;q=0, zh;q=0, *", "en"),
        ("zh;q=0", "en"),
        ("zh;q=0.0, zh-CN", "en"),
        ("", "en"),
        ("zh;q=2", "en"),
        ("zh;q=x, zh-TW;q=0.4", "zh"),
        ("zh_CN", "en"),
        (";;,,=", "en"),
        ("../zh", "en"),
    ],
)
def test_the_language_asked_for_most_is_spoken_if_there_are_words_for_it(header: str, expected: str) -> None:
    assert preferred([(b"host", b"x"), (b"accept-language", header.encode())]) == expected


def test_who_asks_for_none_is_told_in_english() -> None:
    assert preferred([]) == preferred([(b"accept", b"zh")]) == ENGLISH


def test_two_headers_are_one_list() -> None:
    assert preferred([(b"accept-language", b"en;q=0.1"), (b"accept-language", b"zh;q=0.2")]) == "zh"


def test_a_header_without_end_is_looked_at_from_its_beginning_only() -> None:
    assert preferred([(b"accept-language", b"zh," + b"a," * 50_000)]) == "zh"
    assert preferred([(b"accept-language", b"fr," * 50_000 + b"zh")]) == ENGLISH


@given(st.binary(max_size=200))
def test_any_header_finds_a_language_that_is_spoken(header: bytes) -> None:
    assert preferred([(b"accept-language", header)]) in spoken()


# --- templates ---


def test_a_template_says_what_is_known_and_leaves_out_the_rest() -> None:
    template = "Wait[ {wait}|, please][: {said}]."
    assert filled(template, {}) == "Wait, please."
    assert filled(template, {"wait": "3 s"}) == "Wait 3 s."
    assert filled(template, {"wait": "3 s", "said": "no"}) == "Wait 3 s: no."
    assert filled("[{a} and {b}]", {"a": "x"}) == ""


@given(st.text(max_size=40))
def test_what_stands_in_a_value_is_no_template(value: str) -> None:
    assert filled("<[{said}]>", {"said": value}) == f"<{value}>"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "1 s"), (0.2, "1 s"), (120, "120 s"), (121, "3 min"), (7200, "120 min"), (7201, "3 h"), (1e6, "278 h")],
)
def test_a_wait_is_told_in_a_unit_of_its_size_and_never_shorter_than_it_is(seconds: float, expected: str) -> None:
    assert words_of(ENGLISH).wait(seconds) == expected


# --- every failure has its words ---


def strings(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield one.value


def codes_in(tree: ast.AST) -> Iterator[str]:
    """`code="…"` of a call, and whatever is assigned to a `code`, alone or in a row."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "code":
            yield from strings(node.value)
        elif isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
            if isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(node.targets[0].elts, node.value.elts, strict=False))
            for target, value in pairs:
                if getattr(target, "attr", getattr(target, "id", None)) == "code":
                    yield from strings(value)


@cache
def every_code() -> frozenset[str]:
    found = {code for path in ROOT.rglob("*.py") for code in codes_in(ast.parse(path.read_text("utf-8")))}
    return frozenset(found - NO_CODES)


def every_class(base: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    """All there are, those of the rooms above too."""
    for module in ("gateway.tasks.idempotency", "gateway.assets.keeping", "gateway.assets.marker"):
        import_module(module)
    yield base
    for below in base.__subclasses__():
        if below.__module__.startswith("gateway."):
            yield from every_class(below)


def every_entry(words: Words) -> Iterator[Entry]:
    yield from words.codes.values()
    yield from words.classes.values()


def test_the_scan_finds_codes_wherever_they_are_said() -> None:
    source = "raise X(code='a')\nstatus, code = 400, 'b'\nself.code = 'c'\ncode = 'd' if e else 'f'\ny(code=z)"
    assert set(codes_in(ast.parse(source))) == {"a", "b", "c", "d", "f"}
    assert {"unsupported_parameter", "storage_full", "cancelled", "upstream_timeout"} <= every_code()


def test_every_code_is_known_to_every_language() -> None:
    for language in spoken():
        assert every_code() - set(words_of(language).codes) == set(), language


def test_no_language_has_words_for_what_never_happens() -> None:
    names = {kind.__name__ for kind in every_class()}
    for language in spoken():
        words = words_of(language)
        for key in words.codes:
            code, _, kind = key.partition("/")
            assert (code in every_code(), kind == "" or kind in names) == (True, True), (language, key)
        assert set(words.classes) <= names


def test_every_code_has_advice_in_english_or_says_itself_what_would_be_right() -> None:
    words = words_of(ENGLISH)
    assert {code for code, entry in words.codes.items() if not entry.advice} == SELF_EVIDENT
    assert {name for name, entry in words.classes.items() if not entry.advice} == {"GatewayError", "RequestError"}
    assert not any(entry.sentence for entry in every_entry(words))


@pytest.mark.parametrize("language", [one for one in spoken() if one != ENGLISH])
def test_every_failure_has_a_sentence_and_advice_in_every_other_language(language: str) -> None:
    words = words_of(language)
    assert all(entry.sentence and entry.advice for entry in every_entry(words))
    for kind in every_class():
        for error in (kind(), unheard_of(kind)):
            told = wire_errors.tell(error, language)
            assert (told.language, bool(told.advice)) == (language, True), kind
            assert told.message.endswith(told.advice) and told.message != told.advice


def unheard_of(kind: type[GatewayError]) -> GatewayError:
    """An error with a code that only its own upstream knows."""
    error = kind()
    error.code = "a_code_of_a_stranger"
    return error


@pytest.mark.parametrize("language", spoken())
def test_every_template_stands_without_anything_known(language: str) -> None:
    for entry in every_entry(words_of(language)):
        for template in (entry.sentence, entry.advice):
            said = filled(template, {})
            assert not set(said) & set("[]{}|"), template
            assert said or template == entry.advice or not template
            assert "  " not in said and not said.startswith(("，", "：", "；", "或", ",", ";")), template
    chinese = words_of(CHINESE)
    assert all(filled(entry.sentence, {}) and filled(entry.advice, {}) for entry in every_entry(chinese))


@pytest.mark.parametrize("language", spoken())
def test_templates_name_only_what_errors_can_know(language: str) -> None:
    names = ("param", "said", "quoted", "wait", "allowed", "nearest", "models", "task_id", "chat_id")
    everything = {name: f"<{name}>" for name in names}
    for entry in every_entry(words_of(language)):
        for template in (entry.sentence, entry.advice):
            said = filled(template, everything)
            assert not set(said) & set("[]{}|"), template
            if "{" in template:
                assert "<" in said, template


# --- told ---


def unsupported() -> errors.Unsupported:
    error = errors.Unsupported(
        "'seconds' must be 5 or 10 with film, not 7", param="seconds", allowed=(5, 10), nearest="5"
    )
    error.alternatives = tuple(Alternative(f"film-{n}", f"It takes {n} s", {"amount": n}) for n in (7, 8, 9))
    return error


def test_what_is_allowed_and_who_else_can_is_told_beside_the_sentence() -> None:
    for told in (json.loads(wire_errors.openai(unsupported()))["error"], json.loads(wire_errors.native(unsupported()))):
        assert (told["allowed"], told["nearest"]) == ([5, 10], "5")
        assert told["alternatives"] == [
            {"model": "film-7", "why": "It takes 7 s", "price": {"amount": 7}},
            {"model": "film-8", "why": "It takes 8 s", "price": {"amount": 8}},
        ]
        assert told["advice"] == "Send 5, or 'on_unsupported': 'nearest' to have the nearest value used."


def test_values_stay_what_they_are_in_every_language() -> None:
    told = json.loads(wire_errors.openai(unsupported(), language=CHINESE))["error"]
    assert told["message"] == (
        "模型不接受参数 seconds 的这个值，可用的值：5、10，最接近的是 5。"
        "请改用 5，或发送 'on_unsupported': 'nearest' 由网关取最接近的值，也可以换用模型：film-7、film-8。"
    )
    assert (told["param"], told["code"], told["allowed"]) == ("seconds", "unsupported_value", [5, 10])


IN_CHINESE = [
    (
        errors.NotFound("no task 'task_1'", code="task_not_found"),
        "找不到任务 task_1。GET /api/tasks 会列出你的任务。",
    ),
    (
        errors.QuotaExhausted(retry_after=7201),
        "上游账号的额度已用完。额度将在 3 小时 后恢复；在此之前请换用其他模型。",
    ),
    (errors.QuotaExhausted(), "上游账号的额度已用完。请换用其他模型。"),
    (
        errors.InvalidRequest("'n' must be 1", param="n"),
        "参数 n 的值无法使用：'n' must be 1。请改正后重新发送。",
    ),
    (errors.InvalidRequest(), "请求中有一个值无法使用。请改正后重新发送。"),
    (
        errors.NoAccount("no account for 'm': 1 disabled"),
        "没有账号可以处理模型 m 的请求。请换用其他模型，或请网关管理员检查账号。",
    ),
    (
        errors.AllResting("no account for 'm': 1 busy"),
        "现在没有空闲的账号可以处理模型 m 的请求。请在 1 秒 后重试，或换用其他模型。",
    ),
    (
        errors.MethodNotAllowed("PUT is none: use GET", allowed="GET"),
        "这个地址不支持该请求方法。请使用 GET。",
    ),
]


@pytest.mark.parametrize(("error", "message"), IN_CHINESE, ids=[error.code for error, _ in IN_CHINESE])
def test_a_failure_in_chinese(error: GatewayError, message: str) -> None:
    assert wire_errors.sentence(error, CHINESE) == message
    assert dict(wire_errors.headers(error, CHINESE))[b"content-language"] == b"zh"


def test_what_an_error_advises_itself_comes_before_what_is_advised_for_its_code() -> None:
    assert wire_errors.tell(errors.ModelNotFound("no 'x'", advice="Look")).message == "no 'x'. Look"
    assert wire_errors.tell(errors.ModelNotFound("no 'x'")).message == "no 'x'. GET /v1/models lists what there is."


def test_many_values_are_named_in_part_and_told_in_full() -> None:
    error = errors.Unsupported("no", param="voice", allowed=[f"v{n}" for n in range(40)])
    assert "v11、…" in wire_errors.sentence(error, CHINESE)
    assert len(json.loads(wire_errors.native(error))["allowed"]) == 40


def test_a_task_s_error_has_its_four_members_and_what_else_is_known() -> None:
    shown = wire_errors.of_task(errors.GenerationFailed("It came to nothing.", detail="words"), language=CHINESE)
    assert set(shown) == {"code", "message", "type", "param", "advice"}
    assert wire_errors.of_task(errors.GenerationFailed(detail="words"), admin=True)["detail"] == "words"


# --- what is nobody's business ---

UPSTREAMS_OWN: Any = pytest.mark.parametrize(
    "kind", [errors.UpstreamRefusedParameter, errors.ContentRefused, errors.RefusedByUpstream, errors.ModelNotFound]
)


@pytest.mark.parametrize("language", spoken())
@UPSTREAMS_OWN
def test_an_upstream_s_sentence_is_told_without_credentials_addresses_and_stack_traces(
    kind: type[GatewayError], language: str
) -> None:
    said = (
        f"'n' is bad: {SECRET} at https://u:p@store.internal:9000/b/k?X-Sig=1 by 10.1.2.3:8080, db.local:5432\n{TRACE}"
    )
    error = kind(said, detail=f"detail of {said}")
    shown = wire_errors.openai(error, language=language) + wire_errors.native(error, language=language)
    shown += json.dumps(wire_errors.of_task(error, language=language)).encode()
    for part in (
        SECRET,
        "store.internal",
        "X-Sig",
        "10.1.2.3",
        "db.local",
        "5432",
        "Traceback",
        "app.py",
        "Boom",
        "detail",
    ):
        assert part.encode() not in shown, part
    assert b"'n' is bad" in shown or language != ENGLISH


@UPSTREAMS_OWN
def test_a_sentence_that_is_a_stack_trace_is_none(kind: type[GatewayError]) -> None:
    assert wire_errors.own_words(kind(TRACE)) == wire_errors.own_words(kind())


@pytest.mark.parametrize("text", ["use gpt-4.1 or v1.2.3", "16:9, not 21:9", "at 12:30 UTC", "0.5 to 1.5", "a\nb"])
def test_values_that_look_a_little_like_addresses_stay(text: str) -> None:
    assert wire_errors.own_words(errors.UpstreamRefusedParameter(text)) == text


@pytest.mark.parametrize("language", spoken())
def test_the_upstream_s_own_words_are_in_no_answer_but_an_admin_s(language: str) -> None:
    for kind in every_class():
        error = kind()
        error.detail = "its own words"
        told = wire_errors.openai(error, language=language) + wire_errors.native(error, language=language)
        assert b"its own words" not in told + json.dumps(wire_errors.of_task(error, language=language)).encode()
        assert b"its own words" in wire_errors.native(error, admin=True, language=language)
