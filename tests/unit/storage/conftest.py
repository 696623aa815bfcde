from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.storage import Storage
from tests.ceph import Ceph, User
from tests.unit.storage.azurite import azurite, container, program

KINDS = ("file", "memory", "s3", "az")

Opened = Callable[..., Storage]
"""Opens the store of a bucket (a new one if none is named), at another address or as another user."""


@pytest.fixture
def s3(ceph: Ceph, monkeypatch: pytest.MonkeyPatch) -> Opened:
    def opened(bucket: str = "", *, endpoint: str = "", user: User | None = None, prefix: str = "") -> Storage:
        for name, value in (ceph.env(user) | ({"AWS_ENDPOINT": endpoint} if endpoint else {})).items():
            monkeypatch.setenv(name, value)
        return Storage.open(f"s3://{bucket or ceph.bucket()}{prefix}")

    return opened


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    if program() is None:
        pytest.skip("azurite is not installed")
    with azurite(tmp_path_factory.mktemp("azurite")) as env:
        yield env


@pytest.fixture
def az(azure: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A new container, with what is needed to use it in the environment."""
    for name, value in azure.items():
        monkeypatch.setenv(name, value)
    return container(azure)


@pytest.fixture(params=KINDS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty store of each kind."""
    match request.param:
        case "file":
            return Storage.open(f"file://{tmp_path}/objects")
        case "memory":
            return Storage.open("memory://")
        case "az":
            name: str = request.getfixturevalue("az")
            return Storage.open(f"az://{name}/within")
    opened: Opened = request.getfixturevalue("s3")
    return opened()


@pytest.fixture
def local(tmp_path: Path) -> Storage:
    return Storage.open(f"file://{tmp_path}/objects")
