import asyncio

import pytest
from obstore.exceptions import GenericError, PermissionDeniedError, UnauthenticatedError

from gateway.errors import NotFound, StorageUnavailable
from gateway.storage.border import border, translated, unavailable
from gateway.storage.troubles import Trouble, trouble_of

pytestmark = pytest.mark.anyio

REFUSAL = "Server returned non-2xx status code: {}: <Error><Code>{}</Code></Error>"


@pytest.mark.parametrize(
    ("failure", "trouble"),
    [
        (GenericError("Unable to copy: No space left on device (os error 28)"), Trouble.FULL),
        (OSError(122, "Disk quota exceeded"), Trouble.FULL),
        (OSError(30, "Read-only file system"), Trouble.READ_ONLY),
        (OSError(13, "Permission denied"), Trouble.FORBIDDEN),
        (GenericError("Unable to open: Operation not permitted (os error 1)"), Trouble.FORBIDDEN),
        (OSError(5, "Input/output error"), Trouble.FAILED),
        (PermissionDeniedError(REFUSAL.format("403 Forbidden", "InvalidAccessKeyId")), Trouble.CREDENTIALS),
        (GenericError(REFUSAL.format("400 Bad Request", "ExpiredToken")), Trouble.EXPIRED),
        (GenericError(REFUSAL.format("400 Bad Request", "InvalidToken")), Trouble.CREDENTIALS),
        (PermissionDeniedError(REFUSAL.format("403 Forbidden", "RequestTimeTooSkewed")), Trouble.CLOCK),
        (GenericError(REFUSAL.format("403 Forbidden", "QuotaExceeded")), Trouble.FULL),
        (GenericError(REFUSAL.format("507 Insufficient Storage", "Odd")), Trouble.FULL),
        (GenericError(REFUSAL.format("503 Service Unavailable", "SlowDown")), Trouble.OVERLOADED),
        (GenericError(REFUSAL.format("500 Internal Server Error", "InternalError")), Trouble.OVERLOADED),
        (GenericError(REFUSAL.format("429 Too Many Requests", "TooManyRequests")), Trouble.OVERLOADED),
        (GenericError(REFUSAL.format("409 Conflict", "Odd")), Trouble.FAILED),
        (GenericError(REFUSAL.format("400 Bad Request", "AuthorizationHeaderMalformed")), Trouble.REGION),
        (
            GenericError("redirect without LOCATION, this normally indicates an incorrectly configured region"),
            Trouble.REGION,
        ),
        (OSError("Server returned non-2xx status code: 403 Forbidden: x"), Trouble.REFUSED),
        (OSError("Server returned non-2xx status code: 401 Unauthorized: x"), Trouble.CREDENTIALS),
        (PermissionDeniedError("no words"), Trouble.REFUSED),
        (UnauthenticatedError("no words"), Trouble.REFUSED),
        (GenericError("HTTP error: error sending request … kind: Timeout, source: reqwest::Error"), Trouble.SLOW),
        (GenericError("HTTP error: error sending request … InvalidCertificate(Expired)"), Trouble.CERTIFICATE),
        (GenericError('HTTP error: error sending request … "dns error"'), Trouble.UNKNOWN_NAME),
        (GenericError("Error performing PUT http://h/b: error sending request"), Trouble.UNREACHABLE),
        (
            GenericError("Error performing PUT http://169.254.169.254/latest/api/token: error sending request"),
            Trouble.NO_CREDENTIALS,
        ),
        (TimeoutError(), Trouble.SLOW),
        (FileNotFoundError("no words"), Trouble.NO_BUCKET),
        (GenericError("no words"), Trouble.FAILED),
    ],
    ids=lambda value: value.name if isinstance(value, Trouble) else str(value)[-40:],
)
def test_a_failure_is_known_by_what_is_told_of_it(failure: Exception, trouble: Trouble) -> None:
    assert trouble_of(failure) is trouble


@pytest.mark.parametrize("trouble", Trouble, ids=lambda trouble: trouble.name)
def test_each_trouble_is_a_sentence_and_an_advice(trouble: Trouble) -> None:
    for text in (trouble.sentence.format(doing="write"), trouble.advice):
        assert text.endswith(".")
        assert "{" not in text
    assert sum(other.sentence == trouble.sentence for other in Trouble) == 1


def test_a_full_store_has_a_code_of_its_own() -> None:
    error = unavailable(OSError(28, "No space left on device"), "write")
    assert (error.status, error.code, error.detail) == (503, "storage_full", "No space left on device")
    error = unavailable(OSError(30, "Read-only file system"), "write")
    assert (error.status, error.code, error.detail) == (503, "storage_unavailable", "Read-only file system")


def test_the_detail_holds_status_and_code_and_no_more() -> None:
    error = unavailable(
        GenericError(
            "Generic S3 error: Error performing PUT https://bucket.host/key in 2s - "
            "Server returned non-2xx status code: 403 Forbidden: "
            "<Error><Code>InvalidAccessKeyId</Code><AWSAccessKeyId>AKIA1</AWSAccessKeyId></Error>"
        ),
        "write",
    )
    assert error.detail == "403 Forbidden, InvalidAccessKeyId"


def test_what_is_missing_is_an_object_or_all_of_the_store() -> None:
    for doing in ("read", "delete"):
        with pytest.raises(NotFound), translated(doing):
            raise FileNotFoundError(REFUSAL.format("404 Not Found", "NoSuchKey"))
        with pytest.raises(StorageUnavailable, match="no such bucket"), translated(doing):
            raise FileNotFoundError(REFUSAL.format("404 Not Found", "NoSuchBucket"))
    for doing in ("write", "list", "sign"):
        with pytest.raises(StorageUnavailable, match="no such bucket"), translated(doing):
            raise FileNotFoundError("not found")


async def test_a_step_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(StorageUnavailable, match="did not answer in time"):
        async with border("read", 0):
            await asyncio.Event().wait()
