"""/v1/audio: speech from text, text from speech."""

from __future__ import annotations

from contextlib import aclosing

from starlette.requests import Request

from gateway.errors import InvalidRequest, UpstreamGarbled
from gateway.routes.answers import linked, relayed_by, served_by, work
from gateway.routes.choosing import choose
from gateway.routes.forms import form_with_file
from gateway.routes.house import Answer, connected, hints_of, house_of, read_body
from gateway.routes.once import making
from gateway.types import TranscriptionRequest
from gateway.wire import body as wire_body
from gateway.wire import native
from gateway.wire.openai_chat import fold
from gateway.wire.wishes import wishes


async def speak(request: Request) -> Answer:
    """POST /v1/audio/speech"""
    body = wire_body.decode(await read_body(request))
    model = wire_body.text(body, "model") or ""
    wanted = wishes(body)
    choice = await choose(request, model, "tts", fallback=wanted.fallback)
    what = native.speech_request(choice.filled(body), model, wire_body.need(body, "input", str), hints_of(request))
    candidates = house_of(request).choosing.in_order(choice.candidates, what, wanted)
    with connected(request):
        async with making(request, paid=True):
            relayed = await house_of(request).relay.open(work(request, "tts", what, candidates, wanted))
        events = linked(request, relayed, aiter(relayed))
        async with aclosing(events):
            folded = await fold(events)
    if not folded.media:
        raise UpstreamGarbled("the upstream answered without any audio")
    made = folded.media[0]
    return Answer(made.data or b"", mime=made.mime, headers=relayed_by(request, relayed))


async def transcribe(request: Request) -> Answer:
    """POST /v1/audio/transcriptions"""
    return await _transcribed(request, translate=False)


async def translate(request: Request) -> Answer:
    """POST /v1/audio/translations"""
    return await _transcribed(request, translate=True)


async def _transcribed(request: Request, *, translate: bool) -> Answer:
    async with form_with_file(request) as (form, file):
        fields = tuple((field.name, field.value) for field in form.fields)
        model = dict(fields).get("model", "")
        if "\0" in model:
            raise InvalidRequest("'model' must not hold a NUL character", param="model")
        what = TranscriptionRequest(
            model, file.data, file.filename, file.content_type, fields, translate, hints_of(request)
        )
        resolved = house_of(request).catalog.resolve(model, "transcription")
        with connected(request):
            async with making(request):
                served = await house_of(request).relay.ask(work(request, "transcription", what, resolved.candidates))
    headers = served_by(request, served.candidate.upstream, served.account.id)
    return Answer(served.value.body, mime=served.value.mime, headers=headers)
