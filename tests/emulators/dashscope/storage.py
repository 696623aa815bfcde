"""The vendor's object storage, as far as temporary files go: policies, what came by them, and who may read it."""

import base64
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import UploadFile

from tests.emulators.dashscope.faults import Refusal

FIELDS = {
    "OSSAccessKeyId", "Signature", "policy", "key", "x-oss-object-acl", "x-oss-forbid-overwrite", "x-oss-content-type",
    "success_action_status",
}  # fmt: skip


@dataclass
class Storage:
    """Objects by key, each an account's and for a model."""

    KEY_ID = "LTAI-emulated-key-id"
    objects: dict[str, bytes] = field(default_factory=dict)
    owners: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By folder: account and model."""
    most: float = 100
    """Megabytes of a file."""
    host: str = ""
    """Where policies send files; empty: to the emulator."""
    signatures: dict[str, str] = field(default_factory=dict)
    """By policy."""

    def grant(self, account: str, model: str, base: str) -> dict[str, Any]:
        folder = f"dashscope-instant/{secrets.token_hex(8)}/2026-11-21/{secrets.token_hex(8)}"
        policy = base64.b64encode(json.dumps({"conditions": [["starts-with", "$key", folder]]}).encode()).decode()
        self.owners[folder] = (account, model)
        self.signatures[policy] = secrets.token_hex(10)
        return {
            "policy": policy,
            "signature": self.signatures[policy],
            "upload_dir": folder,
            "upload_host": self.host or f"{base}bucket",
            "expire_in_seconds": 300,
            "max_file_size_mb": self.most,
            "capacity_limit_mb": 999999999,
            "oss_access_key_id": self.KEY_ID,
            "x_oss_object_acl": "private",
            "x_oss_forbid_overwrite": "true",
        }

    async def take(self, parts: Iterable[tuple[str, str | UploadFile]]) -> str:
        """Store a form's file. Returns the storage's code where it refuses."""
        given = list(parts)
        fields = {name: value for name, value in given if isinstance(value, str)}
        name, file = given[-1] if given else ("", "")
        if set(fields) != FIELDS or name != "file" or not isinstance(file, UploadFile):
            return "InvalidArgument"
        if fields["OSSAccessKeyId"] != self.KEY_ID or self.signatures.get(fields["policy"]) != fields["Signature"]:
            return "SignatureDoesNotMatch"
        folder, _, _ = fields["key"].rpartition("/")
        if folder not in self.owners or folder not in base64.b64decode(fields["policy"]).decode():
            return "AccessDenied"
        if fields["key"] in self.objects:
            return "FileAlreadyExists"
        self.objects[fields["key"]] = await file.read()
        return ""

    def read(self, url: str, account: str, model: str) -> bytes:
        key = url.removeprefix("oss://")
        if key not in self.objects or self.owners[key.rpartition("/")[0]] != (account, model):
            raise Refusal("InvalidParameter.DataInspection")
        return self.objects[key]
