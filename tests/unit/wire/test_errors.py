import json
from typing import Any

import pytest

from gateway import errors
from gateway.errors import GatewayError
from gateway.wire import errors as wire_errors


def every_class(base: type[GatewayError] = GatewayError) -> list[type[GatewayError]]:
    return [base, *(one for below in base.__subclasses__() for one in every_class(below))]


CLASSES = sorted(set(every_class()), key=lambda one: one.__name__)


def openai(error: GatewayError) -> Any:
    return json.loads(wire_errors.openai(error))


def native(error: GatewayError, **options: Any) -> Any:
    return json.loads(wire_errors.native(error, **options))


def headers(error: GatewayError) -> dict[str, str]:
    found = wire_errors.headers(error)
    assert len(dict(found)) == len(found)
    return {name.decode(): value.decode() for name, value in found}


def test_the_openai_object_has_its_four_members_always() -> None:
    assert openai(errors.InvalidRequest("'n' must be 1", param="n")) == {
        "error": {"message": "'n' must be 1", "type": "invalid_request_error", "param": "n", "code": "invalid_value"}
    }
    advice = "Send it again in 1 s."
    assert openai(errors.Overloaded()) == {
        "error": {
            "message": f"The gateway is too busy. {advice}", "type": "server_error", "param": None,
            "code": "overloaded", "advice": advice,
        }
    }  # fmt: skip


def test_a_task_that_goes_on_is_named() -> None:
    error = errors.WaitTimeout("it goes on", task_id="task_1", chat_id="chat_1")
    advice = "Ask GET /api/tasks/status/task_1 for it."
    assert openai(error)["error"]["task_id"] == "task_1"
    assert native(error) == {
        "error": f"it goes on. {advice}", "code": "timeout", "task_id": "task_1", "chatId": "chat_1",
        "status": "timeout", "advice": advice,
    }  # fmt: skip


def test_the_native_answer_is_a_sentence_with_a_code() -> None:
    assert native(errors.InvalidRequest("'n' must be 1", param="n")) == {
        "error": "'n' must be 1", "code": "invalid_value", "param": "n",
    }  # fmt: skip
    told = native(errors.NoAccount())
    assert set(told) == {"error", "code", "advice"}
    assert told["error"] == f"No account is configured that could serve this. {told['advice']}"


def test_the_upstream_s_own_words_are_for_admins() -> None:
    error = errors.UpstreamFailed(detail="500 stack trace")
    assert "detail" not in native(error)
    assert native(error, admin=True)["detail"] == "500 stack trace"
    assert "stack trace" not in wire_errors.openai(error).decode()


def test_who_served_is_not_told_in_the_body() -> None:
    error = errors.RateLimited()
    error.upstream, error.account = "ark", "ark/secret-name"
    error.attempts = (errors.Attempt("ark", "ark/secret-name", "x", 1.0),)
    assert b"secret-name" not in wire_errors.openai(error) + wire_errors.native(error, admin=True)


def test_advice_follows_as_a_sentence_of_its_own() -> None:
    assert wire_errors.sentence(errors.Draining("Going down.", advice="Send it again")) == "Going down. Send it again"  # type: ignore[arg-type]
    assert wire_errors.sentence(errors.NotFound("no task 'x'", advice="Look")) == "no task 'x'. Look"
    assert wire_errors.sentence(errors.InvalidRequest("'n' must be 1")) == "'n' must be 1"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.InvalidRequest(), {"x-should-retry": "false"}),
        (errors.Unauthorized(), {"x-should-retry": "false", "www-authenticate": "Bearer"}),
        (errors.LimitExceeded(retry_after=3.2), {"retry-after": "4"}),
        (errors.RateLimited(), {"retry-after": "1"}),
        (errors.RateLimited(retry_after=0.01), {"retry-after": "1"}),
        (errors.QuotaExhausted(retry_after=3600), {"retry-after": "3600", "x-should-retry": "false"}),
        (errors.Overloaded(retry_after=5), {"retry-after": "5"}),
        (errors.Overloaded(retry_after=None), {"retry-after": "1"}),
        (errors.UpstreamFailed(), {}),
        (errors.UpstreamFailed(retry_after=7), {"retry-after": "7"}),
        (errors.SubmitOutcomeUnknown(), {"x-should-retry": "false"}),
        (errors.WaitTimeout(), {"x-should-retry": "false"}),
        (errors.GenerationFailed(), {"x-should-retry": "false"}),
    ],
    ids=lambda one: one.code if isinstance(one, GatewayError) else "",
)
def test_headers_say_when_to_come_back_and_whether_it_makes_sense(error: Any, expected: dict[str, str]) -> None:
    assert headers(error) == expected | {"content-language": "en", "vary": "Accept-Language"}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_can_be_told(kind: type[GatewayError]) -> None:
    error = kind()
    assert 400 <= error.status < 600
    told = openai(error)["error"]
    assert set(told) - {"advice"} == {"message", "type", "param", "code"}
    assert told["message"].endswith((".", told.get("advice", "."))) or "Bearer" in told["message"]
    assert native(error)["error"] == told["message"]
    assert native(error)["code"] == told["code"] == error.code != ""
    if error.status in (429, 503):
        assert int(headers(error)["retry-after"]) >= 1


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_what_was_paid_for_or_cannot_help_is_not_to_be_sent_again(kind: type[GatewayError]) -> None:
    error = kind()
    if error.fault is errors.Fault.CALLER and error.status != 429 and error.resend_helps is not True:
        assert headers(error)["x-should-retry"] == "false"
    if isinstance(error, errors.GenerationFailed | errors.SubmitOutcomeUnknown | errors.TaskExpired):
        assert headers(error)["x-should-retry"] == "false"
