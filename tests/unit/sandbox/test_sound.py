"""Sound: in every format, as long as it should be, heard and not clipped, equal for equal seeds."""

from __future__ import annotations

import io
from array import array
from itertools import pairwise

import av
import pytest

from gateway.sandbox import mixer
from gateway.sandbox.music import piece
from gateway.sandbox.sound import FORMATS, compose, mime, speak
from gateway.sandbox.voice import duration, throat

LINE = "The quick brown fox jumps over the lazy dog, and then it rests."
CODED = [format for format in FORMATS if format != "pcm"]


def heard(data: bytes) -> tuple[float, int, int]:
    """(seconds, hertz, channels) as decoded."""
    with av.open(io.BytesIO(data)) as file:
        stream = file.streams.audio[0]
        return sum(frame.samples / frame.sample_rate for frame in file.decode(stream)), stream.rate, stream.channels


def samples(data: bytes) -> array[int]:
    return array("h", data)


@pytest.mark.parametrize("format", CODED)
def test_speech_is_as_long_as_its_text_in_every_format(format: str) -> None:
    seconds, rate, channels = heard(speak(LINE, voice="alloy", format=format))
    assert seconds == pytest.approx(duration(LINE), abs=0.08)
    assert seconds == pytest.approx(len(LINE) / 15, rel=0.12)
    assert rate == (48_000 if format == "opus" else 24_000)
    assert channels == 1


def test_pcm_is_bare_samples() -> None:
    assert len(speak(LINE, voice="alloy", format="pcm")) == 2 * round(duration(LINE) * 24_000)


def test_speed_shortens_and_the_longest_text_ends() -> None:
    assert duration(LINE, 2.0) == pytest.approx(duration(LINE) / 2)
    assert len(speak(LINE, voice="alloy", speed=2.0, format="pcm")) == pytest.approx(24_000 * duration(LINE), abs=4)
    assert duration(LINE * 1000) == 120


def test_speech_is_heard_and_not_clipped() -> None:
    wave = samples(speak(LINE + " 你好，世界！ Привет 123", voice="nova", format="pcm"))
    assert 8_000 < max(map(abs, wave)) < 30_000
    assert sum(sample * sample for sample in wave) / len(wave) > 800**2


def test_speech_has_no_clicks() -> None:
    wave = samples(speak("Mama, no one will know you are away. " * 2, voice="echo", format="pcm"))
    assert max(abs(one - two) for one, two in pairwise(wave)) < 14_000


def test_voices_have_their_own_pitch() -> None:
    assert len({round(throat(name).pitch) for name in ("alloy", "echo", "fable", "onyx", "nova", "shimmer")}) == 6
    assert speak("a", voice="alloy", format="pcm") != speak("a", voice="echo", format="pcm")


@pytest.mark.parametrize("format", CODED)
def test_music_is_as_long_as_asked_in_every_format(format: str) -> None:
    seconds, _, channels = heard(compose("calm piano", seed=1, seconds=2.5, format=format))
    assert seconds == pytest.approx(2.5, abs=0.06)
    assert channels == 2


@pytest.mark.parametrize("prompt", ["calm piano rain", "happy dance electronic", "忧伤的夜"])
def test_music_is_heard_not_clipped_and_fades_out(prompt: str) -> None:
    wave = samples(compose(prompt, seed=2, seconds=12, format="pcm"))
    assert len(wave) == 12 * 44_100 * 2
    assert 6_000 < max(map(abs, wave)) < 32_000
    assert all(max(map(abs, wave[at : at + 88_200])) > 1_500 for at in range(0, len(wave) - 176_400, 88_200))
    assert max(map(abs, wave[-400:])) < 300


def test_music_is_stereo() -> None:
    wave = samples(compose("x", seed=2, seconds=2, format="pcm"))
    assert wave[0::2] != wave[1::2]


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_bytes_each_time(format: str) -> None:
    assert speak("Hello.", voice="a", format=format) == speak("Hello.", voice="a", format=format)
    assert compose("x", seed=1, seconds=0.5, format=format) == compose("x", seed=1, seconds=0.5, format=format)


def test_the_prompt_decides_the_mood_and_the_seed_the_piece() -> None:
    assert piece("happy dance", 1).beat < piece("slow sad lullaby", 1).beat
    assert piece("x", 1) != piece("x", 2)


def test_media_types() -> None:
    assert [mime(format) for format in ("mp3", "wav", "flac")] == ["audio/mpeg", "audio/wav", "audio/flac"]


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to say"):
        speak("  ", voice="alloy")
    with pytest.raises(ValueError, match="speed"):
        speak("x", voice="alloy", speed=5)
    with pytest.raises(ValueError, match="wav, pcm"):
        speak("x", voice="alloy", format="midi")
    with pytest.raises(ValueError, match="outside"):
        compose("x", seed=1, seconds=601)


def test_the_mixer_adds_scales_and_delays() -> None:
    wave = [0.5, -0.25, 0.125, -0.5]
    mix = mixer.track(wave) * mixer.GAIN + mixer.delayed(mixer.track(wave) * (mixer.GAIN // 2), 2)
    head, rest = mixer.cut(mix, 4, 6)
    tail, nothing = mixer.cut(rest, 2, 2)
    full = mixer.LOUDER * 8192
    expected = [0.5, -0.25, 0.125 + 0.25, -0.5 - 0.125, 0.0625, -0.25]
    assert [sample / full for sample in (*head, *tail)] == pytest.approx(expected, abs=1e-3)
    assert nothing == 0


def test_a_mix_that_is_too_loud_bows_instead_of_breaking() -> None:
    loud, _ = mixer.cut(mixer.track([0.9, -0.9]) * mixer.GAIN * 3, 2, 2)
    assert 24_000 < loud[0] < 32_768
    assert -32_769 < loud[1] < -24_000
