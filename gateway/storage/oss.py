"""Alibaba Cloud OSS, by the part of S3's protocol that it speaks.

https://www.alibabacloud.com/help/en/oss/developer-reference/compatibility-with-amazon-s3: the bucket is a part of the
host's name and never of the path, bodies are signed whole (no `aws-chunked`), signatures are AWS's version 4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from gateway.errors import ConfigError

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Credential

OWN = ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN")
VENDOR = ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN")
"""What the vendor's tools read where the first of the others is not set: one key's three are never mixed."""
REGION = ("OSS_REGION", "ALIBABA_CLOUD_REGION_ID")
ENDPOINT = "OSS_ENDPOINT"
"""`https://oss-cn-hangzhou.aliyuncs.com`, one of the vendor's own inner networks, or a name that is the bucket's."""
CNAME = "OSS_CNAME"
"""Whether the endpoint is a name of the bucket's own already: it is never put in front of it then."""

_REGION = re.compile(r"[a-z]{2,}-[a-z0-9-]+")
_OF_ENDPOINT = re.compile(r"(?:^|\.)oss-([a-z0-9-]+?)(?:-internal)?\.aliyuncs\.com$")


def settings(url: str, env: Mapping[str, str]) -> tuple[str, str | None, S3Config, Callable[[], S3Credential]]:
    """Bucket, prefix, where it is and who asks, of `oss://bucket[/prefix]`. ConfigError names the variable to set."""
    parts = urlsplit(url)
    bucket, prefix = parts.netloc, unquote(parts.path).strip("/") or None
    region = _region(env)
    endpoint = _endpoint(env, bucket, region)
    config: S3Config = {
        "region": region,
        "endpoint": endpoint,
        "aws_endpoint_url_s3": endpoint,  # and none that the environment names for another store
        "virtual_hosted_style_request": True,
        "skip_signature": False,
        "s3_express": False,
    }
    credential = _credential(env)
    return bucket, prefix, config, lambda: credential


def _region(env: Mapping[str, str]) -> str:
    """`cn-hangzhou`, also of `oss-cn-hangzhou`, also of an endpoint that says it."""
    named = _first(env, REGION)
    if named is None:
        of_endpoint = _OF_ENDPOINT.search(_host(env.get(ENDPOINT, "")))
        if of_endpoint is None or of_endpoint[1] == "accelerate":
            raise ConfigError(f"storage url oss://…: {REGION[0]} is not set; it is like cn-hangzhou")
        return of_endpoint[1]
    region = named.removeprefix("oss-")
    if not _REGION.fullmatch(region):
        raise ConfigError(f"storage url oss://…: {REGION[0]} is not a region; it is like cn-hangzhou")
    return region


def _endpoint(env: Mapping[str, str], bucket: str, region: str) -> str:
    named = env.get(ENDPOINT, "").strip().rstrip("/") or f"https://oss-{region}.aliyuncs.com"
    parts = urlsplit(named if "://" in named else f"https://{named}")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query:
        raise ConfigError(f"storage url oss://…: {ENDPOINT} is not the address of a host, like https://oss-cn-…")
    whole = parts.netloc.startswith(f"{bucket}.") or env.get(CNAME, "").lower() in ("1", "true", "yes", "on")
    return f"{parts.scheme}://{parts.netloc}" if whole else f"{parts.scheme}://{bucket}.{parts.netloc}"


def _host(endpoint: str) -> str:
    return urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}").hostname or ""


def _credential(env: Mapping[str, str]) -> S3Credential:
    names = OWN if _first(env, OWN[:1]) or not _first(env, VENDOR[:1]) else VENDOR
    key_id, secret, token = (_first(env, (name,)) for name in names)
    if key_id is None or secret is None:
        raise ConfigError(f"storage url oss://…: {names[0] if key_id is None else names[1]} is not set")
    return {"access_key_id": key_id, "secret_access_key": secret, "token": token, "expires_at": None}


def _first(env: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    """Set but empty counts as not set."""
    return next((value for name in names if (value := env.get(name, "").strip())), None)
