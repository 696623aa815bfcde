"""A strict upstream of the OpenAI dialect: it refuses what OpenAI refuses, records what it got, and fails on demand."""

import asyncio
import base64
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.emulators import openai_answers as answers
from tests.emulators.openai_answers import Bent, Refused, Reply, missing, no_unknown, refusal, refuse

KEY = "sk-emulator-good-0001"
TEXT, IMAGE, OPEN_IMAGE = "gpt-6-luna", "gpt-image-2", "flux-1-dev"
VOICE, EARS, VECTORS = "gpt-4o-mini-tts", "gpt-transcribe", "text-embedding-3-small"
MODELS = (TEXT, IMAGE, OPEN_IMAGE, VOICE, EARS, VECTORS)
REPLY = "Hello from the far side of the wire ."

_CHAT = """
model messages stream stream_options max_tokens max_completion_tokens temperature top_p n stop tools tool_choice
parallel_tool_calls response_format seed user metadata reasoning_effort presence_penalty frequency_penalty logit_bias
logprobs top_logprobs modalities store service_tier verbosity prompt_cache_key safety_identifier
"""
_IMAGES = """
model prompt n size quality background output_format output_compression moderation user input_fidelity images mask
stream partial_images
"""
_CHAT_FIELDS, _IMAGE_FIELDS = frozenset(_CHAT.split()), frozenset(_IMAGES.split())
_HEARABLE = frozenset({"flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm"})


# --- faults ---


@dataclass(frozen=True)
class Reset:
    """An RST: before the answer, or after so many events of a stream (0: after the head)."""

    after: int | None = None


@dataclass(frozen=True)
class Silence:
    """Nothing more comes: before the answer, or after so many events."""

    after: int | None = None


@dataclass(frozen=True)
class Raw:
    """A stream of exactly these pieces, each sent by itself."""

    pieces: tuple[bytes, ...]
    content_type: str = "text/event-stream"


@dataclass(frozen=True)
class OtherShape:
    """JSON where a stream was asked for, and the reverse."""


@dataclass(frozen=True)
class Limits:
    """The right answer, with these headers about what is left."""

    headers: dict[str, str]


Fault = Reply | Reset | Silence | Raw | Bent | OtherShape | Limits | None


HTML = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>checking your browser</body></html>"


@dataclass
class Recorded:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    json: Any = None
    form: list[tuple[str, Any]] = field(default_factory=list)
    """Pairs of name and text, or of name and (file name, type, bytes)."""


