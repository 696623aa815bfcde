"""`Storage.check` tries all that the gateway asks of a store, and says what is wrong in words that lead on."""

import asyncio
import os
import ssl
import subprocess
from pathlib import Path

import pytest

from gateway.errors import StorageUnavailable
from gateway.storage import Report, Storage
from gateway.storage.stores import RETRY
from tests.ceph import Ceph, User
from tests.unit.storage.conftest import Opened
from tests.unit.storage.contents import files_below

pytestmark = pytest.mark.anyio

STEPS = ("write", "read", "list", "delete")


async def keys(storage: Storage) -> list[str]:
    return [info.key async for page in storage.list() for info in page]


async def failing(storage: Storage) -> StorageUnavailable:
    with pytest.raises(StorageUnavailable) as caught:
        await storage.check()
    assert caught.value.status == 503
    return caught.value


async def test_a_healthy_store_passes_and_nothing_is_left_of_it(storage: Storage) -> None:
    await storage.put("health/clock", b"x", mime="text/plain")
    reports = await asyncio.gather(*(storage.check() for _ in range(5)))  # replicas check at once
    assert set(reports) == {Report(STEPS, storage.presigns)}
    assert await keys(storage) == ["health/clock"]


async def test_a_ping_leaves_one_object_however_often(storage: Storage) -> None:
    await asyncio.gather(*(storage.ping() for _ in range(3)))
    await storage.ping()
    assert await keys(storage) == ["health/ping"]


async def test_a_store_that_cannot_be_written_says_so(local: Storage, tmp_path: Path) -> None:
    (tmp_path / "objects" / "health").write_text("a file where a directory belongs")
    error = await failing(local)
    assert error.code == "storage_unavailable"
    assert error.message.endswith("(at the step: write).")
    assert str(tmp_path) not in f"{error.message}{error.detail}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_read_only_directory_is_named_as_such(local: Storage, tmp_path: Path) -> None:
    (tmp_path / "objects").chmod(0o500)
    with pytest.raises(StorageUnavailable, match="does not let the gateway write"):
        await local.check()


async def test_what_does_not_come_back_as_it_was_is_noticed(
    local: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = local.put

    async def damaged(key: str, data: bytes, *, mime: str) -> None:
        await put(key, data, mime=mime)
        place = tmp_path / "objects" / key
        place.write_bytes(bytes([data[0] ^ 1]) + data[1:])

    monkeypatch.setattr(local, "put", damaged)
    assert (await failing(local)).message == (
        "The object storage does not give back what it was sent (at the step: read)."
    )
    assert files_below(tmp_path / "objects") == []


async def test_what_is_not_listed_or_not_deleted_is_noticed(local: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(key: str) -> None: ...

    with monkeypatch.context() as context:
        context.setattr(local, "delete", nothing)
        assert (await failing(local)).message.endswith("does not delete what it is told to (at the step: delete).")
    [left] = await keys(local)

    async def none(prefix: str, *, after: str):  # type: ignore[no-untyped-def]
        for page in ():
            yield page

    monkeypatch.setattr(local, "list", none)
    assert (await failing(local)).message.endswith("does not list what it holds (at the step: list).")
    monkeypatch.undo()
    assert await keys(local) == [left]  # what was written for a step that failed later is taken away


RIGHTS = ("s3:PutObject", "s3:GetObject", "s3:ListBucket", "s3:DeleteObject")


@pytest.mark.parametrize(
    ("rights", "says"),
    [
        ((), "does not let the gateway write (at the step: write)"),
        (RIGHTS[:2], "does not let the gateway list (at the step: list)"),
        (RIGHTS[:3], "does not let the gateway delete (at the step: delete)"),
    ],
    ids=range(3),
)
async def test_a_missing_right_is_named(ceph: Ceph, s3: Opened, rights: tuple[str, ...], says: str) -> None:
    bucket, user = ceph.bucket(), ceph.new_user()
    if rights:
        ceph.allow(bucket, user, *rights)
    error = await failing(s3(bucket, user=user))
    assert says in error.message
    assert error.advice is not None
    assert "right" in error.advice


async def test_the_rights_that_the_manual_names_are_enough(ceph: Ceph, s3: Opened) -> None:
    bucket, user = ceph.bucket(), ceph.new_user()
    ceph.allow(bucket, user, *RIGHTS, "s3:AbortMultipartUpload")
    await s3(bucket, user=user).check()


async def test_a_ping_needs_no_right_to_list_or_delete(ceph: Ceph, s3: Opened) -> None:
    bucket, user = ceph.bucket(), ceph.new_user()
    ceph.allow(bucket, user, *RIGHTS[:2])
    await s3(bucket, user=user).ping()


async def test_each_thing_that_is_wrong_has_its_own_advice(
    ceph: Ceph, s3: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RETRY, "max_retries", 0)
    full, told = ceph.bucket(), []
    ceph.full(full)
    for storage, says, advises in (
        (s3("not-there"), "no such bucket", "STORAGE_URL"),
        (s3(user=User("NOBODY", "x")), "refused the gateway's credentials", "access key"),
        (s3(full), "is full", "quota"),
        (s3("b", endpoint="http://127.0.0.1:9"), "could not be reached", "firewall"),
        (s3("b", endpoint="http://store.invalid"), "name of its host is not known", "DNS"),
    ):
        error = await failing(storage)
        assert says in error.message
        assert advises in (error.advice or "")
        told.append(f"{error.message} {error.detail} {error.advice}")
    secrets = (full, "not-there", "127.0.0.1", "store.invalid", "NOBODY", ceph.user.key_id)
    assert [secret for secret in secrets if secret in " ".join(told)] == []


async def test_no_credentials_at_all_are_told_from_wrong_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RETRY, "max_retries", 0)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://169.254.169.254")
    error = await failing(Storage.open("s3://b"))
    assert error.message.startswith("The gateway has no credentials for the object storage")


async def test_a_certificate_that_nobody_vouches_for_is_told(
    s3: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RETRY, "max_retries", 0)
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
    subprocess.run([*made, *files, "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = await failing(s3("b", endpoint=f"https://localhost:{port}"))
    assert error.message.startswith("The object storage could not be reached: its certificate is not trusted")
