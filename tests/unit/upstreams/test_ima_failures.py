"""What goes wrong, and what is done about prices that are no longer those that were told."""

import asyncio

import pytest

from gateway import errors
from gateway.types import Account
from gateway.upstreams.ima import failures
from tests.emulators.ima import KEY, Cut, Plan, Raw, Refusal
from tests.unit.upstreams.ima_rig import PNG, film, image, living, media, no_secret_in

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("refusal", "error", "sent"),
    [
        (Refusal(401), errors.CredentialRejected, "no"),
        (Refusal(401, status=401), errors.CredentialRejected, "no"),
        (Refusal(999, "unauthorized"), errors.CredentialRejected, "no"),
        (Refusal(4008), errors.BalanceExhausted, "no"),
        (Refusal(1, "Insufficient points, please recharge"), errors.BalanceExhausted, "no"),
        (Refusal(4014), errors.ModelNotEnabled, "no"),
        (Refusal(400017), errors.AdapterContract, "no"),
        (Refusal(400, "Invalid value for size"), errors.UpstreamRefusedParameter, "no"),
        (Refusal(400), errors.UpstreamRefusedParameter, "no"),
        (Refusal(7, "the lyrics format is wrong"), errors.UpstreamRefusedParameter, "no"),
        (Refusal(7, "prompt length exceeds the limit"), errors.UpstreamRefusedParameter, "no"),
        (Refusal(7, "text too long"), errors.UpstreamRefusedParameter, "no"),
        (Refusal(400, "could not download the image"), errors.InputUnreachable, "no"),
        (Refusal(429), errors.RateLimited, "no"),
        (Refusal(12, "rate limit reached"), errors.RateLimited, "no"),
        (Refusal(400, "violates our content policy"), errors.ContentRefused, "no"),
        (Refusal(500, "content moderation refused it", status=500), errors.ContentRefused, "no"),
        (Refusal(500), errors.UpstreamFailed, "unknown"),
        (Refusal(500, status=500), errors.UpstreamFailed, "unknown"),
        (Refusal(503), errors.UpstreamFailed, "no"),
        (Refusal(8, "the model is temporarily unavailable"), errors.UpstreamFailed, "no"),
        (Refusal(31337, "what is this"), errors.UpstreamFailed, "unknown"),
        (Raw(500), errors.UpstreamFailed, "unknown"),
        (Raw(500, b"{}", "application/json"), errors.UpstreamFailed, "unknown"),
        (Raw(200, b"{}", "application/json"), errors.UpstreamGarbled, "unknown"),
        (Raw(200, b'{"code":0,"data":{"biz_id":"b"}}', "application/json"), errors.UpstreamGarbled, "unknown"),
        (Raw(200, b'{"code":0,"data":[]}', "application/json"), errors.UpstreamGarbled, "unknown"),
        (Raw(404), errors.UpstreamFailed, "no"),
        (Cut(), errors.UpstreamFailed, "unknown"),
        (Cut(done=True), errors.UpstreamFailed, "unknown"),
    ],
)
async def test_a_create_that_fails(refusal: object, error: type[errors.GatewayError], sent: str) -> None:
    async with living() as house:
        house.site.fail("create", refusal)  # type: ignore[arg-type]
        with pytest.raises(error) as told:
            await house.submit(film())
        assert type(told.value) is error
        if not isinstance(told.value, errors.AccountError | errors.RefusedByUpstream):
            assert told.value.sent == sent
        no_secret_in(told.value)
        assert len(house.site.seen("create")) == 1, "what is paid for is never sent again by itself"


async def test_the_parameter_that_the_site_names_is_named() -> None:
    async with living() as house:
        house.site.fail("create", Refusal(400, "Invalid value for resolution"))
        with pytest.raises(errors.UpstreamRefusedParameter) as told:
            await house.submit(film())
        assert (told.value.param, str(told.value)) == ("resolution", "Invalid value for resolution")


async def test_a_spent_account_says_so() -> None:
    async with living() as house:
        house.site.balance[KEY] = 39
        with pytest.raises(errors.BalanceExhausted):
            await house.submit(film())
        assert house.site.creates == []


async def test_a_key_in_the_site_s_words_is_told_to_nobody() -> None:
    async with living() as house:
        house.site.fail("create", Refusal(400, f"Invalid value: {KEY}"), Raw(400, f"oh {KEY}".encode(), "text/plain"))
        for _ in range(2):
            with pytest.raises(errors.GatewayError) as told:
                await house.submit(film())
            no_secret_in(told.value)


