import pytest

from tests.ceph import ceph

__all__ = ["ceph"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
