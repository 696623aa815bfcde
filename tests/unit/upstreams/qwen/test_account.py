"""What it says of itself, its models, and what it finds of an account."""

import time
from dataclasses import replace

import pytest

from gateway import errors
from gateway.types import QuotaReset
from gateway.upstreams import types
from gateway.upstreams.qwen import Qwen, failures
from tests.emulators.qwen import Fault, jwt
from tests.unit.upstreams.qwen.rig import A, House

pytestmark = pytest.mark.anyio


def test_it_says_what_it_can_do() -> None:
    able = Qwen.operations()
    assert able == {"chat", "image", "submit", "poll", "upload", "models", "probe"}
    assert (Qwen.max_concurrency, Qwen.poll_interval, Qwen.deadline) == (2, 5, 1200)


async def test_models_of_its_name_are_adopted(house: House) -> None:
    card = house.qwen.adopt("qwen9-ultra", "t2v")
    assert card is not None
    assert card.kinds == {"t2t", "t2i", "i2i", "t2v", "i2v"}
    assert card.ratios == ("1:1", "3:4", "4:3", "16:9", "9:16")
    assert house.qwen.adopt("QwQ-32B", None)
    assert house.qwen.adopt("gpt-4o", None) is None
    assert house.qwen.adopt("qwen-image-max", None) is None
    assert house.qwen.adopt("qwen3-max", "tts") is None


@pytest.mark.parametrize("generations", [("v1",), ("v2",)])
async def test_the_live_list_becomes_cards(house: House, generations: tuple[str, ...]) -> None:
    house.site.generations = set(generations)
    cards = {card.id: card for card in await house.qwen.models(house.account)}
    assert cards["qwen3-max"].kinds == {"t2t", "t2i", "i2i", "t2v", "i2v"}
    assert cards["qwen3-vl-plus"].kinds == {"t2t", "t2i"}
    assert cards["qwen3-vl-plus"].vision
    assert not cards["qwen3-max"].reasoning
    assert cards["qwen3.7-plus"].reasoning
    assert cards["qwen3.7-plus"].context_length == 262_144


async def test_the_probe_lists_chats_and_makes_none(house: House) -> None:
    await house.qwen.probe(house.account)
    (asked,) = house.site.requests
    assert (asked.method, asked.path, asked.query) == ("GET", "/api/v2/chats/", {"page": "1"})


async def test_the_probe_finds_a_token_that_chats_new_would_take(house: House) -> None:
    house.site.people[A].expired = True
    with pytest.raises(errors.CredentialRejected):
        await house.qwen.probe(house.account)


async def test_the_probe_reads_the_tokens_own_end_and_asks_for_nothing(house: House) -> None:
    token = jwt("x", time.time() - 60)
    with pytest.raises(errors.CredentialRejected, match="ended on") as caught:
        await house.qwen.probe(replace(house.account, credential=token))
    assert token not in str(caught.value)
    assert house.site.requests == []


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.html(), errors.Challenged),
        (Fault.html(403), errors.Challenged),
        (Fault.api("Unauthorized"), errors.CredentialRejected),
        (Fault.throttled(), errors.RateLimited),
        (Fault.raw(b"<html>504</html>", "text/html", 504), errors.UpstreamFailed),
    ],
)
async def test_the_probe_says_what_is_wrong(house: House, fault: Fault, expected: type[errors.GatewayError]) -> None:
    house.site.fail("chats", fault)
    with pytest.raises(errors.GatewayError) as caught:
        await house.qwen.probe(house.account)
    assert type(caught.value) is expected
    assert len(house.site.requests) == 1


async def test_a_probe_of_nobody_blames_no_account(house: House) -> None:
    with pytest.raises(errors.UpstreamUnreachable):
        await house.qwen.probe(replace(house.account, base_url="http://127.0.0.1:1"))


def test_its_quotas_come_back_at_midnight_in_utc() -> None:
    assert Qwen.quota_reset == QuotaReset(0, "UTC")


def test_a_token_that_says_nothing_of_its_end_is_tried() -> None:
    assert failures.expired(jwt("x", 1_800_000_000), now=1_800_000_001)
    for token in (jwt("x", 1_800_000_000), "", "abc", "a.b.c", "..", "a.bm90IGpzb24.c", "sk-123"):
        assert failures.expired(token, now=1_799_999_999) is None


def test_a_package_of_chapters_is_one_provider() -> None:
    assert types()["qwen"] is Qwen
