import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.errors import ConfigError
from gateway.storage import Storage

pytestmark = pytest.mark.anyio

GOOGLE = {
    "type": "service_account",
    "client_email": "gateway@project.iam.gserviceaccount.com",
    "private_key_id": "1",
    "private_key": rsa.generate_private_key(65537, 2048)
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode(),
}


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://host/x", "http://host/x", "az://container", "s3://", "oss://", "gs://", "az://"]
)
def test_a_url_that_is_no_store_is_a_config_error(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(ConfigError, match="storage url"):
        Storage.open(url)


def test_a_file_url_may_be_escaped_or_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Storage.open(f"file://{tmp_path}/with%20space")
    Storage.open("file://./var/objects")
    assert (tmp_path / "with space").is_dir()
    assert (tmp_path / "var" / "objects").is_dir()


def test_a_directory_that_cannot_be_made_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        Storage.open(f"file://{tmp_path}/taken/objects")


@pytest.mark.parametrize(
    ("url", "env"),
    [
        ("s3://bucket/prefix", {"AWS_REGION": "eu-west-1"}),
        ("gs://bucket/prefix", {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(GOOGLE)}),
        ("az://container/prefix", {"AZURE_STORAGE_ACCOUNT_NAME": "account", "AZURE_STORAGE_ACCOUNT_KEY": "a2V5"}),
        ("oss://bucket/prefix", {"OSS_REGION": "cn-hangzhou", "OSS_ACCESS_KEY_ID": "a", "OSS_ACCESS_KEY_SECRET": "s"}),
    ],
)
async def test_each_cloud_opens_with_its_own_variables_and_signs_links(
    url: str, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"} | env).items():
        monkeypatch.setenv(name, value)
    storage = Storage.open(url)
    assert storage.presigns
    link = await storage.presigned("images/a.png", "GET", 60)
    assert link is not None
    assert link.startswith("https://")
    assert "/prefix/images/a.png?" in link


async def test_stores_without_links_of_their_own_make_none(tmp_path: Path) -> None:
    for storage in (Storage.open("memory://"), Storage.open(f"file://{tmp_path}/objects")):
        assert not storage.presigns
        assert await storage.presigned("images/a.png", "GET", 60) is None


async def test_the_words_of_a_config_error_hold_no_bucket() -> None:
    with pytest.raises(ConfigError) as caught:
        Storage.open("az://my-container")
    assert "my-container" not in str(caught.value)