@pytest.mark.parametrize(
    ("fault", "operation"),
    [
        (Refusal(401), "token"),
        (Refusal(500), "token"),
        (Raw(502), "token"),
        (Raw(200, b'{"code":0,"data":{}}', "application/json"), "token"),
        (Cut(), "token"),
        (Raw(403, b"<Code>SignatureDoesNotMatch</Code><Url>x?Signature=y</Url>", "application/xml"), "put"),
        (Cut(), "put"),
    ],
)
async def test_a_file_that_does_not_arrive_names_no_key_and_no_address(fault: object, operation: str) -> None:
    async with living() as house:
        house.site.fail(operation, fault, fault)  # type: ignore[arg-type]
        with pytest.raises(errors.GatewayError) as told:
            await house.upstream.upload(PNG, name="a.png", mime="image/png", account=house.account)
        no_secret_in(told.value)
        error: BaseException | None = told.value
        while error is not None:
            shown = f"{error!r} {getattr(error, 'detail', '')} {error.__dict__}"
            assert "appUid" not in shown
            assert "Signature=" not in shown
            error = error.__cause__ or error.__context__
        if isinstance(told.value, errors.UpstreamError):
            assert told.value.sent == "no"


async def test_storage_that_cannot_be_reached_names_no_key() -> None:
    async with living(upload_url="http://127.0.0.1:1") as house:
        with pytest.raises(errors.UpstreamUnreachable) as told:
            await house.upstream.upload(PNG, name="a.png", mime="image/png", account=house.account)
        no_secret_in(told.value)


