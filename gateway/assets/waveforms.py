"""How loud a recording is along its length: peaks from 0 to 100, of the loudest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO, cast

from gateway.assets.containers import opened, sound

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

PEAKS = 128
MAX_SECONDS = 30 * 60.0
"""A recording that is longer is only listened to in PEAKS places, evenly over its length."""
LISTENED = 1.0
"""Seconds in each of them."""
SILENCE = 1 / 2048
"""Of full scale (-66 dB): a recording that is nowhere louder is silent."""
MAX_DAMAGED = 500
"""Packets in a row that cannot be decoded: nothing more is expected then."""
_FINEST = 64
"""Samples that a peak is of at first."""
_MOST = 16 * PEAKS
"""Peaks that are kept, twice as many for a moment: then each two become one."""

_MODES: Mapping[str, tuple[str, str, int, float]] = MappingProxyType(
    {
        "flt": ("F", "F;32NF", 4, 1.0),
        "dbl": ("F", "F;64NF", 8, 1.0),
        "s16": ("I", "I;16NS", 2, 2.0**15),
        "s32": ("I", "I;32NS", 4, 2.0**31),
    }
)
"""How Pillow reads samples of a format (the `p` of planar ones left out): mode, raw mode, bytes, full scale."""


def waveform(file: BinaryIO, reader: str, go_on: Callable[[], None]) -> tuple[int, ...]:
    """PEAKS whole numbers from 0 to 100, the loudest of all channels. `go_on` raises to end it.

    Raises whatever PyAV does, and ValueError where there is nothing to hear, or far more than the file tells.
    """
    with opened(file, reader) as container:
        stream = sound(container)
        if stream is None:
            raise ValueError("no sound")
        stream.codec_context.thread_count = 1
        told = float(container.duration) / 1_000_000 if container.duration is not None else 0.0
        if told > MAX_SECONDS:
            return _scaled(_places(container, stream, told, go_on))
        line = Line()
        for frame in _frames(container, stream, go_on):
            line.add(frame)
            if line.seconds > MAX_SECONDS + LISTENED:
                raise ValueError("it goes on longer than it tells")
    return _scaled(line.peaks())


class Line:
    """Peaks over a recording of any length, in memory of one size."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._peaks: list[float] = [0.0]
        self._step = _FINEST
        """Samples that a peak is of."""
        self._filled = 0
        """Samples that the last one is of so far."""

    def add(self, frame: AudioFrame) -> None:
        self.seconds += frame.samples / (frame.sample_rate or 1)
        at = 0
        while at < frame.samples:
            if self._filled == self._step:
                self._begin()
            taken = min(self._step - self._filled, frame.samples - at)
            self._peaks[-1] = max(self._peaks[-1], loudest(frame, at, at + taken))
            self._filled += taken
            at += taken

    def _begin(self) -> None:
        if len(self._peaks) == 2 * _MOST:
            self._peaks = [max(pair) for pair in zip(self._peaks[::2], self._peaks[1::2], strict=True)]
            self._step *= 2
        self._peaks.append(0.0)
        self._filled = 0

    def peaks(self) -> list[float]:
        """PEAKS of them. ValueError if there was nothing."""
        if not self.seconds:
            raise ValueError("nothing to hear")
        count = len(self._peaks)
        bounds = [at * count // PEAKS for at in range(PEAKS + 1)]
        return [max(self._peaks[low : max(low + 1, high)]) for low, high in pairwise(bounds)]


def loudest(frame: AudioFrame, start: int, end: int) -> float:
    """The farthest from silence of the samples of all channels from `start` to before `end`, of 1 as full scale."""
    name, planar = frame.format.name.removesuffix("p"), frame.format.is_planar
    if name not in _MODES:
        return loudest(_as_floats(frame), start, end)
    mode, raw, size, scale = _MODES[name]
    step = size if planar else size * len(frame.layout.channels)
    planes = frame.planes if planar else frame.planes[:1]
    found = 0.0
    for plane in planes:
        low, high = _extremes(mode, raw, memoryview(plane)[start * step : end * step], size)
        found = max(found, -low / scale, high / scale)  # what is no number never is the larger one
    return min(found, 1.0)


def _extremes(mode: str, raw: str, samples: memoryview, size: int) -> tuple[float, float]:
    """Pillow looks through numbers as fast as they come from memory; Python would take a hundred times as long."""
    from PIL import Image

    low, high = Image.frombytes(mode, (len(samples) // size, 1), bytes(samples), "raw", raw).getextrema()
    return float(low), float(high)  # type: ignore[arg-type]


def _as_floats(frame: AudioFrame) -> AudioFrame:
    """The same samples in a format that is read here: few files have others."""
    from av.audio.resampler import AudioResampler

    [floats] = AudioResampler(format="flt").resample(frame)
    return floats


def _frames(
    container: InputContainer, stream: AudioStream, go_on: Callable[[], None], most: float = float("inf")
) -> Iterator[AudioFrame]:
    """What can be decoded from where the container is, `most` seconds of it: what is damaged is left out."""
    from av.error import FFmpegError

    heard, damaged = 0.0, 0
    with suppress(FFmpegError):  # where reading it fails it ends
        for packet in container.demux(stream):
            go_on()
            found: list[AudioFrame] = []
            with suppress(FFmpegError):
                found = packet.decode()
            for frame in found:
                yield frame
                heard += frame.samples / (frame.sample_rate or 1)
            damaged = 0 if found else damaged + 1
            if heard >= most or damaged > MAX_DAMAGED:
                return


def _places(container: InputContainer, stream: AudioStream, told: float, go_on: Callable[[], None]) -> list[float]:
    """The peak of what is heard in each of PEAKS places. ValueError if that is nothing in any."""
    from av.container.core import Flags
    from av.error import FFmpegError

    container.flags |= cast("int", Flags.fast_seek.value)
    peaks, anything = [], False
    for place in range(PEAKS):
        peak = 0.0
        with suppress(FFmpegError):
            container.seek(int((container.start_time or 0) + told * 1_000_000 * place / PEAKS))
            for frame in _frames(container, stream, go_on, LISTENED):
                peak, anything = max(peak, loudest(frame, 0, frame.samples)), True
        peaks.append(peak)
    if not anything:
        raise ValueError("nothing to hear")
    return peaks


def _scaled(peaks: list[float]) -> tuple[int, ...]:
    top = max(peaks)
    return tuple(round(100 * peak / top) for peak in peaks) if top > SILENCE else (0,) * len(peaks)
