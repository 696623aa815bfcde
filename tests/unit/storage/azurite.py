"""Azure's own emulator of its blob storage, where it is installed: npm install azurite, AZURITE=…/.bin/azurite-blob."""

import base64
import email.utils
import hmac
import os
import secrets
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ceph import end, free_port, held

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Its only account, as its documentation has it."""
VERSION = "2021-08-06"


def program() -> str | None:
    return os.environ.get("AZURITE") or shutil.which("azurite-blob")


@contextmanager
def azurite(home: Path) -> Iterator[dict[str, str]]:
    """Runs it, and gives what a process needs in its environment to use `az://<container>`."""
    port, command = free_port(), program()
    assert command is not None
    options = ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"]
    shell, _ = held([command, *options, "--blobPort", str(port)], home / "log", os.environ)
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    try:
        _until_it_answers(endpoint)
        yield {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            "AZURE_STORAGE_ENDPOINT": endpoint,
        }
    finally:
        end(shell)


def container(env: dict[str, str]) -> str:
    """A new one, empty."""
    name, date = f"test-{secrets.token_hex(8)}", email.utils.formatdate(usegmt=True)
    text = (
        "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{VERSION}\n/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    )
    signed = base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), "sha256")).decode()
    headers = {"x-ms-date": date, "x-ms-version": VERSION, "Authorization": f"SharedKey {ACCOUNT}:{signed}"}
    url = f"{env['AZURE_STORAGE_ENDPOINT']}/{name}?restype=container"
    urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers)).close()
    return name


def _until_it_answers(endpoint: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(endpoint).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("azurite does not start")
