"""A small real file of every type that can be brought, each as programs write them."""

from __future__ import annotations

import io
import zipfile
from base64 import b64decode
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import av
from PIL import Image

WIDTH, HEIGHT = 64, 48
CONTENT_TYPES = (
    '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/></Types>'
)
WORDS = (
    '<?xml version="1.0"?><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
    "<w:body><w:p><w:r><w:t>hello</w:t></w:r></w:p></w:body></w:document>"
)


class Sample(NamedTuple):
    name: str
    mime: str
    make: Callable[[], bytes]
    shown: bool = False
    """Whether it has a width and a height."""
    heard: bool = False
    """Whether it has a length."""


def image(kind: str, size: tuple[int, int] = (WIDTH, HEIGHT)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(out, kind)
    return out.getvalue()


def film(container: str, codec: str) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for at in range(10):
            frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
            frame.pts = at
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return out.getvalue()


def sound(container: str, codec: str, rate: int = 48_000) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        samples = stream.codec_context.frame_size or 1024
        for at in range(0, rate, samples):
            frame = av.AudioFrame(format=stream.codec_context.format.name, layout="mono", samples=samples)
            frame.sample_rate, frame.pts = rate, at
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out.getvalue()


def archive(parts: dict[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in parts.items():
            file.writestr(name, data)
    return out.getvalue()


def docx(**more: str | bytes) -> bytes:
    """A document of one word. `more` parts come before it."""
    return archive({**more, "[Content_Types].xml": CONTENT_TYPES, "_rels/.rels": "<x/>", "word/document.xml": WORDS})


def pdf() -> bytes:
    """An empty page, with a table of where its objects are."""
    parts = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>"]
    parts.append(b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]>>")
    out, places = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", []
    for number, part in enumerate(parts, 1):
        places.append(len(out))
        out += b"%d 0 obj%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(out)
    out += b"xref\n0 4\n0000000000 65535 f \n" + table
    return out + b"trailer<</Size 4/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % start


HEIC = (
    "AAAAGGZ0eXBoZWljAAAAAG1pZjFoZWljAAABKW1ldGEAAAAAAAAAIWhkbHIAAAAAAAAAAHBpY3QAAAAAAAAAAAAAAAAAAAAADnBpdG0AAAAA"
    "AAEAAAAeaWxvYwAAAABEAAABAAEAAAABAAABSQAAABsAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAK1pcHJwAAAAkGlw"
    "Y28AAAB0aHZjQwEBYAAAAJAAAAAAAB7wAPz9+PgAAA8DIAABABhAAQwB//8BYAAAAwCQAAADAAADAB6VmAkhAAEAKEIBAQFgAAADAJAAAAMA"
    "AAMAHqAggxZZWa5MrmgIAAADAAgAAAMAUEAiAAEABkQBwXPQiQAAABRpc3BlAAAAAAAAAEAAAAAwAAAAFWlwbWEAAAAAAAAAAQABAoECAAAA"
    "I21kYXQAAAAXKAGvEYDqlPP/9QfL/lY0/wfFecOekMA="
)
"""A frame of HEVC in the boxes of HEIF: nothing that is installed writes such a picture."""


SAMPLES = [
    Sample("a.png", "image/png", lambda: image("PNG"), shown=True),
    Sample("a.jpeg", "image/jpeg", lambda: image("JPEG"), shown=True),
    Sample("a.webp", "image/webp", lambda: image("WEBP"), shown=True),
    Sample("a.gif", "image/gif", lambda: image("GIF"), shown=True),
    Sample("a.bmp", "image/bmp", lambda: image("BMP"), shown=True),
    Sample("a.avif", "image/avif", lambda: image("AVIF"), shown=True),
    Sample("a.heic", "image/heic", lambda: b64decode(HEIC), shown=True),
    Sample("a.mp4", "video/mp4", lambda: film("mp4", "libx264"), shown=True, heard=True),
    Sample("a.webm", "video/webm", lambda: film("webm", "libvpx-vp9"), shown=True, heard=True),
    Sample("a.mov", "video/quicktime", lambda: film("mov", "libx264"), shown=True, heard=True),
    Sample("a.mp3", "audio/mpeg", lambda: sound("mp3", "libmp3lame"), heard=True),
    Sample("a.wav", "audio/wav", lambda: sound("wav", "pcm_s16le"), heard=True),
    Sample("a.m4a", "audio/mp4", lambda: sound("ipod", "aac"), heard=True),
    Sample("a.flac", "audio/flac", lambda: sound("flac", "flac"), heard=True),
    Sample("a.ogg", "audio/ogg", lambda: sound("ogg", "flac"), heard=True),
    Sample("a.opus", "audio/ogg", lambda: sound("ogg", "libopus"), heard=True),
    Sample("a.aac", "audio/aac", lambda: sound("adts", "aac"), heard=True),
    Sample("a.pdf", "application/pdf", pdf),
    Sample("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", docx),
    Sample("a.txt", "text/plain", lambda: "Grüße, 世界\n".encode()),
    Sample("a.md", "text/markdown", lambda: b"# A title\n\nwords\n"),
    Sample("a.csv", "text/csv", lambda: b"name,age\nAda,36\n"),
    Sample("a.json", "application/json", lambda: b'{"a": [1, 2]}'),
    Sample("a.jsonl", "application/jsonl", lambda: b'{"custom_id": "1"}\n{"custom_id": "2"}\n'),
]


@cache
def sample(name: str) -> bytes:
    return next(one.make() for one in SAMPLES if one.name == name)
