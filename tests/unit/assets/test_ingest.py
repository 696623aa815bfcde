"""Results are ours, whole and what they should be, before they count as made."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway import errors
from gateway.assets import download
from gateway.assets.ingest import Origin
from gateway.db.tables import assets
from gateway.errors import ResultUnavailable
from gateway.types import Account, Media
from gateway.upstreams.base import Upstream
from tests.unit.scripted import LIMIT, Rig, Talks, Web, film, png, rig, web

pytestmark = pytest.mark.anyio

HTML = b"<!doctype html><title>Sign in</title>"


class Fetches(Talks):
    """Gives its results only to who holds the credential: `fetched` are the chunks, or errors, of each try."""

    def __init__(self, *tries: Any) -> None:
        super().__init__([])
        self.tries = list(tries)
        self.by: list[str] = []

    async def fetch(self, media: Media, account: Account) -> AsyncIterator[bytes]:
        self.by.append(account.name)
        found = self.tries.pop(0)
        if isinstance(found, Exception):
            raise found
        for chunk in found:
            yield chunk


def origin(upstream: Upstream, base_url: str = "", **fields: Any) -> Origin:
    account = Account("up/a", "a", "up", base_url=base_url)
    return Origin("owner", "t2i", "Some/Model 1", upstream, account, prompt="a lighthouse", **fields)


async def kept(house: Rig, media: Media, upstream: Upstream | None = None, **fields: Any) -> Media:
    return await house.ingest.keep(media, origin(upstream or house.upstreams[0], **fields))


async def refused(house: Rig, media: Media, upstream: Upstream | None = None, **fields: Any) -> str:
    with pytest.raises(ResultUnavailable) as told:
        await kept(house, media, upstream, **fields)
    assert (told.value.code, told.value.elsewhere) == ("result_unavailable", False)
    assert await rows(house) == []
    return told.value.message


async def rows(house: Rig) -> list[Any]:
    async with house.database.read() as connection:
        return list((await connection.execute(select(assets))).mappings())


async def stored(house: Rig, key: str) -> bytes:
    return b"".join([chunk async for chunk in house.storage.get(key)])


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr(download, "RETRY_SECONDS", 0.001)
    async with rig(tmp_path, Talks([])) as found:
        yield found


async def test_an_image_is_stored_and_entered_with_true_measures(house: Rig) -> None:
    claimed = Media("image", mime="image/jpeg", data=png(80, 40), width=1, height=2, revised_prompt="a red lighthouse")
    media = await kept(house, claimed, task_id="task_1")
    assert (media.mime, media.width, media.height, media.seconds) == ("image/png", 80, 40, None)
    assert (media.data, media.revised_prompt) == (png(80, 40), "a red lighthouse")
    [row] = await rows(house)
    assert row["id"] == media.asset_id
    assert row["key"] == media.key
    assert media.key is not None
    assert media.key.startswith("images/")
    assert "/Some-Model-1_" in media.key
    assert media.key.endswith(".png")
    assert await stored(house, media.key) == png(80, 40)
    assert (row["owner"], row["prompt"], row["model"], row["upstream"]) == (
        "owner",
        "a lighthouse",
        "Some/Model 1",
        "up",
    )
    assert (row["size"], row["width"], row["height"], row["mime"]) == (len(png(80, 40)), 80, 40, "image/png")
    assert (row["task_id"], row["kind"], row["family"], len(row["sha256"])) == ("task_1", "t2i", "image", 64)


async def test_a_film_has_its_length(house: Rig) -> None:
    media = await kept(house, Media("video", data=film()))
    assert (media.mime, media.width, media.height, media.seconds) == ("video/mp4", 64, 48, 0.5)


async def test_base64_is_decoded(house: Rig) -> None:
    media = await kept(house, Media("image", b64=base64.b64encode(png()).decode()))
    assert (media.data, media.b64) == (png(), None)


async def test_equal_results_are_two_assets(house: Rig) -> None:
    first, second = [await kept(house, Media("image", data=png())) for _ in range(2)]
    assert first.key != second.key
    assert len(await rows(house)) == 2


@pytest.mark.parametrize(
    ("media", "why"),
    [
        (Media("image"), "the upstream named no result"),
        (Media("image", data=b""), "the upstream named no result"),
        (Media("image", data=HTML), "the upstream's result is not an image"),
        (Media("video", data=HTML), "the upstream's result is not a video"),
        (Media("audio", data=png()), "the upstream's result is not an audio"),
        (Media("image", data=b"\x00\x01\x02\x03"), "the upstream's result is not an image"),
        (Media("image", data=png()[:60]), "the upstream's image cannot be read"),
        (Media("video", data=film()[:200]), "the upstream's video cannot be read"),
    ],
    ids=range(8),
)
async def test_what_is_not_what_it_should_be_is_refused_and_leaves_nothing(house: Rig, media: Media, why: str) -> None:
    assert await refused(house, media) == why


async def test_base64_that_is_none_is_refused(house: Rig) -> None:
    assert await refused(house, Media("image", b64="@@@=")) == "the upstream's result is empty"
    assert await refused(house, Media("image", b64="a")) == "the upstream's result is not valid base64"


# --- results by URL ---


@pytest.fixture
async def server() -> AsyncIterator[Web]:
    async with web() as started:
        yield started


async def test_a_result_on_the_upstream_s_own_host_is_fetched(house: Rig, server: Web) -> None:
    server.answers = [(200, "image/png", png())]
    media = await kept(house, Media("image", url=f"{server.url}/a.png?sig=x"), base_url=server.url)
    assert media.data == png()


async def test_a_result_anywhere_else_must_be_public(house: Rig, server: Web) -> None:
    assert await refused(house, Media("image", url=f"{server.url}/a.png")) == download.UNFETCHED
    assert server.asked == []
    assert await refused(house, Media("image", url="file:///etc/passwd"), base_url=server.url) == download.UNFETCHED


async def test_a_page_in_place_of_a_result_is_refused(house: Rig, server: Web) -> None:
    server.answers = [(200, "video/mp4", HTML)]
    why = await refused(house, Media("video", url=f"{server.url}/a.mp4"), base_url=server.url)
    assert why == "the upstream's result is not a video"


async def test_a_fetch_that_fails_is_tried_again_a_few_times(house: Rig, server: Web) -> None:
    server.answers = [(503, "text/plain", b""), (500, "text/plain", b""), (200, "image/png", png())]
    media = await kept(house, Media("image", url=f"{server.url}/a.png"), base_url=server.url)
    assert (media.data, len(server.asked)) == (png(), 3)


async def test_a_result_that_stays_away_is_given_up(house: Rig, server: Web) -> None:
    server.answers = [(404, "text/html", HTML)]
    assert await refused(house, Media("image", url=f"{server.url}/a.png"), base_url=server.url) == download.UNFETCHED
    assert len(server.asked) == download.ATTEMPTS


async def test_a_result_larger_than_the_limit_is_refused(house: Rig, server: Web) -> None:
    server.answers = [(200, "image/png", png() + b"\0" * LIMIT)]
    assert await refused(house, Media("image", url=f"{server.url}/a.png"), base_url=server.url) == download.UNFETCHED


# --- results that need the account ---


async def test_an_upstream_that_fetches_is_asked_by_the_account_of_the_job(house: Rig) -> None:
    upstream = Fetches([png()[:10], png()[10:]])
    media = await kept(house, Media("image", url="https://up.example/1"), upstream)
    assert (media.data, upstream.by) == (png(), ["a"])


async def test_its_failures_are_tried_again_and_the_caller_s_are_not(house: Rig) -> None:
    upstream = Fetches(errors.UpstreamFailed(), errors.UpstreamTimeout(), [png()])
    assert (await kept(house, Media("image", url="x"), upstream)).data == png()
    upstream = Fetches(errors.InvalidRequest(), [png()])
    assert await refused_again(house, upstream) == download.UNFETCHED
    assert len(upstream.by) == 1


async def refused_again(house: Rig, upstream: Upstream) -> str:
    with pytest.raises(ResultUnavailable) as told:
        await kept(house, Media("image", url="x"), upstream)
    return told.value.message


async def test_what_it_gives_is_counted(house: Rig) -> None:
    upstream = Fetches(*([b"\0" * LIMIT, b"\0"] for _ in range(download.ATTEMPTS)))
    assert await refused(house, Media("image", url="x"), upstream) == download.UNFETCHED
