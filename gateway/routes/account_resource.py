"""An account as an operator sees it: everything but its secrets."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.accounts.book import Entry
from gateway.accounts.status import AccountStatus
from gateway.types import Account
from gateway.upstreams.base import Upstream

FINGERPRINT_DIGITS: Final = 8
"""Of a credential's SHA-256, in hex: enough to tell one from the next, too few to find it by."""
TOLD_BESIDE: Final = frozenset({"id", "name", "upstream", "priority", "tags", "label"})
"""What a standing repeats of its account."""


def resource(account: Account, upstream: Upstream, status: AccountStatus, entry: Entry | None) -> dict[str, Any]:
    """Times are Unix seconds; `balance` is for whoever asks to fill in."""
    return {
        "id": account.id,
        "object": "account",
        "name": account.name,
        "upstream": account.upstream,
        "type": upstream.type_name,
        "source": account.source,
        "label": account.label,
        "tags": sorted(account.tags),
        "priority": account.priority,
        "weight": account.weight,
        "enabled": account.unusable == "" and status.status != "DISABLED",
        "limits": {
            "max_concurrency": account.max_concurrency,
            "requests_per_minute": account.requests_per_minute,
            "tokens_per_minute": account.tokens_per_minute,
            "min_interval": account.min_interval,
            "daily_quota": dict(account.daily_quota),
            "quota_reset": account.quota_reset._asdict(),
        },
        "not_models": sorted(account.not_models),
        "base_url": _without_userinfo(account.base_url),
        "proxy": place(account.proxy) if account.proxy else None,
        "credential": _credential(account, entry),
        "standing": _standing(account, status),
        "balance": None,
        "created_at": None if entry is None else int(entry.created_at),
        "updated_at": None if entry is None else int(entry.updated_at),
    }


def iso(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def place(url: str) -> str:
    """`host:port` of a URL, without who asks."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _without_userinfo(url: str) -> str:
    return urlsplit(url)._replace(netloc=place(url)).geturl()


def _credential(account: Account, entry: Entry | None) -> dict[str, Any]:
    if not account.credential:
        return {"set": entry is not None and "credential" in entry.closed, "fingerprint": None}
    digest = hashlib.sha256(account.credential.encode()).hexdigest()
    return {"set": True, "fingerprint": digest[:FINGERPRINT_DIGITS]}


def _standing(account: Account, status: AccountStatus) -> dict[str, Any]:
    shown = {name: value for name, value in asdict(status).items() if name not in TOLD_BESIDE}
    if account.unusable:
        shown |= {"status": "INVALID", "reset_at": None, "reason": account.unusable}
    return shown | {"resetAt": iso(shown["reset_at"])}
