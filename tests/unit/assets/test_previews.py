"""What is shown of an asset: the pictures themselves, and what nothing can be shown of."""

from __future__ import annotations

import array
import asyncio
import contextlib
import io
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image, ImageCms

from gateway.assets import posters, previews, thumbnails, waveforms
from gateway.assets.containers import opened
from gateway.assets.evidence import RAW_SAMPLES
from gateway.assets.media import TYPES, sniff
from gateway.assets.previews import Previews, Unshowable, make, previewed, showable
from gateway.errors import StorageUnavailable
from tests.unit.assets.making import (
    CLOCKWISE,
    COUNTER,
    UPRIGHT,
    bomb,
    colours,
    encoded,
    film,
    fragment_bomb,
    noisy,
    scene,
    sound,
    tone,
    turned,
)
from tests.unit.assets.test_media import png_header

pytestmark = pytest.mark.anyio


def made(data: bytes) -> Previews:
    found = sniff(data)
    assert found is not None
    return make(data, found)


def thumbnail(data: bytes) -> Image.Image:
    found = made(data)
    assert found.thumbnail is not None
    assert (found.poster, found.waveform) == (None, None)
    image = Image.open(io.BytesIO(found.thumbnail))
    assert image.format == "WEBP"
    image.load()
    return image


def poster(data: bytes) -> Image.Image:
    found = made(data)
    assert found.poster is not None
    assert found.thumbnail is not None
    assert found.waveform is None
    small, image = Image.open(io.BytesIO(found.thumbnail)), Image.open(io.BytesIO(found.poster))
    assert (small.format, image.format) == ("WEBP", "JPEG")
    assert max(small.size) <= 512
    assert colours(small) == colours(image)
    return image


def peaks(data: bytes) -> tuple[int, ...]:
    found = made(data)
    assert (found.thumbnail, found.poster) == (None, None)
    assert found.waveform is not None
    assert len(found.waveform) == 128
    assert all(isinstance(peak, int) and 0 <= peak <= 100 for peak in found.waveform)
    return found.waveform


# --- images ---


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF"])
def test_an_image_has_a_thumbnail_of_the_same_shape(kind: str) -> None:
    image = thumbnail(encoded(noisy(), kind, quality=100))
    assert (image.size, image.mode) == ((512, 384), "RGB")
    assert colours(image) == UPRIGHT


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize(
    ("how", "corners"),
    [
        (2, ("green", "red", "grey", "blue")),
        (3, ("grey", "blue", "green", "red")),
        (4, ("blue", "grey", "red", "green")),
        (5, ("red", "blue", "green", "grey")),
        (6, CLOCKWISE),
        (7, ("grey", "green", "blue", "red")),
        (8, COUNTER),
    ],
)
def test_it_is_turned_as_it_is_shown(kind: str, how: int, corners: tuple[str, ...]) -> None:
    image = thumbnail(encoded(noisy(1000, 500), kind, exif=turned(how), quality=100))
    assert colours(image) == corners
    assert image.size == ((512, 256) if how < 5 else (256, 512))


def test_what_an_image_tells_of_its_taking_is_left_out() -> None:
    exif = turned(1, tag271="Maker")
    exif.get_ifd(0x8825)[1] = "N"
    data = encoded(noisy(), "JPEG", exif=exif, comment=b"at home")
    assert b"Maker" in data
    image = thumbnail(data)
    assert not image.getexif()
    assert not {"exif", "xmp", "icc_profile", "comment"} & set(image.info)


def test_what_is_transparent_stays_so() -> None:
    image = noisy().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    small = thumbnail(encoded(image, "PNG"))
    assert small.mode == "RGBA"
    alpha = small.getchannel("A")
    assert alpha.getpixel((256, 2)) < 10
    assert alpha.getpixel((256, 380)) > 245


def test_what_is_transparent_by_a_colour_of_its_palette_stays_so() -> None:
    image = noisy().quantize(64)
    corner = image.getpixel((5, 5))
    small = thumbnail(encoded(image, "PNG", transparency=corner))
    assert small.mode == "RGBA"
    assert min(small.getchannel("A").crop((0, 0, 100, 80)).getextrema()) < 255
    assert small.getchannel("A").getpixel((500, 370)) == 255


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA"])
def test_every_mode_of_a_png_can_be_shown(mode: str) -> None:
    small = thumbnail(encoded(noisy().convert(mode), "PNG"))
    assert small.size == (512, 384)
    bright = small.convert("L")
    assert bright.getpixel((60, 48)) < bright.getpixel((300, 200))  # blue and red are darker than grey


