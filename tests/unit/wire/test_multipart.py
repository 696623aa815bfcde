import tempfile
import time
import tracemalloc
from collections.abc import AsyncIterator
from itertools import pairwise

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError, InvalidRequest, TooLarge, UnsupportedMedia
from gateway.wire.multipart import MIB, FilePart, Form, Limits, parse, safe_filename

pytestmark = pytest.mark.anyio

TYPE = "multipart/form-data; boundary=X"
END = b"--X--\r\n"
LIMITS = Limits()


def part(headers: bytes, data: bytes = b"a") -> bytes:
    return b"--X\r\n" + headers + b"\r\n\r\n" + data + b"\r\n"


def file_part(filename: bytes, data: bytes = b"a") -> bytes:
    return part(b'Content-Disposition: form-data; name="file"; filename="%s"' % filename, data)


def field(name: bytes, value: bytes) -> bytes:
    return part(b'Content-Disposition: form-data; name="%s"' % name, value)


async def cut(body: bytes, size: int = 65536) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def read(body: bytes, content_type: str | None = TYPE, limits: Limits = LIMITS, size: int = 65536) -> Form:
    return await parse(content_type, cut(body, size), limits)


async def refused(body: bytes, content_type: str | None = TYPE, limits: Limits = LIMITS) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await read(body, content_type, limits)
    return caught.value


async def test_fields_and_files_are_read_in_order() -> None:
    headers = b'Content-Disposition: form-data; name="image[]"; filename="a.png"\r\nContent-Type: Image/PNG; x=1'
    form = await read(
        field(b"prompt", "héllo".encode()) + part(headers, b"\x89PNG\r\n--Y\r\n") + field(b"n", b"2") + END
    )
    assert [(one.name, one.value) for one in form.fields] == [("prompt", "héllo"), ("n", "2")]
    assert form.files == (FilePart("image[]", "a.png", "image/png", b"\x89PNG\r\n--Y\r\n"),)
    assert form.value("n") == "2"
    assert form.value("missing") is None
    assert form.file("image[]") is form.files[0]


async def test_two_files_of_one_field_are_both_kept() -> None:
    form = await read(file_part(b"a", b"1") + file_part(b"b", b"2") + END)
    assert [one.data for one in form.files] == [b"1", b"2"]


async def test_an_empty_form_and_an_empty_file_are_whole() -> None:
    assert await read(END) == Form((), ())
    assert (await read(file_part(b"", b"") + END)).files == (FilePart("file", "file", "", b""),)


async def test_exactly_the_limit_passes_and_one_more_does_not() -> None:
    exact = await read(file_part(b"a.mp4", b"x" * (25 * MIB)) + END)
    assert len(exact.files[0].data) == 25 * MIB
    error = await refused(file_part(b"a.mp4", b"x" * (25 * MIB + 1)) + END)
    assert (type(error), error.code, error.status) == (TooLarge, "file_too_large", 413)
    assert "25 MiB (26214400 bytes)" in error.message


async def test_nothing_is_read_past_the_limit() -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        yield b'--X\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
        while True:
            taken += 1000
            yield b"x" * 1000

    with pytest.raises(TooLarge):
        await parse(TYPE, endless(), Limits(file_bytes=10_000))
    assert taken == 11_000


async def test_a_large_file_is_held_once() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'--X\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
        for _ in range(20 * 16):
            yield bytes(65536)
        yield b"\r\n" + END

    tracemalloc.start()
    form = await parse(TYPE, chunks(), LIMITS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(form.files[0].data) == 20 * MIB
    assert peak < 1.5 * 20 * MIB


async def test_no_file_is_ever_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    monkeypatch.setattr("builtins.open", lambda *args, **kwargs: pytest.fail(f"opened {args}"))
    form = await read(file_part(b"a.bin", b"x" * (3 * MIB)) + END)
    assert len(form.files[0].data) == 3 * MIB


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--X",
        file_part(b"a"),
        file_part(b"a") + b"--X",
        file_part(b"a") + b"--X-",
        file_part(b"a") + b"--X\r\n",
        file_part(b"a", b"x" * 100_000)[:-40_000],
        (file_part(b"a") + END)[:30],
        file_part(b"a") + b"--Y--\r\n",
        b"\r\n",
    ],
)
async def test_a_body_without_its_closing_boundary_is_incomplete(body: bytes) -> None:
    error = await refused(body)
    assert (type(error), error.code, error.status) == (InvalidRequest, "incomplete_upload", 400)


@pytest.mark.parametrize(
    "body",
    [
        b"hello" + END,
        b"\r\n" * 2_500_000 + file_part(b"a") + END,
        part(b"Content-Disposition: form-data") + END,
        part(b"X: y") + END,
        part(b'Content-Disposition: attachment; name="file"; filename="a"') + END,
        part(b'Content-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; name="b"') + END,
        part(b'Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64') + END,
        part(b'Content-Disposition: form-data; name="a\nb"') + END,
        part(b'Content-Disposition: form-data; name="a\x00b"') + END,
        part(b'Content-Disposition: form-data; name="\xff"') + END,
        part(b"Content Disposition: form-data") + END,
        field(b"prompt", b"\xff\xfe") + END,
        field(b"f", b"v") * 3000 + END,
        b"--X\r\n" + b"A: b\r\n" * 2000 + b"\r\na\r\n" + END,
        b"--X\r\nA: " + b"b" * 10**6 + b"\r\n\r\na\r\n" + END,
        b"--X\r\n" + b"".join(b"A%d: %s\r\n" % (n, b"b" * 1000) for n in range(12)) + b"\r\na\r\n" + END,
    ],
    ids=range(16),
)
async def test_a_malformed_body_is_refused_at_little_cost(body: bytes) -> None:
    began = time.process_time()
    error = await refused(body)
    assert (type(error), error.code, error.status) == (InvalidRequest, "invalid_multipart", 400)
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=" + "-" * 100_000,
        "multipart/form-data; boundary=é",
        "multipart/form-data; boundary=\u4e2d",
        'multipart/form-data; boundary="a\tb"',
    ],
)
async def test_a_content_type_without_a_usable_boundary_is_refused(content_type: str) -> None:
    assert (await refused(file_part(b"a") + END, content_type)).code == "invalid_multipart"