async def test_an_answer_that_is_no_http_at_all_names_no_key() -> None:
    """The error behind it knows the whole URL."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"what?\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, living(upload_url=f"http://127.0.0.1:{port}") as house:
        with pytest.raises(errors.UpstreamGarbled) as told:
            await house.upstream.upload(PNG, name="a.png", mime="image/png", account=house.account)
        no_secret_in(told.value)
        assert told.value.sent == "no"


# --- tasks ---


@pytest.mark.parametrize(
    ("why", "error"),
    [
        ("out of memory", errors.GenerationFailed),
        ("the result violates the content policy", errors.ContentRefused),
        ("内容违规", errors.ContentRefused),
        ("could not download the image", errors.InputUnreachable),
        ("the prompt is too long", errors.UpstreamRefusedParameter),
        ("unauthorized", errors.GenerationFailed),
        ("", errors.GenerationFailed),
    ],
)
async def test_a_task_that_failed_says_why(why: str, error: type[errors.GatewayError]) -> None:
    async with living() as house:
        house.site.plan = Plan(ends={0: (2, "failed")}, why=why)
        update = await house.poll(await house.submit(film()))
        assert update.state == "failed"
        assert type(update.error) is error
        with pytest.raises(error):
            await house.make(image())


async def test_of_several_images_one_that_failed_is_the_end_of_all_and_it_says_how_many_there_were() -> None:
    async with living() as house:
        house.site.plan = Plan(ends={2: (1, "failed")})
        with pytest.raises(errors.GenerationFailed, match="3 of 4 outputs were ready"):
            await house.make(image(n=4))
        assert house.site.spent == 20


@pytest.mark.parametrize("fault", [Refusal(500), Refusal(4008), Refusal(400), Raw(502), Refusal(429)])
async def test_a_look_that_fails_says_nothing_about_the_task(fault: object) -> None:
    async with living() as house:
        made = await house.submit(film())
        house.site.fail("detail", fault)  # type: ignore[arg-type]
        with pytest.raises(errors.GatewayError) as told:
            await house.poll(made)
        assert isinstance(told.value, errors.UpstreamError | errors.RateLimited)
        assert (await house.poll(made)).state == "succeeded"
        house.site.fail("detail", fault)  # type: ignore[arg-type]
        assert len(media(await house.make(image()))) == 1
        assert len(house.site.creates) == 2


async def test_a_key_that_is_no_longer_good_ends_the_looks() -> None:
    async with living() as house:
        made = await house.submit(film())
        house.site.fail("detail", Refusal(401), Refusal(401))
        with pytest.raises(errors.CredentialRejected):
            await house.poll(made)
        with pytest.raises(errors.CredentialRejected) as told:
            await house.make(image())
        assert told.value.sent == "unknown"
        house.site.fail("detail", *[Refusal(500)] * 5)
        with pytest.raises(errors.UpstreamFailed):
            await house.make(image())


# --- prices that are no longer right ---


async def test_a_price_that_changed_is_told_and_nothing_is_made() -> None:
    async with living() as house:
        assert house.quoted(film()) == 40
        house.site.reprice("text_to_video", "wan2.6-t2v", 5)
        with pytest.raises(errors.PriceChanged, match="45 points now instead of 40; nothing was made"):
            await house.submit(film())
        assert (house.site.creates, house.site.spent) == ([], 0)
        assert house.quoted(film()) == 45, "the new price is known from now on"
        await house.submit(film())
        assert house.site.spent == 45


async def test_a_price_that_changed_between_the_quote_and_the_create_is_not_paid() -> None:
    async with living() as house:
        fitted = house.fit(film()).request
        house.site.reprice("text_to_video", "wan2.6-t2v", -5)
        await house.upstream.models(house.account)
        with pytest.raises(errors.PriceChanged, match="35 points now instead of 40"):
            await house.upstream.submit(fitted, house.account)  # type: ignore[arg-type]
        assert house.site.seen("create") == []


async def test_another_id_for_the_same_at_the_same_price_is_sent_once_more() -> None:
    async with living() as house:
        house.site.renumber("text_to_video", "wan2.6-t2v")
        before = len(house.site.seen("list"))
        await house.submit(film())
        assert (len(house.site.seen("create")), len(house.site.seen("list")) - before) == (2, 1)
        assert house.last.product["attribute_id"] == 12058
        await house.make(image())
        assert len(house.site.seen("create")) == 3


async def test_a_value_that_is_no_longer_there_is_refused() -> None:
    async with living() as house:
        leaf = house.site.leaf("text_to_video", "wan2.6-t2v")
        leaf["credit_rules"] = [rule for rule in leaf["credit_rules"] if rule["attributes"]["duration"] != "5"]
        with pytest.raises(errors.Unsupported, match="does not make seconds 5; it makes seconds 10, resolution 720P"):
            await house.submit(film(seconds=5.0))
        assert house.site.creates == []


async def test_another_version_is_another_product() -> None:
    async with living() as house:
        fitted = house.fit(film()).request
        leaf = house.site.leaf("text_to_video", "wan2.6-t2v")
        leaf["id"] = "wan2.7"
        with pytest.raises(errors.GatewayError):
            await house.upstream.submit(fitted, house.account)  # type: ignore[arg-type]
        await house.upstream.models(house.account)
        with pytest.raises(errors.PriceChanged, match="another version"):
            await house.upstream.submit(fitted, house.account)  # type: ignore[arg-type]
        leaf["model_id"] = "something-else"
        await house.upstream.models(house.account)
        with pytest.raises(errors.ModelNotFound):
            await house.upstream.submit(film(), house.account)
        assert house.site.creates == []


@pytest.mark.parametrize(
    "refusal", [Refusal(6006), Refusal(6009), Refusal(6010), Refusal(400, "Invalid product attribute")]
)
async def test_what_is_stale_is_asked_for_anew_once_and_no_more(refusal: Refusal) -> None:
    async with living() as house:
        before = len(house.site.seen("list"))
        house.site.fail("create", refusal)
        await house.submit(film())
        assert (len(house.site.seen("create")), len(house.site.seen("list"))) == (2, before + 1)
        house.site.fail("create", refusal, refusal)
        with pytest.raises(errors.AdapterContract) as told:
            await house.submit(film())
        assert told.value.sent == "no"
        assert len(house.site.seen("create")) == 4
        house.site.fail("create", refusal)
        house.site.fail("list", Refusal(500))
        with pytest.raises(errors.UpstreamFailed) as lost:
            await house.submit(film())
        assert lost.value.sent == "no"
        assert len(house.site.creates) == 1


# --- accounts ---


async def test_a_probe_spends_nothing_and_tells_a_key_that_is_no_good() -> None:
    async with living() as house:
        await house.upstream.probe(house.account)
        assert house.site.spent == 0
        with pytest.raises(errors.CredentialRejected):
            await house.by("ima_nobody").upstream.probe(house.by("ima_nobody").account)
        with pytest.raises(errors.CredentialRejected):
            await house.upstream.models(house.by("ima_nobody").account)


def test_words_without_a_code_are_no_envelope() -> None:
    assert failures.said(b'{"message":"x"}') == ("", "")
    assert failures.said(b'{"code":true,"message":"x"}') == ("", "")
    assert failures.said(b'{"code":"6006","message":"x"}') == ("6006", "x")
    assert failures.said(b"[1]") == ("", "")
    assert Account("ima/a", "a", "ima", credential=KEY).id not in str(failures.by_code("401", ""))
