"""Films: playable, of the asked size and length, moving, and equal for equal seeds."""

import io

import av
import pytest
from PIL import Image, ImageChops, ImageStat

from gateway.sandbox.film import pace, shoot
from gateway.sandbox.picture import draw


def frames(data: bytes) -> list[Image.Image]:
    with av.open(io.BytesIO(data)) as file:
        return [frame.to_image() for frame in file.decode(video=0)]


def distance(one: Image.Image, other: Image.Image) -> float:
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean)


@pytest.fixture(scope="module")
def film() -> bytes:
    return shoot("a boat on the sea", seed=1, width=320, height=180, seconds=2)


@pytest.mark.parametrize(("size", "seconds"), [((320, 180), 1.0), ((181, 321), 0.7), ((64, 64), 3.0)])
def test_size_and_length_are_the_asked_ones(size: tuple[int, int], seconds: float) -> None:
    data = shoot("x", seed=1, width=size[0], height=size[1], seconds=seconds)
    with av.open(io.BytesIO(data)) as file:
        picture = file.streams.video[0]
        assert (picture.width, picture.height) == (size[0] // 2 * 2, size[1] // 2 * 2)
        assert picture.duration is not None
        assert picture.time_base is not None
        frame = 1 / pace(*size, seconds)
        assert abs(float(picture.duration * picture.time_base) - seconds) <= frame
        assert file.duration is not None
        assert abs(file.duration / 1e6 - seconds) <= frame


def test_it_is_h264_for_browsers_with_a_soundtrack(film: bytes) -> None:
    with av.open(io.BytesIO(film)) as file:
        assert file.streams.video[0].codec_context.name == "h264"
        assert file.streams.video[0].codec_context.pix_fmt == "yuv420p"
        assert file.streams.audio[0].codec_context.name == "aac"
        loudest = max(max(map(abs, memoryview(bytes(frame.planes[0])).cast("f"))) for frame in file.decode(audio=0))
    assert 0.01 < loudest < 0.9


def test_the_index_stands_before_the_pictures(film: bytes) -> None:
    assert film[4:8] == b"ftyp"
    assert 0 < film.index(b"moov") < film.index(b"mdat")


def test_the_picture_moves(film: bytes) -> None:
    shown = frames(film)
    assert len(shown) == 48
    assert distance(shown[0], shown[-1]) > 4
    assert distance(shown[0], shown[24]) > 1


def test_the_same_film_each_time(film: bytes) -> None:
    assert film == shoot("a boat on the sea", seed=1, width=320, height=180, seconds=2)
    assert film != shoot("a boat on the sea", seed=2, width=320, height=180, seconds=2)


def test_it_opens_and_closes_with_the_given_images() -> None:
    red, blue = Image.new("RGB", (100, 100), (220, 20, 20)), Image.new("RGB", (50, 90), (20, 20, 220))
    given = []
    for image in (red, blue):
        out = io.BytesIO()
        image.save(out, "PNG")
        given.append(out.getvalue())
    shown = frames(shoot("the sea", seed=1, width=200, height=200, seconds=1, first=given[0], last=given[1]))
    opening, middle, closing = (shown[at].getpixel((100, 60)) for at in (0, 12, -1))
    assert opening[0] > 180
    assert opening[2] < 80
    assert closing[2] > 180
    assert closing[0] < 80
    assert middle[1] > max(opening[1], closing[1]) + 40


def test_a_long_prompt_and_a_drawn_frame_are_fine() -> None:
    first = draw("x", seed=1, width=64, height=64, format="webp")
    assert frames(shoot("长" * 400, seed=1, width=64, height=64, seconds=0.1, first=first))


@pytest.mark.parametrize(
    ("size", "seconds"),
    [((32, 64), 1.0), ((64, 5000), 1.0), ((64, 64), 0.0), ((64, 64), 121.0), ((64, 64), float("nan"))],
)
def test_what_is_out_of_range_is_refused(size: tuple[int, int], seconds: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        shoot("x", seed=1, width=size[0], height=size[1], seconds=seconds)


def test_an_image_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="not an image"):
        shoot("x", seed=1, width=64, height=64, seconds=1, first=b"nothing")
