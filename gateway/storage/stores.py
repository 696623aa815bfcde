"""URLs of stores, and how each is opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, S3Store

from gateway.errors import ConfigError
from gateway.storage import oss
from gateway.storage.troubles import reason

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig, S3Config

SCHEMES = "use file:///path, memory://, s3://bucket, oss://bucket, gs://bucket or az://container"

CLIENT: ClientConfig = {
    "allow_http": True,  # the endpoint's own scheme decides: a plain one is only ever named on purpose
    "connect_timeout": timedelta(seconds=5),
    "read_timeout": timedelta(seconds=25),  # of a request: from its beginning to the answer's, then from read to read
    "timeout": timedelta(minutes=30),
}
RETRY: RetryConfig = {
    "max_retries": 4,
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=2), "base": 2},
    "retry_timeout": timedelta(seconds=45),  # from the first try, so that one that hung is tried again, within WAIT
}
"""Every request may be tried again after a 5xx answer, a cut connection or a timeout: all of them come to the same."""

_S3: S3Config = {
    "disable_bulk_delete": True,  # one object at a time is what every store that speaks S3 can delete
    "unsigned_payload": False,  # every body is signed by its SHA-256: a store keeps what was sent, or refuses it
}


def open_store(url: str, env: Mapping[str, str] = os.environ) -> tuple[ObjectStore, Path | None]:
    """The store at `url`, and the real path of its directory if it is a local one. ConfigError if it is no store's."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return _local(Path(unquote(parts.netloc + parts.path)))
    if parts.scheme == "memory":
        return MemoryStore(), None
    try:
        return _cloud(parts.scheme, url, env), None
    except (BaseError, ValueError) as exc:
        raise ConfigError(f"storage url {parts.scheme}://…: {reason(exc)}; {SCHEMES}") from exc


def _cloud(scheme: str, url: str, env: Mapping[str, str]) -> ObjectStore:
    """Credentials and endpoints come from the variables that each cloud's own tools read."""
    if not urlsplit(url).netloc:
        raise ConfigError(f"storage url {scheme}://: no bucket is named; {SCHEMES}")
    match scheme:
        case "s3":
            return S3Store.from_url(url, config=_S3, client_options=CLIENT, retry_config=RETRY)
        case "oss":
            bucket, prefix, config, credentials = oss.settings(url, env)
            return S3Store(
                bucket,
                prefix=prefix,
                config={**_S3, **config},
                client_options=CLIENT,
                retry_config=RETRY,
                credential_provider=credentials,
            )
        case "gs":
            return GCSStore.from_url(url, client_options=CLIENT, retry_config=RETRY)
        case "az":
            return AzureStore.from_url(url, client_options=CLIENT, retry_config=RETRY)
    raise ConfigError(f"storage url {scheme}://…: not an object store; {SCHEMES}")


def _local(path: Path) -> tuple[ObjectStore, Path]:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        root = path.resolve(strict=True)
        return LocalStore(root), root
    except (BaseError, OSError) as exc:
        raise ConfigError(f"storage url file://{path}: the directory cannot be made or opened: {exc}") from exc
