"""What can be wrong with a store: how it is recognised, and what is said of it."""

from __future__ import annotations

import errno
import os
import re
from enum import Enum

from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

_STATUS = re.compile(r"status code: (\d{3}(?: [A-Z][a-z]+)*)")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_CONNECTION = re.compile(r"\bOs \{\s*code: (\d+)")


class Trouble(Enum):
    """A sentence, in which `{doing}` is what was tried, and what whoever runs the gateway can do."""

    FULL = (
        "The object storage is full.",
        "Free some space on the disk, or raise the quota of the disk or bucket.",
    )
    READ_ONLY = (
        "The object storage is read-only: it does not let the gateway write.",
        "Mount the disk so that it can be written to; a disk that failed is mounted read-only by the system.",
    )
    FORBIDDEN = (
        "The object storage does not let the gateway {doing}.",
        "Give the gateway's account, or its user on this machine, the right to; the manual lists the rights it needs.",
    )
    REFUSED = (
        "The object storage refused the gateway's credentials, or they do not let it {doing}.",
        "Look whether the access key is right, whether the bucket is its own, and which rights it has.",
    )
    CREDENTIALS = (
        "The object storage refused the gateway's credentials.",
        "Correct the access key and its secret in the gateway's environment.",
    )
    EXPIRED = (
        "The gateway's credentials for the object storage have expired.",
        "Renew the session token in the gateway's environment, or use a key that does not expire.",
    )
    NO_CREDENTIALS = (
        "The gateway has no credentials for the object storage.",
        "Set the store's access key in the gateway's environment, or give this machine a role.",
    )
    CLOCK = (
        "The object storage refused a request for its time: the clock of the gateway's machine is wrong.",
        "Set the clock, and keep it right with NTP.",
    )
    NO_BUCKET = (
        "The object storage has no such bucket or directory.",
        "Create it, or correct STORAGE_URL, the region or the endpoint.",
    )
    REGION = (
        "The bucket of the object storage is in another region than the gateway was told.",
        "Set the store's region, AWS_REGION or OSS_REGION, to the bucket's.",
    )
    OVERLOADED = (
        "The object storage failed: it is overloaded or away for now.",
        "Wait. If it lasts, look how the store is doing, and whether the bucket's request rate is limited.",
    )
    SLOW = (
        "The object storage did not answer in time.",
        "Look how the store is doing, and how good the network to it is.",
    )
    UNKNOWN_NAME = (
        "The object storage could not be reached: the name of its host is not known.",
        "Correct the endpoint or the region, or this machine's DNS.",
    )
    CERTIFICATE = (
        "The object storage could not be reached: its certificate is not trusted.",
        "Add the authority that signed it to this machine's trusted ones, or correct the endpoint.",
    )
    UNREACHABLE = (
        "The object storage could not be reached.",
        "Look whether it is running, and whether the endpoint, the port, a proxy or a firewall is in the way.",
    )
    FAILED = (
        "The object storage failed.",
        "The status or the code beside this sentence is the store's own; its manual says what they mean.",
    )

    def __init__(self, sentence: str, advice: str) -> None:
        self.sentence = sentence
        self.advice = advice


