"""Providers made up for the tests of who there is."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gateway.types import QuotaReset
from gateway.upstreams.base import Options, Upstream


class CloudOptions(Options):
    region: str = "eu"


class CloudAccount(Options):
    tier: int = Field(1, ge=1)


class Cloud(Upstream):
    type_name = "cloud"
    base_url = "https://cloud.example/v1"
    env_credentials = ("CLOUD_TOKENS", "CLOUD_TOKEN")
    env_base_url = "CLOUD_BASE_URL"
    max_concurrency = 3
    quota_reset = QuotaReset(4)
    options_model = CloudOptions
    account_options_model = CloudAccount


class Reseller(Upstream):
    type_name = "compatible"
    env_credentials = ("VENDOR_API_KEY", "VENDOR_API_KEYS")
    env_name = "vendor"
    base_url = "https://vendor.example/v1"


class Keyless(Upstream):
    type_name = "keyless"
    needs_credential = False


class StandIn(Upstream):
    type_name = "stands"
    needs_credential = False
    stand_in = True


TYPES: dict[str, type[Upstream]] = {kind.type_name: kind for kind in (Cloud, Reseller, Keyless, StandIn)}


def cloud(name: str = "mine", *accounts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A stanza, with an account a unless others are given."""
    return {"name": name, "type": "cloud", "accounts": accounts or [{"name": "a", "api_key": "k"}]} | fields
