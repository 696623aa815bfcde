import contextlib
import io
import json
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gateway.assets import media
from gateway.assets.media import (
    HEAD_BYTES,
    SERVED_INLINE,
    TYPES,
    Dimensions,
    inspect_media,
    known_by,
    measured,
    named,
    sniff,
)
from gateway.errors import InvalidRequest, NotFound, StorageUnavailable
from tests.unit.assets.making import film, sound

pytestmark = pytest.mark.anyio


def image(kind: str, size: tuple[int, int] = (64, 48), **options: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(out, kind, **options)
    return out.getvalue()


def video(container: str, codec: str) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(10):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return out.getvalue()


def audio(container: str, codec: str, rate: int = 48_000) -> bytes:
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


def archive(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, "<x/>")
    return out.getvalue()


def heic(*sizes: tuple[int, int], brand: bytes = b"heic") -> bytes:
    boxes = b"".join(struct.pack(">I4sIII", 20, b"ispe", 0, *size) for size in sizes)
    return struct.pack(">I4s4sI", 24, b"ftyp", brand, 0) + b"mif1heic" + b"\0\0\1\0meta" + boxes


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing of it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


IMAGES = [
    ("PNG", "image/png", "png"),
    ("JPEG", "image/jpeg", "jpg"),
    ("WEBP", "image/webp", "webp"),
    ("GIF", "image/gif", "gif"),
    ("BMP", "image/bmp", "bmp"),
    ("AVIF", "image/avif", "avif"),
]
PLAYABLE = [
    (video, "mp4", "libx264", "video/mp4", "mp4"),
    (video, "mov", "libx264", "video/quicktime", "mov"),
    (video, "webm", "libvpx-vp9", "video/webm", "webm"),
    (audio, "mp3", "libmp3lame", "audio/mpeg", "mp3"),
    (audio, "wav", "pcm_s16le", "audio/wav", "wav"),
    (audio, "ipod", "aac", "audio/mp4", "m4a"),
    (audio, "flac", "flac", "audio/flac", "flac"),
    (audio, "ogg", "libopus", "audio/ogg", "opus"),
    (audio, "adts", "aac", "audio/aac", "aac"),
]


def dimensions(data: bytes) -> Dimensions:
    found = sniff(data)
    assert found is not None
    return inspect_media(data, found)


@pytest.mark.parametrize(("kind", "mime", "extension"), IMAGES)
def test_images_are_known_and_measured(kind: str, mime: str, extension: str) -> None:
    data = image(kind)
    found = sniff(data)
    assert found is not None
    assert (found.mime, found.extension, found.family, found.inline) == (mime, extension, "image", True)
    assert inspect_media(data, found) == Dimensions(64, 48)


@pytest.mark.parametrize(("make", "container", "codec", "mime", "extension"), PLAYABLE)
def test_video_and_audio_are_known_and_measured(make, container, codec, mime, extension) -> None:  # type: ignore[no-untyped-def]
    data = make(container, codec)
    found = sniff(data)
    assert found is not None
    assert (found.mime, found.extension, found.family, found.inline) == (mime, extension, make.__name__, True)
    size = inspect_media(data, found)
    assert (size.width, size.height) == ((64, 48) if make is video else (None, None))
    assert size.seconds == pytest.approx(1, abs=0.05)


class Counted(io.BytesIO):
    """A file that counts what is read of it."""

    bytes_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self.bytes_read += len(found)
        return found


@pytest.mark.parametrize(("make", "container", "codec", "mime", "extension"), PLAYABLE)
async def test_a_file_is_measured_as_its_bytes_are(make, container, codec, mime, extension) -> None:  # type: ignore[no-untyped-def]
    data = make(container, codec)
    assert await measured(lambda: io.BytesIO(data), TYPES[mime]) == inspect_media(data, TYPES[mime])


@pytest.mark.parametrize(("kind", "mime", "extension"), IMAGES)
async def test_an_image_in_a_file_is_measured(kind: str, mime: str, extension: str) -> None:
    assert await measured(lambda: io.BytesIO(image(kind)), TYPES[mime]) == Dimensions(64, 48)


def with_padding(data: bytes, padding: int) -> bytes:
    """The same MP4 with so much more content before its index, which ends it."""
    at = data.index(b"mdat") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    assert data[at + size + 4 : at + size + 8] == b"moov"
    content = data[at + 8 : at + size] + bytes(padding)
    return data[:at] + struct.pack(">I4s", len(content) + 8, b"mdat") + content + data[at + size :]


async def test_of_a_film_with_its_index_at_the_end_only_both_ends_are_read() -> None:
    file = Counted(with_padding(video("mp4", "libx264"), 20_000_000))
    size = await measured(lambda: contextlib.nullcontext(file), TYPES["video/mp4"])
    assert size == Dimensions(64, 48, 1.0)
    assert 0 < file.bytes_read < 1_000_000


def with_index_first(data: bytes, *, wide: bool = False) -> bytes:
    """The same MP4 with its content at the end; `wide`: of a length that is written in 64 bits."""
    at = data.index(b"mdat") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    head = struct.pack(">I4sQ", 1, b"mdat", size + 8) if wide else struct.pack(">I4s", size, b"mdat")
    return data[:at] + data[at + size :] + head + data[at + 8 : at + size]


@pytest.mark.parametrize("wide", [False, True])
def test_a_film_whose_end_never_came_is_refused_though_its_index_is_there(wide: bool) -> None:
    data = with_index_first(video("mp4", "libx264"), wide=wide)
    assert dimensions(data) == Dimensions(64, 48, 1.0)
    with pytest.raises(InvalidRequest) as refused:
        dimensions(data[:-1])
    assert refused.value.code == "invalid_media"


def test_a_film_may_end_in_something_else_or_leave_its_length_open() -> None:
    data = video("mp4", "libx264")
    assert dimensions(data + b"\xff\xff\xff\xffrest") == Dimensions(64, 48, 1.0)
    assert dimensions(data + b"\0\0\0\0mdat") == Dimensions(64, 48, 1.0)


async def test_where_the_bytes_are_may_be_slow_without_blame_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MEASURE_WAIT", 0.01)
    over = threading.Event()

    @contextlib.contextmanager
    def slow() -> Iterator[io.BytesIO]:
        over.wait(10)
        yield io.BytesIO(image("PNG"))

    try:
        with pytest.raises(StorageUnavailable):
            await measured(slow, TYPES["image/png"])
    finally:
        over.set()


def test_what_the_source_raises_of_ours_comes_through() -> None:
    def gone() -> io.BytesIO:
        raise NotFound

    with pytest.raises(NotFound):
        inspect_media(gone, TYPES["video/mp4"])


async def test_measuring_leaves_the_event_loop_free() -> None:
    data = image("PNG")
    found = sniff(data)
    assert found is not None
    assert await measured(data, found) == Dimensions(64, 48)


def test_mpeg_audio_without_tags_is_known_at_every_rate() -> None:
    for rate in (44_100, 22_050, 11_025):
        tagged = audio("mp3", "libmp3lame", rate)
        bare = tagged[tagged.index(b"\xff", 10) :]
        found = sniff(bare)
        assert found is not None
        assert found.mime == "audio/mpeg"


def test_heic_is_measured_by_its_largest_picture() -> None:
    assert dimensions(heic((512, 512), (4032, 3024), (320, 240))) == Dimensions(4032, 3024)
    assert sniff(heic((1, 1), brand=b"heix")) is TYPES["image/heic"]
    assert sniff(heic((1, 1), brand=b"mif1")) is TYPES["image/heic"]


def iso_box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def proper_heic(*properties: bytes, of_main: bytes, wide: bool = False) -> bytes:
    """A HEIC as phones write them: properties in a list, and which of them (by number) are those of item 5."""
    version = b"\1\0\0\1" if wide else bytes(4)
    item = (5).to_bytes(4 if wide else 2, "big")
    numbers = b"".join(bytes([0x80, n]) if wide else bytes([0x80 | n]) for n in of_main)
    other = (1).to_bytes(4 if wide else 2, "big") + b"\1" + (b"\0\1" if wide else b"\1")
    ipma = version + (2).to_bytes(4, "big") + other + item + bytes([len(of_main)]) + numbers
    main = iso_box(b"pitm", b"\1\0\0\0" + (5).to_bytes(4, "big")) if wide else iso_box(b"pitm", bytes(4) + b"\0\5")
    iprp = iso_box(b"iprp", iso_box(b"ipco", b"".join(properties)) + iso_box(b"ipma", ipma))
    head = iso_box(b"ftyp", b"heic" + bytes(4) + b"mif1heic")
    return head + iso_box(b"free", bytes(9)) + iso_box(b"meta", bytes(4) + main + iprp) + iso_box(b"mdat", bytes(30))


def ispe(width: int, height: int) -> bytes:
    return iso_box(b"ispe", struct.pack(">III", 0, width, height))


TILE, WHOLE = ispe(512, 512), ispe(4032, 3024)
TURNED, ON_ITS_HEAD = iso_box(b"irot", b"\1"), iso_box(b"irot", b"\2")
CLAP = iso_box(b"clap", struct.pack(">8I", 4001, 1, 6001, 2, 0, 1, 0, 1))


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
    ("properties", "of_main", "size"),
    [
        ((TILE, WHOLE), b"\2", (4032, 3024)),
        ((TILE, WHOLE, TURNED), b"\2\3", (3024, 4032)),
        ((TILE, WHOLE, TURNED), b"\2", (4032, 3024)),  # another item is turned
        ((TILE, WHOLE, ON_ITS_HEAD), b"\2\3", (4032, 3024)),
        ((TILE, ispe(640, 480), WHOLE), b"\2", (640, 480)),  # the largest is not the main one
        ((TILE, WHOLE, CLAP, TURNED), b"\2\3\4", (3000, 4001)),
        ((TILE, WHOLE), b"\2\7", (4032, 3024)),  # a number that there is not
    ],
    ids=range(7),
)
def test_heic_is_measured_as_its_main_picture_is_shown(
    properties: tuple[bytes, ...], of_main: bytes, size: tuple[int, int], wide: bool
) -> None:
    assert dimensions(proper_heic(*properties, of_main=of_main, wide=wide)) == Dimensions(*size)


