"""The object store, by URL: `file:///path`, `memory://`, `s3://`, `gs://`, `az://`.

Credentials of cloud stores come from the environment variables their own tools use (`AWS_ACCESS_KEY_ID`,
`AWS_ENDPOINT`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME`, …). An object is seen whole or not at all:
a local one is written beside its name and renamed, a cloud one appears when its upload is completed. A cloud upload
that was cut leaves hidden parts behind: give the bucket a lifecycle rule that drops them.
"""

from gateway.storage.checking import Report
from gateway.storage.disk import LEFTOVER_SECONDS
from gateway.storage.keys import KEY_BYTES, Folder, object_key, valid_key
from gateway.storage.listing import ObjectInfo
from gateway.storage.objects import PART_BYTES, READ_BYTES, Storage, Stored

__all__ = [
    "KEY_BYTES",
    "LEFTOVER_SECONDS",
    "PART_BYTES",
    "READ_BYTES",
    "Folder",
    "ObjectInfo",
    "Report",
    "Storage",
    "Stored",
    "object_key",
    "valid_key",
]
