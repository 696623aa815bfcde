"""The gateway itself has nothing to try with, or cannot be what its operator asks for."""

from __future__ import annotations

from gateway.errors.base import GatewayError


class Unavailable(GatewayError):
    """The gateway cannot serve this now."""

    status, code = 503, "unavailable"

    def __init__(self, message: str | None = None, *, retry_after: float | None = 1.0, **fields: str | None) -> None:
        super().__init__(message, retry_after=retry_after, sent="no", **fields)


class NoAccount(Unavailable):
    """No account is configured that could serve this."""

    code = "no_account_available"


class AllResting(Unavailable):
    """Every account that could serve this rests or is busy."""

    code = "no_account_available"


class Draining(Unavailable):
    """The gateway is shutting down."""

    code = "shutting_down"


class Overloaded(Unavailable):
    """The gateway is too busy."""

    code = "overloaded"


class StorageUnavailable(Unavailable):
    """The object storage cannot be used now."""

    code = "storage_unavailable"


class DatabaseUnavailable(Unavailable):
    """The database cannot be used now."""

    code = "database_unavailable"


class ConfigError(Exception):
    """The configuration cannot be used. The message names the key's path and what would be right."""


class SealBroken(ConfigError):
    """What is sealed opens with none of the master keys that are set."""


class NoMasterKey(ConfigError):
    """There is no master key to seal with."""