def test_the_length_of_a_box_may_have_64_bits() -> None:
    data = proper_heic(TILE, ispe(640, 480), WHOLE, of_main=b"\2")
    at, end = data.index(b"meta") - 4, data.index(b"mdat") - 4
    wide = data[:at] + struct.pack(">I4sQ", 1, b"meta", end - at + 8) + data[at + 8 :]
    assert dimensions(wide) == Dimensions(640, 480)
    ended = data[:at] + bytes(4) + data[at + 4 : end]  # one that goes on to the end
    assert dimensions(ended) == Dimensions(640, 480)


def test_heic_past_fifty_million_pixels_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        dimensions(proper_heic(TILE, ispe(10_000, 5_001), of_main=b"\2"))
    assert refused.value.code == "image_too_large"


@pytest.mark.parametrize("container", ["mp4", "mov"])
@pytest.mark.parametrize(("rotation", "size"), [(90, (48, 64)), (-90, (48, 64)), (180, (64, 48)), (None, (64, 48))])
def test_a_video_is_measured_as_it_is_shown(container: str, rotation: int | None, size: tuple[int, int]) -> None:
    found = dimensions(film([Image.new("RGB", (64, 48))] * 10, container, rotation=rotation))
    assert (found.width, found.height, found.seconds) == (*size, 1.0)
    late = with_index_first(film([Image.new("RGB", (64, 48))] * 10, container, rotation=rotation), wide=True)
    assert dimensions(late) == found