class Emulator:
    """Give `emulator.app` to `serve`. `script` lines up faults, one a request; None lets a request through."""

    def __init__(self, keys: Iterable[str] = (KEY,), models: Iterable[str] = MODELS, text: str = REPLY) -> None:
        self.keys = frozenset(keys)
        self.models = tuple(models)
        self.text = text
        self.also_takes: set[str] = set()
        self.credits: float | None = 20.0
        """What a key may still spend; None: without a limit."""
        self.headers: dict[str, str] = {}
        """What every right answer carries besides."""
        self.requests: list[Recorded] = []
        self.open_streams = 0
        self._script: deque[Fault] = deque()
        self.app = Starlette(
            routes=[
                Route("/v1/models", self._route(self._models)),
                Route("/v1/models/{id:path}", self._route(self._model)),
                Route("/v1/credits", self._route(self._credits)),
                Route("/v1/key", self._route(self._key)),
                Route("/v1/chat/completions", self._route(self._chat), methods=["POST"]),
                Route("/v1/embeddings", self._route(self._embeddings), methods=["POST"]),
                Route("/v1/images/generations", self._route(self._generations), methods=["POST"]),
                Route("/v1/images/edits", self._route(self._edits), methods=["POST"]),
                Route("/v1/audio/speech", self._route(self._speech), methods=["POST"]),
                Route("/v1/audio/transcriptions", self._route(self._transcriptions), methods=["POST"]),
                Route("/v1/audio/translations", self._route(self._transcriptions), methods=["POST"]),
                Route("/media/{name}", self._media),
            ]
        )

    @property
    def last(self) -> Recorded:
        return self.requests[-1]

    def script(self, *faults: Fault) -> None:
        self._script.extend(faults)

    def _route(self, handler: Callable[[Request, Recorded, Fault], Awaitable[Response]]) -> Callable[..., Any]:
        async def route(request: Request) -> Response:
            fault = self._script.popleft() if self._script else None
            try:
                seen = await _recorded(request)
                self.requests.append(seen)
                if isinstance(fault, Reply):
                    return _sent(fault)
                if isinstance(fault, Reset) and fault.after is None:
                    request.scope["reset"]()
                    await asyncio.sleep(30)
                if isinstance(fault, Silence) and fault.after is None:
                    await asyncio.sleep(30)
                self._authorised(request)
                answer = await handler(request, seen, fault)
                answer.headers.update(fault.headers if isinstance(fault, Limits) else self.headers)
                return answer
            except Refused as exc:
                return _sent(exc.reply)

        return route

    def _authorised(self, request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if not key:
            raise Refused(refusal(401, None, "You didn't provide an API key."))
        if scheme != "Bearer" or key not in self.keys:
            said = f"Incorrect API key provided: {key[:8]}****{key[-4:]}."
            raise Refused(refusal(401, "invalid_api_key", said))

    def _known(self, model: Any, *, prefix: tuple[str, ...] = ()) -> str:
        if not isinstance(model, str) or not model:
            raise refuse("missing_required_parameter", "you must provide a model parameter", "model")
        if model not in self.models:
            said = f"The model `{model}` does not exist or you do not have access to it."
            raise Refused(refusal(404, "model_not_found", said))
        if prefix and not model.startswith(prefix):
            raise refuse(None, f"The model `{model}` cannot be used with this endpoint.", "model")
        return model

    # --- models ---

    async def _models(self, request: Request, seen: Recorded, fault: Fault) -> Response:
        return JSONResponse({"object": "list", "data": [answers.model(name) for name in self.models]})

    async def _model(self, request: Request, seen: Recorded, fault: Fault) -> Response:
        return JSONResponse(answers.model(self._known(request.path_params["id"])))

    # --- what is left ---

    async def _credits(self, request: Request, seen: Recorded, fault: Fault) -> Response:
        return JSONResponse({"data": {"total_credits": 5 + (self.credits or 0), "total_usage": 5}})

    async def _key(self, request: Request, seen: Recorded, fault: Fault) -> Response:
        limit = None if self.credits is None else 5 + self.credits
        told = {"label": "sk-emu...001", "limit": limit, "usage": 5, "limit_remaining": self.credits}
        return JSONResponse({"data": told})

    # --- chat ---

    async def _chat(self, request: Request, seen: Recorded, fault: Fault) -> Response:
        body = _object(seen)
        model = self._known(body.get("model"), prefix=("gpt-6",))
        answers.check_chat(body, _CHAT_FIELDS | self.also_takes)
        streamed = bool(body.get("stream")) != isinstance(fault, OtherShape)
        if not streamed:
            return JSONResponse(answers.completion(model, body, self.text))
        pieces: Iterable[bytes]
        if isinstance(fault, Raw):
            pieces, kind = fault.pieces, fault.content_type
        else:
            events = list(answers.chunks(model, body, self.text))
            pieces, kind = answers.pieces(events, fault if isinstance(fault, Bent) else Bent()), "text/event-stream"
        return StreamingResponse(self._sending(request, pieces, fault), media_type=kind)

    async def _sending(self, request: Request, pieces: Iterable[bytes], fault: Fault) -> AsyncIterator[bytes]:
        self.open_streams += 1
        try:
            for count, piece in enumerate(pieces):
                if isinstance(fault, Reset | Silence) and fault.after == count:
                    await asyncio.sleep(0.02)  # what was written first must be out before the cut
                    if isinstance(fault, Reset):
                        request.scope["reset"]()
                    await asyncio.sleep(30)
                yield piece
                await asyncio.sleep(0)
        finally:
            self.open_streams -= 1

    # --- vectors ---

    async def _embeddings(self, request: Request, seen: Recorded, fault: Fault) -> Response:
        body = _object(seen)
        model = self._known(body.get("model"), prefix=("text-embedding",))
        texts = [body["input"]] if isinstance(body.get("input"), str) else body.get("input")
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
            raise refuse(None, "'$.input' is invalid. Please check the API reference.", "input")
        form = body.get("encoding_format", "float")
        if form not in ("float", "base64"):
            raise refuse(None, f"'{form}' is not one of ['float', 'base64'].", "encoding_format")
        data = [
            {"object": "embedding", "index": at, "embedding": answers.vector(text, body.get("dimensions") or 8, form)}
            for at, text in enumerate(texts)
        ]
        data.reverse()  # the order is told by `index`, not by place
        tokens = sum(len(text.split()) for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "data": data, "model": model, "usage": usage})

    # --- images ---

    async def _generations(self, request: Request, seen: Recorded, fault: Fault) -> Response:
        return self._made(request, _object(seen))

    async def _edits(self, request: Request, seen: Recorded, fault: Fault) -> Response:
        if seen.json is not None:
            body = _object(seen)
            if not all(isinstance(image, dict) and image.get("image_url") for image in body.get("images") or [None]):
                raise refuse(None, "images must hold image_url or file_id", "images")
            return self._made(request, body)
        files = [(name, value) for name, value in seen.form if isinstance(value, tuple)]
        images = [value for name, value in files if name in ("image", "image[]")]
        if not images or sum(name == "image" for name, _ in files) > 1 or len(images) > 16:
            raise refuse(None, "Send one 'image' or up to 16 'image[]'.", "image")
        for _, _, data in images:
            if not data.startswith((b"\x89PNG\r\n", b"\xff\xd8\xff", b"RIFF")):
                raise refuse("invalid_image_file", "Invalid image file or mode.", "image")
        body = {name: value for name, value in seen.form if isinstance(value, str)}
        if "n" in body:
            body["n"] = int(body["n"])
        return self._made(request, body)

    def _made(self, request: Request, body: dict[str, Any]) -> Response:
        model = self._known(body.get("model"), prefix=("gpt-image", "flux"))
        always_base64 = model.startswith("gpt-image")
        takes = _IMAGE_FIELDS | self.also_takes | (set() if always_base64 else {"response_format", "seed", "style"})
        no_unknown(body, takes)
        prompt, count = body.get("prompt"), body.get("n", 1)
        if not isinstance(prompt, str) or not prompt:
            raise missing("prompt")
        if "forbidden" in prompt:
            said = "Your request was rejected by the safety system. safety_violations=[violence]."
            raise Refused(refusal(400, "moderation_blocked", said, type_="image_generation_user_error"))
        if not isinstance(count, int) or not 1 <= count <= 10:
            raise refuse("invalid_value", f"Invalid 'n': {count}.", "n")
        sides = re.fullmatch(r"(\d+)x(\d+)", size := body.get("size", "1024x1024"))
        if size != "auto" and (not sides or int(sides[1]) % 16 or int(sides[2]) % 16):
            raise refuse("invalid_value", f"Invalid value: '{size}'.", "size")
        if always_base64 or body.get("response_format") == "b64_json":
            data = [{"b64_json": base64.b64encode(answers.png(at)).decode()} for at in range(count)]
        else:
            data = [{"url": f"{request.base_url}media/{at}.png", "revised_prompt": f"{prompt}!"} for at in range(count)]
        usage = {"input_tokens": 9, "output_tokens": 100 * count, "total_tokens": 9 + 100 * count}
        shape = {"output_format": body.get("output_format", "png"), "size": size} if always_base64 else {}
        return JSONResponse({"created": 1_790_000_000, "data": data, "usage": usage, **shape})

    async def _media(self, request: Request) -> Response:
        return Response(answers.png(int(request.path_params["name"].partition(".")[0])), media_type="image/png")

    # --- audio ---

    async def _speech(self, request: Request, seen: Recorded, fault: Fault) -> Response:
        body = _object(seen)
        self._known(body.get("model"), prefix=("gpt-4o-mini-tts",))
        no_unknown(body, frozenset({"model", "input", "voice", "response_format", "speed", "instructions"}))
        for name in ("input", "voice"):
            if not isinstance(body.get(name), str) or not body[name]:
                raise missing(name)
        kind = body.get("response_format", "mp3")
        if kind not in ("mp3", "opus", "aac", "flac", "wav", "pcm") or not 0.25 <= body.get("speed", 1) <= 4:
            raise refuse("invalid_value", f"Invalid value: '{kind}'.", "response_format")
        types = {"mp3": "audio/mpeg", "opus": "audio/opus", "pcm": "audio/pcm"}
        return Response(
            answers.wav() if kind == "wav" else kind.encode() * 50, media_type=types.get(kind, f"audio/{kind}")
        )

    async def _transcriptions(self, request: Request, seen: Recorded, fault: Fault) -> Response:
        fields = dict(seen.form)
        file = fields.get("file")
        if not isinstance(file, tuple):
            raise missing("file")
        self._known(fields.get("model"), prefix=("gpt-transcribe",))
        if file[0].rpartition(".")[2].lower() not in _HEARABLE:
            raise refuse("unsupported_format", "Invalid file format.", "file")
        said = "spoken words" if request.url.path.endswith("translations") else "gesprochene Worte"
        match fields.get("response_format", "json"):
            case "text":
                return Response(said + "\n", media_type="text/plain")
            case "srt":
                return Response(f"1\n00:00:00,000 --> 00:00:02,500\n{said}\n", media_type="text/plain")
            case "json" | "verbose_json":
                return JSONResponse({"text": said, "usage": {"type": "duration", "seconds": 2.5}})
            case other:
                raise refuse("invalid_value", f"Invalid value: '{other}'.", "response_format")


# --- reading ---


async def _recorded(request: Request) -> Recorded:
    body = await request.body()
    seen = Recorded(request.method, request.url.path, dict(request.headers), body)
    kind = request.headers.get("content-type", "")
    if kind.startswith("application/json"):
        try:
            seen.json = json.loads(body)
        except ValueError:
            raise Refused(refusal(400, None, "We could not parse the JSON body of your request.")) from None
    elif kind.startswith("multipart/form-data"):
        async with request.form() as form:
            for name, value in form.multi_items():
                file = isinstance(value, UploadFile)
                seen.form.append((name, (value.filename, value.content_type, await value.read()) if file else value))
    return seen


def _object(seen: Recorded) -> dict[str, Any]:
    if not isinstance(seen.json, dict):
        raise Refused(refusal(400, None, "We could not parse the JSON body of your request."))
    return seen.json


def _sent(reply: Reply) -> Response:
    return Response(reply.body, reply.status, media_type=reply.content_type, headers=reply.headers)