def test_a_jpeg_for_presses_has_its_colours() -> None:
    assert colours(thumbnail(encoded(noisy().convert("CMYK"), "JPEG", quality=98))) == UPRIGHT


def test_sixteen_bits_of_grey_are_not_clipped() -> None:
    ramp = Image.linear_gradient("L").resize((1000, 750)).convert("I").point(lambda value: value * 257)
    noise = Image.effect_noise((1000, 750), 10).convert("I")
    image = Image.frombytes("I;16", ramp.size, _sixteen(ramp, noise))
    small = thumbnail(encoded(image, "PNG")).convert("L")
    found = [small.getpixel((256, y)) for y in (20, 190, 360)]
    assert found == pytest.approx([14, 127, 240], abs=6)


def _sixteen(ramp: Image.Image, noise: Image.Image) -> bytes:
    from PIL import ImageChops  # adding in 32 bits keeps what eight cannot

    assert ImageChops is not None
    pairs = zip(ramp.get_flattened_data(), noise.get_flattened_data(), strict=True)
    return b"".join(min(65535, int(a) + int(b) // 64).to_bytes(2, "little") for a, b in pairs)


def test_colours_are_as_their_profile_means_them() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Red and blue change places, in the profile.
    swapped = profile.replace(b"rXYZ", b"????", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"????", b"bXYZ", 1)
    image = encoded(noisy(), "PNG", icc_profile=swapped)
    small = thumbnail(image)
    assert colours(small) == ("blue", "green", "red", "grey")
    assert "icc_profile" not in small.info
    with_alpha = noisy()
    with_alpha.putalpha(200)
    small = thumbnail(encoded(with_alpha, "PNG", icc_profile=swapped))
    assert small.mode == "RGBA"
    assert colours(small)[0] == "blue"


def test_a_large_jpeg_is_decoded_at_a_part_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL.JpegImagePlugin import JpegImageFile

    load, sizes = JpegImageFile.load, []

    def seen(image: JpegImageFile) -> Any:
        sizes.append(image.size)
        return load(image)

    data = encoded(noisy(4800, 3600), "JPEG")
    monkeypatch.setattr(JpegImageFile, "load", seen)
    assert thumbnail(data).size == (512, 384)
    assert max(max(size) for size in sizes) == 1200


@pytest.mark.parametrize("profile", [b"no profile", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()])
def test_a_profile_that_is_none_says_nothing(profile: bytes) -> None:
    assert colours(thumbnail(encoded(noisy(), "PNG", icc_profile=profile))) == UPRIGHT


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_its_first_frame_is_shown(kind: str) -> None:
    data = encoded(noisy(), kind, save_all=True, append_images=[Image.new("RGB", (1000, 750))] * 3, quality=100)
    assert colours(thumbnail(data)) == UPRIGHT


def test_a_panorama_stays_one() -> None:
    assert thumbnail(encoded(noisy(8000, 40), "PNG")).size == (512, 3)


def test_strip_by_strip_it_is_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(noisy(2600, 1301), "PNG")
    whole = made(data).thumbnail
    monkeypatch.setattr(thumbnails, "STRIP_PIXELS", 10_000)
    assert made(data).thumbnail == whole
    assert colours(thumbnail(data)) == UPRIGHT


def test_an_image_that_is_small_does_for_itself() -> None:
    small = encoded(noisy(400, 300), "PNG")
    assert len(small) > 64 * 1024
    assert thumbnail(small).size == (400, 300)
    assert made(encoded(scene(512, 300), "PNG")) == Previews()
    assert thumbnail(encoded(scene(513, 300), "PNG")).size == (512, 299)


@pytest.mark.parametrize("kind", [TYPES["image/svg+xml"], TYPES["image/heic"], TYPES["text/plain"], RAW_SAMPLES])
def test_there_are_kinds_of_which_nothing_is_shown(kind: Any) -> None:
    assert not showable(kind)
    assert make(b"<svg/>", kind) == Previews()


# --- video ---


@pytest.mark.parametrize(("container", "codec"), [("mp4", "libx264"), ("mov", "libx264"), ("webm", "libvpx-vp9")])
def test_a_video_has_a_poster_of_its_size_and_a_thumbnail(container: str, codec: str) -> None:
    image = poster(film([scene(640, 360)] * 5, container, codec))
    assert image.size == (640, 360)
    assert colours(image) == UPRIGHT


def test_a_poster_has_a_largest_size() -> None:
    assert poster(film([scene(1920, 1080)] * 2)).size == (1280, 720)


@pytest.mark.parametrize(
    ("rotation", "size", "corners"),
    [
        (90, (240, 320), COUNTER),
        (-90, (240, 320), CLOCKWISE),
        (180, (320, 240), ("grey", "blue", "green", "red")),
    ],
)
def test_a_video_is_turned_as_it_is_shown(rotation: int, size: tuple[int, int], corners: tuple[str, ...]) -> None:
    image = poster(film([scene(320, 240)] * 3, rotation=rotation))
    assert (image.size, colours(image)) == (size, corners)


def test_the_matrix_of_a_phone_held_upright_turns_with_the_clock() -> None:
    matrix = b"".join(value.to_bytes(4, "big", signed=True) for value in (0, 0x10000, 0, -0x10000, 0))
    assert matrix in film([scene(320, 240)] * 2, rotation=-90)


def test_pixels_that_are_no_squares_are_made_so() -> None:
    assert poster(film([scene(320, 480)] * 3, shape=(2, 1))).size == (640, 480)


def test_a_poster_is_no_black_frame() -> None:
    black = Image.new("RGB", (320, 240), (5, 5, 5))
    assert colours(poster(film([black] * 15 + [scene(320, 240)] * 5))) == UPRIGHT


def test_a_video_that_is_black_for_long_has_a_black_poster() -> None:
    black = Image.new("RGB", (320, 240))
    assert colours(poster(film([black] * 40)))[0] == "black"
    assert colours(poster(film([black] * 40 + [scene(320, 240)] * 5)))[0] == "black"


def test_of_a_large_video_key_frames_are_looked_at() -> None:
    black, options = Image.new("RGB", (2560, 1440)), {"preset": "ultrafast", "x264-params": "keyint=4:scenecut=0"}
    frames = [black] * 6 + [scene(2560, 1440)] * 3
    assert colours(poster(film(frames, options=options, rate=1))) == UPRIGHT


def test_a_video_of_one_frame_has_a_poster() -> None:
    assert colours(poster(film([scene(320, 240)]))) == UPRIGHT


def test_an_mp4_without_a_picture_has_a_waveform() -> None:
    assert max(peaks(sound("mp4", "aac"))) == 100


def test_the_untold_colours_of_hd_are_those_of_hd(monkeypatch: pytest.MonkeyPatch) -> None:
    data = film([Image.new("RGB", (1280, 720), (200, 30, 30))] * 2)
    told = poster(data).getpixel((600, 300))
    monkeypatch.setattr(posters, "HD", 10_000)
    untold = poster(data).getpixel((600, 300))
    assert untold == pytest.approx((200, 30, 30), abs=8)  # as it was made here, by the rule for small pictures
    assert told != pytest.approx(untold, abs=8)


def test_a_webm_that_was_cut_shows_how_it_began() -> None:
    data = film([noisy(160, 120) for _ in range(8)], "webm", "libvpx-vp9", options={"deadline": "realtime"})
    assert colours(poster(data[: len(data) // 2])) == UPRIGHT


@pytest.mark.parametrize(("limit", "most"), [("MAX_PIXELS", 320 * 240), ("FRAME_BYTES", 320 * 240 * 3)])
def test_a_video_of_frames_past_all_measure_is_not_decoded(
    limit: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = film([scene(320, 240)] * 3)
    monkeypatch.setattr(posters, limit, most)
    poster(data)
    monkeypatch.setattr(posters, limit, most - 1)
    with pytest.raises(Unshowable):
        made(data)


def test_only_key_frames_of_a_large_video_are_decoded() -> None:
    for size, skipped in ((320, "DEFAULT"), (2560, "NONKEY")):
        with opened(
            io.BytesIO(film([scene(size, size * 3 // 4)], options={"preset": "ultrafast"})), "mp4"
        ) as container:
            stream = container.streams.video[0]
            assert posters._frugal(stream) is (skipped == "DEFAULT")
            context = stream.codec_context
            most = 1920 * 1200 if skipped == "DEFAULT" else 2560 * 1920
            assert (context.skip_frame, context.thread_count) == (skipped, 1)
            assert context.options == {"max_pixels": str(most)}


def test_a_decoder_makes_room_for_no_more_than_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a stream that tells small frames and goes on with large ones."""
    data = film([scene(320, 240)] * 3)
    monkeypatch.setattr(posters, "KEYS_ONLY", 320 * 240)
    poster(data)
    opened = posters._frugal

    def told_less(stream: Any) -> bool:
        whole = opened(stream)
        stream.codec_context.options = {"max_pixels": str(320 * 240 // 2)}
        return whole

    monkeypatch.setattr(posters, "_frugal", told_less)
    with pytest.raises(Unshowable):
        made(data)


# --- audio ---

LOUD_THIRD = [22] * 42 + [100] * 43 + [22] * 42


def louder_in_the_middle(at: float) -> tuple[float, ...]:
    return (tone(0.9 if 1 <= at < 2 else 0.2)(at)[0],)


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("wav", "pcm_u8"),
        ("wav", "pcm_s16le"),
        ("wav", "pcm_s24le"),
        ("wav", "pcm_s32le"),
        ("wav", "pcm_f32le"),
        ("wav", "pcm_f64le"),
        ("flac", "flac"),
        ("mp3", "libmp3lame"),
        ("ogg", "libopus"),
        ("mp4", "aac"),
        ("adts", "aac"),
    ],
)
def test_a_waveform_follows_the_loudness(container: str, codec: str) -> None:
    found = peaks(sound(container, codec, louder_in_the_middle, seconds=3))
    assert max(found) == 100
    assert found[2:38] == pytest.approx(LOUD_THIRD[2:38], abs=4)
    assert found[47:80] == pytest.approx(LOUD_THIRD[47:80], abs=11)
    assert found[90:126] == pytest.approx(LOUD_THIRD[90:126], abs=4)


@pytest.mark.parametrize(("container", "codec"), [("wav", "pcm_s16le"), ("flac", "flac"), ("mp3", "libmp3lame")])
def test_the_loudest_channel_counts(container: str, codec: str) -> None:
    """Two that are each other's opposite would be silent, mixed."""

    def wave(at: float) -> tuple[float, ...]:
        value = tone()(at)[0]
        return (value if at >= 1 else 0.0, -value)

    found = peaks(sound(container, codec, wave, layout="stereo"))
    assert min(found[2:126]) > 80


def test_samples_below_nothing_count_like_those_above() -> None:
    assert min(peaks(sound(wave=lambda at: (-abs(tone()(at)[0]),)))) > 90


def test_each_sample_is_found_where_it_is() -> None:
    samples = array.array("h", [0, 0] * 1000)
    samples[2 * 900 + 1] = -(2**15)
    frame = av.AudioFrame("s16", "stereo", 1000)
    frame.planes[0].update(samples.tobytes() + bytes(frame.planes[0].buffer_size - 4000))
    assert waveforms.loudest(frame, 0, 900) == 0.0
    assert waveforms.loudest(frame, 900, 901) == 1.0
    assert waveforms.loudest(frame, 901, 1000) == 0.0


def test_a_recording_that_is_damaged_throughout_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waveforms, "MAX_DAMAGED", 5)
    data = sound("mp4", "aac")
    at = data.index(b"mdat")
    size = int.from_bytes(data[at - 4 : at], "big")
    ruined = data[: at + 4] + b"\xff" * (size - 8) + data[at - 4 + size :]
    packets: list[int] = []
    with pytest.raises(ValueError, match="nothing to hear"):
        waveforms.waveform(io.BytesIO(ruined), "mp4", lambda: packets.append(1))
    assert len(packets) == 6


def test_silence_is_none() -> None:
    assert peaks(sound(wave=lambda at: (0.0,))) == (0,) * 128
    assert peaks(sound("mp3", "libmp3lame", lambda at: (0.0002 * math.sin(2000 * at),))) == (0,) * 128


def test_what_is_quiet_is_shown_as_large() -> None:
    assert max(peaks(sound(wave=tone(0.01)))) == 100


def test_a_sound_of_a_moment_has_a_waveform() -> None:
    assert min(peaks(sound(seconds=0.01, rate=8000, wave=lambda at: (0.5,)))) == 100


def test_samples_past_full_scale_and_none_at_all_are_borne() -> None:
    data = bytearray(sound("wav", "pcm_f32le"))
    at = data.index(b"data") + 8 + 40_010 * 4
    data[at : at + 4] = b"\xff\xff\xff\x7f"  # no number
    data[at + 4 : at + 8] = b"\0\0\x80\x7f"  # an infinite one
    found = peaks(bytes(data))
    assert max(found) == 100
    assert sorted(found)[5] == pytest.approx(50, abs=2)


@pytest.mark.parametrize(("container", "codec"), [("mp3", "libmp3lame"), ("flac", "flac"), ("ogg", "libopus")])
def test_half_a_recording_has_the_waveform_of_that_half(container: str, codec: str) -> None:
    data = sound(container, codec, louder_in_the_middle, seconds=3)
    found = peaks(data[: len(data) // 2])
    assert max(found) == 100
    assert found[-1] > 80


@pytest.mark.parametrize(
    ("container", "codec"),
    [("wav", "pcm_s16le"), ("mp3", "libmp3lame"), ("flac", "flac"), ("ogg", "libopus"), ("mp4", "aac")],
)
def test_a_long_recording_is_listened_to_in_places(container: str, codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some are found only by whole pages, of a second each."""
    monkeypatch.setattr(waveforms, "MAX_SECONDS", 9.0)
    monkeypatch.setattr(waveforms, "LISTENED", 0.2)
    data = sound(container, codec, lambda at: louder_in_the_middle(at / 4), seconds=12, rate=16_000)
    lines: list[object] = []
    monkeypatch.setattr(waveforms, "Line", lambda: lines.append(1))
    found = peaks(data)
    assert not lines
    assert found[3:38] == pytest.approx([22] * 35, abs=6)
    assert min(found[55:80]) > 70
    assert found[98:118] == pytest.approx([22] * 20, abs=6)


def test_one_that_does_not_tell_how_long_it_is_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    data = sound("webm", "libopus", container_options={"live": "1"})
    assert max(peaks(data)) == 100
    monkeypatch.setattr(waveforms, "MAX_SECONDS", 0.5)
    with pytest.raises(Unshowable):
        made(data)


def test_the_line_keeps_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    line = waveforms.Line()
    quiet, loud = (av.AudioFrame("s16", "mono", 1000) for _ in range(2))
    for frame, level in ((quiet, 100), (loud, 10_000)):
        frame.sample_rate = 8000
        frame.planes[0].update((array.array("h", [level]) * (frame.planes[0].buffer_size // 2)).tobytes())
    for frame in [quiet] * 1000 + [loud] * 1000:
        line.add(frame)
        sizes.append(len(line._peaks))
    assert max(sizes) <= 4096
    assert line.seconds == pytest.approx(250)
    found = line.peaks()
    assert found[:63] == pytest.approx([100 / 2**15] * 63)
    assert found[65:] == pytest.approx([10_000 / 2**15] * 63)


# --- what is wrong with bytes ---


@pytest.mark.parametrize(
    "data",
    [
        encoded(noisy(), "PNG"),
        encoded(noisy(), "JPEG"),
        encoded(noisy(), "WEBP", quality=100),
        encoded(noisy(), "GIF"),
        encoded(noisy(), "BMP"),
        encoded(noisy(), "AVIF", quality=100),
        film([noisy(320, 240)] * 10),
    ],
    ids=["png", "jpeg", "webp", "gif", "bmp", "avif", "mp4"],
)
def test_of_half_a_file_nothing_is_shown(data: bytes) -> None:
    made(data)
    with pytest.raises(Unshowable):
        made(data[: len(data) // 2])


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(40_000, 40_000), (20_000, 5_000), (10_000, 5_001)])
def test_an_image_that_claims_to_be_huge_is_not_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(Unshowable):
        made(png_header(*size))


@pytest.mark.parametrize(("kind", "most"), [("WEBP", 25_000_000), ("AVIF", 25_000_000), ("PNG", 50_000_000)])
def test_each_format_has_as_many_pixels_as_its_decoder_has_memory_for(
    kind: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert thumbnails.DECODED_WHOLE.get(kind, thumbnails.MAX_PIXELS) == most
    monkeypatch.setattr(thumbnails, "DECODED_WHOLE", {"WEBP": 100 * 100 - 1, "AVIF": 100 * 100 - 1})
    monkeypatch.setattr(thumbnails, "MAX_PIXELS", 100 * 100)
    monkeypatch.setattr(previews, "SMALL_BYTES", 0)
    data = encoded(scene(100, 100), kind)
    if kind == "PNG":
        assert thumbnail(data).size == (100, 100)
    else:
        with pytest.raises(Unshowable):
            made(data)


@pytest.mark.parametrize("mime", ["image/png", "video/mp4", "audio/mpeg", "audio/wav", "video/webm"])
def test_bytes_of_another_kind_show_nothing(mime: str) -> None:
    with pytest.raises(Unshowable):
        make(b"#EXTM3U\n/etc/passwd\n" * 5000, TYPES[mime])


def test_one_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "PREVIEW_WORK", -1.0)
    for data in (film([scene(320, 240)] * 3), sound()):
        with pytest.raises(Unshowable, match="too long"):
            made(data)


# --- in a process of its own ---


async def test_it_is_all_the_same_in_a_process_of_its_own() -> None:
    for data in (encoded(noisy(), "JPEG"), film([scene(320, 240)] * 3), sound()):
        kind = sniff(data)
        assert kind is not None
        assert await previewed(data, kind) == make(data, kind)
        assert await previewed(lambda data=data: io.BytesIO(data), kind) == make(data, kind)


async def test_broken_bytes_raise_one_thing() -> None:
    with pytest.raises(Unshowable):
        await previewed(encoded(noisy(), "JPEG")[:80_000], TYPES["image/jpeg"])
    assert await previewed(b"<svg/>", TYPES["image/svg+xml"]) == Previews()


async def test_a_store_that_is_away_is_no_fault_of_the_bytes() -> None:
    @contextlib.contextmanager
    def failing() -> Any:
        try:
            yield io.BytesIO(b"")  # who reads sees an end
        except Exception as exc:
            raise StorageUnavailable from exc

    with pytest.raises(StorageUnavailable):
        await previewed(failing, TYPES["image/png"])
    with pytest.raises(StorageUnavailable):
        make(failing, TYPES["image/png"])


async def test_one_that_is_left_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    reads: list[int] = []

    class Endless(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            reads.append(1)
            loop.call_soon_threadsafe(begun.set)
            return bytes(size or 0)

        def seek(self, offset: int, whence: int = 0, /) -> int:
            return 1 << 40

    task = asyncio.create_task(previewed(lambda: Endless(), TYPES["audio/mpeg"]))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    until_then = len(reads)
    data = encoded(noisy(), "JPEG")
    assert (await previewed(data, TYPES["image/jpeg"])).thumbnail  # the hands are free again
    assert len(reads) < until_then + 100


PEAK = """
import asyncio, resource, sys
from pathlib import Path
from gateway.assets.media import sniff
from gateway.assets.previews import Unshowable, previewed, _CELL

async def main():
    for name in sys.argv[1:]:
        data = Path(name).read_bytes()
        try:
            await previewed(data, sniff(data))
        except Unshowable:
            pass
    _CELL._end()
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(int(own.split()[1]) // 1024, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited and counted as Linux does it")
def test_no_file_takes_more_memory_than_it_may(tmp_path: Path) -> None:
    """Each of these took gigabytes, or would have: an index of many samples, a picture of many pixels."""
    hostile = {
        "index.mp4": bomb(),
        "fragment.mp4": fragment_bomb(),
        "pixels.png": png_header(40_000, 40_000),
        "frames.mp4": film(
            [Image.new("RGB", (1920, 1080))] * 6,
            pixels="yuv444p10le",
            options={"preset": "ultrafast", "x264-params": "ref=16"},
        ),
    }
    for name, data in hostile.items():
        (tmp_path / name).write_bytes(data)
    ran = subprocess.run(
        [sys.executable, "-c", PEAK, *(str(tmp_path / name) for name in hostile)],
        capture_output=True,
        check=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    ours, cell = map(int, ran.stdout.split())
    assert ours < 150, "megabytes"
    assert 40 < cell < 700