def test_a_video_of_a_late_year_is_turned_too() -> None:
    """Times past 2040 have 64 bits, and what follows them is elsewhere."""
    data = film([Image.new("RGB", (64, 48))] * 10, rotation=90)
    at = data.index(b"tkhd") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    old = data[at + 8 : at + size]
    new = b"\1" + old[1:4] + bytes(4) + old[4:8] + bytes(4) + old[8:12] + old[12:20] + bytes(4) + old[20:24] + old[24:]
    grown = data[:at] + struct.pack(">I", size + 12) + b"tkhd" + new + data[at + size :]
    for parent in (b"moov", b"trak"):
        where = grown.index(parent) - 4
        length = int.from_bytes(grown[where : where + 4], "big") + 12
        grown = grown[:where] + struct.pack(">I", length) + grown[where + 4 :]
    assert dimensions(grown) == Dimensions(48, 64, 1.0)


def test_pixels_that_are_no_squares_are_counted_as_if_they_were() -> None:
    found = dimensions(film([Image.new("RGB", (64, 48))] * 10, shape=(3, 2)))
    assert (found.width, found.height) == (96, 48)


def test_the_cover_of_a_record_is_not_the_size_of_its_music() -> None:
    data = sound("mp3", "libmp3lame", seconds=1, cover=Image.new("RGB", (64, 48)))
    assert b"APIC" in data[:2000]
    assert dimensions(data) == Dimensions(seconds=pytest.approx(1, abs=0.05))
    data = sound("mp4", "aac", seconds=1, cover=Image.new("RGB", (64, 48)))
    assert dimensions(data) == Dimensions(seconds=pytest.approx(1, abs=0.05))


