"""Media as the tests of previews need them: made here, by the same libraries that others make theirs with."""

from __future__ import annotations

import array
import io
import math
import struct
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import av
from PIL import Image, ImageDraw

RED, GREEN, BLUE, GREY = (220, 30, 30), (30, 200, 30), (30, 30, 220), (128, 128, 128)


def scene(width: int = 1600, height: int = 1200, mode: str = "RGB") -> Image.Image:
    """Grey, with a red corner at the top on the left, a green one on the right, a blue one below the red one."""
    image = Image.new("RGB", (width, height), GREY)
    draw = ImageDraw.Draw(image)
    for colour, left, top in ((RED, 0, 0), (GREEN, 0.75, 0), (BLUE, 0, 0.75)):
        draw.rectangle((left * width, top * height, (left + 0.25) * width, (top + 0.25) * height), fill=colour)
    return image.convert(mode)


def noisy(width: int = 1000, height: int = 750) -> Image.Image:
    """The same, too heavy to do without a thumbnail in any format."""
    grain = Image.effect_noise((width, height), 80).convert("RGB")
    return Image.blend(scene(width, height), grain, 0.2)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def turned(how: int, **more: Any) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = how
    for tag, value in more.items():
        exif[int(tag.removeprefix("tag"))] = value
    return exif


def colours(image: Image.Image) -> tuple[str, str, str, str]:
    """The names of what is in its corners: top left, top right, bottom left, bottom right."""
    shown, at = image.convert("RGB"), (0.12, 0.88)
    return tuple(  # type: ignore[return-value]
        _name(shown.getpixel((int(x * shown.width), int(y * shown.height))))  # type: ignore[arg-type]
        for y in at
        for x in at
    )


def _name(pixel: tuple[int, int, int]) -> str:
    known = {"red": RED, "green": GREEN, "blue": BLUE, "grey": GREY, "black": (0, 0, 0), "white": (255, 255, 255)}
    return min(known, key=lambda name: sum((a - b) ** 2 for a, b in zip(pixel, known[name], strict=True)))


UPRIGHT = ("red", "green", "blue", "grey")
CLOCKWISE = ("blue", "red", "grey", "green")
COUNTER = ("green", "grey", "red", "blue")


def film(
    frames: Iterable[Image.Image],
    container: str = "mp4",
    codec: str = "libx264",
    *,
    rate: int = 10,
    rotation: int | None = None,
    shape: tuple[int, int] | None = None,
    pixels: str = "yuv420p",
    container_options: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    sound: bool = False,
) -> bytes:
    """A video of these pictures. `rotation`: degrees against the clock that it is to be shown turned by; `shape`: of
    its pixels, width to height."""
    out = io.BytesIO()
    with av.open(out, "w", format=container, options=container_options or {}) as file:
        stream: Any = None
        for image in frames:
            if stream is None:
                stream = file.add_stream(codec, rate=rate, options=options or {})
                stream.width, stream.height, stream.pix_fmt = *image.size, pixels
                if shape is not None:
                    stream.codec_context.sample_aspect_ratio = Fraction(*shape)
                if rotation is not None:
                    stream.set_display_rotation(rotation)
            file.mux(stream.encode(av.VideoFrame.from_image(image)))
        file.mux(stream.encode())
    return out.getvalue()


def tone(loud: float = 0.5, hertz: float = 300.0) -> Callable[[float], tuple[float, ...]]:
    return lambda at: (loud * math.sin(2 * math.pi * hertz * at),)


def sound(
    container: str = "wav",
    codec: str = "pcm_s16le",
    wave: Callable[[float], tuple[float, ...]] | None = None,
    *,
    seconds: float = 2.0,
    rate: int = 48_000,
    layout: str = "mono",
    cover: Image.Image | None = None,
    container_options: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
) -> bytes:
    """A recording: `wave` tells the samples of each channel by the second, or of all of them by one."""
    out, wave, total = io.BytesIO(), wave or tone(), int(seconds * rate)
    with av.open(out, "w", format=container, options=container_options or {}) as file:
        stream: Any = file.add_stream(codec, rate=rate, layout=layout, options=options or {})
        picture: Any = None
        if cover is not None:
            picture = file.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = *cover.size, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
        channels = len(stream.codec_context.layout.channels)
        fit = av.AudioResampler(stream.codec_context.format.name, layout, rate, stream.codec_context.frame_size or 1024)
        if picture is not None:
            packets = picture.encode(av.VideoFrame.from_image(cover)) + picture.encode()
            file.mux(packets)
        for start in range(0, total, 4096):
            count = min(4096, total - start)
            samples = array.array("f")
            for at in range(start, start + count):
                value = wave(at / rate)
                samples.extend(value if len(value) == channels else value * channels)
            frame = av.AudioFrame("flt", layout, count)
            frame.planes[0].update(samples.tobytes() + bytes(frame.planes[0].buffer_size - 4 * len(samples)))
            frame.sample_rate, frame.pts = rate, start
            for whole in fit.resample(frame):
                file.mux(stream.encode(whole))
        for whole in fit.resample(None):
            file.mux(stream.encode(whole))
        file.mux(stream.encode(None))
    return out.getvalue()


def bomb(samples: int = 20_000_000) -> bytes:
    """An MP4 of two kilobytes whose index says that it has so many samples, of a byte each."""
    data = film([scene(64, 48)] * 10)
    for kind, fields in ((b"stsz", (0, 1, samples)), (b"stsc", (0, 1, 1, samples, 1))):
        at = data.index(kind) - 4
        size = int.from_bytes(data[at : at + 4], "big")
        box = struct.pack(f">I4s{len(fields)}I", size, kind, *fields)
        data = data[:at] + box + data[at + len(box) :]
    return data


def fragment_bomb(samples: int = 30_000_000) -> bytes:
    """The same with a fragment that says so."""
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    data = film([scene(64, 48)] * 10, container_options=options)
    at = data.index(b"trun") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    run = struct.pack(">I4sII", 16, b"trun", 0, samples)
    return data[:at] + run + struct.pack(">I4s", size - 16, b"free") + bytes(size - 24) + data[at + size :]
