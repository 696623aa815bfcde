import asyncio
from pathlib import Path

import pytest

from gateway.errors import StorageUnavailable
from gateway.storage import Storage, listing
from tests.unit.storage.contents import stream

pytestmark = pytest.mark.anyio

KEYS = [
    "a-b/c",  # before a/b: keys are compared, not the names of folders
    "a.d",
    "a/A",
    "a/b",
    "a/b-c",
    "a/b.d/e",
    "a/c/d/e",
    "a0",
    "images/2026-01/x.png",
    "images/2026-02/x.png",
    "images0/x",
]


@pytest.fixture
async def filled(storage: Storage) -> Storage:
    await asyncio.gather(*(storage.put(key, key.encode(), mime="text/plain") for key in reversed(KEYS)))
    return storage


async def listed(storage: Storage, prefix: str = "", after: str = "") -> list[str]:
    return [info.key async for page in storage.list(prefix, after=after) for info in page]


async def test_objects_come_in_the_order_of_their_keys(filled: Storage) -> None:
    assert sorted(KEYS) == KEYS
    assert await listed(filled) == KEYS


async def test_a_prefix_is_a_folder(filled: Storage) -> None:
    assert await listed(filled, "images") == ["images/2026-01/x.png", "images/2026-02/x.png"]
    assert await listed(filled, "images/2026-02") == ["images/2026-02/x.png"]
    assert await listed(filled, "a") == ["a/A", "a/b", "a/b-c", "a/b.d/e", "a/c/d/e"]
    assert await listed(filled, "a/b") == []
    assert await listed(filled, "missing") == []


@pytest.mark.parametrize("after", [*KEYS, "a", "a/", "a/b.d", "a/b.d/", "a/bb", "images/2026-01", "0", "z"])
async def test_a_list_goes_on_after_any_key(filled: Storage, after: str) -> None:
    assert await listed(filled, after=after) == [key for key in KEYS if key > after]
    assert await listed(filled, "a", after=after) == [key for key in KEYS if key > after and key.startswith("a/")]


async def test_a_list_comes_in_pages_and_tells_what_the_store_knows(
    filled: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 4)
    pages = [page async for page in filled.list()]
    assert [len(page) for page in pages] == [4, 4, 3]
    for info in (info for page in pages for info in page):
        head = await filled.head(info.key)
        assert head is not None
        assert (info.size, info.etag, info.mime) == (len(info.key), head.etag, None)
        assert abs((info.modified - head.modified).total_seconds()) < 1  # in a list some stores tell more than seconds


async def test_an_empty_store_has_no_pages(storage: Storage) -> None:
    assert [page async for page in storage.list()] == []


@pytest.mark.parametrize("prefix", ["../x", "/", "a/", "a b", "a\0"])
async def test_a_prefix_that_is_no_folder_s_is_refused(storage: Storage, prefix: str) -> None:
    with pytest.raises(ValueError, match="not a folder"):
        await listed(storage, prefix)


async def test_uploads_under_way_links_and_what_is_not_ours_are_left_out(local: Storage, tmp_path: Path) -> None:
    objects, seen = tmp_path / "objects", []

    async def looks() -> None:
        seen.append(await listed(local))

    await local.put("a/b", b"x", mime="text/plain")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_text("secret")
    (objects / "link").symlink_to(tmp_path / "secret")
    (objects / "a" / "link").symlink_to(tmp_path / "secret" / "file")
    (objects / "a" / ".hidden").write_text("")
    (objects / "a" / "with space").write_text("")

    async def slow():  # type: ignore[no-untyped-def]
        yield b"x" * 10
        await looks()

    await local.put("a/c", slow(), mime="text/plain")
    await looks()
    assert seen == [["a/b"], ["a/b", "a/c"]]
    assert await listed(local, "link") == []


async def test_a_folder_that_cannot_be_read_is_no_empty_one(
    local: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await local.put("a/b", stream(b"x"), mime="text/plain")

    def scandir(place: Path) -> None:
        raise PermissionError(13, "Permission denied", str(place))

    monkeypatch.setattr(listing.os, "scandir", scandir)
    with pytest.raises(StorageUnavailable, match="does not let the gateway list") as caught:
        await listed(local)
    assert str(tmp_path) not in f"{caught.value.message}{caught.value.detail}"