def test_a_film_without_a_picture_is_as_long_as_its_sound() -> None:
    assert dimensions(sound("mp4", "aac", seconds=1)) == Dimensions(seconds=1.0)


def test_music_is_to_be_heard() -> None:
    with pytest.raises(InvalidRequest):
        inspect_media(video("mp4", "libx264"), TYPES["audio/mp4"])


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        (sound("webm", "libopus", seconds=2, container_options={"live": "1"}), 2),
        (film([Image.new("RGB", (64, 48))] * 20, "webm", "libvpx-vp9", container_options={"live": "1"}), 2),
        (sound("mp4", "aac", seconds=2, container_options={"movflags": "frag_keyframe+empty_moov"}), 2),
        (sound("adts", "aac", seconds=2), 2),
        (sound("mp3", "libmp3lame", seconds=2), 2),
        (sound("mp3", "libmp3lame", seconds=2, container_options={"write_xing": "0"}), 2),
        (sound("mp3", "libmp3lame", seconds=2, container_options={"id3v2_version": "0"}), 2),
    ],
    ids=["webm", "webm video", "fragments", "aac", "mp3", "mp3 untold", "mp3 bare"],
)
def test_every_length_is_found(data: bytes, seconds: float) -> None:
    assert dimensions(data).seconds == pytest.approx(seconds, abs=0.1)


def test_a_length_that_is_not_told_is_not_guessed_by_how_it_begins() -> None:
    """An MP3 that is heavy for a second and light for nine, without the frame that tells how many there are."""
    options = {"write_xing": "0", "id3v2_version": "0"}
    heavy = sound("mp3", "libmp3lame", seconds=1, container_options=options, options={"b": "320000"})
    light = sound("mp3", "libmp3lame", seconds=9, container_options=options, options={"b": "32000"})
    found = sniff(heavy + light)
    assert found is TYPES["audio/mpeg"]
    assert dimensions(heavy + light).seconds == pytest.approx(10, abs=0.2)
    tagged = sound("mp3", "libmp3lame", seconds=1, container_options={"write_xing": "0"}, options={"b": "320000"})
    assert dimensions(tagged + light).seconds == pytest.approx(10, abs=0.2)


def test_a_flac_that_was_streamed_does_not_tell_its_length() -> None:
    data = sound("flac", "flac", seconds=2)
    untold = data[:21] + bytes([data[21] & 0xF0]) + bytes(4) + data[26:]
    assert dimensions(untold).seconds == pytest.approx(2, abs=0.01)


