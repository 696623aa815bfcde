"""The storage that is lent for files: leave for one, what came by it, and who may read it (everybody)."""

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.emulators.ima.faults import Refusal

PARAMETERS = {"appUid", "appId", "appKey", "cmimToken", "sign", "timestamp", "nonce", "fService", "fType", "fSuffix",
              "fContentType"}  # fmt: skip
APP_KEY = "32jdskjdk320eew"


@dataclass
class Storage:
    granted: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By name: signature and type."""
    files: dict[str, bytes] = field(default_factory=dict)
    host: str = ""
    """Where files are to be put; empty: at the emulator."""
    public: str = ""

    def grant(self, asked: Mapping[str, str], keys: tuple[str, ...], base: str) -> dict[str, Any]:
        if set(asked) != PARAMETERS:
            raise Refusal(400, f"wrong parameters {sorted(PARAMETERS ^ set(asked))}")
        if asked["appUid"] not in keys or asked["cmimToken"] != asked["appUid"]:
            raise Refusal(401)
        signed = f"webAgent|{APP_KEY}|{asked['timestamp']}|{asked['nonce']}"
        right = hashlib.sha1(signed.encode(), usedforsecurity=False).hexdigest().upper()
        known = asked["appId"] == "webAgent" and asked["appKey"] == APP_KEY and asked["sign"] == right
        if not known or not asked["timestamp"].isdigit() or not 1 <= len(asked["nonce"]) <= 21:
            raise Refusal(403, "sign error")
        family = re.match(r"(image|video|audio)/\w+", asked["fContentType"])
        wanted = {"image": "picture"}.get(family[1], family[1]) if family else None
        if asked["fService"] != "privite" or asked["fType"] != wanted or not asked["fSuffix"]:
            raise Refusal(400, "wrong service or type")
        name = f"{secrets.token_hex(8)}.{asked['fSuffix']}"
        self.granted[name] = (secrets.token_hex(8), asked["fContentType"])
        return {
            "ful": f"{self.host or base + 'bucket/'}{name}?Signature={self.granted[name][0]}",
            "fdl": f"{self.public or base + 'public/'}{name}",
            "ful_expire": 604800,
            "fdl_expire": 604800,
            "fdl_key": name,
        }

    def put(self, name: str, signature: str, mime: str, authorization: str | None, data: bytes) -> int:
        """The status of the answer."""
        if self.granted.get(name) != (signature, mime) or authorization is not None:
            return 403
        self.files[name] = data
        return 200
