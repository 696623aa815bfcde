"""Files: tickets, the storage, documents."""

import time

import pytest

from gateway import errors
from gateway.types import Input
from gateway.upstreams import qwen
from gateway.upstreams.qwen import QwenOptions, payload, storage
from tests.emulators.qwen import Fault
from tests.unit.upstreams.qwen.rig import A, House, text

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("generation", ["v1", "v2"])
async def test_an_upload_is_signed_stored_and_named(house: House, generation: str) -> None:
    house.site.generations = {generation}
    ref = await house.qwen.upload(b"bytes", name="kočka 1.png", mime="image/png", account=house.account)
    ((stored, mime),) = house.site.objects.values()
    assert (stored, mime) == (b"bytes", "image/png")
    assert ref["type"] == "image"
    assert ref["size"] == 5
    assert ref["id"] in house.site.people[A].files
    assert float(ref["expires_at"]) == pytest.approx(time.time() + 300, abs=5)  # type: ignore[arg-type]
    assert A not in house.site.asked("oss")[0].headers.get("authorization", "")
    assert "cookie" not in house.site.asked("oss")[0].headers


async def test_a_document_is_read_before_it_is_used(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qwen, "PARSE_INTERVAL", 0.01)
    ref = await house.qwen.upload(b"%PDF", name="a.pdf", mime="application/pdf", account=house.account)
    assert house.site.asked("sts")[-1].body["filetype"] == "document"
    assert (ref["type"], ref["file_class"]) == ("file", "document")
    assert len(house.site.asked("parse_status")) == 2
    assert text(await house.say("sum it up", inputs=(Input("object:x", ref=ref),)))


async def test_a_document_that_cannot_be_read_is_the_callers_fault(house: House) -> None:
    house.site.parse_script = ["failed"]
    with pytest.raises(errors.UpstreamRefusedParameter):
        await house.qwen.upload(b"%PDF", name="a.pdf", mime="application/pdf", account=house.account)


async def test_a_document_is_not_waited_for_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qwen, "PARSE_INTERVAL", 0)
    monkeypatch.setattr(qwen, "PARSE_LOOKS", 3)
    house.site.parse_script = ["running"]
    with pytest.raises(errors.UpstreamTimeout) as caught:
        await house.qwen.upload(b"%PDF", name="a.pdf", mime="application/pdf", account=house.account)
    assert caught.value.sent == "no"


async def test_storage_that_refuses_tells_no_secret(house: House) -> None:
    leak = b"<Error><Code>SignatureDoesNotMatch</Code><StringToSign>x-oss-security-token:SECRET</StringToSign></Error>"
    house.site.fail("oss", Fault.raw(leak, "application/xml", 403))
    with pytest.raises(errors.UpstreamFailed) as caught:
        await house.qwen.upload(b"x", name="a.png", mime="image/png", account=house.account)
    assert caught.value.sent == "no"
    assert "SignatureDoesNotMatch" in str(caught.value.detail)
    assert "SECRET" not in str(caught.value.detail)


def address(**told: str) -> str:
    names = ("access_key_id", "access_key_secret", "security_token", "file_url", "file_id")
    ticket = storage.Ticket(**dict.fromkeys(names, "x"), file_path="a/b c.png", **told)  # type: ignore[arg-type]
    return storage.address(QwenOptions().oss_url, ticket)


@pytest.mark.parametrize("endpoint", ["127.0.0.1:80", "evil.test", "x.aliyuncs.com.evil.test", "a/b.aliyuncs.com"])
def test_a_file_goes_to_no_strangers_storage(endpoint: str) -> None:
    with pytest.raises(errors.UpstreamGarbled):
        address(bucketname="b", endpoint=endpoint)


def test_storage_is_found_by_endpoint_or_region() -> None:
    path = "a/b%20c.png"
    named = address(bucketname="b", region="oss-x", endpoint="oss-y.aliyuncs.com")
    assert named == f"https://b.oss-y.aliyuncs.com/{path}"
    assert address(bucketname="b", region="oss-x") == f"https://b.oss-x.aliyuncs.com/{path}"
    assert address(bucketname="b", region="eu") == f"https://b.oss-eu.aliyuncs.com/{path}"


def test_an_image_on_the_internet_can_be_named() -> None:
    assert payload.file(Input("https://x.test/a.png", mime="image/png"))["url"] == "https://x.test/a.png"
    for odd in (Input("https://x.test/a.pdf", mime="application/pdf"), Input("data:image/png;base64,AA")):
        with pytest.raises(errors.InvalidRequest):
            payload.file(odd)