def test_a_wav_that_was_streamed_does_not_either() -> None:
    data = sound("wav", seconds=2)
    at = data.index(b"data") + 4
    untold = data[:4] + b"\xff" * 4 + data[8:at] + b"\xff" * 4 + data[at + 4 :]
    assert dimensions(untold).seconds == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize("brand", [b"isom", b"iso5", b"iso6", b"mp42", b"avc1", b"dash", b"M4V "])
def test_the_brands_of_mp4_are_known(brand: bytes) -> None:
    found = sniff(b"\0\0\0\x14ftyp" + brand + b"\0\0\0\0" + brand + b"\0\0\1\0moov\0\0\0\0")
    assert found is not None
    assert found.mime == "video/mp4"


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (b"%PDF-1.7\n1 0 obj", "application/pdf"),
        (
            archive("[Content_Types].xml", "_rels/.rels", "word/document.xml"),
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
        (b"hello", "text/plain"),
        ("\ufeffhéllo 中文\r\n\t".encode(), "text/plain"),
        ("中".encode() * HEAD_BYTES, "text/plain"),
        (b'{"a": [1, 2]}', "application/json"),
        (b"[1, 2]", "application/json"),
        (json.dumps([{"n": n} for n in range(5000)]).encode(), "application/json"),
        (b"{not json}", "text/plain"),
        (b"[see below] a note", "text/plain"),
        (b"[" * 8000, "text/plain"),
        (b"BMW is a car", "text/plain"),
        (b"GIF89a is a format", "text/plain"),
        (b"ID3 is a kind of tag", "text/plain"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- a --><svg onload="x()"/>', "image/svg+xml"),
        (b"<!-- x --><s:svg xmlns:s='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (b"\n  <!DOCTYPE html><p>", "text/html"),
        (b"<p>hi <script>alert(1)</script>", "text/html"),
        (b"# Title\n\n<script>alert(1)</script>", "text/html"),
        (b"<html><body><svg></svg>", "text/html"),
        (b'<?xml version="1.0"?><rss/>', "application/xml"),
        (b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><script/></html>', "text/html"),
    ],
    ids=range(23),
)
def test_documents_and_text_are_known_and_never_inline(data: bytes, mime: str) -> None:
    found = sniff(data)
    assert found is not None
    assert found.mime == mime
    assert not found.inline
    assert inspect_media(data, found) == Dimensions()


@pytest.mark.parametrize(
    ("name", "mime"), [("a.md", "text/markdown"), ("a.CSV", "text/csv"), ("a.html", "text/plain"), ("a", "text/plain")]
)
def test_a_name_tells_only_harmless_text_apart(name: str, mime: str) -> None:
    found = sniff(b"a,b\n1,2", name)
    assert found is not None
    assert found.mime == mime
    assert sniff(b"<script>", "a.csv") is TYPES["text/html"]
    assert sniff(image("PNG"), "a.csv") is TYPES["image/png"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"MZ" + bytes(100),
        b"\x7fELF" + bytes(100),
        archive("a.txt"),
        image("TIFF"),
        "text".encode("utf-16"),
        b"text\0with nul",
        b"\x1b[31mred",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x14ftypcrx \0\0\0\0",
    ],
    ids=range(11),
)
def test_everything_else_is_unknown(data: bytes) -> None:
    assert sniff(data) is None


@given(st.binary(max_size=300))
def test_no_bytes_break_it(data: bytes) -> None:
    found = sniff(data)
    if found is not None:
        assert TYPES[found.mime].family == found.family
        try:
            inspect_media(data, found)
        except InvalidRequest as error:
            assert error.code in ("invalid_media", "image_too_large")


def test_only_the_documented_first_bytes_are_needed() -> None:
    for make, container, codec, mime, _ in PLAYABLE:
        found = sniff(make(container, codec)[:HEAD_BYTES])
        assert found is not None
        assert found.mime == mime


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(30_000, 30_000), (10_000, 5_001), (10_000, 12_000)])
def test_an_image_past_fifty_million_pixels_is_refused_by_its_header(size: tuple[int, int]) -> None:
    began = time.process_time()
    with pytest.raises(InvalidRequest) as refused:
        dimensions(png_header(*size))
    assert refused.value.code == "image_too_large"
    assert time.process_time() - began < 0.5