_OF_CODE = {
    "NoSuchBucket": Trouble.NO_BUCKET,
    "ContainerNotFound": Trouble.NO_BUCKET,
    "InvalidBucketName": Trouble.NO_BUCKET,
    "AccessDenied": Trouble.FORBIDDEN,
    "AllAccessDisabled": Trouble.FORBIDDEN,
    "AuthorizationFailure": Trouble.REFUSED,
    "AuthorizationPermissionMismatch": Trouble.FORBIDDEN,
    "InvalidAccessKeyId": Trouble.CREDENTIALS,
    "SignatureDoesNotMatch": Trouble.CREDENTIALS,
    "AuthenticationFailed": Trouble.CREDENTIALS,
    "InvalidSecurity": Trouble.CREDENTIALS,
    "InvalidToken": Trouble.CREDENTIALS,
    "InvalidSecurityToken": Trouble.CREDENTIALS,
    "UserDisable": Trouble.CREDENTIALS,
    "ExpiredToken": Trouble.EXPIRED,
    "TokenRefreshRequired": Trouble.EXPIRED,
    "SecurityTokenExpired": Trouble.EXPIRED,
    "RequestTimeTooSkewed": Trouble.CLOCK,
    "RequestExpired": Trouble.CLOCK,
    "PermanentRedirect": Trouble.REGION,
    "AuthorizationHeaderMalformed": Trouble.REGION,
    "IllegalLocationConstraintException": Trouble.REGION,
    "QuotaExceeded": Trouble.FULL,
    "XMinioStorageFull": Trouble.FULL,
    "SlowDown": Trouble.OVERLOADED,
    "ServerBusy": Trouble.OVERLOADED,
    "ServiceUnavailable": Trouble.OVERLOADED,
}
"""By the codes of S3 and what speaks its dialect, OSS, Google and Azure."""

_OF_TEXT = (
    (
        re.compile(r"https?://(169\.254\.169\.254|169\.254\.170\.2|metadata\.google\.internal)\b"),
        Trouble.NO_CREDENTIALS,
    ),
    (re.compile(r"incorrectly configured region"), Trouble.REGION),
    (re.compile(r"\bInvalidCertificate\b|invalid peer certificate"), Trouble.CERTIFICATE),
    (re.compile(r"dns error|failed to lookup address"), Trouble.UNKNOWN_NAME),
    (re.compile(r"kind: Timeout|operation timed out"), Trouble.SLOW),
    (re.compile(r"error sending request"), Trouble.UNREACHABLE),
)
_OF_STATUS = {"401": Trouble.CREDENTIALS, "403": Trouble.REFUSED, "429": Trouble.OVERLOADED, "507": Trouble.FULL}
_OF_ERRNO = {
    errno.ENOSPC: Trouble.FULL,
    errno.EDQUOT: Trouble.FULL,
    errno.EROFS: Trouble.READ_ONLY,
    errno.EACCES: Trouble.FORBIDDEN,
    errno.EPERM: Trouble.FORBIDDEN,
}


def trouble_of(exc: BaseException) -> Trouble:
    """What is wrong with a store that failed so. The store's own code says most, then the system, then the rest."""
    text = str(exc)
    code, number = _CODE.search(text), _os_error(exc)
    if code is not None and code[1] in _OF_CODE:
        return _OF_CODE[code[1]]
    if isinstance(exc, TimeoutError):
        return Trouble.SLOW
    if number in _OF_ERRNO:
        return _OF_ERRNO[number]
    if isinstance(exc, FileNotFoundError):
        return Trouble.NO_BUCKET
    for pattern, trouble in _OF_TEXT:
        if pattern.search(text):
            return trouble
    status = _STATUS.search(text)
    if status is not None:
        away = Trouble.OVERLOADED if status[1].startswith("5") else Trouble.FAILED
        return _OF_STATUS.get(status[1][:3], away)
    return Trouble.REFUSED if isinstance(exc, PermissionDeniedError | UnauthenticatedError) else Trouble.FAILED


def bucket_is_missing(exc: BaseException) -> bool:
    """Whether what was not found is not the object, but all of its store."""
    code = _CODE.search(str(exc))
    return code is not None and _OF_CODE.get(code[1]) is Trouble.NO_BUCKET


def reason(exc: BaseException) -> str:
    """What can be told of a failure: status, code, system error. The text itself holds buckets, hosts and key ids."""
    text = str(exc)
    told = [found[1] for pattern in (_STATUS, _CODE) if (found := pattern.search(text))]
    number = _os_error(exc)
    if number is None and (connection := _CONNECTION.search(text)):
        number = int(connection[1])
    return ", ".join(told + ([os.strerror(number)] if number is not None else [])) or type(exc).__name__


def _os_error(exc: BaseException) -> int | None:
    if isinstance(exc, OSError) and exc.errno is not None:
        return exc.errno
    named = _OS_ERROR.search(str(exc))
    return int(named[1]) if named else None
