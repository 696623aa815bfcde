"""Pictures: of the asked size and format, the same for the same seed, and telling what they are of."""

import io
import time

import pytest
from PIL import Image, ImageChops, ImageStat

from gateway.sandbox.picture import draw, mime
from gateway.sandbox.scenes import SCENES

BRAND = "A red fox in the snow"


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def difference(one: bytes, other: bytes) -> float:
    return max(ImageStat.Stat(ImageChops.difference(opened(one), opened(other))).mean)


@pytest.mark.parametrize("size", [(64, 64), (1024, 1024), (1280, 720), (333, 777), (64, 2048), (2048, 64)])
def test_the_size_is_exactly_the_asked_one(size: tuple[int, int]) -> None:
    assert opened(draw(BRAND, seed=1, width=size[0], height=size[1])).size == size


@pytest.mark.parametrize("size", [(63, 64), (64, 4097), (0, 0)])
def test_sizes_out_of_range_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="outside 64–4096"):
        draw(BRAND, seed=1, width=size[0], height=size[1])


@pytest.mark.parametrize(
    ("format", "head"), [("png", b"\x89PNG"), ("jpeg", b"\xff\xd8\xff"), ("jpg", b"\xff\xd8\xff"), ("webp", b"RIFF")]
)
def test_each_format_is_what_it_says(format: str, head: bytes) -> None:
    data = draw(BRAND, seed=1, width=128, height=96, format=format)
    assert data.startswith(head)
    assert Image.MIME[str(Image.open(io.BytesIO(data)).format)] == mime(format)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="png, jpeg, webp"):
        draw(BRAND, seed=1, width=64, height=64, format="gif")


@pytest.mark.parametrize("word", ["mountain", "sea", "city", "forest", "space", "abstract"])
def test_a_picture_is_the_same_each_time(word: str) -> None:
    assert draw(word, seed=3, width=160, height=120) == draw(word, seed=3, width=160, height=120)


def test_prompt_and_seed_change_the_picture() -> None:
    picture = draw("a boat on the sea", seed=1, width=256, height=256)
    assert difference(picture, draw("a city at night", seed=1, width=256, height=256)) > 10
    assert difference(picture, draw("a boat on the sea", seed=2, width=256, height=256)) > 2


def test_the_words_decide_the_scene() -> None:
    assert len(SCENES) == 6
    night, noon = (draw(f"the sea at {time}", seed=1, width=128, height=128) for time in ("night", "noon"))
    assert sum(ImageStat.Stat(opened(night)).mean) + 60 < sum(ImageStat.Stat(opened(noon)).mean)


def test_a_picture_is_no_noise_and_no_blank() -> None:
    picture = opened(draw(BRAND, seed=1, width=512, height=512))
    spread = ImageStat.Stat(picture).stddev
    assert max(spread) > 20
    grain = ImageChops.difference(picture, ImageChops.offset(picture, 1, 0))
    assert max(ImageStat.Stat(grain).mean) < 6


def test_the_caption_is_lettered_in_light_on_dark() -> None:
    band = opened(draw("Readable words", seed=1, width=512, height=512)).crop((0, 440, 512, 512)).convert("L")
    dark, light = band.getextrema()
    assert dark < 60
    assert light > 230


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "   \n\t",
        "一只狐狸在雪地里，" * 20,
        "café naïve — “quotes” Привет 🦊👩‍👩‍👧",
        "x" * 500,
        "word " * 400,
        "\x00\u202e\ud800",
    ],
)
def test_any_prompt_can_be_written(prompt: str) -> None:
    assert opened(draw(prompt, seed=1, width=200, height=150)).size == (200, 150)


def test_characters_without_a_font_still_differ() -> None:
    # Egyptian hieroglyphs: hardly a font has them; both prompts paint the same scene only by luck, so compare captions.
    from gateway.sandbox.caption import lay_out, write
    from gateway.sandbox.palette import PALETTES

    bands = []
    for prompt in ("\U00013000\U00013001", "\U00013002\U00013003"):
        band = Image.new("RGB", (300, 300))
        write(band, lay_out(prompt, "mark", 300, 300), PALETTES[0])
        bands.append(band)
    assert ImageChops.difference(bands[0], bands[1]).getbbox()


def test_a_reference_hangs_in_the_picture() -> None:
    reference = io.BytesIO()
    Image.new("RGBA", (300, 200), (255, 0, 0, 255)).save(reference, "PNG")
    picture = opened(draw(BRAND, seed=1, width=512, height=512, reference=reference.getvalue()))
    red, green, blue = picture.getpixel((256, 200))
    assert red > 180
    assert red > green + 90
    assert red > blue + 90


@pytest.mark.parametrize("data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_reference_that_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not an image"):
        draw(BRAND, seed=1, width=64, height=64, reference=data)


def test_a_truncated_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="not an image"):
        draw(BRAND, seed=1, width=64, height=64, reference=draw("x", seed=1, width=200, height=200)[:3000])


def test_a_large_picture_is_not_slow() -> None:
    began = time.process_time()
    assert opened(draw(BRAND, seed=1, width=4096, height=4096, format="jpeg")).size == (4096, 4096)
    assert time.process_time() - began < 6
