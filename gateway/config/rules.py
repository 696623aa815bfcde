"""What a single value must be, and the words that say so. The types of the tree's fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from gateway.types import Kind, WebhookEvent

KIND_SYNONYMS: Final[Mapping[str, Kind]] = {
    "text_to_text": "t2t",
    "text_to_image": "t2i",
    "image_to_image": "i2i",
    "text_to_video": "t2v",
    "image_to_video": "i2v",
    "first_last_frame_to_video": "flf2v",
    "reference_image_to_video": "ref2v",
    "text_to_music": "t2m",
    "text_to_speech": "tts",
}
"""Long names of kinds, accepted wherever a kind is."""

PLACEHOLDERS: Final = frozenset(
    {
        *("changeme", "change-me", "change_me", "changeit", "placeholder", "password", "secret-key", "api-key"),
        *("your-key", "your-key-here", "your-api-key", "your_api_key", "yourapikey", "my-api-key", "example-key"),
        *("12345678", "123456789", "1234567890"),
    }
)
"""Keys that stand in many an example, and so protect nothing."""

_SIZE: Final = re.compile(r"([0-9]{1,5})[x:]([0-9]{1,5})")
LONGEST_WEBHOOK_URL: Final = 2048
FEWEST_KEY_CHARACTERS: Final = 8
FEWEST_MASTER_KEY_CHARACTERS: Final = 32
FEWEST_DISTINCT_IN_KEY: Final = 4
FEWEST_DISTINCT_IN_MASTER_KEY: Final = 8


def fault(message: str, *, shown: bool = False) -> PydanticCustomError:
    """A problem in our own words. `shown`: whether the value may be told after them."""
    return PydanticCustomError("rule", "{message}", {"message": message, "shown": shown})


def must_be(what: str, *, shown: bool = True) -> WrapValidator:
    """Say `must be <what>` about whatever the type before it objects to."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise fault(f"must be {what}", shown=shown) from None

    return WrapValidator(check)


def base_path(info: ValidationInfo) -> Path:
    """The folder that relative paths are relative to: the context's `cwd`, else the process's own."""
    return Path((info.context or {}).get("cwd", ".")).absolute()


def _no_flag(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError
    return value


def _several(value: object) -> object:
    """What may be one or a list of several, as a list. Text stays text, and `true` no number."""
    found = value if isinstance(value, list | tuple) else [value]
    if not found or not all(isinstance(one, str | int | float) for one in found):
        raise ValueError
    return found


def _kind(value: object) -> object:
    return KIND_SYNONYMS.get(value, value) if isinstance(value, str) else value


def is_size(value: str) -> bool:
    """Whether it is a ratio like `16:9` or pixels like `1280x720`."""
    found = _SIZE.fullmatch(value)
    return found is not None and all(map(int, found.groups()))


def _mime(value: str) -> str:
    """`png` is short for `image/png`."""
    return value.lower() if "/" in value else f"image/{'jpeg' if value.lower() == 'jpg' else value.lower()}"


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    _ = parts.port  # raises ValueError where it is none
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError
    if any(character.isspace() for character in value):
        raise ValueError
    return value.rstrip("/")


def _webhook_url(value: str) -> str:
    parts = urlsplit(value)
    _ = parts.port
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.fragment:
        raise ValueError
    if len(value) > LONGEST_WEBHOOK_URL or any(character.isspace() for character in value):
        raise ValueError
    return value


def _origin(value: str) -> str:
    if urlsplit(value).path:
        raise ValueError
    return value.lower()


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, OSError) as exc:  # a folder's name is an OSError
        raise ValueError from exc
    return value


def _directory(path: Path, info: ValidationInfo) -> Path:
    if path.parts[:1] == ("~",):
        raise fault("must be a path without ~; write ${HOME} in its place")
    return base_path(info) / path


def _database_url(value: str, info: ValidationInfo) -> str:
    scheme, _, rest = value.partition("://")
    if scheme in ("postgresql", "postgres", "postgresql+asyncpg") and rest:
        return f"postgresql+asyncpg://{rest}"
    if scheme in ("sqlite", "sqlite+aiosqlite") and rest.startswith("/") and rest[1:] not in ("", ":memory:"):
        return f"sqlite+aiosqlite:///{_directory(Path(rest[1:]), info)}"
    raise fault("must begin with postgresql:// or be sqlite:///<path of a file>")


def _redis_url(value: str) -> str:
    if not value.startswith(("redis://", "rediss://", "unix://")) or len(value.partition("://")[2]) == 0:
        raise fault("must begin with redis://, rediss:// or unix://")
    return value


def _storage_url(value: str) -> str:
    scheme, _, rest = value.partition("://")
    if (scheme in ("s3", "oss", "gs", "az") and rest) or (scheme == "file" and rest.startswith("/")):
        return value
    raise fault("must begin with file:///, s3://, oss://, gs:// or az://")


def _caller_key(secret: SecretStr) -> SecretStr:
    key = secret.get_secret_value()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise fault("may hold only plain ASCII characters and no spaces: it travels in a header")
    bare = key.lower().removeprefix("sk-")
    if {key.lower(), bare} & PLACEHOLDERS or (bare and set(bare) <= {"x", "*", "."}):
        raise fault("is a well-known placeholder; make a key with: openssl rand -hex 24")
    if len(key) < FEWEST_KEY_CHARACTERS:
        raise fault(f"is shorter than {FEWEST_KEY_CHARACTERS} characters; make a key with: openssl rand -hex 24")
    if len(set(bare)) < FEWEST_DISTINCT_IN_KEY:
        raise fault("is too simple; make a key with: openssl rand -hex 24")
    return secret