def test_an_image_of_too_many_frames_is_refused() -> None:
    out = io.BytesIO()
    frames = [Image.new("P", (2, 2), n % 2) for n in range(1001)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=10, optimize=False)
    with pytest.raises(InvalidRequest) as refused:
        dimensions(out.getvalue())
    assert refused.value.code == "image_too_large"


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG", "AVIF"])
@pytest.mark.parametrize(("how", "size"), [(1, (64, 48)), (3, (64, 48)), (5, (48, 64)), (6, (48, 64)), (8, (48, 64))])
def test_a_photo_stored_on_its_side_is_measured_as_shown(kind: str, how: int, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = how
    assert dimensions(image(kind, exif=exif)) == Dimensions(*size)


def test_a_photo_with_a_second_picture_is_turned_like_any_other() -> None:
    """As phones make them: then Pillow calls it by another name than JPEG."""
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    first, second = Image.new("RGB", (64, 48)), Image.new("RGB", (32, 24))
    first.save(out, "MPO", save_all=True, append_images=[second], exif=exif)
    assert sniff(out.getvalue()) is TYPES["image/jpeg"]
    assert dimensions(out.getvalue()) == Dimensions(48, 64)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
def test_exif_that_is_none_says_nothing(exif: bytes) -> None:
    assert dimensions(image("JPEG", exif=exif)) == Dimensions(64, 48)
    assert dimensions(image("WEBP", exif=exif)) == Dimensions(64, 48)
    how = Image.Exif()
    how[0x0112] = 99
    assert dimensions(image("JPEG", exif=how)) == Dimensions(64, 48)


def test_a_png_is_not_decoded_to_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[object] = []
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", lambda self: decoded.append(self))
    assert dimensions(image("PNG")) == Dimensions(64, 48)
    assert not decoded


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_is_measured_like_a_picture(kind: str) -> None:
    frames = [Image.new("RGB", (64, 48), (n * 40, 0, 0)) for n in range(4)]
    out = io.BytesIO()
    frames[0].save(out, kind, save_all=True, append_images=frames[1:])
    assert dimensions(out.getvalue()) == Dimensions(64, 48)


@pytest.mark.parametrize(
    ("data", "claimed"),
    [
        (image("PNG"), "image/jpeg"),
        (b"<svg/>", "image/png"),
        (b"\x89PNG\r\n\x1a\n<script>alert(1)</script>", "image/png"),
        (image("PNG")[:60], "image/png"),
        (image("PNG").replace(b"IDAT", b"IDAX"), "image/png"),
        (video("mp4", "libx264")[:400], "video/mp4"),
        (video("mp4", "libx264"), "video/webm"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "video/mp4"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "audio/mpeg"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
    ],
    ids=range(11),
)
def test_bytes_that_are_not_what_they_seem_are_refused(data: bytes, claimed: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        inspect_media(data, TYPES[claimed])
    assert refused.value.code == "invalid_media"
    assert claimed in refused.value.message


def test_only_raster_images_video_and_audio_are_served_inline() -> None:
    assert {"image/png", "video/mp4", "audio/mpeg"} <= SERVED_INLINE
    assert not {"image/svg+xml", "text/html", "application/xml", "application/pdf", "text/plain"} & SERVED_INLINE


def test_a_known_type_is_found_by_its_name_and_by_a_key_of_ours() -> None:
    assert known_by("Text/Plain; charset=utf-8") is TYPES["text/plain"]
    assert known_by("application/x-evil") is None
    assert known_by(None) is None
    for known in TYPES.values():
        assert named(f"images/2026-01/a.b_20260101_000000_00000000.{known.extension}") is known
    opus = named("audio/2026-01/a.opus")
    assert opus is not None
    assert opus.mime == "audio/ogg"
    assert named("uploads/2026-01/a.bin") is None