@pytest.mark.parametrize("content_type", [None, "", "application/json", "application/x-www-form-urlencoded"])
async def test_another_content_type_is_refused(content_type: str | None) -> None:
    assert isinstance(await refused(file_part(b"a") + END, content_type), UnsupportedMedia)


async def test_a_quoted_boundary_is_understood() -> None:
    body = (field(b"a", b"1") + END).replace(b"--X", b"--a b:c")
    assert (await read(body, 'Multipart/Form-Data; charset=utf-8; boundary="a b:c"')).value("a") == "1"


async def test_a_field_and_the_whole_body_have_limits_of_their_own() -> None:
    assert (await read(field(b"p", b"x" * 10) + END, limits=Limits(field_bytes=10))).value("p") == "x" * 10
    error = await refused(field(b"p", b"x" * 11) + END, limits=Limits(field_bytes=10))
    assert (type(error), error.param) == (TooLarge, "p")
    error = await refused(file_part(b"a", b"x" * 900) + END + b"z" * 200, limits=Limits(total_bytes=1000))
    assert (type(error), error.code) == (TooLarge, "request_too_large")


async def test_an_epilogue_is_ignored() -> None:
    assert (await read(field(b"a", b"1") + END + b"z" * 5000)).value("a") == "1"


async def test_one_byte_at_a_time_gives_the_same_form() -> None:
    body = b"\r\n" + file_part(b"a.png", b"x" * 20_000) + field(b"a", b"1") + END
    began = time.process_time()
    assert await read(body, size=1) == await read(body)
    assert time.process_time() - began < 1


BODY = (
    b"\r\n"
    + field(b"prompt", b"a\r\n--X-\r\n--XX\r\n--X\n\r")
    + file_part(b"a.png", b"\r\n--X-a\r\n--\r\n--X\rb\r\n")
    + END
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, len(BODY)), max_size=12))
def test_where_the_body_is_cut_does_not_matter(places: list[int]) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        edges = [0, *sorted(places), len(BODY)]
        for start, end in pairwise(edges):
            yield BODY[start:end]

    assert anyio.run(parse, TYPE, pieces(), LIMITS) == anyio.run(read, BODY)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 50))
def test_any_bytes_come_through_as_they_are(data: bytes, size: int) -> None:
    body = file_part(b"a", data).replace(b"--X", b"--" + b"q" * 40) + b"--" + b"q" * 40 + b"--"
    content_type = "multipart/form-data; boundary=" + "q" * 40
    if b"--X" not in data:
        assert anyio.run(read, body, content_type, LIMITS, size).files[0].data == data


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (b"a.png", "a.png"),
        (b"../../etc/passwd", "passwd"),
        (b"..\\\\..\\\\x", "x"),
        (b"C:\\\\dir\\\\a.png", "a.png"),
        (b"/etc/shadow", "shadow"),
        (b"a%0d%0aX: y", "a%0d%0aX_ y"),
        (b"a\nb\tc.png", "abc.png"),
        (b"a\x00.png", "a.png"),
        (b"\xff\xfe.png", "\ufffd\ufffd.png"),
        ("\u202egnp.exe".encode(), "gnp.exe"),
        ("中文 é.png".encode(), "中文 é.png"),
        (b"con.png", "_con.png"),
        (b".htaccess", "htaccess"),
        (b"a;b.png", "a;b.png"),
        (b"..", "file"),
        (b"", "file"),
        (b"   ", "file"),
    ],
)
async def test_names_are_made_safe_to_show(sent: bytes, shown: str) -> None:
    assert (await read(file_part(sent) + END)).files[0].filename == shown


async def test_a_long_name_keeps_its_extension() -> None:
    name = (await read(file_part("字".encode() * 1400 + b".png") + END)).files[0].filename
    assert name.endswith("字.png")
    assert 250 < len(name.encode()) <= 255


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (b"filename*=UTF-8''%2e%2e%2fx.svg", "x.svg"),
        (b"filename*=utf-8'en'%E4%B8%AD.png", "中.png"),
        (b"filename*=iso-8859-1''%E9.png", "é.png"),
        (b"filename=\"plain.png\"; filename*=UTF-8''other.png", "plain.png"),
    ],
)
async def test_an_extended_name_is_understood(options: bytes, shown: str) -> None:
    form = await read(part(b'Content-Disposition: form-data; name="file"; ' + options) + END)
    assert form.files[0].filename == shown


async def test_an_extended_name_inside_quotes_is_only_text() -> None:
    form = await read(part(b"Content-Disposition: form-data; name=\"a; filename*=UTF-8''x\"") + END)
    assert form.files == ()
    assert form.fields[0].name == "a; filename*=UTF-8''x"


@given(st.text(max_size=400) | st.binary(max_size=400))
def test_a_safe_name_is_safe_and_stays_as_it_is(raw: str | bytes) -> None:
    name = safe_filename(raw)
    assert 0 < len(name.encode()) <= 255
    assert not set(name) & set('/\\<>:"|?*\0\r\n\u202e')
    assert name.strip(". ") == name
    assert safe_filename(name) == name


def test_no_name_is_called_file() -> None:
    assert safe_filename(None) == "file"