def _master_key(secret: SecretStr) -> SecretStr:
    key = secret.get_secret_value()
    if len(key) < FEWEST_MASTER_KEY_CHARACTERS:
        raise fault(
            f"must have at least {FEWEST_MASTER_KEY_CHARACTERS} characters; make one with: openssl rand -hex 32"
        )
    repeats = any(key.lower().startswith(word * 2) for word in PLACEHOLDERS)
    if len(set(key)) < FEWEST_DISTINCT_IN_MASTER_KEY or repeats:
        raise fault("is a well-known or too simple value; make one with: openssl rand -hex 32")
    return secret


def _trimmed(secret: SecretStr) -> SecretStr:
    """Secrets read from files end in a line feed that no header can carry."""
    return SecretStr(secret.get_secret_value().strip())


NOT_A_FLAG = BeforeValidator(_no_flag)
"""YAML's `true` is no number, although Python thinks so."""

Flag = Annotated[bool, must_be("true or false")]
Days = Annotated[int, Field(ge=1), NOT_A_FLAG, must_be("a whole number of at least 1 (days)")]
Quota = Annotated[int, Field(ge=0), NOT_A_FLAG, must_be("a whole number of at least 0")]
Count = Annotated[int, Field(ge=1), NOT_A_FLAG, must_be("a whole number of at least 1")]
Whole = Annotated[int, NOT_A_FLAG, must_be("a whole number")]
HeaderBytes = Annotated[int, Field(ge=1024), NOT_A_FLAG, must_be("a whole number of at least 1024")]
LinkSeconds = Annotated[int, Field(ge=1, le=86400), NOT_A_FLAG, must_be("a whole number from 1 to 86400")]
Port = Annotated[
    int, Field(ge=0, le=65535), NOT_A_FLAG, must_be("a whole number from 1 to 65535, or 0 for any free port")
]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False), NOT_A_FLAG, must_be("a number above 0")]
SecondsOrNone = Annotated[float, Field(ge=0, allow_inf_nan=False), NOT_A_FLAG, must_be("a number of at least 0")]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False), NOT_A_FLAG, must_be("a number above 0")]

Rate = Annotated[float, Field(ge=0, allow_inf_nan=False), NOT_A_FLAG, must_be("a number of at least 0")]
Currency = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z][A-Za-z_-]{0,15}$"),
    must_be("a unit of 1 to 16 letters, like USD, CNY, credits or points"),
]
Wanted = Annotated[
    tuple[str | float | bool, ...],
    BeforeValidator(_several),
    must_be("text, a number, true or false, or a list of such"),
]
Plain = Annotated[bool | int | float | str, must_be("text, a number, true or false")]
Number = Annotated[float, Field(allow_inf_nan=False), NOT_A_FLAG, must_be("a number")]
ParameterName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$"),
    must_be("a name of 1 to 64 letters, digits and _ . -"),
]
FileType = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9.+-]+(/[A-Za-z0-9.+-]+)?$"),
    AfterValidator(_mime),
    must_be("a file type like png or image/png"),
]
Share = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False), NOT_A_FLAG, must_be("a number from 0 to 10")]
Hour = Annotated[int, Field(ge=0, le=23), NOT_A_FLAG, must_be("a whole number from 0 to 23")]
Zone = Annotated[str, AfterValidator(_zone), must_be("a time zone like UTC or Asia/Shanghai")]

Text = Annotated[str, StringConstraints(min_length=1), must_be("text, not empty and in quotes if it is all digits")]
Name = Annotated[
    str,
    StringConstraints(pattern=r"^[!-.0-~](?:[ -.0-~]*[!-.0-~])?$", max_length=64),
    must_be("a name of 1 to 64 plain ASCII characters without '/'"),
]
Tag = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$", max_length=64),
    must_be("a tag of 1 to 64 letters, digits and _ . : -"),
]
Label = Annotated[str, StringConstraints(max_length=200), must_be("text of at most 200 characters")]
Host = Annotated[str, StringConstraints(pattern=r"^[^\s/]+$"), must_be("a host name or an address to listen on")]
KindName = Annotated[Kind, BeforeValidator(_kind), must_be(f"one of {', '.join(get_args(Kind))}")]
HttpUrl = Annotated[
    str, AfterValidator(_http_url), must_be("a URL that begins with http:// or https:// and has no query", shown=False)
]
WebhookUrl = Annotated[
    str, AfterValidator(_webhook_url), must_be("a URL that begins with http:// or https://", shown=False)
]
Origin = Annotated[HttpUrl, AfterValidator(_origin), must_be("scheme, host and port only, like http://10.0.0.5:8080")]
EventName = Annotated[WebhookEvent, must_be(f"one of {', '.join(get_args(WebhookEvent))}")]
RedisUrl = Annotated[str, must_be("a URL", shown=False), AfterValidator(_redis_url)]
Directory = Annotated[Path, must_be("the path of a folder"), AfterValidator(_directory)]
DatabaseUrl = Annotated[str, must_be("a URL", shown=False), AfterValidator(_database_url)]
StorageUrl = Annotated[str, must_be("a URL", shown=False), AfterValidator(_storage_url)]
Secret = Annotated[SecretStr, must_be("text, in quotes if it is all digits", shown=False)]
Credential = Annotated[Secret, AfterValidator(_trimmed)]
CallerKey = Annotated[Secret, AfterValidator(_caller_key)]
MasterKey = Annotated[Secret, AfterValidator(_master_key)]
