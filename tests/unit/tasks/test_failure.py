"""What is kept of a failure with its task, and told again later, in whatever language."""

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway import errors
from gateway.errors import GatewayError
from gateway.tasks.failure import error_of, failure_of
from gateway.tasks.task import DETAIL_CHARACTERS, Task, told
from gateway.types import Alternative
from gateway.wire import errors as wire_errors

ALTERNATIVES = (
    Alternative("m2", "It takes 7 s.", {"amount": 0.2, "currency": "EUR", "exact": True}),
    Alternative("m3", "x"),
)


def task(kept: dict[str, Any] | None = None, state: str = "failed") -> Task:
    found = SimpleNamespace(id="task_1", chat_id="chat_1", error=kept, state=state)
    return cast(Task, found)


def through_the_database(error: GatewayError) -> GatewayError:
    return failure_of(task(json.loads(json.dumps(told(error)))))


def some_errors() -> list[GatewayError]:
    unsupported = errors.Unsupported("'n' must be 1", param="n", allowed=(1, 2.5, "x"), nearest="1")
    unsupported.alternatives = ALTERNATIVES
    failed = errors.GenerationFailed("It came to nothing.", advice="Look", detail="its words")
    failed.alternatives = ALTERNATIVES[:1]
    return [unsupported, failed, errors.Unsupported(allowed=("x",)), errors.TaskExpired(), errors.ContentRefused("no")]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("error", some_errors(), ids=lambda one: type(one).__name__)
def test_a_failure_is_told_later_as_it_would_have_been_at_once(error: GatewayError, language: str) -> None:
    later = through_the_database(error)
    assert later.status == error.status
    for admin in (False, True):
        at_once = wire_errors.of_task(error, admin=admin, language=language)
        assert wire_errors.of_task(later, admin=admin, language=language) == at_once
    assert (later.task_id, later.chat_id) == ("task_1", "chat_1")


def test_what_a_failure_does_not_know_is_not_kept() -> None:
    assert told(errors.InvalidRequest("'n' must be 1", param="n")) == {
        "code": "invalid_value",
        "message": "'n' must be 1",
        "type": "invalid_request_error",
        "param": "n",
        "status": 400,
    }


@pytest.mark.parametrize("kept", [{"code": "result_unavailable", "message": "gone"}, {"code": "a_stranger_s"}])
def test_what_an_older_gateway_kept_can_still_be_told(kept: dict[str, Any]) -> None:
    error = error_of(kept, task(kept))
    assert (error.code, error.status, error.alternatives) == (kept["code"], 502, ())
    assert wire_errors.sentence(error).startswith(kept.get("message", str(errors.GenerationFailed())).rstrip("."))
    assert wire_errors.tell(error, "zh").language == "zh"


def test_a_task_that_lost_its_reason_still_failed() -> None:
    assert failure_of(task(None)).code == "generation_failed"
    assert (failure_of(task({}, "cancelled")).code, failure_of(task({}, "cancelled")).status) == ("cancelled", 409)


def test_an_upstream_s_sentence_is_kept_without_what_is_nobody_s_business() -> None:
    kept = told(errors.ContentRefused("bad, see https://store.internal/k?sig=1", detail="d" * 5000))
    assert kept["message"] == "bad, see […]"
    assert len(kept["detail"]) == DETAIL_CHARACTERS
